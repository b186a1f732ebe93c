"""Bounds of several samples in the costs: log Σ exp, of which each summand is made of the draws of one index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scg.analysis.credit import DrawBits, shares
from scg.analysis.reach import sum_of
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute
from scg.ops.log_space import summed
from scg.ops.structure import reshape
from scg.surrogate.parts import linear_ends, weighted


class LogSum(NamedTuple):
    """A part of a cost: ``weight * log(sum(exp(exponents)))`` along an axis.

    Attributes
    ----------
    exponents : Node
        The one at index j is made of the draws of index j.
    axis : int
    weight : Node or None
        Of the shape of the exponents, with 1 along the axis; None if it is 1.
    """

    exponents: Node
    axis: int
    weight: Node | None


class LogSums(NamedTuple):
    """A cost that is linear in one or more of these.

    Attributes
    ----------
    sums : tuple of LogSum
    rest : Node
        What it is where all that depends on the site is 0.
    """

    sums: tuple[LogSum, ...]
    rest: Node


def log_sums(site: str, bits: DrawBits, cost: Node, dim: int) -> LogSums | None:
    """A cost as one that is linear in log Σ exp over a dimension of the site's draws; None if it is not."""
    known = bits.dependence(site)
    ends = linear_ends(cost, lambda n: bool(known.any(n)), lambda n: summed(n) is not None)
    found = []
    for part in weighted(cost, ends) or ():
        exponents, axis = summed(part.source) or (None, 0)
        if exponents is None:
            continue
        (own,) = shares(known(exponents), exponents.shape, bits, (dim,), alone=True).shares or (None,)
        if own is not None and own.at == axis and own.which is None:
            shape = tuple(1 if d == axis else n for d, n in enumerate(exponents.shape))
            found.append(LogSum(exponents, axis, None if part.weight is None else reshape(part.weight, shape)))
    if not found:
        return None
    (rest,) = substitute([sum_of([cost])], {end: constant(np.zeros(end.shape)) for end in ends})
    return LogSums(tuple(found), rest)

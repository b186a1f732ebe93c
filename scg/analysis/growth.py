"""How fast random values grow beside the density of what they are made of: whether an exponential of them has a mean.

The growth of a draw of density exp(−|x|^t) far out is 1/t, that of its nth power n/t; eᵛ has a mean for certain if the
growth of v is below 1. So ½ is that of a normal draw, 1 that of its square. A value is *explosive* if it is made of an
exponential that need not have a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from scg.ir.interval import Interval
from scg.ir.node import Node
from scg.ops.randomness import distribution_of


class Growing(Protocol):
    """What is known of a value's growth."""

    @property
    def growth(self) -> float:
        """Its growth; 0 of what is bounded, or not random."""

    @property
    def explosive(self) -> bool:
        """Whether it is."""


def grown(node: Node, of: Sequence[Growing], here: Interval) -> tuple[float, bool]:
    """The growth of a node that lies in an interval, and whether it is explosive, from what its arguments are."""
    fastest = max((s.growth for s in of), default=0.0)
    if not fastest or node.kind != "real" or node.op.logarithmic or _bounded(here):
        return 0.0, False
    exponential = not callable(node.op.growth) and node.op.growth == np.inf
    explodes = exponential and fastest >= 1.0 and here.high == np.inf
    return node.op.grown(node, *(s.growth for s in of)), explodes or any(s.explosive for s in of)


def of_draw(node: Node, parameters: Sequence[Growing], here: Interval) -> float:
    """That of a draw, whose parameters may be random; a bounded one does not grow."""
    if node.attrs.family.support.integral or _bounded(here):
        return 0.0
    tail = distribution_of(node).tail
    return max([1.0 / tail if tail else np.inf, *(s.growth for s in parameters)])


def grown_on(before: float, after: float) -> float:
    """The growth of a carry: what a step makes grow, many make grow without end, but for the first, from a number."""
    return after if not before else before if after <= before else np.inf


def _bounded(here: Interval) -> bool:
    return -np.inf < here.low and here.high < np.inf

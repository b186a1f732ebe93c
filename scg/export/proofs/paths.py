"""All paths of the noise, and all of the sites, with their probabilities as formulas."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sympy

from scg.export.proofs.limits import Limits
from scg.export.proofs.noise import Intervals, Uniform
from scg.export.proofs.rational import Rational
from scg.export.proofs.written_out import WrittenOut
from scg.export.sympy.calculus import unstop
from scg.ops.randomness import distribution_of


class Path(NamedTuple):
    """Values of all draws, and the intervals of the uniforms on which they have these.

    Attributes
    ----------
    values : dict of symbol to number
    lengths : tuple of expression
        Of the intervals of uniforms that no formula reads; the product is the probability.
    read : dict of symbol to pair of expression
        The ends of the intervals of the others.
    """

    values: Mapping[Any, Any]
    lengths: tuple[Any, ...]
    read: Mapping[Any, tuple[Any, Any]]


def noise_paths(order: Sequence[Uniform], rational: Rational, limits: Limits) -> list[Path]:
    """The paths of the noise near a point; a uniform that is read is a variable of `rational`."""
    intervals = Intervals(rational, limits)
    paths = [Path({}, (), {})]
    for uniform in order:
        u = rational.variable("u") if uniform.read else None
        after = []
        for path in paths:
            for low, high, values in intervals.of(uniform, path.values):
                values = {**path.values, **values, **dict.fromkeys(uniform.read, u)}
                if u is None:
                    after.append(Path(values, (*path.lengths, high - low), path.read))
                else:
                    after.append(Path(values, path.lengths, {**path.read, u: (low, high)}))
                limits.check(len(after), "the noise")
        paths = after
    return paths


def site_paths(c: WrittenOut, order: Sequence[Uniform], limits: Limits) -> tuple[list, Iterator[Mapping[Any, Any]]]:
    """The probabilities of the draws by the families' own laws, as formulas in these; and all their values."""
    draws = [d for u in order for d in u.draws.values()]
    supports = [distribution_of(d.behind.node).support_values() for d in draws]
    limits.check(math.prod(map(len, supports)), "the sites")
    chances = []
    for draw in draws:
        node, index, at = draw.behind
        dims = node.ndim - len(next(iter(draw.elements)))
        chances.append(unstop(sympy.sympify(c.element(distribution_of(node).probability(node), index[:dims], at))))

    def after(values: dict, k: int):
        if k == len(draws):
            yield values
            return
        for value in supports[k]:
            yield from after({**values, **{s: sympy.Rational(float(value[i])) for i, s in draws[k].elements.items()}},
                             k + 1)

    return chances, after({}, 0)

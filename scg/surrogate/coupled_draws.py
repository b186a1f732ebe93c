"""Several draws of a finite family that keep apart: each is distributed as the site, and together they are coupled.

The uniforms behind n draws are coupled by the Dirichlet copula: uᵢ = (1 − dᵢ)^(n−1) with d uniform on the simplex, so
that P(uᵢ < tᵢ for all i) = max(1 − Σ (1 − tᵢ^(1/(n−1))), 0)^(n−1), also for fewer than n of them (Dimitriev & Zhou
2021). A draw is the value in whose interval its uniform falls. Probabilities of boxes are alternating sums over their
corners, so the draws after the first, the site's own, are drawn one after the other as values: no uniform is needed.

Of K values in one order the first and the last meet in any two draws, and others may not. So the order is drawn too,
from K (K − 1)/2 that have each pair of values once for the first, which is the less probable one, and the last;
probabilities of pairs are means over all orders.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from scg.distributions import Categorical
from scg.distributions.distribution import Distribution
from scg.functions import maximum, minimum
from scg.ir.axes import Axis
from scg.ir.node import Node, as_real, constant
from scg.ops.arithmetic import choose, whole_power
from scg.ops.control import as_number, stop_gradient
from scg.ops.leaves import derived
from scg.ops.lookups import values_first
from scg.ops.measure import event_to_axis, renamed
from scg.ops.randomness import sample
from scg.ops.reduce import mean, total
from scg.ops.structure import broadcast_to, concatenate, indicators, reshape, stack, transpose
from scg.surrogate.site import Site


class Coupled:
    """So many coupled draws of a site, along a world axis; the first is the site's own.

    Parameters
    ----------
    site : Site
    axis : Axis
        Along which they stand; sites that are replaced together share it.
    """

    def __init__(self, site: Site, axis: Axis):
        self.site, self.axis, self.count = site, axis, int(axis.size)
        self.values = np.asarray(site.dist.support_values(), float)

    def chances(self, dist: Distribution) -> Node:
        """The probability of each value, along a first dimension, stopped."""
        draws, event = self.site.draws, self.values.shape[1:]
        each = self.values.reshape((-1, *(1,) * len(draws), *event))
        each = np.broadcast_to(each, (len(self.values), *draws, *event))
        return stop_gradient(broadcast_to(dist.probability(each), (len(self.values), *draws)))

    def value(self, dist: Distribution, x: Node) -> Node:
        """All draws, in place of the site's own."""
        raise NotImplementedError

    def both(self, p: Node) -> Node:
        """The probability that two of them are that one of two values which has the probability p ≤ ½."""
        raise NotImplementedError

    def ratio_of_two(self) -> Node:
        """p(0) p(1) / P(0, 1) of a binary family."""
        def found(dist: Distribution, x: Node) -> Node:
            p = self.chances(dist)
            rare = minimum(p[0], p[1])
            return as_number(over_chance(p, rare - self.both(rare)), "r", self.site.name)

        return self.site.of(found)


class CoupledDraws(Coupled):
    """Those of the Dirichlet copula."""

    def __init__(self, site: Site, axis: Axis):
        super().__init__(site, axis)
        self._orders = _orders(len(self.values))

    # --- of one value after the other -------------------------------------------------------------------------------
    def _ends(self, p: Node) -> tuple[Node, Node]:
        """1 − F^(1/(n−1)) at both ends of each value's interval, in each order: (orders, values, *draws)."""
        before, first, last = self._orders
        wide = (*before.shape, *(1,) * (p.ndim - 1))
        less = _picked(first, p) <= _picked(last, p)
        below, above = (total(matrix.reshape(wide) * p, axis=2) for matrix in (before, _after(before)))
        low = choose(reshape(less, (len(before), 1, *p.shape[1:])), below, above)
        return self._left(low), self._left(low + p)

    def _left(self, t: Node) -> Node:
        return 1.0 - maximum(t, 0.0) ** (1.0 / (self.count - 1.0))

    def _below(self, left: Node) -> Node:
        """P(uᵢ < tᵢ for all i), from the sum of 1 − tᵢ^(1/(n−1))."""
        return whole_power(maximum(1.0 - left, 0.0), self.count - 1)

    def marks(self, dist: Distribution, x: Node) -> list[Node]:
        """For each draw 1 for the value that it takes, and 0 for the others, along a first dimension."""
        p = self.chances(dist)
        low, high = self._ends(p)
        if len(low) > 1:
            even = constant(np.full(len(low), 1.0 / len(low)))
            order = values_first(indicators(self._drawn(even, x, 0), len(low)))
            low, high = (total(reshape(order, (len(low), 1, *order.shape[1:])) * ends, axis=0) for ends in (low, high))
        else:
            low, high = low[0], high[0]
        found = [self._own(x)]
        corners, signs = constant(np.zeros((1, *(1,) * len(self.site.draws)))), np.ones(1)
        for i in range(1, self.count):
            corners, signs = _more(corners, signs, found[-1], low, high)
            wide = reshape(corners, (len(signs), 1, *corners.shape[1:]))
            sign = signs.reshape((-1, 1, *(1,) * (p.ndim - 1)))
            inside = total(sign * (self._below(wide + high) - self._below(wide + low)), axis=0)
            inside = maximum(inside, 0.0)
            weights = choose(total(inside, axis=0, keepdims=True) > 0.0, inside, p)
            found.append(values_first(indicators(self._drawn(_last(weights), x, i), len(self.values))))
        return found

    def _own(self, x: Node) -> Node:
        """The mark of the site's own draw."""
        event = self.values.shape[1:]
        each = self.values.reshape((-1, *(1,) * len(self.site.draws), *event))
        same = as_real(x == each)
        return same if not event else as_real(total(same, axis=tuple(range(same.ndim - len(event), same.ndim)))
                                              == float(np.prod(event)))

    def _drawn(self, probs: Node, x: Node, number: int) -> Node:
        """A category from a stream of its own; streams sort by what draws depend on, as exact integration needs it."""
        return sample(self.site.name, Categorical(probs=probs), derived(x.args[-1], f"coupled {number:02}"))

    # --- along the axis ---------------------------------------------------------------------------------------------
    def _along(self, dist: Distribution, x: Node) -> Node:
        return event_to_axis(stack([stop_gradient(mark) for mark in self.marks(dist, x)]), self.axis)

    def value(self, dist: Distribution, x: Node) -> Node:
        """All draws, in place of the site's own."""
        event = self.values.shape[1:]
        marks = self._along(dist, x)
        marks = reshape(marks, (*marks.shape, *(1,) * len(event)))
        found = total(marks * self.values.reshape((-1, *(1,) * len(self.site.draws), *event)), axis=0)
        return as_number(found, "coupled", self.site.name)

    def ratio(self, other: Axis) -> Node:
        """p(a) p(b) / P(a, b) of the values of two draws, along both axes; 0 where they are the same value."""
        def found(dist: Distribution, x: Node) -> Node:
            p, a = self.chances(dist), self._along(dist, x)
            b = renamed(a, self.axis, other)
            low, high = self._ends(p)
            (low_a, high_a), (low_b, high_b) = ([total(mark * ends, axis=1) for ends in (low, high)] for mark in (a, b))
            both = mean(self._below(high_a + high_b) - self._below(high_a + low_b) - self._below(low_a + high_b)
                        + self._below(low_a + low_b), axis=0)
            apart = (total(a * b, axis=0) == 0.0) & (both > 0.0)
            each = total(p * a, axis=0) * total(p * b, axis=0)
            return as_number(choose(apart, each / both, 0.0), "r", self.site.name)

        return self.site.of(found)

    def both(self, p: Node) -> Node:
        return self._below(2.0 * self._left(p))


def over_chance(p: Node, both: Node) -> Node:
    """p(0) p(1) over the probability that two draws are 0 and 1; 1 where that is 0."""
    return choose(both > 0.0, p[0] * p[1] / both, 1.0)


def _more(corners: Node, signs: np.ndarray, mark: Node, low: Node, high: Node) -> tuple[Node, np.ndarray]:
    """The corners of a box of one more dimension, along which it is the interval of a value."""
    ends = [total(mark * end, axis=0, keepdims=True) for end in (high, low)]
    shape = np.broadcast_shapes(corners.shape[1:], ends[0].shape[1:])
    parts = [broadcast_to(corners + end, (len(signs), *shape)) for end in ends]
    return concatenate(parts), np.concatenate([signs, -signs])


def _orders(count: int) -> tuple[np.ndarray, list[int], list[int]]:
    """For each order which values stand before which, ``(orders, value, before it)``; and its first and last value."""
    pairs = list(combinations(range(count), 2)) or [(0, 0)]
    before = np.zeros((len(pairs), count, count))
    for i, (a, b) in enumerate(pairs):
        order = [a, *(c for c in range(count) if c not in (a, b)), *([b] if b != a else [])]
        for place, value in enumerate(order):
            before[i, value, order[:place]] = 1.0
    return before, [a for a, _ in pairs], [b for _, b in pairs]


def _after(before: np.ndarray) -> np.ndarray:
    return np.swapaxes(before, 1, 2)


def _picked(which: list[int], p: Node) -> Node:
    return stack([p[i] for i in which])


def _last(node: Node) -> Node:
    """The first dimension as the last."""
    return transpose(node, (*range(1, node.ndim), 0))

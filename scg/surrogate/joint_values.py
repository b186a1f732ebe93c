"""The values that draws of a finite family take together, and some of them that are chosen: drawn, or by rank.

Draws that share a signal are one group, and a value of the group is an array of a value for each. Quantities of all
values have them along a first dimension, before those of signals; of the chosen ones along a world axis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import prod

import numpy as np

from scg.distributions import Categorical
from scg.distributions.distribution import Distribution
from scg.errors import Problem
from scg.ir.axes import Axis
from scg.ir.node import Node, as_real
from scg.ops.arithmetic import choose
from scg.ops.control import as_number, stop_gradient
from scg.ops.indices import take
from scg.ops.leaves import derived, in_shape
from scg.ops.lookups import values_first
from scg.ops.measure import event_to_axis
from scg.ops.randomness import sample
from scg.ops.reduce import amax, amin, product, total
from scg.ops.structure import broadcast_to, indicators, stack, transpose
from scg.surrogate.mark import CHANCE, Name
from scg.surrogate.replacement import all_combinations
from scg.surrogate.site import Site

MOST_VALUES = 4096


def count_of(site: Site) -> int:
    """How many values the draws of a group take together."""
    return len(site.dist.support_values()) ** prod(n for d, n in enumerate(site.draws) if d not in site.credit)


def too_many(site: Site, asker: object, advice: str) -> Problem | None:
    """The objection to groups of so many values that their probabilities cannot all be looked at; None if it can be."""
    count = count_of(site)
    if count <= MOST_VALUES:
        return None
    return Problem(site.where, f"{asker} was asked for.",
                   f"Its draws take {count if count < 10**12 else f'about {float(count):.0e}'} values together, of "
                   f"which each has a probability; at most {MOST_VALUES} are looked at.", advice)


class JointValues:
    """Values of a group that are chosen, and the costs that they lead to.

    Parameters
    ----------
    site : Site
    count : int
        How many are chosen; no more than there are.
    choice : callable
        ``choice(values, dist, x)``: for each of the chosen values the marks 1 and 0 of all values, of shape
        ``(values, *signal)``, in a list.
    meaning : str
        What a chosen value, "@*", is, in words.
    """

    def __init__(self, site: Site, count: int, choice: Callable[[JointValues, Distribution, Node], list[Node]],
                 meaning: str):
        self.site, self._choice, self._said = site, choice, Name("@*", "@[]^{(<world>)}", meaning)
        self.axis = Axis(f"{site.name} choice", min(count, count_of(site)))
        self.kept = [site.draws[d] for d in site.credit]
        self.group = [n for d, n in enumerate(site.draws) if d not in site.credit]
        self.table = all_combinations(site.dist.support_values(), tuple(self.group))

    @property
    def count(self) -> int:
        """How many are chosen."""
        return self.axis.size

    # --- of all values ----------------------------------------------------------------------------------------------
    @cached_property
    def _each(self) -> np.ndarray:
        """All values in the shape of the site's, those along dimensions of signals alike."""
        event = np.ndim(self.table) - 1 - len(self.group)
        alike = [1 if d in self.site.credit else n for d, n in enumerate(self.site.draws)]
        return self.table.reshape((len(self.table), *alike, *self.table.shape[self.table.ndim - event:]))

    def _per_signal(self, node: Node, by: Callable[..., Node]) -> Node:
        """Over the draws of a group, of what has the values first."""
        own = {1 + d for d in self.site.credit}
        return by(node, axis=tuple(k for k in range(1, node.ndim) if k not in own))

    def chances(self, dist: Distribution) -> Node:
        """The probability of each value, stopped."""
        each = dist.probability(np.broadcast_to(self._each, (len(self._each), *self.site.shape)))
        return stop_gradient(self._per_signal(broadcast_to(each, (len(self._each), *self.site.draws)), product))

    def drawn(self, x: Node) -> Node:
        """The mark of the value that was drawn."""
        return as_real(self._per_signal(as_real(x != self._each), total) == 0.0)

    # --- ways to choose ---------------------------------------------------------------------------------------------
    def one_of(self, weights: Node, left: Node, x: Node, tag: str) -> Node:
        """The mark of a value drawn with these weights among those that are left: any of them where all weigh 0."""
        left_over = weights * left
        some = total(left_over, axis=0, keepdims=True) > 0.0
        chances = choose(some, left_over, left)
        stream = in_shape(derived(x.args[-1], tag), tuple(self.kept))
        found = sample(self.site.name, Categorical(probs=_last(chances)), stream)
        return values_first(indicators(found, len(self._each)))

    def largest(self, weights: Node, left: Node) -> Node:
        """The mark of the first of the largest weights among the values that are left."""
        possible = choose(left > 0.0, weights, -1.0)
        at = np.arange(float(len(self._each))).reshape((-1, *(1,) * len(self.kept)))
        first = amin(choose(possible == amax(possible, axis=0, keepdims=True), at, float(len(self._each))), axis=0)
        return as_real(at == first)

    # --- of the chosen values ---------------------------------------------------------------------------------------
    def marks(self, dist: Distribution, x: Node) -> list[Node]:
        """The marks of the chosen values."""
        return [stop_gradient(mark) for mark in self._choice(self, dist, x)]

    def value(self, dist: Distribution, x: Node) -> Node:
        """The chosen values, along `axis`."""
        numbers = np.arange(float(len(self._each))).reshape((-1, *(1,) * len(self.kept)))
        at = stack([total(mark * numbers, axis=0) for mark in self.marks(dist, x)])
        found = take(self.table, at)  # (chosen, *kept, *group, *event)
        draws, kept = range(len(self.site.draws)), self.site.credit
        order = [1 + ([*kept, *(d for d in draws if d not in kept)]).index(d) for d in draws]
        event = range(1 + len(draws), found.ndim)
        return as_number(event_to_axis(transpose(found, (0, *order, *event)), self.axis), "chosen", self.site.name)

    def costs(self) -> Node:
        """Q where the group has each of the chosen values; of one that is masked, where it has its own."""
        return self.site.replay(lambda dist, x: self.site.possible(dist, self.value(dist, x), x), self._said)

    def weighed(self, costs: Node, compared: bool = False) -> Node:
        """The costs, stopped; less those as they were drawn where weights of all values add up to 1.

        So they do where all values are chosen, and where costs are `compared` with each other.
        """
        if not compared and self.count < count_of(self.site):
            return stop_gradient(costs)
        return stop_gradient(costs) - stop_gradient(self.site.replay(lambda dist, x: x))

    def other_costs(self, costs: Node, other: Axis) -> Node:
        """The same along another axis, for pairs of values."""
        said = self._said._replace(text="@*'", meaning="any of these values")
        return self.site.renamed(costs, self.axis, other, self.value, said)

    @property
    def probability(self) -> Node:
        """That of each of the chosen values, which is differentiated."""
        each = self.site.per_signal(self.site.of(lambda dist, x: dist.probability(self.value(dist, x))), product)
        return self.site.called(CHANCE, each, self.site.of_value(self.value), self._said)

    def weights(self, quantity: Callable[[Node, Node], Node], said: Name, *axes: Axis) -> Node:
        """What is computed of the probabilities of the chosen values, ``(chosen, *signal)``, and that of all others.

        Its leading dimensions become these axes. `said` is what it is called, as in ``R(@)``.
        """
        def found(dist: Distribution, x: Node) -> Node:
            p, marks = self.chances(dist), self.marks(dist, x)
            others = total(p * (1.0 - sum(marks[1:], marks[0])), axis=0)
            node = quantity(stack([total(p * mark, axis=0) for mark in marks]), others)
            for axis in axes:
                node = event_to_axis(node, axis)
            return as_number(node, said.text.partition("(")[0], self.site.name)

        return self.site.called(said, self.site.of_group(found))


def _last(node: Node) -> Node:
    """The first dimension as the last."""
    return transpose(node, (*range(1, node.ndim), 0))

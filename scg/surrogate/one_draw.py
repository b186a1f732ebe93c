"""One of the draws that share a signal, picked at random with given weights."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from scg.distributions import Categorical
from scg.distributions.distribution import Distribution
from scg.ir.node import Node, as_real, constant
from scg.ops.arithmetic import choose
from scg.ops.control import as_number, stop_gradient
from scg.ops.leaves import derived, in_shape
from scg.ops.randomness import sample
from scg.ops.reduce import total
from scg.ops.structure import broadcast_to, indicators, reshape, transpose
from scg.surrogate.site import Site


class Picked:
    """One draw of each group that shares a signal.

    Parameters
    ----------
    site : Site
    weights : callable
        ``weights(dist, x)``: at least 0, of each draw.

    Attributes
    ----------
    among : int
        Of how many draws one is picked.
    """

    def __init__(self, site: Site, weights: Callable[[Distribution, Node], Node]):
        self.site, self._weights = site, weights
        kept = site.credit
        self._order = [*kept, *(d for d in range(len(site.draws)) if d not in kept)]
        self._kept = tuple(site.draws[d] for d in kept)
        self._size = self.among = prod(site.draws) // max(prod(self._kept), 1)

    def _grouped(self, dist: Distribution, x: Node) -> Node:
        """The weights, those of a group along a last dimension."""
        each = stop_gradient(broadcast_to(as_real(constant(self._weights(dist, x))), self.site.draws))
        return reshape(transpose(each, self._order), (*self._kept, self._size))

    def mark(self, dist: Distribution, x: Node) -> Node:
        """1 for the draw that is picked, 0 for the others: the only one of a group, or any where all weigh 0."""
        if self._size == 1:
            return constant(np.ones(self.site.draws))
        weights = self._grouped(dist, x)
        some = total(weights, axis=-1, keepdims=True) > 0.0
        stream = in_shape(derived(x.args[-1], "picked"), self._kept)
        found = sample(self.site.name, Categorical(probs=choose(some, weights, 1.0)), stream)
        marks = reshape(indicators(found, self._size), tuple(self.site.draws[d] for d in self._order))
        back = tuple(int(i) for i in np.argsort(self._order))
        return as_number(transpose(marks, back) if back else marks, "picked", self.site.name)

    def of_value(self, dist: Distribution, x: Node) -> Node:
        """Whether each element of a value belongs to a draw that is picked."""
        mark = self.mark(dist, x) > 0.0
        return reshape(mark, (*mark.shape, *(1,) * (x.ndim - mark.ndim)))

    @property
    def sum(self) -> Node:
        """The weights of each group together, a signal."""
        def found(dist: Distribution, x: Node) -> Node:
            return as_number(total(self._grouped(dist, x), axis=-1), "W", self.site.name)

        return self.site.of_group(found)

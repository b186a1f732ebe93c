"""Tables of a loop's step over the values of its draws, and of those of the step before: products of few factors.

A factor is a table over some of the axes: what is carried of the step before, and the probability of each draw given
those upstream. The probability of values along some of the axes takes the factors that these are given, and no others:
the rest add up to 1. Of their product the other axes are summed out one after another, that with the smallest table
first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import mul, or_

from scg.ir.axes import Axis
from scg.ir.node import Node, constant
from scg.ops.arithmetic import choose
from scg.ops.measure import axis_sum, event_to_axis
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.elimination import Buckets, Factor


class StepTables:
    """The factors of a step.

    Parameters
    ----------
    axes : sequence of Axis
        Of the draws before, then of the step's.
    """

    def __init__(self, axes: Sequence[Axis]):
        self.axes = tuple(axes)
        self._own: list[int] = []
        self._chances: list[Factor] = []
        self._mays: list[Factor] = []

    def put(self, own: Sequence[Axis], chance: Node, may_be: Node | None) -> None:
        """One more factor, those upstream first: the probability of values along its own axes, given others.

        `may_be` is 0 where these cannot come about, whatever the parameters are; of all factors, or of none.
        """
        if may_be is not None:
            self._mays.append(self._factor(may_be))
        self._own.append(self._scope(own))
        if may_be is not None:  # a world that cannot come about counts for nothing, be it a number or not
            here = self._scope(own) | self._scope(self.of(chance))
            chance = choose(self._product(self._mays, here, True, ()) != 0.0, chance, 0.0)
        self._chances.append(self._factor(chance))

    def of(self, node: Node) -> tuple[Axis, ...]:
        """Which of the axes a node has."""
        return tuple(ax for ax in self.axes if ax in node.axes)

    def _scope(self, axes: Sequence[Axis]) -> int:
        return reduce(or_, (1 << self.axes.index(ax) for ax in axes), 0)

    def _factor(self, node: Node) -> Factor:
        return Factor(node, self._scope(self.of(node)), True)

    def chance(self, here: Sequence[Axis], first: bool = False, times: Sequence[Node] = ()) -> Node:
        """The probability of values along these axes, times more factors; always with the `first` factor, if asked."""
        return self._product(self._chances, self._scope(here), first, times)

    def may_be(self, here: Sequence[Axis], times: Sequence[Node] = ()) -> Node:
        """Not 0 where values along these axes may come about; times more factors."""
        return self._product(self._mays, self._scope(here), True, times)

    def _product(self, factors: Sequence[Factor], kept: int, first: bool, times: Sequence[Node]) -> Node:
        more = [self._factor(node) for node in times]
        needed = reduce(or_, (f.scope for f in more), kept)
        taken: list[Factor] = []
        for i in reversed(range(len(factors))):
            if self._own[i] & needed or (first and i == 0):
                needed |= factors[i].scope
                taken.insert(0, factors[i])
        taken += more
        buckets = Buckets(taken, self._size)
        for i in buckets.order(reduce(or_, (f.scope for f in taken), 0) & ~kept):
            inside, joint = buckets.taken(i)
            table = axis_sum(reduce(mul, [f.node for f in inside]), (self.axes[i].name,))
            buckets.put(Factor(table, joint.scope & ~(1 << i), True))
        left = [f.node for f in buckets.left()]
        return reduce(mul, left) if left else constant(1.0)

    def _size(self, scope: int) -> float:
        return sum(math.log(max(ax.size, 1)) for i, ax in enumerate(self.axes) if scope >> i & 1)


def along_all(node: Node, axes: Sequence[Axis]) -> Node:
    """The node, alike in all worlds of these axes."""
    for axis in axes:
        node = event_to_axis(broadcast_to(reshape(node, (1, *node.shape)), (axis.size, *node.shape)), axis)
    return node

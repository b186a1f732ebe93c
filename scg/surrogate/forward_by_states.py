"""A loop summed out step by step, over the states that it can reach.

Where what a step hands on is made of what was handed on to it, its draws alone are no Markov chain; with what is handed
on they are. If that takes few values, known before a call, the loop carries the probability of each (`few_states`): of
those that the draws of a step lead to, the sum over what leads there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from scg.ir.axes import Axes
from scg.ir.node import Node, constant
from scg.ir.traverse import ancestors, substitute
from scg.ops.leaves import placeholder
from scg.surrogate.few_states import Moves, Unknown, moved_by_a_call, moves_of
from scg.surrogate.forward import Finite, Forward, NotMarkov


class NoStates(NotMarkov):
    """What is handed on is no state of few values: why, in words."""


class ByStates(Forward):
    """The recursion over states: the carries that hand draws on, with those that move them.

    Raises
    ------
    NotMarkov
        `NoStates` if the states are too many, or not known before a call.
    """

    sums_are_states = False
    _moves: Moves
    _leading: Node

    def _roles(self, sites: Sequence[Finite]) -> tuple[dict[int, Node], dict[int, Node], dict[int, tuple[int, ...]]]:
        o = self.opened
        sums, handed = self._moved()
        state = {*handed, *(i for i in sums if self.sums_are_states and not self._moved_by_a_call(i))}
        sums = {i: c for i, c in sums.items() if i not in state}
        while True:  # with what moves them
            above = ancestors([o.new_carries[i] for i in state])
            more = {i for i, c in enumerate(o.carries) if c.id in above and i != self._over} - state
            if not more:
                break
            state |= more
        if not state:
            raise NotMarkov("a step hands on nothing that is made of draws")
        draws = {x: np.broadcast_to(s.grid.reshape(len(s.grid), *s.grid.shape[1:]), (len(s.grid), *x.shape))
                 for s, x in zip(sites, self._xs)}
        over = None if self._over is None else o.new_carries[self._over]
        try:
            self._moves = moves_of(f"{' '.join(self._names)} state", o, sorted(state), draws, over)
            leading = self._moves.leading
        except Unknown as why:
            raise NoStates(str(why)) from None
        self._before = [self._moves.axis]
        self._leading = constant(leading[0])
        if len(leading) > 1:
            leaf = placeholder(f"{o.step.attrs.name} leading", leading.shape[1:], (), whole=2)
            self.opened = replace(o, xs=(*o.xs, leaf), arrays=(*o.arrays, constant(leading)))
            self._leading = leaf
        found = {i: o.carries[i] for i in sorted(state)}
        return sums, found, dict.fromkeys(found, (0,))

    def _moved_by_a_call(self, i: int) -> bool:
        """Whether what a step makes of a carry is moved by params or data, other than through its draws."""
        o, numbers = self.opened, {x: constant(np.zeros(x.shape)) for x in self._xs}
        known = [o.step, *o.carries, *(x for x, a in zip(o.xs, o.arrays) if a.is_const)]
        return moved_by_a_call(substitute([o.new_carries[i]], numbers), known)

    @property
    def states(self) -> Axes:
        return (self._moves.axis,)

    def _in_worlds(self) -> Mapping[Node, Node]:
        return self._moves.tables

    @property
    def _looks_beyond(self) -> bool:
        return True

    def _begin(self) -> Node:
        return self._moves.begun

    def _handed_on(self, i: int, new: Node) -> Node:
        return self._leaves[self._handed[i]]

    def _handed_first(self, i: int, init: Node) -> Node:
        return self._moves.tables[self._handed[i]]

    def _weights(self, goes_on: Sequence[Node]) -> tuple[Node, Node]:
        ends = (self._moves.axis, *self._now)
        return (self._moves.handed_on(self._step.chance(ends, True, goes_on), self._now, self._leading),
                self._moves.handed_on(self._step.may_be(ends, goes_on), self._now, self._leading))


class BySums(ByStates):
    """The same, where what is added up is a state too: for costs that are not linear in it."""

    sums_are_states = True

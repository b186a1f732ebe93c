"""A site and its replays: what the costs would be in worlds where its draws are others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from math import prod
from operator import add
from typing import Any

import numpy as np

from scg.analysis.reach import sum_of
from scg.distributions.distribution import Distribution
from scg.ir.axes import Axes, Axis
from scg.ir.node import Node, NodeLike, as_real, constant
from scg.ir.traverse import substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.leaves import derived
from scg.ops.measure import axis_sum, axis_to_event, event_to_axis, renamed, replace_draw
from scg.ops.randomness import antithetic, sample
from scg.ops.structure import broadcast_to, reshape, transpose
from scg.surrogate.credited_site import CreditedSite
from scg.surrogate.draft import Replay
from scg.surrogate.mark import (
    AS_DRAWN,
    COSTS,
    HELD,
    HELD_AS_DRAWN,
    REPLAYED,
    REPLAYED_AFRESH,
    Name,
)
from scg.surrogate.parts import Part
from scg.surrogate.redrawn import fresh, paths_redrawn, samples_redrawn
from scg.surrogate.replacement import (
    Draw,
    Value,
    drawn_anew,
    more_worlds,
)


class ReplayedSite(CreditedSite):
    """The part of a `Site` that knows of replays."""

    def fresh_noise(self, tag: str) -> Node:
        """A stream of its own for a replay."""
        return derived(self.node.args[-1], tag)

    def each(self, value: Value, tag: str = "replay", *, noise: str = "common", said: Name | None = None) -> Node:
        """Q̂ in the worlds where one draw is replaced: element i is the cost with draw i replaced.

        Its shape is ``(*steps, *draws)``.

        Parameters
        ----------
        value : callable
            ``value(dist, x, noise) -> replacement``, draw by draw, from the distribution, the draws and a fresh stream.
        tag : str
            Names the fresh stream.
        noise : str
            ``"common"`` replays later sites under their own noise; ``"fresh"`` under fresh streams, one per world.
        said : Name, optional
            What the replacement is called in formulas, unless it is a number.
        """
        found = [self._each(dims, parts, value, tag, noise) for dims, parts in self._alike().items()]
        new = self._shown(value(self.dist, self.node, self.fresh_noise(tag)))
        name = REPLAYED if noise == "common" else REPLAYED_AFRESH
        return self.called(HELD if self.weighing.held else name, reduce(add, found), new, said)

    def each_as_drawn(self) -> Node:
        """Q̂ as it is, for each draw: what `each` is where nothing is replaced."""
        found = [self._by_draw(dims, parts, [part.node for part in parts]) for dims, parts in self._alike().items()]
        return self.called(HELD_AS_DRAWN if self.weighing.held else COSTS, reduce(add, found))

    def _shown(self, value: NodeLike) -> Node | None:
        """What stands for the draws, if it can be shown outside of the step that draws them: literals, in loops."""
        node = constant(value)
        return node if not self.steps or all(n.is_const for n in topological([node]) if not n.args) else None

    def _alike(self) -> dict[tuple[int, ...], list[Part]]:
        """The parts by the dimensions of which each element has one index: along these all are replaced at once.

        What must hold in the worlds where one draw is replaced is asked where nothing is.
        """
        found: dict[tuple[int, ...], list[Part]] = {(): []} if self.draft.of_draws else {}
        for part in self.parts:
            found.setdefault(part.alone.dims, []).append(part)
        return found or {(): []}

    def _each(self, dims: tuple[int, ...], parts: list[Part], value: Value, tag: str, noise: str) -> Node:
        """`each` of these parts of the costs, in worlds where all draws along `dims` are replaced at once."""
        axis = self._elements(dims)
        new = broadcast_to(constant(value(self.dist, self.node, self.fresh_noise(tag))), self.shape)
        new = self.possible(self.dist, new, self.node)
        replaced, worlds = self._replacing(self.node, new, axis, dims), (*axis, *more_worlds(new, self.node))

        def replayed(roots: list[Node]) -> list[Node]:
            if noise == "common":
                return substitute(roots, {self.node: replaced, **self.held})
            anew = fresh(self.name, tag, worlds)  # later sites', one per world
            roots = paths_redrawn(roots, self.later(), anew)
            return substitute(roots, {self.node: replaced, **self.held}, samples_redrawn(anew))

        if dims:
            return self._by_draw(dims, parts, self._note(replayed([part.node for part in parts])))
        costs, checks = self._and_checks([part.node for part in parts], replayed)
        self._check_worlds(checks, worlds, self._chance(value, tag))
        return self._by_draw(dims, parts, self._note(costs))

    def _note(self, costs: Sequence[Node]) -> list[Node]:
        """The costs, or their parts, in worlds besides the one that is drawn; that they were asked for is noted."""
        self.replays.append(Replay(self.name, tuple(costs)))
        return list(costs)

    def _note_values(self, axes: Axes) -> None:
        """Note that the site is summed out, over the values along these axes."""
        self.replays.append(Replay(self.name, values=prod(axis.size for axis in axes)))

    def _elements(self, dims: tuple[int, ...]) -> Axes:
        """An axis with a world for each draw that is replaced, or for each index along the dimensions but `dims`."""
        rest = [d for d in range(len(self.draws)) if d not in dims]
        if dims and not rest:
            return ()
        name = " ".join([f"{self.name} element", *(map(str, rest) if dims else ())])
        return (Axis(name, prod(self.draws[d] for d in rest)),)

    def _replacing(self, x: Node, new: Node, axis: Axes, dims: tuple[int, ...]) -> Node:
        """The draws x with those of `new` in the place of one along the axis, and along `dims` of all."""
        if not dims:
            return replace_draw(x, new, axis[0], self.family.support.event_ndim)
        if not axis:
            return new
        at = np.arange(axis[0].size).reshape([1 if d in dims else n for d, n in enumerate(self.draws)])
        mine = np.equal.outer(np.arange(axis[0].size), at).reshape((-1, *at.shape, *(1,) * (x.ndim - at.ndim)))
        return choose(event_to_axis(constant(mine), axis[0]), new, x)

    def _by_draw(self, dims: tuple[int, ...], parts: Sequence[Part], nodes: Sequence[Node]) -> Node:
        """A quantity from the parts in the worlds of `_each`; what does not vary along these is repeated."""
        if not dims:
            found = sum_of(nodes)
        else:
            found = reduce(add, [self._shared_out(part, part.alone, node, (), dims)
                                 for part, node in zip(parts, nodes)])
        steps = len(self.steps)
        for axis in (*self._elements(dims), *self._step_worlds):
            found = axis_to_event(found, axis)
        order = [*(d for d in range(len(self.draws)) if d not in dims), *dims]
        found = reshape(found, (*self.steps, *(self.draws[d] for d in order)))
        return transpose(found, (*range(steps), *(steps + order.index(d) for d in range(len(order)))))

    @property
    def _step_worlds(self) -> Axes:
        """The axis with a world for each step, inside a scan."""
        return ()

    def _and_checks(self, costs: Sequence[Node],
                    replayed: Callable[[list[Node]], list[Node]]) -> tuple[list[Node], list[Node]]:
        """The costs in other worlds, and what must hold of the draws there."""
        found = replayed([*costs, *(c.node for c in self.draft.of_draws)])
        return found[: len(costs)], found[len(costs):]

    def _check_worlds(self, checks: Sequence[Node], worlds: Axes, chance: Node | None) -> None:
        """Note what must hold in worlds that may come about: `chance` is not 0 there, if it is known."""
        for check, node in zip(self.draft.of_draws, checks):
            mine = tuple(axis.name for axis in worlds if axis in node.axes)
            if mine:
                if chance is not None:
                    node, mine = node * as_real(chance != 0.0), tuple(axis.name for axis in worlds)
                why = check.problem.why.replace(
                    "in at least one replicate", f'in at least one replicate with another value of "{self.name}"')
                self.checks_in_worlds.append(replace(check, problem=replace(check.problem, why=why),
                                                     node=axis_sum(node, mine), drawn=False))

    def _chance(self, value: Value, tag: str) -> Node | None:
        """The probability of each replacement, along the worlds in which `each` makes it; None if it has a density."""
        if not self.family.support.integral or not self.family.can("log_prob"):
            return None
        chance = self.of(lambda dist, x: dist.probability(
            broadcast_to(constant(value(dist, x, derived(x.args[-1], tag))), self.shape)))
        return self._along_worlds(chance)

    def _along_worlds(self, node: Node) -> Node:
        """A quantity of each draw, along the worlds in which `each` replaces them."""
        size = int(np.prod(self.draws, dtype=int))
        return event_to_axis(reshape(node, (size,)), Axis(f"{self.name} element", size))

    def replay(self, value: Draw, said: Name | None = None) -> Node:
        """Q̂ in the world where all draws of a step are replaced at once by ``value(dist, x)``: a signal.

        Later sites are replayed under their own noise. A value that varies along an axis of its own makes a world for
        each of its values: the signal varies along it too. Step by step, it is the sum of all downstream costs in the
        world of that step: subtract another replay from it, not `cost`. `said` is what the value is called in formulas.
        """
        return self.replayed_with({self: value}, said)

    def replayed_with(self, values: Mapping[Any, Draw], said: Name | None = None, tag: str = "") -> Node:
        """`replay`, where the draws of several sites (of the same steps) are replaced at once.

        Outside of loops a `tag` names fresh streams, under which later sites are replayed instead of their own noise.

        Where draws have no signals of their own, it is of the costs that any of the sites influences.
        """
        reached = {name for site in values for name in site.influenced}
        costs = [cost for name, cost in self.draft.costs.items() if name in reached] if not self.credit else self._nodes
        found, checks = self._and_checks(costs, lambda roots: self._redrawn(roots, values) if not tag else
                                         self._redrawn_afresh(roots, values, tag))
        new = values[self](self.dist, self.node) if self in values else None
        worlds = () if new is None else more_worlds(constant(new), self.node)
        self._check_redrawn(checks, worlds)
        if new is self.node:
            return self.called(AS_DRAWN if self.steps else COSTS, self._in_replay(found))
        self._note(found)
        shown = None if new is None else self.of_value(values[self]) if worlds else self._shown(new)
        return self.called(REPLAYED_AFRESH if tag else REPLAYED, self._in_replay(found), shown, said)

    def renamed(self, replayed: Node, axis: Axis, other: Axis, value: Draw, said: Name) -> Node:
        """The `replay` of a value that varies along an axis, along another one: for pairs of its values."""
        return self.called(REPLAYED, renamed(replayed, axis, other), renamed(self.of_value(value), axis, other), said)

    def _redrawn(self, roots: list[Node], values: Mapping[Any, Draw]) -> list[Node]:
        """The roots in the worlds of `replayed_with`."""
        return substitute(roots, {site.node: drawn_anew(site.node, value) for site, value in values.items()})

    def _redrawn_afresh(self, roots: list[Node], values: Mapping[Any, Draw], tag: str) -> list[Node]:
        anew = fresh(self.name, tag, ())
        roots = paths_redrawn(roots, {k: v for site in values for k, v in site.later().items()}, anew)
        new = {site.node: drawn_anew(site.node, value) for site, value in values.items()}
        return substitute(roots, new, samples_redrawn(anew))

    def _check_redrawn(self, checks: Sequence[Node], worlds: Axes) -> None:
        if worlds:
            self._check_worlds(checks, worlds, None)
        else:
            self._check_placed(checks)

    def _in_replay(self, costs: Sequence[Node]) -> Node:
        """A signal from the costs, or their parts, in the worlds of `replayed_with`."""
        found = self._summed(costs) if self.credit else sum_of(costs)
        for axis in self._step_worlds:
            found = axis_to_event(found, axis)
        return found

    def antithetic(self, dist: Distribution, x: Node) -> Node:
        """The draw that 1 − u of the same noise gives: a value for `of` and `replay`."""
        return sample(self.name, dist, antithetic(x.args[-1]))

    def _check_placed(self, checks: Sequence[Node]) -> None:
        self.checks_in_worlds += [replace(c, node=node, drawn=False) for c, node in zip(
            self.draft.of_draws, checks) if node is not c.node]

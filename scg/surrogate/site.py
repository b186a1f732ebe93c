"""What an estimator sees of its site: distribution, influenced costs, replays, and rewrites of what is downstream.

The same interface serves a site of the graph and one inside a scan (`scg.surrogate.site_in_scan`): an estimator is
written once.
Quantities of a site have the shape ``(*steps, *draws)``, one for each draw, and values the shape ``(*steps, *shape)``,
where ``shape`` is ``draws`` and the dimensions of one draw. ``steps`` is ``()`` for a site of the graph and ``(T,)``
for one inside a scan of T steps. Signals, which weigh the draws, have the dimensions of a quantity along which draws
have signals of their own (`signal_shape`): the steps, and with credit by elements those of the draws along which some
cost is a sum of parts that are made of few draws each (`credit`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from math import prod
from operator import add

import numpy as np

from scg.analysis.mean_field import mean_field
from scg.analysis.reach import sum_of
from scg.analysis.smoothness import flow, obstacle_text
from scg.differentiate.reverse_mode import gradients
from scg.distributions.distribution import Distribution
from scg.errors import ConditionError
from scg.ir.axes import Axes, Axis, union
from scg.ir.node import Node, NodeLike, as_real, constant
from scg.ir.printer import title
from scg.ir.traverse import substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.control import stop_gradient
from scg.ops.leaves import derived, feed
from scg.ops.measure import axis_sum, axis_to_event, event_to_axis, renamed, replace_draw
from scg.ops.randomness import antithetic, sample, sample_op
from scg.ops.reduce import product, total
from scg.ops.structure import broadcast_to, reshape, transpose
from scg.surrogate.credited_site import CreditedSite
from scg.surrogate.draft import Draft
from scg.surrogate.mark import (
    AS_DRAWN,
    BEND,
    CHANCE_OF_ALL,
    COSTS,
    HELD,
    HELD_AS_DRAWN,
    MEAN_FIELD_COSTS,
    MEAN_FIELD_SLOPE,
    MEAN_FIELD_VALUE,
    REPLAYED,
    SLOPE,
    SLOPE_AT_DRAW,
    VALUE,
    Name,
)
from scg.surrogate.parts import Part
from scg.surrogate.redrawn import fresh, paths_redrawn, samples_redrawn
from scg.surrogate.replacement import (
    Draw,
    Instead,
    Value,
    all_combinations,
    along_paths,
    drawn_anew,
    more_worlds,
    replacement,
)


class Site(CreditedSite):
    """A site of the graph, as the estimators see it in the current draft: see `DeclaredSite` for its arguments."""

    # --- replays ----------------------------------------------------------------------------------------------------
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
        return self.called(HELD if self.weighing.held else REPLAYED, reduce(add, found), new, said)

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
        self._count(worlds)

        def replayed(roots: list[Node]) -> list[Node]:
            if noise == "common":
                return substitute(roots, {self.node: replaced, **self.held})
            anew = fresh(self.name, tag, worlds)  # later sites', one per world
            roots = paths_redrawn(roots, self.later(), anew)
            return substitute(roots, {self.node: replaced, **self.held}, samples_redrawn(anew))

        if dims:
            return self._by_draw(dims, parts, replayed([part.node for part in parts]))
        costs, checks = self._and_checks([part.node for part in parts], replayed)
        self._check_worlds(checks, worlds, self._chance(value, tag))
        return self._by_draw(dims, parts, costs)

    def _count(self, worlds: Axes, times: int = 1) -> None:
        """Note that the costs are asked for in so many worlds more."""
        self.replays += times * prod(axis.size or 1 for axis in worlds)

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

    def replayed_with(self, values: Mapping[Site, Draw], said: Name | None = None, tag: str = "") -> Node:
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
        self._count((*self._step_worlds, *worlds), 0 if new is self.node else 1)
        if new is self.node:
            return self.called(AS_DRAWN if self.steps else COSTS, self._in_replay(found))
        shown = None if new is None else self.of_value(values[self]) if worlds else self._shown(new)
        return self.called(REPLAYED, self._in_replay(found), shown, said)

    def renamed(self, replayed: Node, axis: Axis, other: Axis, value: Draw, said: Name) -> Node:
        """The `replay` of a value that varies along an axis, along another one: for pairs of its values."""
        return self.called(REPLAYED, renamed(replayed, axis, other), renamed(self.of_value(value), axis, other), said)

    def _redrawn(self, roots: list[Node], values: Mapping[Site, Draw]) -> list[Node]:
        """The roots in the worlds of `replayed_with`."""
        return substitute(roots, {site.node: drawn_anew(site.node, value) for site, value in values.items()})

    def _redrawn_afresh(self, roots: list[Node], values: Mapping[Site, Draw], tag: str) -> list[Node]:
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

    # --- derivatives in a replaced value ----------------------------------------------------------------------------
    def mean_field_pass(self, rollout: bool) -> tuple[Node, Node, Node]:
        """The mean-field pass: Q̄, a signal, w̄, and Q̄′ at w̄ (all stopped).

        Every other site is replaced by its mean. With `rollout`, what the site's distribution depends on stays as it
        was drawn: w̄ is then the mean given sampled parents, else the mean given mean-field parents.
        """
        q, centre, slopes = self._expanded(rollout)
        self._count(self._step_worlds if rollout else ())
        return (self.called(MEAN_FIELD_COSTS, q), self.called(MEAN_FIELD_VALUE, centre),
                self.called(MEAN_FIELD_SLOPE, reduce(add, slopes.values())))

    def tangent(self, rollout: bool) -> Node:
        """Q̄′ · (w − w̄) of the mean-field pass, a signal."""
        _, centre, slopes = self._expanded(rollout)
        shape, steps = self.signal_shape[len(self.steps):], len(self.steps)
        found = []
        for dims, slope in slopes.items():
            off = slope * (self.value - centre)
            summed = total(off, axis=tuple(k for k in range(steps, off.ndim) if k - steps not in dims))
            wide = (*self.steps, *(self.draws[d] if d in dims else 1 for d in self.credit))
            found.append(broadcast_to(reshape(summed, wide), (*self.steps, *shape)))
        return reduce(add, found)

    def _expanded(self, rollout: bool) -> tuple[Node, Node, dict[tuple[int, ...], Node]]:
        """Q̄, w̄, and Q̄′ of those parts that are shared out along the same dimensions, by these."""
        centre = stop_gradient(self._centre(rollout))
        point = self.expansion_point(centre, self._mean_field_parts(centre, rollout))
        parts = self._mean_field_parts(point, rollout)
        self._check_smooth([sum_of(parts)], point, "at the site's mean")
        alike: dict[tuple[int, ...], list[Node]] = {} if self.parts else {(): []}
        for part, node in zip(self.parts, parts):
            alike.setdefault(part.shares.dims, []).append(node)
        slopes = [gradients({sum_of(nodes): constant(1.0)}, [point])[0] for nodes in alike.values()]
        known = [constant(np.zeros(centre.shape)) if slope is None else slope for slope in slopes]
        q, *known = substitute([self._mean_field_cost(parts, rollout), *known], {point: centre})
        return stop_gradient(q), centre, dict(zip(alike, map(stop_gradient, known)))

    def _centre(self, rollout: bool) -> Node:
        mean = self.of_value(lambda dist, x: dist.mean)
        return mean if rollout else mean_field([mean], {})[0]

    def _mean_field_parts(self, w: Node, rollout: bool) -> list[Node]:
        """The parts of the costs with `w` in place of the site's value, and later sites in mean field."""
        keep = topological(self.node.args) if rollout else ()
        return mean_field(self._nodes, {self.node: w}, keep_others=tuple(keep))

    def _mean_field_cost(self, parts: Sequence[Node], rollout: bool) -> Node:
        """Q̄: of the pass's costs those that `cost` is made of."""
        return self._summed(parts)

    def expansion_point(self, centre: Node, parts: list[Node]) -> Node:
        """A leaf to differentiate the pass by, wherever the pass varies: a slope is one replicate's, never a mean."""
        along = tuple(ax for c in parts for ax in c.axes if ax.statistical)
        return feed(f"{self.name} (expansion point)", centre.shape, union(centre.axes, along))

    def check_path(self, value: Value, at: str) -> None:
        """Refuse a value in the draws' place that on its way to a cost, or a later site, jumps or may be at a pole."""
        new = self.of_value(lambda dist, x: constant(value(dist, x, x.args[-1])))
        costs = self._placed(list(self.influenced.values()), new)
        later = [a for n in topological(costs) if n.op is sample_op for a in n.args[:-1]]
        self._check_smooth([*costs, *later], new, at, sampled=True, draws=False)

    def _check_smooth(self, roots: Sequence[Node], value: Node, at: str, sampled: bool = False,
                      draws: bool = True) -> None:
        """Refuse what a derivative in a replaced value would miss: jumps; for a sampled one also poles and draws."""
        known = flow(roots, [value], poles=sampled, means=sampled, draws=sampled and draws)
        jump = next((known[root.id].jump for root in roots if known[root.id].jump is not None), None)
        if jump is not None:
            why = "jumps there, or is not defined off the site's support" if not sampled else obstacle_text(jump)
            raise ConditionError(
                self.where, f'The cost downstream of site "{self.name}" was to be differentiated {at}.',
                f"On the way stands the {title(jump)} at {jump.source}, which {why}.",
                "Use ScoreFunction(), which needs values of the cost only.")

    def linearised(self, value: Value, at: str, said: Name | None = None,
                   instead: Instead | None = None) -> tuple[Node, Node, Node]:
        """Q where all draws of a step are replaced at once by ``value(dist, x, noise)``, that value, and Q′ in it.

        Q and Q′ are stopped, and of the shapes of `cost` and of the value. Later sites are replayed under their own
        noise: those that have a path are differentiated along it; of the others that the value moves the draws x are
        replaced by ``instead(dist, x, noise)``, and refused where that is None. `said` is what the value is called in
        formulas.

        Raises
        ------
        ConditionError
            If on the way from the value to a cost something jumps, may be at a pole, or is drawn. `at` says in the
            error where the derivative was to be taken, as in "at its relaxed value".
        """
        new = self.of_value(lambda dist, x: constant(value(dist, x, x.args[-1])))
        costs, checks = self._and_checks(self._nodes, lambda roots: self._placed(roots, new, instead))
        self._check_smooth(costs, new, at, sampled=True)
        self._check_placed(checks)
        self._count(self._step_worlds)
        point = self.expansion_point(new, costs)
        placed = self._placed(self._nodes, point, instead)
        slope = gradients({sum_of(placed): constant(1.0)}, [point])[0]
        slope = constant(np.zeros(new.shape)) if slope is None else slope
        q, slope = substitute([self._mean_field_cost(placed, True), slope], {point: new})
        return (self.called(REPLAYED, stop_gradient(q), new, said), self.called(VALUE, new, new, said),
                self.called(SLOPE, stop_gradient(slope), new, said))

    @property
    def slope(self) -> Node:
        """Q′ at the draws, stopped, of the shape of the value: nothing is refused, and what jumps has no part in it.

        Later draws that have no path stay as they are.
        """
        point = self.expansion_point(self.value, self._nodes)
        found = gradients({sum_of(self._placed(self._nodes, point)): constant(1.0)}, [point])[0]
        found = constant(np.zeros(point.shape)) if found is None else substitute([found], {point: self.value})[0]
        return self.called(SLOPE_AT_DRAW, stop_gradient(found))

    def curved(self, value: Value, at: str, said: Name | None = None) -> tuple[Node, Node, Node, Node]:
        """`linearised`, and Q″, the diagonal of the second derivative: of each element with the others as they are.

        Later draws that the value moves and that have no path stay as they would be there.
        """
        def drawn(dist: Distribution, x: Node, noise: Node) -> Node:
            return stop_gradient(x)

        q, new, slope = self.linearised(value, at, said, drawn)
        axis = Axis(f"{self.name} direction", new.size)
        mine = event_to_axis(constant(np.eye(new.size).reshape((new.size, *new.shape))), axis)
        leaf = self.expansion_point(new, self._placed(self._nodes, new, drawn))
        point = feed(leaf.attrs.name, leaf.shape, union(leaf.axes, (axis,)))
        along = gradients({sum_of(self._placed(self._nodes, point, drawn)): constant(1.0)}, [point])[0]
        bend = None if along is None else gradients({total(along * mine): constant(1.0)}, [point])[0]
        if bend is None:
            found = constant(np.zeros(new.shape))
        else:
            found = axis_sum(substitute([bend], {point: new})[0] * mine, (axis.name,))
        return q, new, slope, self.called(BEND, stop_gradient(found), new, said)

    def _placed(self, roots: list[Node], values: Node, instead: Instead | None = None) -> list[Node]:
        """The roots where the draws of a step are these; step by step in the leading dimension for a site of a scan."""
        return substitute(roots, {self.node: values}, partial(along_paths, instead=instead))

    def _check_placed(self, checks: Sequence[Node]) -> None:
        self.checks_in_worlds += [replace(c, node=node, drawn=False) for c, node in zip(
            self.draft.of_draws, checks) if node is not c.node]

    # --- rewrites ---------------------------------------------------------------------------------------------------
    def replaced(self, value: Value) -> Draft:
        """The draft with the site's value replaced, wherever it is seen, by ``value(dist, x, noise)``.

        What the replacement makes of the draw x is still drawn.
        """
        return self.to_be_replaced(value).settled()

    def to_be_replaced(self, value: Value) -> Draft:
        """The same, where all is rewritten later, with other sites that are replaced, and with what is added before."""

        def written(args: tuple[Node, ...]) -> dict[Node, Node]:
            return replacement(self.node, substitute([self.node], dict(zip(self.node.args, args)))[0], value)

        return self.draft.with_replaced(self.node, written)

    def summed_out(self, values: np.ndarray) -> Draft:
        """The draft with the site summed out: costs c → Σᵥ p(v) c|v, terms t → Σᵥ ⊥p(v) t|v.

        Inside a scan, v is one value for every step, and p(v) the product of what the steps give it: the probability of
        the whole path, where each step's distribution follows from the steps before.
        """
        grid = all_combinations(values, (*self.steps, *self.draws))
        axis = Axis(f"{self.name} support", len(grid))
        self._count((axis,))
        seen = event_to_axis(constant(grid), axis)
        chances, roots = self._given(seen)
        p = self.called(CHANCE_OF_ALL, product(chances), seen)
        draft = self.draft.with_roots(roots).without_values(lambda node: axis in node.axes)
        roots, shown = draft.roots(), draft.shown()
        added_up = roots[: len(roots) - len(shown)]
        weights = [p] * len(draft.costs) + [stop_gradient(p)] * (len(added_up) - len(draft.costs))
        may_be = p != 0.0  # an index is shown as it is, in a world that may come about
        return draft.with_roots([*(_weighted(*parts, axis) for parts in zip(added_up, weights)),
                                 *(choose(may_be, k, 0.0) if axis in k.axes else k for k in draft.indices()),
                                 *draft.aside()])

    def _given(self, v: Node) -> tuple[Node, list[Node]]:
        """The probability of `v`, of shape ``(*steps, *shape)``, and the roots with it in place of what is drawn."""
        seen = v if not self.masks else self.possible(self.dist, v, self.dist.unmasked(self.fixed))
        return self.of(lambda dist, x: dist.probability(v)), substitute(self.draft.roots(), {self.node: seen})

    @property
    def worlds(self) -> tuple[str, ...]:
        """The worlds of other sites that it is drawn in."""
        return tuple(axis.name for axis in self.node.axes if not axis.statistical)

    @property
    def interdependent(self) -> tuple[str, ...]:
        """Sites that it influences and that influence it: through the carries of a scan only."""
        return ()


def _weighted(node: Node, weight: Node, axis: Axis) -> Node:
    return axis_sum(weight * as_real(node), (axis.name,)) if axis in node.axes else node

"""What an estimator sees of its site: distribution, influenced costs, replays, and rewrites of what is downstream.

The same interface serves a site of the graph and one inside a scan (`scg.surrogate.site_in_scan`): an estimator is
written once.
Quantities of a site have the shape ``(*steps, *draws)``, one for each draw, and values the shape ``(*steps, *shape)``,
where ``shape`` is ``draws`` and the dimensions of one draw. ``steps`` is ``()`` for a site of the graph and ``(T,)``
for one inside a scan of T steps; costs have the shape ``steps``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from scg.analysis.dependence import Dependence
from scg.analysis.influence import SiteNode
from scg.analysis.mean_field import mean_field
from scg.analysis.reach import Reach, sum_of, vouched_at
from scg.analysis.smoothness import flow, obstacle_text
from scg.differentiate.reverse_mode import gradients
from scg.distributions.distribution import Distribution
from scg.errors import ConditionError, EstimatorError
from scg.functions import exp
from scg.ir.axes import Axes, Axis, union
from scg.ir.check import Check
from scg.ir.node import Node, as_real, constant
from scg.ir.printer import short, title
from scg.ir.traverse import substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.control import stop_gradient
from scg.ops.leaves import derived, feed, param
from scg.ops.measure import axis_sum, axis_to_event, event_to_axis, replace_draw
from scg.ops.randomness import antithetic, distribution_of, sample, sample_op, uniform
from scg.ops.reduce import product, total
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.draft import Brought, Draft
from scg.surrogate.masked_site import MaskedSite
from scg.surrogate.redrawn import Drawn, fresh, paths_redrawn, samples_redrawn
from scg.surrogate.replacement import (
    Draw,
    Value,
    all_combinations,
    along_paths,
    drawn_anew,
    draws_of,
    more_worlds,
    replacement,
)


class Site(MaskedSite):
    """A site of the graph, as the estimators see it in the current draft.

    Parameters
    ----------
    place : SiteNode
        Its sample node in the draft.
    draft : Draft
        What is rewritten.
    flows : callable
        ``flows(node) -> bool``: whether a derivative flows to the node from a parameter under the whole strategy.
    form : str
        ``"log"`` or ``"ratio"``: how the surrogate writes the score.
    reach : Reach, optional
        What is found of the costs, shared with the other sites of a derivation.
    """

    steps: tuple[int, ...] = ()
    origin: str = "strategy"  # who chose its estimator
    tried = False  # whether other estimators are tried, to see what could be advised

    def __init__(self, place: SiteNode, draft: Draft, flows: Callable[[Node], bool], form: str = "log",
                 reach: Reach | None = None):
        self.name, self.node, self.place, self.draft = place.name, place.node, place, draft
        self._flows, self.form, self._reach = flows, form, reach or Reach([place.name])
        self.checks_in_worlds: list[Check] = []  # what must hold in the worlds that were asked for
        self.brought: list[Brought] = []  # params that were asked for
        self.obstructed: Callable[[], bool] = lambda: False  # whether derivatives in its value miss a part
        self.later: Callable[[], Mapping[Drawn, bool]] = dict  # paths it moves; whether in its own step, in a scan's

    # --- what it is -------------------------------------------------------------------------------------------------
    @property
    def dist(self) -> Distribution:
        """Its distribution at its parameter nodes."""
        return distribution_of(self.node)

    @property
    def family(self) -> Any:
        """Its family."""
        return self.node.attrs.family

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one step's values: that of the draws, and the dimensions of one draw."""
        return self.node.shape

    @property
    def draws(self) -> tuple[int, ...]:
        """The shape of one step's draws."""
        return draws_of(self.node)

    @cached_property
    def where(self) -> str:
        """The first part of an error message."""
        return self.place.where

    def own_sample_path(self, node: Node) -> list[Node] | None:
        """How a replicate's own draw reaches `node`, step by step for a site of a scan; None if it does not.

        Of a node with a value per step, the value of a step must not depend on the draw of that step; one without steps
        on no draw at all.
        """
        if not self._depends(node):
            return None
        known = Dependence(self.name, apart=bool(self.steps))
        step = known.on_its_own(node)
        return None if step is None else known.path(node, step)

    def put_out(self, node: Node) -> Node | None:
        """A node from inside the step in which the site is drawn, step by step; None if it is from elsewhere."""
        return None

    def of(self, quantity: Callable[[Distribution, Node], Node]) -> Node:
        """A quantity of each draw, from the distribution and the drawn value, of shape ``(*steps, *draws)``."""
        return broadcast_to(quantity(self.dist, self.node), self.draws)

    def of_value(self, value: Callable[[Distribution, Node], Node]) -> Node:
        """A value like the drawn one, from the distribution and that, of shape ``(*steps, *shape)``."""
        return broadcast_to(value(self.dist, self.node), self.shape)

    @property
    def value(self) -> Node:
        """The drawn value."""
        return self.of_value(lambda dist, x: x)

    @cached_property
    def uniform(self) -> Node:
        """The uniform behind each draw of a family that is a step function of one."""
        return self.of(lambda dist, x: uniform(x.args[-1], fine=False))

    @cached_property
    def log_prob(self) -> Node:
        """log p of each draw, in the form in which it is scored."""
        return self.of(lambda dist, x: dist.score_form(x))

    @property
    def values(self) -> Axis:
        """An axis with a world for each of the values of its family."""
        return Axis(f"{self.name} value", len(self.dist.support_values()))

    def per_step(self, node: Node) -> Node:
        """A quantity or value of the site summed over all of a step."""
        return total(node, axis=tuple(range(len(self.steps), node.ndim)))

    @cached_property
    def score(self) -> Node:
        """What a signal multiplies, step by step: log p, or in ratio form p/⊥p, which has the same gradient."""
        log_p = self.per_step(self.log_prob)
        return log_p if self.form == "log" else exp(log_p - stop_gradient(log_p))

    def flows_into(self, parameter: str) -> bool:
        """Whether a derivative flows into that parameter of the distribution."""
        return self._flows(self.parameter(parameter))

    def parameter(self, name: str) -> Node:
        """A parameter of the distribution, step by step."""
        return self.dist.params[name]

    def spelled(self, name: str) -> str:
        """A parameter of the distribution in print, as it was declared."""
        return short(self.dist.params[name])

    @property
    def given(self) -> str:
        """All parameters of the distribution in print."""
        return " and ".join(f"{name} = {self.spelled(name)}" for name in self.dist.params)

    @property
    def differentiated(self) -> bool:
        """Whether a derivative flows into any parameter of the distribution."""
        return any(self.flows_into(name) for name in self.dist.params)

    def param(self, what: str, shape: tuple[int, ...] = (), init: Any = 0.0) -> Node:
        """A param of the estimator's own, "site what", that starts at `init` and minimises an objective of the draft.

        Raises
        ------
        EstimatorError
            If the graph has something of that name.
        """
        name, graph = f"{self.name} {what}", self.node.owner or self.place.anchor.owner
        if name in getattr(graph, "nodes", {}) or name in getattr(graph, "costs", {}):
            raise EstimatorError(self.where, f'A param named "{name}" was to be learned.',
                                 "The graph has something of that name.", "Rename it.")
        leaf = param(graph, name, shape)
        self.brought.append(Brought(leaf, init))
        return leaf

    # --- its costs --------------------------------------------------------------------------------------------------
    @cached_property
    def influenced(self) -> dict[str, Node]:
        """The costs downstream of the site."""
        return self._reach.influenced(self.name, self.draft.costs)

    def _depends(self, node: Node) -> bool:
        """Whether the node depends on what the site draws."""
        return bool(self._reach.draws.any(node) & self._reach.draws.bits[self.name])

    @cached_property
    def cost(self) -> Node:
        """Q̂: the sum of the downstream costs, step by step."""
        return self._reach.sum_of(self.influenced.values())

    @property
    def assumption(self) -> str:
        """What the user vouches to be continuous between the site and its costs, in words; empty if nothing."""
        if not self._reach.vouched(self.influenced.values()):
            return ""
        found = vouched_at(list(self.influenced.values()))
        places = dict.fromkeys(str(n.source) for n in found if self.place.scan is not None or self._depends(n))
        return f"assuming, as you vouch, that what is marked at {' and '.join(places)} is continuous" if places else ""

    # --- replays ----------------------------------------------------------------------------------------------------
    def fresh_noise(self, tag: str) -> Node:
        """A stream of its own for a replay."""
        return derived(self.node.args[-1], tag)

    def each(self, value: Value, tag: str = "replay", *, noise: str = "common") -> Node:
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
        """
        axis = Axis(f"{self.name} element", int(np.prod(self.draws, dtype=int)))
        new = broadcast_to(constant(value(self.dist, self.node, self.fresh_noise(tag))), self.shape)
        new = self._possible(self.dist, new, self.node)
        replaced = replace_draw(self.node, new, axis, self.family.support.event_ndim)

        def replayed(roots: list[Node]) -> list[Node]:
            if noise == "common":
                return substitute(roots, {self.node: replaced})
            anew = fresh(self.name, tag, (axis, *more_worlds(new, self.node)))  # later sites', one per world
            roots = paths_redrawn(roots, self.later(), anew)
            return substitute(roots, {self.node: replaced}, samples_redrawn(anew))

        costs, checks = self._and_checks(self.influenced, replayed)
        self._check_worlds(checks, (axis, *more_worlds(new, self.node)), self._chance(value, tag))
        return reshape(axis_to_event(sum_of(costs), axis), self.draws)

    def _and_checks(self, of: Mapping[str, Node],
                    replayed: Callable[[list[Node]], list[Node]]) -> tuple[list[Node], list[Node]]:
        """The costs in other worlds, and what must hold of the draws there."""
        costs = list(of.values())
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

    def replay(self, value: Draw) -> Node:
        """Q̂ in the world where all draws of a step are replaced at once by ``value(dist, x)``, of shape `steps`.

        Later sites are replayed under their own noise. Step by step, it is the sum of all downstream costs in the world
        of that step: subtract another replay from it, not `cost`.
        """
        return self.replayed_with(self.influenced, {self: value})

    def replayed_with(self, costs: Mapping[str, Node], values: Mapping[Site, Draw]) -> Node:
        """`replay` of these costs, where the draws of several sites (of the same steps) are replaced at once."""
        mapping = {site.node: drawn_anew(site.node, value) for site, value in values.items()}
        found, checks = self._and_checks(costs, lambda roots: substitute(roots, mapping))
        self._check_placed(checks)
        return sum_of(found)

    def antithetic(self, dist: Distribution, x: Node) -> Node:
        """The draw that 1 − u of the same noise gives: a value for `of` and `replay`."""
        return sample(self.name, dist, antithetic(x.args[-1]))

    def mean_trunk(self, rollout: bool) -> tuple[Node, Node, Node]:
        """The mean-field trunk: Q̄ per step, w̄, and Q̄′ at w̄ (all stopped).

        Every other site is replaced by its mean. With `rollout`, what the site's distribution depends on stays as it
        was drawn: w̄ is then the mean given sampled parents, else the mean given mean-field parents.
        """
        centre = stop_gradient(self._centre(rollout))
        cut = self._cut(centre, list(self._trunk(centre, rollout).values()))
        trunk = self._trunk(cut, rollout)
        everything = sum_of(trunk.values())
        self._check_smooth([everything], cut, "at the site's mean")
        slope = gradients({everything: constant(1.0)}, [cut])[0]
        slope = constant(np.zeros(centre.shape)) if slope is None else slope
        q, slope = substitute([self._trunk_cost(trunk, rollout), slope], {cut: centre})
        return stop_gradient(q), centre, stop_gradient(slope)

    def _centre(self, rollout: bool) -> Node:
        mean = self.of_value(lambda dist, x: dist.mean)
        return mean if rollout else mean_field([mean], {})[0]

    def _trunk(self, w: Node, rollout: bool) -> dict[str, Node]:
        """The influenced costs with `w` in place of the site's value, and later sites in mean field."""
        keep = topological(self.node.args) if rollout else ()
        trunk = mean_field(list(self.influenced.values()), {self.node: w}, keep_others=tuple(keep))
        return dict(zip(self.influenced, trunk))

    def _trunk_cost(self, trunk: dict[str, Node], rollout: bool) -> Node:
        """Q̄ per step: of the trunk's costs those that `cost` is made of."""
        return sum_of(trunk.values())

    def _cut(self, centre: Node, trunk: list[Node]) -> Node:
        """A leaf to differentiate the trunk by, wherever the trunk varies: a slope is one replicate's, never a mean."""
        along = tuple(ax for c in trunk for ax in c.axes if ax.statistical)
        return feed(f"{self.name} (cut)", centre.shape, union(centre.axes, along))

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

    def linearised(self, value: Value, at: str) -> tuple[Node, Node, Node]:
        """Q where all draws of a step are replaced at once by ``value(dist, x, noise)``, that value, and Q′ in it.

        Q and Q′ are stopped, and of the shapes of `cost` and of the value. Later sites are replayed under their own
        noise: those that have a path are differentiated along it, and no other may have a distribution that the value
        moves.

        Raises
        ------
        ConditionError
            If on the way from the value to a cost something jumps, may be at a pole, or is drawn. `at` says in the
            error where the derivative was to be taken, as in "at its relaxed value".
        """
        new = self.of_value(lambda dist, x: constant(value(dist, x, x.args[-1])))
        costs, checks = self._and_checks(self.influenced, lambda roots: self._placed(roots, new))
        self._check_smooth(costs, new, at, sampled=True)
        self._check_placed(checks)
        cut = self._cut(new, costs)
        placed = dict(zip(self.influenced, self._placed(list(self.influenced.values()), cut)))
        slope = gradients({sum_of(placed.values()): constant(1.0)}, [cut])[0]
        slope = constant(np.zeros(new.shape)) if slope is None else slope
        q, slope = substitute([self._trunk_cost(placed, True), slope], {cut: new})
        return stop_gradient(q), new, stop_gradient(slope)

    def _placed(self, roots: list[Node], values: Node) -> list[Node]:
        """The roots where the draws of a step are these; step by step in the leading dimension for a site of a scan."""
        return substitute(roots, {self.node: values}, along_paths)

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
        chances, roots = self._given(event_to_axis(constant(grid), axis))
        p = product(chances)
        draft = self.draft.with_roots(roots).without_values(lambda node: axis in node.axes)
        roots, indices = draft.roots(), draft.indices()
        added_up = roots[: len(roots) - len(indices)]
        weights = [p] * len(draft.costs) + [stop_gradient(p)] * (len(added_up) - len(draft.costs))
        may_be = p != 0.0  # an index is shown as it is, in a world that may come about
        return draft.with_roots([*(_weighted(*parts, axis) for parts in zip(added_up, weights)),
                                 *(choose(may_be, k, 0.0) if axis in k.axes else k for k in indices)])

    def _given(self, v: Node) -> tuple[Node, list[Node]]:
        """The probability of `v`, of shape ``(*steps, *shape)``, and the roots with it in place of what is drawn."""
        seen = v if not self.masks else self._possible(self.dist, v, self.dist.unmasked(self.fixed))
        return self.of(lambda dist, x: dist.probability(v)), substitute(self.draft.roots(), {self.node: seen})

    @property
    def worlds(self) -> tuple[str, ...]:
        """The worlds of other sites that it is drawn in."""
        return tuple(axis.name for axis in self.node.axes if not axis.statistical)

    @property
    def entangled(self) -> tuple[str, ...]:
        """Sites that it influences and that influence it: through the carries of a scan only."""
        return ()


def _weighted(node: Node, weight: Node, axis: Axis) -> Node:
    return axis_sum(weight * as_real(node), (axis.name,)) if axis in node.axes else node

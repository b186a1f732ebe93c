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

from collections.abc import Sequence
from functools import partial, reduce
from math import prod
from operator import add
from typing import Any

import numpy as np

from scg.analysis.mean_field import mean_field
from scg.analysis.obstacles import obstacle_text
from scg.analysis.reach import sum_of
from scg.analysis.smoothness import flow
from scg.analysis.stops import looked_through
from scg.differentiate.reverse_mode import gradients
from scg.distributions.distribution import Distribution
from scg.errors import ConditionError
from scg.ir.axes import Axis, union
from scg.ir.node import Node, constant
from scg.ir.printer import title
from scg.ir.traverse import substitute, topological
from scg.ops.control import stop_gradient
from scg.ops.leaves import feed
from scg.ops.measure import axis_sum, event_to_axis
from scg.ops.randomness import sample_op
from scg.ops.reduce import product, total
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.draft import Draft
from scg.surrogate.draws_apart import DrawsApart, Joined
from scg.surrogate.elimination import Sum
from scg.surrogate.mark import (
    BEND,
    CHANCE_OF_ALL,
    MEAN_FIELD_COSTS,
    MEAN_FIELD_SLOPE,
    MEAN_FIELD_VALUE,
    REPLAYED,
    ROLLED_OUT_COSTS,
    SLOPE,
    SLOPE_AT_DRAW,
    VALUE,
    Name,
)
from scg.surrogate.replacement import (
    Instead,
    Value,
    all_combinations,
    along_paths,
    replacement,
)
from scg.surrogate.replayed_site import ReplayedSite


class Site(ReplayedSite):
    """A site of the graph, as the estimators see it in the current draft: see `DeclaredSite` for its arguments."""

    # --- derivatives in a replaced value ----------------------------------------------------------------------------
    def mean_field_pass(self, rollout: bool) -> tuple[Node, Node, Node]:
        """The mean-field pass: Q̄, a signal, w̄, and Q̄′ at w̄ (all stopped).

        Every other site is replaced by its mean. With `rollout`, what the site's distribution depends on stays as it
        was drawn: w̄ is then the mean given sampled parents, else the mean given mean-field parents.
        """
        q, centre, slopes = self._expanded(rollout)
        costs = self.called(ROLLED_OUT_COSTS if rollout else MEAN_FIELD_COSTS, q)
        return (costs, self.called(MEAN_FIELD_VALUE, centre),
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
        if self.steps and not rollout:
            self._note([centre])  # these means are those of a pass of the loop before
        point = self.expansion_point(centre, self._note(self._mean_field_parts(centre, rollout)))
        parts = self._mean_field_parts(point, rollout)
        self._check_smooth([sum_of(parts)], point, "at the site's mean")
        alike: dict[tuple[int, ...], list[Node]] = {} if self.parts else {(): []}
        for part, node in zip(self.parts, parts):
            alike.setdefault(part.shares.dims, []).append(node)
        slopes = [gradients({sum_of(nodes): constant(1.0)}, [point])[0] for nodes in alike.values()]
        known = [constant(np.zeros(centre.shape)) if slope is None else slope for slope in slopes]
        q, *known = substitute([self._mean_field_cost(parts, rollout), *known], {point: centre})
        return stop_gradient(q), centre, {dims: stop_gradient(self.unless_certain(g)) for dims, g in zip(alike, known)}

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
        jump = _jump(roots, value, sampled, sampled and draws)
        if jump is not None:
            why = "jumps there, or is not defined off the site's support" if not sampled else obstacle_text(jump)
            raise ConditionError(
                self.where, f'The cost downstream of site "{self.name}" was to be differentiated {at}.',
                f"On the way stands the {title(jump)} at {jump.source}, which {why}.",
                "; or ".join(filter(None, ["Use ScoreFunction(), which needs values of the cost only",
                                           self.family.smoother])) + ".")

    def is_smooth(self, value: Value, instead: Instead | None = None) -> bool:
        """Whether `linearised` at that value is not refused."""
        new = self.of_value(lambda dist, x: constant(value(dist, x, x.args[-1])))
        return _jump(self._placed(looked_through(self._nodes), new, instead), new, True, True) is None

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
        seen = looked_through(self._nodes)  # costs are functions of their values, whatever is stopped in them
        self._check_smooth(self._placed(seen, new, instead), new, at, sampled=True)
        self._check_placed(checks)
        self._note(costs)
        point = self.expansion_point(new, costs)
        placed = self._placed(self._nodes, point, instead)
        slope = gradients({sum_of(self._placed(seen, point, instead)): constant(1.0)}, [point])[0]
        slope = constant(np.zeros(new.shape)) if slope is None else slope
        q, slope = substitute([self._mean_field_cost(placed, True), slope], {point: new})
        return (self.called(REPLAYED, stop_gradient(q), new, said), self.called(VALUE, new, new, said),
                self.called(SLOPE, stop_gradient(self.unless_certain(slope)), new, said))

    @property
    def slope(self) -> Node:
        """Q′ at the draws, stopped, of the shape of the value: nothing is refused, and what jumps has no part in it.

        Later draws that have no path stay as they are.
        """
        placed, leaf, at = self._moved(self._nodes)
        found = gradients({sum_of(placed): constant(1.0)}, [leaf])[0]
        *placed, found = substitute([*placed, constant(np.zeros(leaf.shape)) if found is None else found], {leaf: at})
        self._note(placed)
        return self.called(SLOPE_AT_DRAW, stop_gradient(self.unless_certain(found)))

    @property
    def has_slope(self) -> bool:
        """Whether a derivative in its draws reaches a cost: none does where these are indices, or are compared."""
        placed, leaf, _ = self._moved(self._nodes)
        known = flow(placed, [leaf])
        return any(known[node.id].differentiated for node in placed)

    def _moved(self, roots: list[Node]) -> tuple[list[Node], Node, Node]:
        """The roots where a leaf moves the draws, with the leaf, and its value at the draws."""
        point = self.expansion_point(self.value, roots)
        return self._placed(roots, point), point, self.value

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
        picked = None if along is None else total(self.unless_certain(along) * mine)
        bend = None if picked is None else gradients({picked: constant(1.0)}, [point])[0]
        if bend is None:
            found = constant(np.zeros(new.shape))
        else:
            found = axis_sum(self.unless_certain(substitute([bend], {point: new})[0]) * mine, (axis.name,))
        return q, new, slope, self.called(BEND, stop_gradient(found), new, said)

    def _placed(self, roots: list[Node], values: Node, instead: Instead | None = None) -> list[Node]:
        """The roots where the draws of a step are these; step by step in the leading dimension for a site of a scan."""
        return substitute(roots, {self.node: values}, partial(along_paths, instead=instead))

    def slopes_in_parameters(self, term: Node) -> list[Node]:
        """The derivative of a term in each differentiated parameter of the distribution, replicate by replicate."""
        parameters = [self.parameter(name) for name in self.dist.params if self.flows_into(name)]
        found = gradients({term: constant(1.0)}, parameters, ("row", "lane"))
        return [g for g in found if g is not None]

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
        return self.to_be_summed_out(values).settled()

    def to_be_summed_out(self, values: np.ndarray) -> Draft:
        """The same, where that is done later, together with other sites: by `Elimination`.

        Of a site of several draws it is done at once, each draw by itself, if that can be: by `DrawsApart`.
        """
        apart = self._apart(values)
        if isinstance(apart, Draft):
            return apart
        grid = all_combinations(values, self.draws)
        axis = Axis(f"{self.name} support", len(grid))
        self._note_values((axis,))
        v = event_to_axis(constant(grid), axis)
        seen = v if not self.masks else self.possible(self.dist, v, self.dist.unmasked(self.fixed))
        p = self.called(CHANCE_OF_ALL, product(self.of(lambda dist, x: dist.probability(v))), v)
        return self.draft.with_sum(Sum(self.name, self.where, self.node, axis, seen, p))

    def summed_together(self, values: np.ndarray) -> tuple[int, str]:
        """How many draws are summed over together when it is summed out, and why these, if it is more than one."""
        apart = self._apart(values)
        return (1, "") if isinstance(apart, Draft) else (prod((*self.steps, *self.draws)), apart)

    def _apart(self, values: np.ndarray) -> Draft | str:
        """The draft with each draw summed out by itself; or why it is not."""
        key = np.asarray(values).tobytes()
        if key not in self._summed_apart:
            self._summed_apart[key] = self._tried_apart(values)
        return self._summed_apart[key]

    def _tried_apart(self, values: np.ndarray) -> Draft | str:
        if prod(self.draws) < 2 or len(values) < 2:
            return ""
        try:
            first = DrawsApart(self, values, self.draft)  # before others are summed out for nothing
            draft = self.draft.settled(first.single)
            over = DrawsApart(self, values, draft) if draft is not self.draft else first
        except Joined as why:
            return str(why)
        self._note_values(over.axes)
        return draft.summed(over).with_eliminated(over.said)

    companions: Sequence[Any] = ()  # in its loop: sites that are summed out as it is
    summed_with: tuple[str, ...] = ()  # those that were summed out with it

    @property
    def worlds(self) -> tuple[str, ...]:
        """The worlds of other sites that it is drawn in."""
        return tuple(axis.name for axis in self.node.axes if not axis.statistical)

    @property
    def interdependent(self) -> tuple[str, ...]:
        """Sites that it influences and that influence it: through the carries of a scan only."""
        return ()


def _jump(roots: Sequence[Node], value: Node, sampled: bool, draws: bool) -> Node | None:
    """What keeps a derivative in a replaced value from the roots: a jump; of a sampled one a pole, or a draw, too."""
    known = flow(roots, [value], poles=sampled, means=sampled, draws=draws)
    return next((known[root.id].jump for root in roots if known[root.id].jump is not None), None)

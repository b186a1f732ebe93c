"""What an estimator sees of its site: distribution, influenced costs, replays, and rewrites of what is downstream.

The same interface serves a site of the graph and a site inside a scan, so that an estimator is written once. Quantities
of a site have event shape ``(*steps, *shape)``: ``steps`` is ``()`` for a site of the graph and ``(T,)`` for one inside
a scan of T steps; costs have the shape ``steps``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from scg.analysis.adjoints import gradients
from scg.analysis.influence import SiteNode, depends_on_own_sample, influences, sites
from scg.analysis.mean_field import mean_field, means_inside
from scg.analysis.smoothness import flow
from scg.distributions.distribution import Distribution
from scg.draft import Draft
from scg.errors import ConditionError, InternalError
from scg.ir.axes import Axis, union
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant, make
from scg.ir.printer import title
from scg.ir.traverse import depends, downstream, substitute, topological
from scg.ops.control import stop_gradient
from scg.ops.leaves import derived, feed, placeholder
from scg.ops.measure import axis_to_event, event_to_axis, replace_one
from scg.ops.randomness import antithetic, distribution_of, sample, sample_op
from scg.ops.reduce import product
from scg.ops.scan import Opened, open_scan, out, scan_op
from scg.ops.structure import suffix_sum

Value = Callable[[Distribution, Node, Node], Node]


def total(nodes) -> Node:
    """The sum of scalar or array costs, each summed over its event dimensions."""
    sums = [FUNCTIONS["sum"](n) for n in nodes]
    result = sums[0] if sums else constant(0.0)
    for s in sums[1:]:
        result = result + s
    return result


class Site:
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
    """

    steps: tuple[int, ...] = ()
    origin: str = "strategy"  # who chose its estimator

    def __init__(self, place: SiteNode, draft: Draft, flows: Callable[[Node], bool], form: str = "log"):
        self.name, self.node, self.place, self.draft = place.name, place.node, place, draft
        self._flows, self.form = flows, form

    # --- what it is -------------------------------------------------------------------------------------------------
    @property
    def dist(self) -> Distribution:
        """Its distribution at its parameter nodes."""
        return distribution_of(self.node)

    @property
    def family(self) -> type[Distribution]:
        """Its family."""
        return self.node.attrs.family

    @property
    def shape(self) -> tuple[int, ...]:
        """Event shape of one step's draws."""
        return self.node.shape

    @cached_property
    def where(self) -> str:
        """The first part of an error message."""
        return self.place.where

    def own_sample_path(self, node: Node) -> list[Node] | None:
        """How a replicate's own draw reaches `node`, or None if it does not."""
        return depends_on_own_sample(node, self.name)

    def of(self, quantity: Callable[[Distribution, Node], Node]) -> Node:
        """A quantity of the distribution and the drawn value, of shape ``(*steps, *shape)``."""
        return FUNCTIONS["broadcast_to"](quantity(self.dist, self.node), self.shape)

    @property
    def value(self) -> Node:
        """The drawn value."""
        return self.of(lambda dist, x: x)

    @cached_property
    def log_prob(self) -> Node:
        """log p of each draw."""
        return self.of(lambda dist, x: dist.log_prob(x))

    def per_step(self, node: Node) -> Node:
        """A quantity of the site summed over the draws of a step."""
        return FUNCTIONS["sum"](node, axis=tuple(range(len(self.steps), node.ndim)))

    @cached_property
    def score(self) -> Node:
        """What a signal multiplies, step by step: log p, or in ratio form p/⊥p, which has the same gradient."""
        log_p = self.per_step(self.log_prob)
        return log_p if self.form == "log" else apply("exp", log_p - stop_gradient(log_p))

    def flows_into(self, parameter: str) -> bool:
        """Whether a derivative flows into that parameter of the distribution."""
        return self._flows(self.parameter(parameter))

    def parameter(self, name: str) -> Node:
        """A parameter of the distribution, step by step."""
        return self.dist.params[name]

    @property
    def differentiated(self) -> bool:
        """Whether a derivative flows into any parameter of the distribution."""
        return any(self.flows_into(name) for name in self.dist.params)

    # --- its costs --------------------------------------------------------------------------------------------------
    @cached_property
    def influenced(self) -> dict[str, Node]:
        """The costs downstream of the site."""
        return {name: c for name, c in self.draft.costs.items() if influences(self.place, c)}

    @cached_property
    def cost(self) -> Node:
        """Q̂: the sum of the downstream costs, step by step."""
        return total(self.influenced.values())

    @property
    def assumption(self) -> str:
        """What the user vouches to be continuous between the site and its costs, in words; empty if nothing."""
        found = [n for n in _everything(list(self.influenced.values())) if n.op.name == "assume_continuous"]
        places = dict.fromkeys(str(n.source) for n in found if self.place.scan is not None or influences(self.place, n))
        return f"assuming, as you vouch, that what is marked at {' and '.join(places)} is continuous" if places else ""

    # --- replays ----------------------------------------------------------------------------------------------------
    def fresh_noise(self, tag: str) -> Node:
        """A stream of its own for a replay."""
        return derived(self.node.args[-1], tag)

    def each(self, value: Value, tag: str = "replay", *, noise: str = "common") -> Node:
        """Q̂ in the worlds where one draw is replaced: element i is the cost with draw i replaced.

        Its shape is ``(*steps, *shape)``.

        Parameters
        ----------
        value : callable
            ``value(dist, x, noise) -> replacement``, elementwise, from the distribution, the draws and a fresh stream.
        tag : str
            Names the fresh stream.
        noise : str
            ``"common"`` replays later sites under their own noise; ``"fresh"`` under fresh streams, one per world.
        """
        axis = Axis(f"{self.name} element", int(np.prod(self.shape, dtype=int)))
        new = FUNCTIONS["broadcast_to"](constant(value(self.dist, self.node, self.fresh_noise(tag))), self.shape)
        replaced = replace_one(self.node, new, axis)
        hook = _fresh_hook(self.name, tag, axis) if noise == "fresh" else None
        costs = substitute(list(self.influenced.values()), {self.node: replaced}, hook)
        return FUNCTIONS["reshape"](axis_to_event(total(costs), axis), self.shape)

    def replay(self, value: Callable[[Distribution, Node], Node]) -> Node:
        """Q̂ in the world where all draws of a step are replaced at once by ``value(dist, x)``, of shape `steps`.

        Later sites are replayed under their own noise. Step by step, it is the sum of all downstream costs in the world
        of that step: subtract another replay from it, not `cost`.
        """
        new = FUNCTIONS["broadcast_to"](constant(value(self.dist, self.node)), self.shape)
        return total(substitute(list(self.influenced.values()), {self.node: new}))

    def antithetic(self, dist: Distribution, x: Node) -> Node:
        """The draw that 1 − u of the same noise gives: a value for `of` and `replay`."""
        return sample(self.name, dist, antithetic(x.args[-1]), self.shape)

    def mean_trunk(self, rollout: bool) -> tuple[Node, Node, Node]:
        """The mean-field trunk: Q̄ per step, w̄, and Q̄′ at w̄ (all stopped).

        Every other site is replaced by its mean. With `rollout`, w̄ is the mean given sampled parents, else the mean
        given mean-field parents.
        """
        centre = self.dist.mean if rollout else mean_field([self.dist.mean], {})[0]
        centre = stop_gradient(FUNCTIONS["broadcast_to"](centre, self.shape))
        keep = self._upstream() if rollout else ()

        def trunk_at(w: Node) -> list[Node]:
            return mean_field(list(self.influenced.values()), {self.node: w}, keep_others=keep)

        cut = self._cut(centre, trunk_at(centre))
        trunk = trunk_at(cut)
        q = total(trunk)
        self._check_smooth(q, cut)
        slope = gradients({q: constant(1.0)}, [cut])[0]
        slope = constant(np.zeros(self.shape)) if slope is None else slope
        q, slope = substitute([q, slope], {cut: centre})
        return stop_gradient(q), centre, stop_gradient(slope)

    def _cut(self, centre: Node, trunk: list[Node]) -> Node:
        """A leaf to differentiate the trunk by, wherever the trunk varies: a slope is one replicate's, never a mean."""
        along = tuple(ax for c in trunk for ax in c.axes if ax.statistical)
        return feed(f"{self.name} (cut)", centre.shape, union(centre.axes, along))

    def _upstream(self) -> tuple[Node, ...]:
        return tuple(n for n in topological(self.node.args) if n.op is sample_op)

    def _check_smooth(self, q: Node, cut: Node) -> None:
        state = flow([q], [cut])[q.id]
        if state.jump is not None:
            raise ConditionError(
                self.where, f'The cost downstream of site "{self.name}" was to be differentiated at the site\'s mean.',
                f"On the way stands the {title(state.jump)} at {state.jump.source}, which jumps there, or is not "
                "defined off the site's support.",
                "Use ScoreFunction() or WeakDerivative(), which need values of the cost only.")

    # --- rewrites ---------------------------------------------------------------------------------------------------
    def replaced(self, value: Callable[[Distribution, Node], Node]) -> Draft:
        """The draft with the site's value replaced, wherever it is seen, by ``value(dist, noise)``."""
        new = FUNCTIONS["broadcast_to"](value(self.dist, self.node.args[-1]), self.shape)
        return self.draft.rewritten({self.node: new})

    def summed_out(self, values: np.ndarray) -> Draft:
        """The draft with the site summed out: costs c → Σᵥ p(v) c|v, terms t → Σᵥ ⊥p(v) t|v."""
        count = int(np.prod(self.shape, dtype=int))
        grid = np.stack(np.meshgrid(*[values] * count, indexing="ij"), axis=-1).reshape((-1, *self.shape)) \
            if count else np.zeros((1, *self.shape))
        axis = Axis(f"{self.name} support", len(grid))
        v = event_to_axis(constant(grid), axis)
        p = product(self.dist.probability(v))
        draft = self.draft.without_values(lambda node: depends(node, self.node))
        weights = [p] * len(draft.costs) + [stop_gradient(p)] * (len(draft.roots()) - len(draft.costs))
        replayed = substitute(draft.roots(), {self.node: v})
        return draft.with_roots([_weighted(*parts, axis) for parts in zip(draft.roots(), replayed, weights)])


def _everything(roots: Sequence[Node]):
    """All nodes below the roots, bodies of scans included."""
    for n in topological(roots):
        yield n
        if n.op is scan_op:
            yield from _everything(n.attrs.outputs)


def _weighted(old: Node, new: Node, weight: Node, axis: Axis) -> Node:
    if new is old:
        return old
    return make("axis_sum", (weight * as_real(new),), (axis.name,))


def _fresh_hook(site: str, tag: str, axis: Axis):
    """Later sites of a replay draw from streams of their own, one per world."""

    def hook(node: Node, args: tuple[Node, ...]) -> Node | None:
        if node.op is not sample_op or node.attrs.site == site:
            return None
        return make(sample_op, (*args[:-1], derived(args[-1], site, tag, axes=(axis,))), node.attrs)

    return hook


class ScanSite(Site):
    """A site inside a scan: its name stands for all its steps."""

    def __init__(self, place: SiteNode, draft: Draft, flows: Callable[[Node], bool], form: str = "log"):
        super().__init__(place, draft, flows, form)
        self.scan: Node = place.scan  # type: ignore[assignment]
        self.steps = (self.scan.attrs.length,)

    def _found(self, opened: Opened) -> Node | None:
        return next((n for n in topological(opened.new_carries + opened.ys)
                     if n.op is sample_op and n.attrs.site == self.name), None)

    def _find(self, opened: Opened) -> Node:
        found = self._found(opened)
        if found is None:
            raise InternalError(self.where, f'Site "{self.name}" is not in its scan.')
        return found

    def of(self, quantity: Callable[[Distribution, Node], Node]) -> Node:
        return self._output(lambda x: FUNCTIONS["broadcast_to"](quantity(distribution_of(x), x), x.shape))

    def _output(self, quantity: Callable[[Node], Node]) -> Node:
        """A quantity of the sample node, put out by the scan step by step."""
        opened = open_scan(self.scan)
        y = quantity(self._find(opened))
        return out(opened.close(ys=(*opened.ys, y)), len(opened.carries) + len(opened.ys))

    def parameter(self, name: str) -> Node:
        return self._output(lambda x: distribution_of(x).params[name])

    @cached_property
    def cost(self) -> Node:
        """Q̂ₜ: the costs of this step that the site influences, those of all later steps it reaches, and those after."""
        opened = open_scan(self.scan)
        site = self._find(opened)
        same_step = downstream([site], opened.ys)
        reached = opened.downstream([site])
        parts = [constant(np.zeros(self.steps))]
        for cost in self.influenced.values():
            k = len(opened.carries)
            if cost.op.name == "out" and cost.args[0] is self.scan and cost.attrs >= k:
                y = opened.ys[cost.attrs - k]
                parts.append(self._credit(cost, y.id in same_step, self._later(opened, reached, y)))
            else:
                parts.append(total([cost]))
        result = parts[0]
        for p in parts[1:]:
            result = result + p
        return result

    def _later(self, opened, reached: set[int], y: Node) -> bool:
        """Whether the site reaches `y` in a later step, through a carry."""
        carried = [c for c in opened.carries if c.id in reached]
        return y.id in opened.downstream(carried) if carried else False

    def _credit(self, cost: Node, now: bool, later: bool) -> Node:
        per_step = FUNCTIONS["sum"](cost, axis=tuple(range(1, cost.ndim)))
        ahead = make("prefix_sum", (per_step,)) if self.scan.attrs.reverse else suffix_sum(per_step)
        if now and later:
            return ahead
        if later:
            return ahead - per_step
        return per_step if now else constant(np.zeros(self.steps))

    def each(self, value: Value, tag: str = "replay", *, noise: str = "common") -> Node:
        if noise != "common":
            raise ConditionError(self.where, f'Site "{self.name}" inside a scan was to be replayed under fresh noise.',
                                 "That is not supported.", "Use common noise, which has the smaller variance.")
        element = Axis(f"{self.name} element", int(np.prod(self.shape, dtype=int)))
        at = Axis(f"{self.name} step", self.steps[0])
        costs = self._replayed(lambda opened, x: self._hit(opened, x, value, tag, element, at))
        stacked = axis_to_event(axis_to_event(total(costs), element), at)
        return FUNCTIONS["reshape"](stacked, (*self.steps, *self.shape))

    def replay(self, value: Callable[[Distribution, Node], Node]) -> Node:
        at = Axis(f"{self.name} step", self.steps[0])
        steps = event_to_axis(constant(np.arange(self.steps[0], dtype=float)), at)

        def hit(opened: Opened, x: Node) -> Node:
            new = FUNCTIONS["broadcast_to"](constant(value(distribution_of(x), x)), x.shape)
            return x if new is x else apply("where", apply("eq", opened.step, steps), new, x)

        return axis_to_event(total(self._replayed(hit)), at)

    def _hit(self, opened, x: Node, value: Value, tag: str, element: Axis, at: Axis) -> Node:
        new = FUNCTIONS["broadcast_to"](constant(value(distribution_of(x), x, derived(x.args[-1], tag))), x.shape)
        steps = event_to_axis(constant(np.arange(self.steps[0], dtype=float)), at)
        return apply("where", apply("eq", opened.step, steps), replace_one(x, new, element), x)

    def _replayed(self, value) -> list[Node]:
        """The influenced costs, with the site's value replaced in every scan that holds it."""
        costs = list(self.influenced.values())
        mapping = {}
        for node in topological(costs):
            if node.op is scan_op and any(s.name == self.name for s in _inner_sites(node)):
                opened = open_scan(node)
                x = self._find(opened)
                mapping[node] = opened.mapped({x: value(opened, x)}).close()
        return substitute(costs, mapping)

    def mean_trunk(self, rollout: bool) -> tuple[Node, Node, Node]:
        if rollout:
            raise ConditionError(self.where, f'MuProp(rollout=True) was asked for site "{self.name}" inside a scan.',
                                 "Every step would need a trunk of its own.", "Use MuProp().")
        centre = stop_gradient(self._mean_of_steps())
        cut = self._cut(centre, list(self._trunk_costs(centre).values()))
        trunk = self._trunk_costs(cut)
        q = self._suffixes(trunk)
        everything = total(trunk.values())
        self._check_smooth(everything, cut)
        slope = gradients({everything: constant(1.0)}, [cut])[0]
        slope = constant(np.zeros(centre.shape)) if slope is None else slope
        q, slope = substitute([q, slope], {cut: centre})
        return stop_gradient(q), centre, stop_gradient(slope)

    def _mean_of_steps(self) -> Node:
        """The site's mean at every step of the mean-field scan."""
        return mean_field([self.of(lambda dist, x: dist.mean)], {})[0]

    def _trunk_costs(self, value: Node) -> dict[str, Node]:
        """The influenced costs in mean field, but for the site's values, which are given step by step."""

        def inside(opened: Opened) -> Opened:
            x = self._found(opened)
            if x is None:
                return means_inside(opened, {})
            leaf = placeholder(f"{opened.step.attrs.name} {self.name} cut", value.shape[1:], value.axes)
            opened = replace(opened, xs=(*opened.xs, leaf), arrays=(*opened.arrays, value))
            return means_inside(opened, {x: leaf})

        return dict(zip(self.influenced, mean_field(list(self.influenced.values()), {}, inside=inside)))

    def _suffixes(self, trunk: dict[str, Node]) -> Node:
        result = constant(np.zeros(self.steps))
        for cost in trunk.values():
            stacked = cost.op.name == "out" and cost.ndim and cost.shape[0] == self.steps[0]
            result = result + (self._credit(cost, True, True) if stacked else total([cost]))
        return result

    def replaced(self, value: Callable[[Distribution, Node], Node]) -> Draft:
        mapping = {}
        for node in topological(self.draft.roots()):
            if node.op is scan_op and any(s.name == self.name for s in _inner_sites(node)):
                opened = open_scan(node)
                x = self._find(opened)
                new = FUNCTIONS["broadcast_to"](value(distribution_of(x), x.args[-1]), x.shape)
                mapping[node] = opened.mapped({x: new}).close()
        return self.draft.rewritten(mapping)

    def summed_out(self, values: np.ndarray) -> Draft:
        raise ConditionError(
            self.where, f'Enumerate() was asked for site "{self.name}" inside a scan of {self.steps[0]} steps.',
            "All its paths would have to be enumerated together.",
            "Use LocalExpectation(), which sums out one step at a time, or unroll the loop.")


def _inner_sites(scan: Node):
    return sites(scan.attrs.outputs)


def view(place: SiteNode, draft: Draft, flows: Callable[[Node], bool], form: str = "log") -> Site:
    """The site as its estimator sees it."""
    return (ScanSite if place.scan is not None else Site)(place, draft, flows, form)

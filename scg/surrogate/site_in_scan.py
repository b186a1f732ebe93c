"""A site inside a scan, as the estimators see it: its name stands for all its steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np

from scg.analysis.credit import Shares
from scg.analysis.influence import SiteNode, sites
from scg.analysis.mean_field import mean_field, means_inside
from scg.analysis.reach import Reach
from scg.differentiate.reverse_mode import gradients
from scg.distributions.distribution import Distribution
from scg.errors import EstimatorError
from scg.ir.axes import Axes, Axis
from scg.ir.node import Node, as_real, constant
from scg.ir.printer import expression, name_of, short
from scg.ir.traverse import Hook, substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.control import held, stop_gradient
from scg.ops.leaves import derived, feed, placeholder_op
from scg.ops.measure import axis_sum, axis_to_event, event_to_axis
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.reduce import product, total
from scg.ops.scan import Opened, open_scan, scan_op, split
from scg.ops.structure import broadcast_to, reshape, stack
from scg.ops.termination import as_declared, mask_of
from scg.surrogate.by_steps import BySteps, Summand, tried_by_steps
from scg.surrogate.draft import Draft
from scg.surrogate.in_loops import Step, drawn_in, edited, holds, inner, moved_parameters, put_out, running_along
from scg.surrogate.mark import CHANCE_OF_ALL, COSTS
from scg.surrogate.parts import Part, loops_of
from scg.surrogate.redrawn import Anew, chosen, fresh, paths_redrawn, samples_redrawn
from scg.surrogate.replacement import (
    Draw,
    Instead,
    Value,
    all_combinations,
    along_paths,
    drawn_anew,
    draws_of,
    more_worlds,
    replacement,
)
from scg.surrogate.site import Site
from scg.surrogate.step_worlds import Draws, in_worlds, moves_later
from scg.surrogate.to_come import Reached, still_to_come, still_to_come_in_worlds


class ScanSite(Site):
    """A site inside a scan: its name stands for all its steps."""

    def __init__(self, site_node: SiteNode, draft: Draft, flows: Callable[[Node], bool], form: str = "log",
                 reach: Reach | None = None):
        super().__init__(site_node, draft, flows, form, reach)
        self.scan: Node = site_node.scan  # type: ignore[assignment]
        self.loops, self.steps = site_node.loops, site_node.steps
        self._summed_by_steps: dict[bytes, BySteps] = {}
        self.companions: Sequence[Summand] = ()
        self.summed_with: tuple[str, ...] = ()

    def put_out(self, node: Node) -> Node | None:
        steps = getattr(self.node.owner, "steps", {}).get(self.name, ())  # as they were declared
        leaves = {n.id for n in topological([node]) if n.op is placeholder_op}
        if not leaves <= {n.id for step in steps for n in (step.step, *step.carries, *step.xs)}:
            return None
        node = as_real(node)
        for step in reversed(steps):
            over = mask_of(step)
            node = node if over is None else choose(step.carries[over] != 0.0, 0.0, node)  # its draws weigh nothing
            node = replace(step, ys=()).put_out([node])[0]
        return self.by_step(node)

    def by_step(self, node: Node) -> Node:
        """A node that has a dimension for each loop, with one for the steps of all."""
        loops = len(self.loops)
        same = loops == 1 or node.shape[:loops] != self.loops
        return node if same else reshape(node, (*self.steps, *node.shape[loops:]))

    @property
    def of_loops(self) -> Node:
        """Its values, with a dimension for each loop."""
        value = self.value
        return value if len(self.loops) == 1 else reshape(value, (*self.loops, *self.shape))

    def of(self, quantity: Callable[[Distribution, Node], Node]) -> Node:
        return self._output(lambda x: broadcast_to(quantity(distribution_of(x), x), draws_of(x)))

    def of_value(self, value: Callable[[Distribution, Node], Node]) -> Node:
        return self._output(lambda x: broadcast_to(value(distribution_of(x), x), x.shape))

    def of_group(self, quantity: Callable[[Distribution, Node], Node]) -> Node:
        return self._output(lambda x: quantity(distribution_of(x), x))

    def _masks(self) -> bool:
        found = []

        def look(step: Step) -> Opened:
            found.append(distribution_of(step.draw).masked(step.draw, self.fixed) is not None)
            return step.opened

        edited([self.scan], self.name, look, self._opened)
        return any(found)

    def _opened(self, scan: Node) -> Opened:
        opened = open_scan(scan)
        if self.flow is not None and self._may_mask:
            self.flow.learn(opened)
        return opened

    def _output(self, quantity: Callable[[Node], Node]) -> Node:
        """A quantity of the sample node, put out by the scan step by step."""
        return put_out(open_scan(self.scan), self.name, quantity)

    def parameter(self, name: str) -> Node:
        return self._output(lambda x: distribution_of(x).params[name])

    def spelled(self, name: str) -> str:
        _, consts, arrays = split(self.scan)
        body = self.scan.attrs
        names = {leaf.id: expression(n) for leaf, n in zip(body.consts, consts)}
        names |= {leaf.id: name for leaf, name in zip(body.carries, body.called) if name}
        names |= {leaf.id: f"{name_of(n)}[step]" for leaf, n in zip(body.xs, arrays) if name_of(n)}
        return short(as_declared(self.node).params[name], names=names)

    def _draws_in(self, scan: Node) -> bool:
        return scan is self.scan or holds(scan, self.name)

    @cached_property
    def _reached(self) -> list[tuple[bool, ...] | None]:
        """For each part that is put out step by step: which of its steps the site reaches (see `Reached`).

        None for the others.
        """
        known: dict[Node, Reached] = {}
        for part in self.parts:
            if part.by_step and part.source.args[0] not in known:
                known[part.source.args[0]] = Reached(self.name, open_scan(part.source.args[0]))
        return [known[part.source.args[0]].by(part.source.attrs) if part.by_step else None
                for part in self.parts]

    @cached_property
    def cost(self) -> Node:
        """Q̂ₜ: the costs of this step that the site influences, those of all later steps it reaches, and those after."""
        return self.called(COSTS, self._credited(self._nodes, self._credit))

    def _credited(self, nodes: Sequence[Node], credit: Callable[[Node, tuple[bool, ...]], Node],
                  lead: tuple[int, ...] = ()) -> Node:
        """For each step the costs that its draw influences, from the parts.

        `credit` takes them from what is put out step by step; where every step has a world of its own, `lead`.
        """
        result = constant(np.zeros(self.signal_shape))
        for part, node, reached in zip(self.parts, nodes, self._reached):
            if reached is None:
                result = result + self._shared_out(part, part.shares, node, lead, self.credit)
            else:
                summed = part.shares.summed(node, len(lead) + len(reached) - 1, self.draws, self.credit)
                result = result + credit(summed, reached)
        return result

    def _shared_out(self, part: Part, shares: Shares, node: Node, lead: tuple[int, ...],
                    kept: Sequence[int]) -> Node:
        if part.by_step:
            loops = len(loops_of(part.source, self._draws_in))
            node = total(node, axis=tuple(range(len(lead), len(lead) + loops)))
        return super()._shared_out(part, shares, node, lead, kept)

    def _credit(self, per_step: Node, reached: tuple[bool, ...]) -> Node:
        return still_to_come(per_step, self.loops, reached, self.scan.attrs.reverse)

    # --- replays ----------------------------------------------------------------------------------------------------
    @cached_property
    def _at(self) -> Axis:
        """A world for each step in which something is replaced."""
        return Axis(f"{self.name} step", self.steps[0])

    @property
    def _step_worlds(self) -> Axes:
        return (self._at,)

    def _each(self, dims: tuple[int, ...], parts: list[Part], value: Value, tag: str, noise: str) -> Node:
        axis = self._elements(dims)
        sample = value(self.dist, self.node, self.fresh_noise(tag))
        worlds = (*axis, self._at, *more_worlds(constant(sample), self.node))
        anew = fresh(self.name, tag, worlds) if noise == "fresh" else None

        def one_draw(x: Node) -> Node:
            dist = distribution_of(x)
            new = broadcast_to(constant(value(dist, x, derived(x.args[-1], tag))), x.shape)
            return self._replacing(x, self.possible(dist, new, x), axis, dims)

        def replayed(roots: list[Node]) -> list[Node]:
            return self._replayed(roots, one_draw, anew)

        if dims:
            return self._by_draw(dims, parts, self._note(replayed([part.node for part in parts])))
        costs, checks = self._and_checks([part.node for part in parts], replayed)
        self._check_worlds(checks, worlds, self._chance(value, tag))
        return self._by_draw(dims, parts, self._note(costs))

    def _redrawn(self, roots: list[Node], values: Mapping[Site, Draw]) -> list[Node]:
        by_name = {site.name: value for site, value in values.items()}
        # what makes worlds is computed outside of them: there a later step would put out worlds of worlds
        apart = {site.name: site.of_value(value) for site, value in values.items()
                 if more_worlds(constant(value(site.dist, site.node)), site.node)}

        def edit(step: Step) -> Opened:
            opened, now, beside = step.opened, self._now(step.number), dict(zip(apart, step.values))
            draws = [n for n in topological(opened.outputs) if n.op is sample_op and n.attrs.site in by_name]
            anew = {n: beside[n.attrs.site] if n.attrs.site in beside else drawn_anew(n, by_name[n.attrs.site])
                    for n in draws}
            mapping = {n: choose(now, new, n) for n, new in anew.items() if new is not n}
            return opened.mapped(mapping) if mapping else opened

        return self._edited(roots, edit, along=[(array, f"{name} values") for name, array in apart.items()])

    def _check_redrawn(self, checks: Sequence[Node], worlds: Axes) -> None:
        self._check_worlds(checks, (self._at, *worlds), None)

    def _along_worlds(self, node: Node) -> Node:
        element = Axis(f"{self.name} element", int(np.prod(self.draws, dtype=int)))
        by_step = reshape(node, (*self.steps, element.size))
        return event_to_axis(event_to_axis(by_step, self._at), element)

    def _replayed(self, roots: list[Node], new: Callable[[Node], Node], anew: Anew | None = None) -> list[Node]:
        """The roots in worlds where ``new(x)`` is in place of one step's draws x; later sites draw from `anew`."""
        if anew is None:
            return self._edited(roots, lambda s: self._in_worlds(s.opened, s.draw, new, self._now(s.number)))
        hook, paths = samples_redrawn(anew), self.later()

        def own(opened: Opened) -> Opened | None:
            here = drawn_in(opened, self.name) is not None
            return chosen(opened, paths, anew, self._now(opened.step), self._after(opened.step)) if here else None

        self._in_one_loop("later draws were to be made anew", "noise=\"common\"")
        roots = paths_redrawn(roots, paths, anew, own) if paths else roots
        return self._edited(roots, lambda step: self._in_worlds(step.opened, step.draw, new, self._now(step.number),
                                                                lambda y: hook(y, y.args)), hook)

    def _in_one_loop(self, what: str, instead: str) -> None:
        """Refuse what is for a site in one loop only: what is drawn later stands in several places, in nested ones."""
        if len(self.loops) > 1:
            raise EstimatorError(self.where, f'In the worlds of a step of site "{self.name}" {what}.',
                                 "It is drawn in a loop inside a loop: later draws are then made in both.",
                                 f"Use {instead}.")

    def _after(self, number: Node) -> Node:
        """Whether it is a later step than that of the world."""
        at = event_to_axis(constant(np.arange(self.steps[0], dtype=float)), self._at)
        return number < at if self.scan.attrs.reverse else number > at

    def _edited(self, roots: list[Node], edit: Callable[[Step], Opened], hook: Hook | None = None,
                along: Sequence[tuple[Node, str]] = ()) -> list[Node]:
        """The roots, with every scan that holds the site edited."""
        return edited(roots, self.name, edit, self._opened, along=along, hook=hook)

    def _now(self, number: Node) -> Node:
        """Whether it is the step of the world."""
        return number == event_to_axis(constant(np.arange(self.steps[0], dtype=float)), self._at)

    def _in_worlds(self, opened: Opened, x: Node, new: Draws, now: Node, *later: Draws) -> Opened:
        return in_worlds(opened, x, new, now, self._after(opened.step), *later)

    # --- the mean-field pass ---------------------------------------------------------------------------------------
    def _mean_field_parts(self, w: Node, rollout: bool) -> list[Node]:
        """The parts of the costs in mean field, with `w` in place of the site's values, step by step.

        A rollout has a pass for every step, in a world of its own: what was drawn before stays, and the leading
        dimension of the costs is that of the steps.
        """

        def inside(values: Node, opened: Opened) -> Opened:
            x = drawn_in(opened, self.name)
            if x is None and not inner(opened, self.name):
                return means_inside(opened, {})
            opened, leaf = running_along(opened, values, f"{self.name} values", self.name)
            if x is None:
                return means_inside(opened, {}, partial(inside, leaf))
            if rollout:
                return self._in_worlds(opened, x, lambda _: leaf, self._now(opened.step), _mean_of)
            mean = mean_field([_mean_of(x)], {})[0]
            # the value is the leaf's; a change of it reaches later steps through their means, as in a net's layers
            return means_inside(opened, {x: leaf + (mean - stop_gradient(mean))})

        if rollout:
            self._in_one_loop("later draws were to be replaced by their means", "rollout=False")
        keep = topological(self.scan.args) if rollout else ()
        costs = mean_field(self._nodes, {}, keep_others=tuple(keep), inside=partial(inside, w))
        return [axis_to_event(c, self._at) for c in costs] if rollout else costs

    def _placed(self, roots: list[Node], values: Node, instead: Instead | None = None) -> list[Node]:
        paths = partial(along_paths, instead=instead)

        def edit(step: Step) -> Opened:
            opened, x, (leaf,) = step.opened, step.draw, step.values
            again = moves_later(opened, x)

            def later(y: Node) -> Node | None:
                return None if y.attrs.site == self.name and not again else paths(y, y.args)

            return self._in_worlds(opened, x, lambda _: leaf, self._now(step.number), later, held)

        along = [(values, f"{self.name} values")]
        return [axis_to_event(root, self._at) for root in self._edited(roots, edit, paths, along)]

    def _moved(self, roots: list[Node]) -> tuple[list[Node], Node, Node]:
        """All steps' draws are moved at once: later ones, along their paths, by what earlier ones are moved, too."""
        by = self.expansion_point(constant(np.zeros(self.value.shape)), roots)

        def edit(step: Step) -> Opened:
            x, (leaf,) = step.draw, step.values
            path = along_paths(x, x.args) if moves_later(step.opened, x) else None
            return step.opened.mapped({x: (x if path is None else path) + leaf}, along_paths)

        return self._edited(roots, edit, along_paths, [(by, f"{self.name} moved")]), by, constant(np.zeros(by.shape))

    def _check_placed(self, checks: Sequence[Node]) -> None:
        self.checks_in_worlds += [replace(c, node=total(node), drawn=False)
                                  for c, node in zip(self.draft.of_draws, checks)]

    def _mean_field_cost(self, parts: Sequence[Node], rollout: bool) -> Node:
        return self._credited(parts, *((self._credit_in_worlds, self.steps) if rollout else (self._credit,)))

    def _credit_in_worlds(self, per_step: Node, reached: tuple[bool, ...]) -> Node:
        """The same from costs of which every step has a world of its own, in the leading dimension."""
        return still_to_come_in_worlds(per_step, self.loops, reached, self.scan.attrs.reverse)

    def slopes_in_parameters(self, term: Node) -> list[Node]:
        leaves = {name: feed(f"{self.name} {name} moved", (*self.steps, *node.shape))
                  for name, node in self.dist.params.items() if self.flows_into(name)}
        (term,) = self._edited([term], lambda step: moved_parameters(step, [*leaves]),
                               along=[(leaf, f"{self.name} {name}") for name, leaf in leaves.items()])
        found = gradients({term: constant(1.0)}, [*leaves.values()], ("row", "lane"))
        unmoved = {leaf: constant(np.zeros(leaf.shape)) for leaf in leaves.values()}
        return substitute([g for g in found if g is not None], unmoved)

    # --- rewrites ---------------------------------------------------------------------------------------------------
    def replaced(self, value: Value) -> Draft:
        def edit(step: Step) -> Opened:
            return step.opened.mapped(replacement(step.draw, step.draw, value))

        return self.draft.with_roots(self._edited(self.draft.roots(), edit))

    def to_be_replaced(self, value: Value) -> Draft:
        return self.replaced(value)

    def to_be_summed_out(self, values: np.ndarray) -> Draft:
        return self.summed_out(values)

    def summed_out(self, values: np.ndarray) -> Draft:
        found = self._by_steps(values)
        self.summed_with = found.others
        return self._paths_summed_out(values) if found.draft is None else found.draft

    def summed_together(self, values: np.ndarray) -> tuple[int, str]:
        found = self._by_steps(values)
        return found.draws, found.why

    def _by_steps(self, values: np.ndarray) -> BySteps:
        key = np.asarray(values).tobytes()
        if key not in self._summed_by_steps:
            self._summed_by_steps[key] = tried_by_steps(Summand(self, values), self._opened)
        return self._summed_by_steps[key]

    def _paths_summed_out(self, values: np.ndarray) -> Draft:
        grid = all_combinations(values, (*self.steps, *self.draws))
        axis = Axis(f"{self.name} support", len(grid))
        self._note_values((axis,))
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
        masks = self.masks and not self.family.support.event_ndim

        def chance(dist: Distribution, x: Node) -> Node:
            return stack([dist.probability(x), x]) if masks else dist.probability(x)

        chances = self._output(lambda x: chance(distribution_of(x), x))
        # costs must not be put out by another scan than their probabilities: it would draw the same sites once more
        instead = next(n for n in topological([chances]) if n.op is scan_op and holds(n, self.name))
        roots = substitute(self.draft.roots(), {self.scan: instead})

        def edit(step: Step) -> Opened:
            x, leaf = step.draw, step.values[0]
            dist = distribution_of(x)
            return step.opened.mapped({x: self.possible(dist, leaf, dist.unmasked(self.fixed)) if masks else leaf})

        chances, *roots = self._edited([chances, *roots], edit, along=[(v, f"{self.name} values")])
        if masks:  # a path on which another value was looked at has probability 0
            seen = held(chances[:, 1])
            chances = chances[:, 0] * as_real(seen == v)
        return chances, roots

    @property
    def interdependent(self) -> tuple[str, ...]:
        body = self.scan.attrs
        inside = sites(body.outputs)
        mine = next(s for s in inside if s.name == self.name)
        reached = body.downstream([mine.anchor])
        return tuple(s.name for s in inside if s.name != self.name and s.anchor.id in reached
                     and mine.anchor.id in body.downstream([s.anchor]))


def _weighted(node: Node, weight: Node, axis: Axis) -> Node:
    return axis_sum(weight * as_real(node), (axis.name,)) if axis in node.axes else node


def _mean_of(x: Node) -> Node:
    return broadcast_to(distribution_of(x).mean, x.shape)


def view(site_node: SiteNode, draft: Draft, flows: Callable[[Node], bool], form: str = "log",
         reach: Reach | None = None) -> Site:
    """The site as its estimator sees it."""
    return (ScanSite if site_node.scan is not None else Site)(site_node, draft, flows, form, reach)

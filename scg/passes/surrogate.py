"""Estimators rewrite costs and terms, in reverse topological order of their sites.

In: the costs, the places of the sites, an estimator for each. Out: the draft, and a verdict per site. Every objection
is collected before one error is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from scg.analysis.dependence import Dependence
from scg.analysis.influence import SiteNode, sites
from scg.analysis.integers import index_checks
from scg.analysis.kinks import kink_at
from scg.analysis.made_of import MadeOf
from scg.analysis.obstacles import obstacle_text
from scg.analysis.reach import Reach
from scg.analysis.remedies import density_that_ends, of_jump, vouching
from scg.analysis.smoothness import Flow, State, Through, flow, of_beginnings
from scg.errors import BaselineError, ConditionError, EstimatorError, Problem, raise_all
from scg.estimators import Estimator
from scg.estimators.estimator import alternatives
from scg.ir.check import Check
from scg.ir.location import derived_from
from scg.ir.node import Node, where
from scg.ir.op import Smoothness
from scg.ir.printer import short, title
from scg.ir.traverse import downstream, topological
from scg.ops.leaves import param_op
from scg.ops.measure import in_one_size
from scg.strategy import Assignment, Paths, in_groups, path_obstacle, through
from scg.surrogate.by_steps import Summand
from scg.surrogate.domains import domain_checks, mask_checks
from scg.surrogate.draft import Draft
from scg.surrogate.edges import edge_checks, settled
from scg.surrogate.feeding import parameters
from scg.surrogate.redrawn import Drawn, stream_of
from scg.surrogate.rewritten import rewritten
from scg.surrogate.several_sites import Together
from scg.surrogate.site import Site
from scg.surrogate.site_in_scan import view
from scg.verdict import SiteVerdict

STILL = "given the draws before it, its distribution does not depend on what is differentiated"


def build(costs: Mapping[str, Node], sources: Sequence[Node], site_nodes: Sequence[SiteNode],
          assigned: Mapping[str, Assignment], form: str = "log") -> tuple[Draft, dict[str, SiteVerdict]]:
    """The surrogate's draft and the verdicts, for derivatives with respect to the sources: of nothing else is asked.

    Raises
    ------
    EstimatorError, BaselineError, ConditionError
        If an estimator cannot be used at its site, or a differentiated path jumps.
    """
    flows = Flow(dict.fromkeys(sources, 1), through(assigned))
    _check_paths(costs, flows, site_nodes, assigned)
    _check_condition_1(costs, sources, site_nodes, assigned)
    paths = cache(partial(Paths, list(costs.values()), site_nodes, assigned))
    reach = Reach(site_node.name for site_node in site_nodes)
    verdicts: dict[str, SiteVerdict] = {}
    problems: list = []
    checks = domain_checks(costs, site_nodes) + index_checks(list(costs.values()))
    draft = Draft(costs, values=drawn_values(costs, site_nodes), checks=checks)
    standing, still = _Standing(), []
    for group in reversed(in_groups(site_nodes, assigned)):
        estimator = assigned[group[0].name].estimator
        draft = _ready(draft, estimator, group[0])
        found: list[Site] = []

        def seen(site_node: SiteNode, draft: Draft = draft) -> Site:
            site = view(site_node, draft, lambda node: bool(flows(node).differentiated), form, reach)
            site.flow = flows
            return site

        for declared in reversed(group):
            assignment = assigned[declared.name]
            if declared.name in verdicts:  # it was summed out with another
                continue
            site_node = standing.of(declared.name, draft.costs)
            if site_node is None:
                verdicts[declared.name] = _idle(assignment, "no cost depends on it any more")
                continue
            site = seen(site_node)
            site.origin, site.obstructed = assignment.origin, partial(_obstructed, paths, declared)
            site.later = partial(_moved_paths, declared, site_nodes, assigned, draft.costs)
            idle = _nothing_to_do(site, estimator)
            if idle:
                verdicts[site.name] = _idle(assignment, idle, tuple(site.influenced))
                still.append((estimator, site))
                continue
            try:
                site.weighing = estimator.weighing(site)
            except BaselineError as why:
                problems += [(BaselineError, problem) for problem in why.problems]
                continue
            if estimator.sums_out and declared.scan is not None:
                site.companions = _companions(site, site_nodes, assigned, standing, draft.costs, seen)
            objection = estimator.objection(site)
            if objection is not None:
                problems.append((EstimatorError, objection))
                continue
            verdicts[site.name] = _verdict(site, assignment)
            found.insert(0, site)
        if found:
            draft = _rewritten(estimator, found, draft, problems)
            for other in (c.site for site in found for c in site.companions if c.site.name in site.summed_with):
                verdicts[other.name] = _verdict(other, assigned[other.name])
                draft = draft.with_replays(other.replays)
    raise_all(problems)
    _check_learners(draft, sources, still)
    draft = draft.settled()
    _check_smooth(draft, sources)
    draft = draft.with_roots(in_one_size(draft.roots()))
    draft = replace(draft, checks=settled(draft.checks, sources))
    known = {site_node.name for site_node in site_nodes}
    beside = [site_node for site_node in sites(draft.roots()) if site_node.name not in known]  # baselines draw them
    draft = draft.with_checks(domain_checks(costs, beside))
    return draft, {site_node.name: verdicts[site_node.name] for site_node in site_nodes}


def _verdict(site: Site, assignment: Assignment) -> SiteVerdict:
    """What is said of a site that its estimator rewrites."""
    estimator = assignment.estimator
    status, reason = estimator.verdict(site)
    return SiteVerdict(status, reason, estimator, assignment.origin, tuple(site.influenced), site.differentiated,
                       site.credits)


def _companions(site: Site, site_nodes: Sequence[SiteNode], assigned: Mapping[str, Assignment], standing: _Standing,
                costs: Mapping[str, Node], seen: Callable[[SiteNode], Site]) -> list[Summand]:
    """The sites that are drawn in the steps of its loop, and are to be summed out as it is."""
    found = []
    for declared in site_nodes:
        other, estimator = standing.of(declared.name, costs), assigned[declared.name].estimator
        if other is None or other.name == site.name or other.scan is not site.site_node.scan or other.inner:
            continue
        if estimator.sums_out and not site.site_node.inner:
            one = seen(other)
            values = estimator.values_of(one)
            found += [] if values is None or 0 in one.draws else [Summand(one, values)]
    return found


def _nothing_to_do(site: Site, estimator: Estimator) -> str:
    """Why no estimator is needed; empty if one is."""
    if 0 in site.draws:
        return "it has no draws"
    if site.differentiated or estimator.always:
        return ""
    return STILL


def _ready(draft: Draft, estimator: Estimator, first: SiteNode) -> Draft:
    """The draft as the estimator is to see it: what can wait, to be done together with what is to come, waits."""
    if estimator.sums_out and first.scan is None and not draft.replaced:
        return draft
    return draft.settled() if draft.sums or first.scan is not None or estimator.replays else draft


def _rewritten(estimator: Estimator, found: Sequence[Site], draft: Draft, problems: list) -> Draft:
    """What the estimator makes of the draft at one site, or at several together."""
    together = Together(found)
    objection = together.objection()
    if objection is not None:
        problems.append((EstimatorError, objection))
        return draft
    with derived_from(found[0].site_node.node.source):
        try:
            draft = rewritten(estimator, found[0] if estimator.scope == "site" else together, found[0].where)
        except (BaselineError, ConditionError) as why:
            problems += [(type(why), problem) for problem in why.problems]
            return draft
        for site in found:
            draft = draft.with_checks(_edges(estimator, site)).with_checks(site.checks_in_worlds)
            draft = draft.with_checks(_unmasked(estimator, site))
            draft = draft.with_params(site.brought).with_marks(site.marks)
            draft = draft.with_replays(site.replays)
    return draft


def _check_learners(draft: Draft, sources: Sequence[Node], still: Sequence[tuple[Estimator, Site]]) -> None:
    """Refuse a param of which nothing is made but the objective of a site that does not move, and that asks nothing."""
    made_of = MadeOf()
    used = frozenset().union(*map(made_of, [*draft.costs.values(), *(o.node for o in draft.objectives)]))
    alone = {n.id: n for n in sources if n.op is param_op and n.id not in used}
    problems: list = []
    for estimator, site in still if alone else ():
        if estimator.scope != "site" or estimator.objection(site) is not None:
            continue
        try:
            site.weighing = estimator.weighing(site)
            asked = estimator.rewrite(site).objectives[len(site.draft.objectives):]
        except (EstimatorError, BaselineError):
            continue
        for node in (alone[i] for o in asked for i in made_of(o.node) if i in alone):
            problems.append((EstimatorError, Problem(
                site.where, f'The gradient in "{node.attrs.name}" was asked for, which only {estimator} is made of.',
                "Nothing that is differentiated moves the site: it has no score, so there is nothing to be learned.",
                f'Name in wrt= a param that moves the site, too; or leave out "{node.attrs.name}".')))
    raise_all(problems)


class _Standing:
    """Where the sites stand in the costs, which are looked through when they have changed."""

    def __init__(self) -> None:
        self._costs: Mapping[str, Node] | None = None
        self._site_nodes: dict[str, SiteNode] = {}

    def of(self, name: str, costs: Mapping[str, Node]) -> SiteNode | None:
        """The site of that name, or None if no cost depends on it any more."""
        if costs is not self._costs:
            self._costs, self._site_nodes = costs, {s.name: s for s in sites(list(costs.values()))}
        return self._site_nodes.get(name)


def _moved_paths(declared: SiteNode, site_nodes: Sequence[SiteNode], assigned: Mapping[str, Assignment],
                 costs: Mapping[str, Node]) -> dict[Drawn, bool]:
    """What a site moves of those that are written as paths by now; of its own scan, whether in its own step."""
    known, found = Dependence(declared.name), {}
    standing = {site_node.name for site_node in sites(list(costs.values()))}
    for other in site_nodes:
        if other.name in standing or not assigned[other.name].estimator.passes_gradient:
            continue
        if other.scan is not None and other.scan is declared.scan and not other.inner:
            found[stream_of(other.node.args[-1])] = other.node.id in downstream([declared.node], [other.node])
        elif any(known.any(node) for node in parameters(other).values()):
            found[stream_of(other.node.args[-1])] = True
    return found


def _edges(estimator: Any, site: Site) -> Iterable[Check]:
    """Where the parameters may not be, if the estimator must see every value drawn."""
    missing = estimator.misses_at_edges(site)
    return edge_checks(site, str(estimator), estimator.advice_at_an_edge(site)) if missing else ()


def _unmasked(estimator: Any, site: Site) -> Iterable[Check]:
    """That no call excludes a value, if the estimator needs a relaxation of all."""
    return mask_checks(site, estimator.asked(site), estimator.instead_of_masks(site)) if estimator.relaxes else ()


def _idle(assignment: Assignment, reason: str, influenced: tuple[str, ...] = ()) -> SiteVerdict:
    return SiteVerdict("unbiased", reason, assignment.estimator, assignment.origin, influenced, False)


def drawn_values(costs: Mapping[str, Node], site_nodes: Sequence[SiteNode]) -> dict[str, Node]:
    """Each site's value as seen downstream, stacked over steps for a site inside a scan."""
    nothing = Draft(costs)
    return {site_node.name: view(site_node, nothing, lambda node: False).of_loops for site_node in site_nodes}


def _check_paths(costs: Mapping[str, Node], flows: Flow, site_nodes: Sequence[SiteNode],
                 assigned: Mapping[str, Assignment]) -> None:
    """Pathwise sites whose value meets an obstacle on its way to a cost or to a later site's distribution."""
    problems: list = []
    passes = through(assigned)
    followed = [site_node for site_node in site_nodes if passes(site_node.node)]
    paths = Paths(list(costs.values()), site_nodes, assigned) if followed else None
    for site_node in followed:
        if paths is None or not paths.obstructed(site_node) or not _moved(site_node, flows):
            continue
        estimator, family = assigned[site_node.name].estimator, site_node.node.attrs.family
        found = path_obstacle(site_node, list(costs.values()), site_nodes, assigned, list(costs))
        if found is None:
            continue
        others = estimator.advice(_seen(site_node, costs, flows)).rstrip(".")
        if found.moving:
            why = f"Its value moves a bound of the support of {found.behind}, whose estimator needs a fixed support."
            fix = f"{f'{others} here, or' if others else 'Use'} Pathwise() for {found.behind} too."
        else:
            why = (f"On the way stands the {title(found.op)} at {found.op.source}, which {obstacle_text(found.op)}: "
                   "the path derivative misses part of the gradient.")  # fmt: skip
            vouched = vouching(found.op, list(costs.values()))
            ways = (others, family.smoother, vouched and f"{'' if others else 'use '}{vouched}")
            fix = alternatives(*(ways if any(ways) else (
                "Leave the stopped gradient out, or what moves the site out of wrt=",)))
        problems.append((EstimatorError, Problem(
            site_node.where, f"{estimator} cannot differentiate {found.behind} through {family.__name__}.", why, fix)))
    raise_all(problems)


def _obstructed(paths: Callable[[], Paths], site_node: SiteNode) -> bool:
    """Whether a derivative in the site's value would miss a part: asked where another estimator is to be advised."""
    return paths().obstructed(site_node)


def _seen(site_node: SiteNode, costs: Mapping[str, Node], flows: Flow) -> Site:
    """The site before anything is rewritten, with something in the way of its path."""
    site = view(site_node, Draft(costs), lambda node: bool(flows(node).differentiated))
    site.obstructed = lambda: True
    return site


def _moved(site_node: SiteNode, flows: Flow) -> bool:
    """Whether a derivative flows into the site's parameters."""
    return any(flows(node).differentiated for node in parameters(site_node).values())


def _check_condition_1(costs: Mapping[str, Node], sources: Sequence[Node], site_nodes: Sequence[SiteNode],
                       assigned: Mapping[str, Assignment]) -> None:
    """Condition 1 of Schulman et al. on the user's graph: no derivative passes a jump, or a pole that is random.

    Sites' parameters count as well as costs: what jumps there is no less missed.
    """
    roots = [*((f'cost "{name}"', c) for name, c in costs.items()),
             *((f'the {name} of site "{site_node.name}"', node)
               for site_node in site_nodes for name, node in parameters(site_node).items())]
    _refuse_jumps(roots, sources, through(assigned), poles=True)


def _check_smooth(draft: Draft, sources: Sequence[Node]) -> None:
    """The same of the finished surrogate, as to jumps: a family's own formulas have their poles off its support."""
    roots = [*((f'cost "{name}"', c) for name, c in draft.costs.items()),
             *((f'the term of site "{t.site}"', t.node) for t in draft.terms)]
    _refuse_jumps(roots, sources)


def check_objectives(draft: Draft, params: Mapping[str, Node]) -> None:
    """No objective is reached by what learns from it through a jump, or through a draw from what moves.

    Raises
    ------
    ConditionError
    """
    known = flow([o.node for o in draft.objectives], params.values(), draws=True)
    names = " and ".join(f'"{name}"' for name in params)
    problems: list = []
    for o in draft.objectives:
        jump, end = known[o.node.id].jump, _without_derivative(o.node, known)
        node = end if jump is None else jump
        if node is not None:
            kink = kink_at(str(node.source), list(draft.costs.values())) if node is jump else None
            met = title(node) if kink is None else f"the kink of {short(kink)}"
            how = obstacle_text(node) if kink is None else "has a slope that jumps there"
            why = (f"It {how}: the derivative misses part of the gradient." if node is jump else
                   "The path of a draw has a derivative there, and no second one.")
            fix = o.otherwise or "Let it be reached smoothly, and no draw be moved; or give a number in its place."
            problems.append((ConditionError, Problem(
                where(node if kink is None else kink),
                f'The objective "{o.name}" was to be differentiated in {names} through {met}.',
                why, f"{fix.removesuffix('.')}; or leave {names} out of wrt=.")))
    raise_all(problems)


def _without_derivative(root: Node, known: Mapping[int, State]) -> Node | None:
    """A node that a derivative would pass, of an op that has none."""
    return next((n for n in topological([root]) if n.op.kind == "elementwise" and n.op.derivative is None and any(
        known[a.id].differentiated and n.op.smooth_in(i) in (Smoothness.SMOOTH, Smoothness.CONTINUOUS)
        for i, a in enumerate(n.args))), None)


def _refuse_jumps(roots: Sequence[tuple[str, Node]], sources: Sequence[Node],
                  passes: Through = lambda sample: False, poles: bool = False) -> None:
    nodes = [node for _, node in roots]
    known, problems = flow(nodes, sources, passes, poles=poles), []
    missed = {jump: [(label, node) for label, node in roots if known[node.id].jump is jump]
              for _, node in roots if (jump := known[node.id].jump) is not None}
    for jump, ends in missed.items():
        labels = [label for label, _ in ends]
        *some, last = labels[1:] or [""]
        so = f", and so {'were' if some else 'was'} {' and '.join([', '.join(some), last] if some else [last])}"
        below = [node for _, node in ends]
        why, fix = of_jump(jump, below, of_beginnings(jump, nodes, sources, passes))
        density = density_that_ends(jump, below)
        called = title(jump) if density is None else f"a log-density of {density.family}, which ends"
        problems.append((ConditionError, Problem(
            where(jump), f"{labels[0][0].upper()}{labels[0][1:]} was to be differentiated through {called}"
            f"{so if last else ''}.", why, fix)))
    raise_all(problems)

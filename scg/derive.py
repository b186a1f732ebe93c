"""From a declared graph to its surrogate: the first half of the pipeline, which needs no backend."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from scg.analysis.influence import SiteNode, sites
from scg.analysis.reach import Reach
from scg.errors import DeclarationError, EstimatorError, brief, raise_all
from scg.estimators import Estimator
from scg.ir.location import here
from scg.ir.node import Node
from scg.ir.printer import title
from scg.ir.traverse import ancestors
from scg.narrow_margins import narrow_poles
from scg.ops.arithmetic import named_op
from scg.ops.control import without_names
from scg.passes.check import check
from scg.passes.own_draws import of_whole_draws
from scg.passes.stationary import build_stationary
from scg.passes.surrogate import STILL, build, check_objectives, drawn_values
from scg.passes.whole_graph import build_whole
from scg.stopped import cost_verdicts
from scg.strategy import Assignment, Strategy, asked_for, assign, follows_paths, for_chain
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Draft
from scg.surrogate.transition import UNROLLED, Transition
from scg.verdict import CostVerdict, SiteVerdict


def derive(graph, strategy: Strategy = None, *, form: str = "log", wrt: Sequence[str] | None = None,
           costs: Sequence[str] | None = None) -> Derivation:
    """Check the graph, assign estimators, and let them rewrite costs and terms.

    `costs` names those that the objective is the sum of; of the others nothing is asked, and nothing is computed.

    Raises
    ------
    SCGError
        Whatever the checks and estimators refuse.
    """
    if form not in ("log", "ratio"):
        raise DeclarationError(str(here() or ""), f"form={form!r} was asked for.", "A surrogate has two forms.",
                               'Use "log" or "ratio".')
    check(graph)
    graph = _with_costs(graph.as_it_is(), costs)
    targets, others = _targets(graph, wrt)
    summands, targets = _apart(graph, targets)
    site_nodes = tuple(sites(list(summands.values())))
    declared = {name: site.estimator for name, site in graph.sites.items()}
    if graph.transition is not None:
        rule = for_chain(strategy, declared, graph.transition.line, partial(
            follows_paths, list(summands.values()), site_nodes, list(targets.values()))) if targets else None
        if rule is not None and rule.estimator.scope == "graph":
            return _by_one_rule(graph, rule, summands, targets, site_nodes, form)
        strategy = None if rule is None else rule.estimator
    chosen = asked_for(strategy, declared)
    if isinstance(strategy, Estimator) and strategy.scope == "graph":
        return _by_one_rule(graph, Assignment(strategy, "strategy"), summands, targets, site_nodes, form)
    assigned = assign(list(summands.values()), site_nodes, chosen, list(targets.values()))
    with _of_chain(graph.transition):
        draft, verdicts = build(summands, list(targets.values()), site_nodes, assigned, form)
    targets = _with_brought(graph, targets, draft, others)
    moved = {name for name, verdict in verdicts.items() if verdict.differentiated}
    derived = Derivation(graph, site_nodes, draft, _with_idle(graph, verdicts, chosen), form, targets,
                         _of_finite_run(graph, summands, targets) | cost_verdicts(summands, targets, assigned, moved),
                         narrow_poles(summands, targets, site_nodes, assigned))
    check_objectives(draft, {name: x for name, x in derived.auxiliary.items() if name in targets})
    return derived


def _by_one_rule(graph, assignment: Assignment, costs: Mapping[str, Node], targets: Mapping[str, Node],
                 site_nodes: tuple[SiteNode, ...], form: str) -> Derivation:
    """What is derived where one rule rewrites the whole graph."""
    rule, values, still = assignment.estimator, drawn_values(costs, site_nodes), frozenset[str]()
    if rule.stationary:
        transition = _transition(graph, costs, targets, rule)
        draft, status, reason, still = build_stationary(transition, costs, values, targets, site_nodes, rule,
                                                        graph.home)
    else:
        draft, status, reason = build_whole(costs, values, targets, site_nodes, rule, graph.home)
        if graph.transition is not None:
            reason = f"{graph.transition.beginning}, and {reason}"
    reach = Reach(site_node.name for site_node in site_nodes)
    verdicts = {p.name: SiteVerdict(*(("unbiased", STILL) if p.name in still else (status, reason)), rule,
                                    assignment.origin, tuple(reach.influenced(p.name, costs)), p.name not in still)
                for p in site_nodes}
    idle = _with_idle(graph, verdicts, dict.fromkeys(graph.sites, assignment))
    of_costs = _of_means(graph, costs, reason, rule.stationary) if status == "biased" else {}
    return Derivation(graph, site_nodes, draft, idle, form, targets, of_costs)


def _of_finite_run(graph, costs: Mapping[str, Node], targets: Mapping[str, Node]) -> dict[str, CostVerdict]:
    """What is said of a chain's costs under estimators of its sites: its objective is the stationary mean."""
    if graph.transition is None or not targets:
        return {}
    return _of_means(graph, costs, graph.transition.beginning, True)


def _of_means(graph, costs: Mapping[str, Node], reason: str, stationary: bool) -> dict[str, CostVerdict]:
    """That costs are biased for a reason; but for those whose mean is stationary from the first step on."""
    still = graph.transition.still if stationary else ()
    whole = CostVerdict("unbiased", "neither draws nor the state of the chain move it, so each step's is its mean")
    return {name: whole if name in still else CostVerdict("biased", reason) for name in costs}


@contextmanager
def _of_chain(transition: Transition | None) -> Iterator[None]:
    """Errors of what follows paths in a chain name the rules for chains, and no estimators of sites."""
    try:
        yield
    except EstimatorError as why:
        if transition is None:
            raise
        fix = (UNROLLED if transition.hidden else
               "Use LikelihoodRatio(), SPWD(), WeakDerivative() or Regenerative(), which follow no paths.")
        raise_all([(EstimatorError, replace(problem, fix=fix)) for problem in why.problems])


def _transition(graph, costs: Mapping[str, Node], targets: Mapping[str, Node], rule: Estimator) -> Transition:
    """The chain's step, with these costs, as these were rewritten before estimators see them."""
    if graph.transition is None:
        raise EstimatorError(str(here() or ""), f"{rule} was asked for.", "It is for the stationary mean of a chain, "
                             "and the graph has none.", "Declare one, g.chain(step, init=…); or use another estimator.")
    kept = {node.id for node in targets.values()}
    return graph.transition.rewritten(tuple(costs), lambda roots: of_whole_draws(without_names(
        roots, lambda node: node.id not in kept and graph.named_inside(node))))


def _with_costs(graph, names: Sequence[str] | None):
    """A copy of a graph in which the costs are those that are named."""
    if names is None:
        return graph
    if not isinstance(names, (str, Node, Iterable)):
        raise DeclarationError(str(here() or ""), f"costs={names!r} was given.", "That is no name.",
                               "Give a tuple of names of costs.")
    chosen = (names,) if isinstance(names, (str, Node)) else tuple(names)
    offered = f"Its costs are: {', '.join(graph.costs)}."
    if not chosen:
        raise DeclarationError(str(here() or ""), "costs=() was given.", "There is nothing to estimate.",
                               f"{offered} For values without gradients write wrt=(), with a cost that is quick to "
                               "compute; draws and named nodes come with record= in a call.")
    for name in chosen:
        if not isinstance(name, str) or name not in graph.costs:
            asked = f'costs names "{name}".' if isinstance(name, str) else f"costs holds {brief(name)}."
            raise DeclarationError(str(here() or ""), asked, "The graph has no cost of that name.", offered)
    for of_costs in (graph.costs, graph.scales):
        for name in of_costs.keys() - set(chosen):
            del of_costs[name]
    return graph


def _apart(graph, targets: Mapping[str, Node]) -> tuple[dict[str, Node], dict[str, Node]]:
    """The costs and targets, with named nodes that are no targets as the expressions that they name."""
    kept = {node.id for node in targets.values()}
    roots = [*graph.costs.values(), *targets.values()]
    new = iter(of_whole_draws(without_names(roots, lambda node: node.id not in kept and graph.named_inside(node))))
    return {name: next(new) for name in graph.costs}, {name: next(new) for name in targets}


def _with_idle(graph, verdicts: Mapping[str, SiteVerdict], chosen: Mapping[str, Assignment]):
    """Verdicts on the sites too that no cost depends on."""
    out = dict(verdicts)
    for name in graph.sites:
        if name not in out:
            estimator, origin, *_ = chosen.get(name, (None, "policy"))
            out[name] = SiteVerdict("unbiased", "no cost depends on it", estimator, origin, (), False)
    return out


def _with_brought(graph, targets: Mapping[str, Node], draft: Draft, others: Sequence[str] | None) -> dict[str, Node]:
    """The targets, with those params that estimators bring: all of them, or the `others` that were named."""
    found = {p.name: p.leaf for p in draft.params}
    if others is None:
        return {**targets, **found}
    return {**targets, **{name: found[name] if name in found else _target(graph, name) for name in others}}


def _targets(graph, wrt: Sequence[str] | None) -> tuple[dict[str, Node], list[str] | None]:
    """Params and nodes by the names in `wrt`; all params by default. And what is named that the graph does not have."""
    if wrt is None:
        return dict(graph.params), None
    if not isinstance(wrt, (str, Node, Iterable)):
        raise DeclarationError(str(here() or ""), f"wrt={wrt!r} was given.", "That is no name.",
                               "Give a tuple of names of params or nodes.")
    names = (wrt,) if isinstance(wrt, (str, Node)) else tuple(wrt)
    others = [name for name in names if isinstance(name, str) and name not in graph.nodes]
    return {str(name): _target(graph, name) for name in names if name not in others}, others


def _target(graph, name: str) -> Node:
    node = graph.nodes.get(name) if isinstance(name, str) else None
    location = str(here() or "")
    if isinstance(name, Node):
        names = [known for known, node in graph.nodes.items() if node is name]
        fix = (f'Write wrt="{names[0]}".' if names else
               'Name it in this graph, n = g.node("n", …), use n in the costs, and write wrt="n".')
        raise DeclarationError(location, f"wrt was given the {title(name)}.", "It takes names.", fix)
    if node is None:
        raise DeclarationError(location, f'wrt names "{name}".', "The graph has no param or node of that name.",
                               f"Its params and nodes are: {', '.join(graph.nodes) or 'none'}.")
    varies = {ax.name for ax in node.axes}
    why, fix = "", "Name params, inputs, data, or nodes that no sample reaches."
    if "lane" in varies:
        why = "It depends on samples, so it differs from replicate to replicate, and so would the gradient."
    if name in graph.per_step:
        why = "It is declared inside a scan's step, and has a value per step."
    if why:
        raise DeclarationError(location, f'wrt names "{name}".', why, fix)
    if node.op is named_op and graph.named_inside(node):
        used = ancestors(graph.costs.values())
        if node.id not in used and node.args[0].id in used:
            raise DeclarationError(location, f'wrt names "{name}".', "The costs do not use what g.node returned, but "
                                   "the expression that it was given, which is another node.",
                                   f'Write n = g.node("{name}", …), and use n.')
    return node

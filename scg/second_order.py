"""Second derivatives: the estimator's own graph is a stochastic computation graph, and is compiled once more.

Let g(x, θ) be what one replicate contributes to ∇F, so that E[g] = ∇F at every θ. Then Hv is the gradient of
E[g · v], an expected cost like any other: what was stopped in g is a value again, its draws are sites, and estimators
are derived for it (Schulman et al. 2015, section 3.3). To differentiate a surrogate twice would be wrong: its signals
are frozen (Foerster et al. 2018).

In: a graph, a strategy, what is differentiated. Out: the derivation whose gradients are H v, of a graph that has for
each of them one leaf more, the direction.

For g it takes the path where the strategy's estimator passes the gradient, and the score function elsewhere: g must be
a function of the draws alone, and not of the noise behind them or of draws in other worlds, which estimators of the
second step do not know of. The score times a baseline has mean 0 at every θ, whatever the baseline is: in g it counts
as a constant, which keeps what it does for the variance (as the baseline of any order by Mao et al. 2019 does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from scg.analysis.bounds import Ranges
from scg.analysis.reach import sum_of
from scg.analysis.stops import looked_through, written_plainly
from scg.baselines import LeaveOneOut
from scg.derive import derive
from scg.differentiate.reverse_mode import gradients
from scg.errors import ConditionError, EstimatorError
from scg.estimators import Estimator, ScoreFunction
from scg.ir.axes import ROW
from scg.ir.check import Check
from scg.ir.location import calling
from scg.ir.node import Node, constant
from scg.ir.op import Smoothness
from scg.ir.traverse import rebuild, substitute, topological
from scg.ops.control import held, stop_gradient
from scg.ops.leaves import data, input_leaf, noise_op, placeholder
from scg.ops.measure import in_one_size, leave_one_out_op, standing_for
from scg.ops.randomness import sample_op
from scg.ops.scan import Opened, open_scan, scan_op
from scg.passes.scans import merge_scans
from scg.strategy import Strategy
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Draft
from scg.surrogate.edges import edge_checks, settled
from scg.surrogate.site_in_scan import view
from scg.verdict import SiteVerdict

ASKED = "A second derivative was asked for."


class SecondOrder(NamedTuple):
    """What is derived for products with the Hessian.

    Attributes
    ----------
    derivation : Derivation
        Its gradients are those of the directional derivative ∇F · v.
    directions : dict of str to str
        For each name that F is differentiated with respect to, the name of the leaf that holds its part of v.
    """

    derivation: Derivation
    directions: dict[str, str]


def second_order(first: Derivation, strategy: Strategy, wrt: Sequence[str] | None, paths: bool = True) -> SecondOrder:
    """Derive products with the Hessian of the expected cost.

    Parameters
    ----------
    first : Derivation
        What was derived for the gradient, under the same strategy.
    strategy : Estimator or dict, optional
        As for `scg.compile`.
    wrt : sequence of str, optional
        As for `scg.compile`.
    paths : bool
        Whether a site for which the policy chose a path is taken along it in g; else it is scored there.

    Raises
    ------
    EstimatorError
        If an estimator is biased, or one for the whole graph.
    ConditionError
        If the second derivative jumps.
    """
    _check(first)
    graph = first.graph
    asked = {name: (v.estimator, v.origin) for name, v in first.verdicts.items()
             if v.estimator is not None and v.influenced}
    summed = all(estimator.always for estimator, _ in asked.values())  # then no draw is left, and g is ∇F itself
    by_draws: dict[str | tuple[str, ...], Estimator] = {
        name: estimator if summed else _of_draws(estimator, paths or origin != "policy")
        for name, (estimator, origin) in asked.items()}
    once = derive(graph, by_draws, wrt=wrt)
    moved = {name: x for name, x in once.targets.items() if name not in once.auxiliary}
    again = graph.as_it_is()
    directions = {name: _unclaimed(f"direction of {name}", again) for name in moved}
    leaves = {name: (data if ROW in x.axes else input_leaf)(graph.home, directions[name], x.shape)
              for name, x in moved.items()}
    for name, leaf in leaves.items():
        (again.rows if ROW in leaf.axes else again.inputs)[directions[name]] = leaf
    constants, costs = _directional(once, moved, leaves)
    again.costs.clear(), again.scales.clear()
    again.costs.update(costs)
    found = derive(again, _for_products(strategy, first.verdicts), wrt=tuple(moved))
    back = {leaf: stop_gradient(mean) for mean, leaf in constants.items()}
    found.graph.costs.update(zip(costs, substitute(list(costs.values()), back)))  # read to say what is not finite
    draft = found.draft.rewritten(back).with_checks(_edges(first, by_draws, moved))
    return SecondOrder(replace(found, draft=draft.with_roots(in_one_size(draft.roots()))), directions)


def _check(first: Derivation) -> None:
    """Refuse what has no Hessian: a gradient that is not that of the expected cost."""
    where = calling(first.graph.name)
    if first.graph.transition is not None:
        raise EstimatorError(where, ASKED, "The rules for stationary means are for first derivatives.",
                             "Take differences of gradients at two values of the params, with the same rng=.")
    for name, verdict in first.verdicts.items():
        if verdict.influenced and verdict.estimator is not None and verdict.estimator.scope == "graph":
            raise EstimatorError(where, ASKED, f"{verdict.estimator} is a rule for first derivatives.",
                                 "Give each site an estimator of its own.")
        if verdict.status == "biased":
            raise EstimatorError(where, ASKED,
                                 f'At site "{name}" {verdict.estimator} is biased: its gradient is not that of the '
                                 "expected cost.", f'Give "{name}" one that is not, e.g. scg.ScoreFunction().')
    for name, of_cost in first.of_costs.items():
        if of_cost.status == "biased":
            raise EstimatorError(where, ASKED,
                                 f'The gradient of cost "{name}" is biased: {of_cost.reason}.', "Do not stop it there.")


def _of_draws(estimator: Estimator, path: bool) -> Estimator:
    """The estimator for g: a function of the draws, or of their path."""
    if estimator.passes_gradient and path:
        return estimator
    if estimator.always:
        return ScoreFunction()  # what is summed out has no use for a baseline
    given = estimator.subtracted
    return ScoreFunction(baseline=given if given is not None and given.couples else LeaveOneOut())


def _for_products(strategy: Strategy, verdicts: Mapping[str, SiteVerdict]) -> Strategy:
    """What is asked for, with leave-one-out baselines in place of those made for Q̂, which is another signal."""
    if isinstance(strategy, Estimator):
        return _without_own_baseline(strategy)
    declared = {name: v.estimator for name, v in verdicts.items() if v.estimator is not None and v.origin == "site"}
    return {names: _without_own_baseline(e) for names, e in {**declared, **(strategy or {})}.items()}


def _edges(first: Derivation, by_draws: Mapping[str | tuple[str, ...], Estimator],
           moved: Mapping[str, Node]) -> tuple[Check, ...]:
    """Where the parameters may not be because the score misses a part, though what was asked for misses none."""
    found: list[Check] = []
    for site_node in first.site_nodes:
        asked, scored = first.verdicts[site_node.name].estimator, by_draws.get(site_node.name)
        if asked is None or scored is None:
            continue
        site = view(site_node, Draft(first.graph.costs), lambda node: True)
        if scored.misses_at_edges(site) and not asked.misses_at_edges(site):
            found += edge_checks(site, f"The score, of which {asked} makes second derivatives,",
                                 "Use Enumerate() for all sites; or keep the parameter off its edge.")
    return settled(found, moved.values())


def _without_own_baseline(estimator: Estimator) -> Estimator:
    given = estimator.subtracted
    return estimator if given is None or given.couples else estimator.with_baseline(LeaveOneOut())


def _directional(once: Derivation, moved: Mapping[str, Node],
                 leaves: Mapping[str, Node]) -> tuple[dict[Node, Node], dict[str, Node]]:
    """g · v, in parts: of each cost, and of each site's terms; and the leaves that stand for baselines in them."""
    draft = once.draft
    parts = {along(name): [cost] for name, cost in draft.costs.items()}
    for term in draft.terms:
        parts.setdefault(score_of(term.site), []).append(term.node)
    roots = written_plainly([sum_of(nodes) for nodes in parts.values()])
    means = [n for n in topological(roots) if n.op is leave_one_out_op]
    constants = {n: standing_for(n, f"baseline {i}") for i, n in enumerate(means)}
    found = {}
    for name, root in zip(parts, substitute(roots, constants)):
        slopes = gradients({root: constant(1.0)}, list(moved.values()), ("row", "lane"))
        products = [(g * leaves[target]).sum() for target, g in zip(moved, slopes) if g is not None]
        if products:
            found[name] = sum_of(products)
    if not found:
        raise ConditionError(calling(once.graph.name), ASKED,
                             "Nothing that is differentiated moves the costs.", "Name in wrt= a param that does.")
    whole = _almost_everywhere(looked_through(list(found.values())))
    return constants, dict(zip(found, _drawn_in_one_place(whole)))


def along(cost: str) -> str:
    """What the part of the first derivative that follows a cost's path is called."""
    return f"along {cost}"


def score_of(site: str) -> str:
    """What the part is called that a site's score weighs."""
    return f"score of {site}"


def _drawn_in_one_place(roots: Sequence[Node]) -> list[Node]:
    """The roots, where a loop that goes back over another one's steps reads what was drawn there.

    A derivative computes again in each step what it needs of it, draws too; a site stands in one loop only.
    """
    roots = merge_scans(roots)
    while (found := _drawn_again(roots)) is not None:
        name, first, again = found
        stacked = open_scan(first)
        values = stacked.put_out([_draw(stacked, name)])[0]
        opened = open_scan(again)
        leaf = placeholder(f"{opened.step.attrs.name} {name}", values.shape[1:], values.axes)
        reading = replace(opened, xs=(*opened.xs, leaf), arrays=(*opened.arrays, values))
        read = reading.mapped({_draw(opened, name): leaf}).close()
        roots = merge_scans(substitute(substitute(roots, {again: read}), {first: values.args[0]}))
    return roots


def _drawn_again(roots: Sequence[Node]) -> tuple[str, Node, Node] | None:
    """A site that two loops draw, and these, the first one first."""
    places: dict[str, Node] = {}
    for node in topological(roots):
        if node.op is not scan_op:
            continue
        for name in dict.fromkeys(n.attrs.site for n in topological(node.attrs.outputs) if n.op is sample_op):
            if places.setdefault(name, node) is not node:
                return name, places[name], node
    return None


def _draw(opened: Opened, name: str) -> Node:
    return next(n for n in topological(opened.outputs) if n.op is sample_op and n.attrs.site == name)


def _almost_everywhere(roots: Sequence[Node]) -> list[Node]:
    """The roots, where slopes jump at kinks that have probability 0 wherever the parameters move.

    What has no density jumps at isolated values of the parameters only, at which no second derivative is. And a
    comparison of numbers that do not pass each other says the same everywhere.
    """
    ranges = Ranges()
    dense: set[int] = set()
    memo: dict[int, Node] = {}
    for node in topological(roots):
        if node.op is noise_op or any(a.id in dense for a in node.args):
            dense.add(node.id)
        if node.op is sample_op:
            (dense.discard if node.attrs.family.support.integral else dense.add)(node.id)
        args = tuple(memo[a.id] for a in node.args)
        if node.op is not sample_op and (not any(a.id in dense for a in node.args) or _apart(node, ranges)):
            args = tuple(held(a) if a.kind != "bool" and not a.is_const
                         and node.op.smooth_in(i) is Smoothness.DISCONTINUOUS else a for i, a in enumerate(args))
        memo[node.id] = node if all(a is b for a, b in zip(args, node.args)) else rebuild(node, args)
    return [memo[root.id] for root in roots]


def _apart(node: Node, ranges: Ranges) -> bool:
    """Whether a comparison is of two numbers of which one is never above, or never below, the other."""
    if node.kind != "bool" or len(node.args) != 2 or any(a.kind == "bool" for a in node.args):
        return False
    a, b = map(ranges, node.args)
    return a.high <= b.low or b.high <= a.low


def _unclaimed(name: str, graph) -> str:
    while name in graph.nodes or name in graph.sites or name in graph.costs:
        name += "'"
    return name

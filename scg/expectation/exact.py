"""Exact costs and gradients: enumeration of finite graphs, Gauss quadrature for up to three continuous draws.

Of a chain they are those of its stationary law (`stationary_law`).

Every path of the sites is a lane; of a finite graph of too many paths the sites are summed out by elimination, as far
as that can be. A lane's weight is a node, the product of the sites' probabilities, so its derivative
is exact too; for a continuous site it is the ratio of densities p/⊥p, and the lane carries the quadrature's weight.

Quadrature is not trusted: a cost that jumps as a site moves is refused, and so is one on which two orders disagree, or
the rule and many points along one site at a time. Each cost and each element of a gradient is compared in its own unit.
What is narrower than these points' spacing goes unseen. Of a Poisson site two orders are two numbers of counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scg import backend
from scg.analysis.influence import SiteNode, sites
from scg.analysis.integers import index_checks, not_of_indices
from scg.analysis.kinks import kink_of
from scg.analysis.obstacles import obstacle_text
from scg.analysis.reach import sum_of
from scg.analysis.smoothness import Flow
from scg.analysis.stops import looked_through
from scg.differentiate.reverse_mode import gradients
from scg.errors import CallError, ExactError, NonFiniteError, raise_all
from scg.expectation import paths
from scg.expectation.exact_estimate import ExactEstimate as ExactEstimate
from scg.expectation.integral import Integral as Integral
from scg.expectation.paths import Rule, every_path
from scg.expectation.stationary_law import in_the_long_run
from scg.expectation.summed_out import summed_out
from scg.ir.check import Check
from scg.ir.location import calling
from scg.ir.node import Node, constant, where
from scg.ir.printer import title
from scg.ir.signed import signed
from scg.ops.control import stop_gradient
from scg.ops.measure import expect
from scg.ops.randomness import distribution_of
from scg.passes.check import check
from scg.passes.scans import merge_scans, prune_scans
from scg.progress import Steps
from scg.run.by_name import ByName
from scg.run.values import Values, bind
from scg.strategy import path_obstacle
from scg.surrogate.domains import domain_checks
from scg.surrogate.feeding import densities, feed_sites
from scg.surrogate.replacement import draws_of

MOST_CONTINUOUS = 3
ORDERS = {0: (1,), 1: (64, 96), 2: (40, 56), 3: (20, 28)}  # by the number of directions in which sites can move
AGREE = 1e-7  # relative difference of two rules
NOISE = 1e-12  # what of the sizes of the summands a difference may be where these cancel
MOST_KEPT = 1 << 24  # contributions to gradients, lane by lane
BESIDE = {1: 0, 2: 16, 3: 8}  # order at the other sites while one is looked at closely
CLOSE = (1 << 12, 1 << 16)  # points with which a site is looked at closely: at least, at most
CLOSE_LANES = 1 << 17


@dataclass(frozen=True)
class Task:
    """What is integrated: a graph's costs as functions of their values, with nothing stopped in them; and its sites.

    And what moves with its params.
    """

    graph: Any
    costs: Mapping[str, Node]
    site_nodes: Sequence[SiteNode]
    checks: Sequence[Check]
    flow: Flow


def _task(graph) -> Task:
    costs = dict(zip(graph.costs, looked_through(list(graph.costs.values()))))
    site_nodes = sites(list(costs.values()))
    flow = Flow(dict.fromkeys(graph.params.values(), 1), lambda node: not node.attrs.family.support.integral)
    return Task(graph, costs, site_nodes, domain_checks(costs, site_nodes) + index_checks(list(costs.values())), flow)


def integrate(graph, values: Mapping[str, Any]) -> Integral:
    """The exact objective and its gradient.

    Raises
    ------
    ExactError
        If the graph has too many paths, more than three continuous draws, or a cost that jumps as one of them moves, or
        for which two rules disagree (one that grows too fast, or has a narrow peak).
    """
    check(graph)
    bound = bind(graph, values)
    if graph.transition is not None:
        return _of_chain(graph, bound)
    task = _task(graph)
    site_nodes = task.site_nodes
    continuous = [p for p in site_nodes if distribution_of(p.node).support_values() is None]
    if not continuous and sum(map(_size, site_nodes)) > math.log2(paths.MOST_PATHS) * (1.0 + 1e-12):
        return _by_elimination(task, bound)
    _refuse_unfit(task, continuous)

    def by(rule: Rule) -> Integral:
        return _mean_over_rows(task, bound, rule)

    draws = _draws(continuous)
    results = [by(Rule(dict.fromkeys(draws, order))) for order in ORDERS[_directions(continuous)]]
    _refuse_nonfinite(graph, results[-1])
    if len(results) > 1:
        kink = kink_of(list(task.costs.values()), [p.node for p in continuous])
        _compare(results[0], results[-1], continuous[0], "Two orders of Gauss quadrature", kink)
        for draw in draws:
            _look_closely(by, draw, continuous, site_nodes, bound.rows, kink)
    return results[-1]


def _of_chain(graph, bound: Values) -> Integral:
    """The stationary mean of a chain: the run that was declared is one way to estimate it."""
    found = in_the_long_run(graph, bound)
    integral = Integral.summed(sum(found.costs.values()), found.costs, found.grad, states=found.states)
    _refuse_nonfinite(graph, integral)
    return integral


def _by_elimination(task: Task, bound: Values) -> Integral:
    """The integral of a finite graph of too many paths, site after site summed out."""
    costs, checks = summed_out(task.costs, list(task.graph.params.values()), task.site_nodes)
    found = _mean_over_rows(Task(task.graph, costs, (), checks, task.flow), bound, Rule({}))
    _refuse_nonfinite(task.graph, found)
    return Integral.summed(found.cost, found.costs, found.grad)


def _size(site_node: SiteNode) -> float:
    """How many values the draws of a site have, all steps and elements together: the logarithm to base 2."""
    steps = 1 if site_node.scan is None else site_node.scan.attrs.length
    values = distribution_of(site_node.node).support_values()
    return steps * math.prod(draws_of(site_node.node)) * math.log2(max(len(values), 1))  # type: ignore[arg-type]


def _look_closely(by: Callable[[Rule], Integral], draw: tuple[str, int], continuous, site_nodes, rows: int,
                  kink: Node | None) -> None:
    """A second opinion along one draw, that sees what lies between the points of Gauss quadrature."""
    site_node = next(p for p in continuous if p.name == draw[0])
    if site_node.node.attrs.family.support.integral or not site_node.node.attrs.family.can("fine_quadrature"):
        return
    directions = _directions(continuous)
    beside = BESIDE[directions]
    orders = dict.fromkeys(_draws(continuous), beside) | {draw: ORDERS[directions][-1]}
    paths = rows * beside ** (directions - 1)
    for other in site_nodes:
        support = distribution_of(other.node).support_values()
        if support is not None:
            paths *= len(support) ** math.prod((*other.steps, *draws_of(other.node)))
    points = int(np.clip(CLOSE_LANES // paths, *CLOSE))
    _compare(by(Rule(orders)), by(Rule(orders, draw, points)), site_node,
             f'Gauss quadrature and {points} points along site "{site_node.name}"', kink)


def _draws(continuous: Sequence[SiteNode]) -> list[tuple[str, int]]:
    """The draws of the sites, each by the site's name and a number."""
    return [(p.name, i) for p in continuous for i in range(math.prod(draws_of(p.node)))]


def _directions(continuous: Sequence[SiteNode]) -> int:
    """The dimension of what is integrated over."""
    return sum(distribution_of(p.node).dimensions * math.prod(draws_of(p.node)) for p in continuous)


def _refuse_unfit(task: Task, continuous: Sequence[SiteNode]) -> None:
    for site_node in continuous:
        family = site_node.node.attrs.family
        if not family.can("quadrature"):
            raise ExactError(site_node.where, "scg.exact was asked for.", f"{family.__name__} has no quadrature rule.",
                             "Use scg.compile and many samples.")
        if site_node.scan is not None:
            raise ExactError(site_node.where, "scg.exact was asked for.",
                             f'Site "{site_node.name}" is drawn in each step of a loop, and takes too many values.',
                             "Use scg.compile and many samples; or write the steps as a Python loop, if there are "
                             f"up to {MOST_CONTINUOUS}.")
        jump = None if family.support.integral else path_obstacle(
            site_node, list(task.costs.values()), task.site_nodes, {}, list(task.costs), stops=False)
        if jump is not None:
            raise ExactError(site_node.where, "scg.exact was asked for.",
                             f'Gauss quadrature cannot integrate {jump.behind} over site "{site_node.name}": on the '
                             f"way stands the {title(jump.op)} at {jump.op.source}, which {obstacle_text(jump.op)}.",
                             "Use scg.compile and many samples; or scg.assume_continuous(node) if you know the node to "
                             "be continuous.")
    if _directions(continuous) > MOST_CONTINUOUS:
        raise ExactError(calling(task.graph.name), "scg.exact was asked for.",
                         f"It has {_directions(continuous)} continuous draws; quadrature is for up to "
                         f"{MOST_CONTINUOUS}.",
                         "Use scg.compile and many samples.")


def _compare(coarse: Integral, fine: Integral, site_node: SiteNode, rules: str, kink: Node | None) -> None:
    """Refuse what two rules disagree on; where it has a kink, that is why, as far as one can tell."""
    pairs = [(f"cost {name!r}", coarse.costs[name], fine.costs[name], fine.costs_size[name]) for name in fine.costs]
    pairs += [(repr(name), coarse.grad[name], fine.grad[name], fine.grad_size[name]) for name in fine.grad]
    for name, a, b, size in pairs:
        off = np.abs(np.subtract(a, b))
        if not np.all(off <= AGREE * np.abs(b) + NOISE * np.asarray(size)):
            raise ExactError(
                where(site_node.node), "scg.exact was asked for.",
                f"{rules} disagree by {np.max(off):.1e} on {name}: " + (
                    "a cost, or what a parameter's derivative multiplies it by, is not smooth enough, grows too fast, "
                    "or has a narrow peak." if kink is None else f"the {title(kink)} at {kink.source} has a kink."),
                "Use scg.compile and many samples.")  # fmt: skip


def _mean_over_rows(task: Task, bound: Values, rule: Rule) -> Integral:
    parts = [_one_row(task, row, rule) for row in bound.by_row()]
    weight = 1.0 / len(parts)

    def mean(of: Callable[[Integral], Mapping[str, Any]]) -> dict[str, Any]:
        return {n: np.sum([of(p)[n] for p in parts], axis=0) * weight for n in of(parts[0])}

    return Integral(sum(p.cost for p in parts) * weight,
                    {n: float(v) for n, v in mean(lambda p: p.costs).items()}, mean(lambda p: p.grad),
                    sum(p.cost_size for p in parts) * weight, mean(lambda p: p.costs_size), mean(lambda p: p.grad_size))


def _refuse_nonfinite(graph, found: Integral) -> None:
    wrong = [f'cost "{n}"' for n, c in found.costs.items() if not np.isfinite(c)] or \
            [f'gradient in "{n}"' for n, g in found.grad.items() if not np.all(np.isfinite(g))]
    if wrong:
        raise NonFiniteError(calling(graph.name), f"The exact {' and '.join(wrong)} was asked for.",
                             "It is not finite at some value that the sites can take.",
                             "Keep costs finite wherever the sites can be.")


def _one_row(task: Task, bound: Values, rule: Rule) -> Integral:
    graph, site_nodes, checks = task.graph, task.site_nodes, task.checks
    costs = list(task.costs.values())
    ps = densities(costs, site_nodes, task.flow)
    lanes = every_path(bound, task.site_nodes, rule, task.flow)
    fed = feed_sites([*costs, *ps, *(c.node for c in checks)], lanes.leaf, task.flow)
    n, m = len(costs), len(costs) + len(ps)
    costs, ps, failures = fed[:n], fed[n:m], fed[m:]
    mass = float(np.sum(lanes.measure))
    chances = {site_node.name: lanes.chances.get(site_node.name, p) for site_node, p in zip(site_nodes, ps)}
    weights = [_weight(mass, chances, {p.name for p in sites([cost])}) for cost in task.costs.values()]
    weight = _weight(mass, chances, set())
    weighted = [sum_of([c]) * w for c, w in zip(costs, weights)]
    params = list(graph.params.values())
    whole = sum_of(weighted)
    by_lane = lanes.count * sum(p.size for p in params) <= MOST_KEPT
    grads = gradients({whole: constant(1.0)}, params, ("lane",) if by_lane else ())
    grads = [constant(np.zeros(p.shape)) if g is None else g for p, g in zip(params, grads)]
    numpy = backend.load("numpy")
    sums = [*weighted, *grads]
    wanted = [*(expect(c * weight) for c in failures), *map(expect, sums), *(expect(abs(c)) for c in sums)]
    if lanes.count > paths.AT_ONCE:
        wanted = prune_scans(merge_scans(wanted))
    out = [np.asarray(0.0)] * len(wanted)
    with Steps(lanes.count, "computing the costs of all paths", "path") as shown:
        for some in lanes.in_parts():
            shown.at()
            part = float(np.sum(some.measure))
            evaluation = numpy.Evaluation(bound.arrays, {"row": 1, "lane": some.count}, fed=some.values,
                                          measure=some.measure / part)  # derivation may take E[1] = 1 for granted
            out = [so_far + (part / mass) * v for so_far, v in zip(out, numpy.evaluate(wanted, evaluation))]
            shown.done(some.count)
    failed = [c for c, times in zip(checks, out) if times != 0.0]
    raise_all([(CallError, c.problem) for c in not_of_indices(failed)])
    found, sizes = np.split(np.fromiter(out[len(checks):], dtype=object), 2)
    by_cost = {name: float(v) for name, v in zip(graph.costs, found)}
    by_cost_sizes = {name: float(v) for name, v in zip(graph.costs, sizes)}
    names = [p.attrs.name for p in params]
    grad_sizes = {name: np.asarray(v) for name, v in zip(names, sizes[n:])}
    if not by_lane:  # without what cancelled among lanes, the sizes are those of the largest elements
        grad_sizes = {name: np.full(v.shape, np.max(v, initial=0.0)) for name, v in grad_sizes.items()}
    return Integral(float(sum(by_cost.values())), by_cost, {m: np.asarray(v) for m, v in zip(names, found[n:])},
                    sum(by_cost_sizes.values()), by_cost_sizes, grad_sizes)


def _weight(mass: float, chances: Mapping[str, Node], above: set[str]) -> Node:
    """How likely a path is, differentiated for the sites above a cost: others add 0 to its slope, but for rounding."""
    weight = constant(mass)
    for name, p in chances.items():
        weight = weight * (p if name in above else stop_gradient(p))
    return weight


@signed
def exact(graph, values: Mapping[str, Any]) -> ExactEstimate:
    """The exact objective and gradient of a graph, by enumeration, elimination and Gauss quadrature.

    Parameters
    ----------
    graph : Graph
        Of a chain both are those of its stationary law, where it has few states: `burn_in` and `horizon` have no say.
    values : dict of str to array_like
        Every param, input and data leaf.

    Raises
    ------
    ExactError
        If the graph has too many paths, and elimination does not help, more than three continuous draws, or a cost
        that quadrature cannot integrate; if a chain has more than 4,096 states, or several laws.
    """
    found = integrate(graph, values)
    grad = ByName(((n, np.asarray(g)) for n, g in found.grad.items()), "e.grad", "Ask for a param.")
    return ExactEstimate(found.cost, ByName(found.costs, "e.costs", "Ask for a cost."), grad, bind(graph, values).rows,
                         found.states)

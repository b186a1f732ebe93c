"""Every path of a graph's sites: their values and weights, a lane for each.

Of a finite site these are its values; of a continuous one the points of a quadrature, as its parameters are on the path
so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scg import backend
from scg.analysis.influence import SiteNode
from scg.analysis.smoothness import Flow
from scg.errors import CallError, ExactError
from scg.functions import exp
from scg.ir.node import Node
from scg.ir.printer import short
from scg.ops.control import stop_gradient
from scg.ops.randomness import distribution_of
from scg.ops.reduce import total
from scg.run.values import Values
from scg.surrogate.feeding import feed_sites, leaf_of
from scg.surrogate.replacement import all_combinations, draws_of

MOST_PATHS = 1 << 21
AT_ONCE = 1 << 12  # paths whose costs are computed together
RESOLVED = 1e-6  # of a gap between two points, what rounding may be


@dataclass(frozen=True)
class Rule:
    """Orders of Gauss quadrature by draw; one draw may be looked at closely instead, with so many points.

    A draw is one of the continuous ones of a site, by the site's name and the draw's number in it.
    """

    orders: Mapping[tuple[str, int], int]
    close: tuple[str, int] | None = None
    points: int = 0


@dataclass
class Paths:
    """Every path of the sites: fed values, weights, and the sites whose support their parameters may move.

    Of these, what is `moved` is a function of a value that is fed in their place, and `chances` are the p/⊥p of that.
    """

    count: int
    values: dict[str, np.ndarray]
    measure: np.ndarray
    moved: dict[str, Node]
    chances: dict[str, Node]

    def leaf(self, site_node: SiteNode) -> Node:
        """What is fed for a site."""
        return self.moved.get(site_node.name, leaf_of(site_node))

    def in_parts(self) -> Iterator[Paths]:
        """The same, some lanes at a time: what is computed of them stays in the processor's cache."""
        for a in range(0, self.count, AT_ONCE):
            some = slice(a, a + AT_ONCE)
            yield Paths(len(self.measure[some]), {name: v[some] for name, v in self.values.items()},
                         self.measure[some], self.moved, self.chances)


def every_path(bound: Values, site_nodes: Sequence[SiteNode], rule: Rule, flow: Flow) -> Paths:
    """All paths of one row.

    Raises
    ------
    ExactError
        If they are too many, or values of a site cannot be told apart.
    CallError
        If a parameter of a continuous site is outside of its range on a path.
    """
    lanes = Paths(1, {}, np.ones(1), {}, {})
    for site_node in site_nodes:
        dist = distribution_of(site_node.node)
        shape = site_node.steps + draws_of(site_node.node)
        count = int(np.prod(shape, dtype=int))
        support = dist.support_values()
        if support is not None:
            if count * math.log2(len(support)) > 64 or lanes.count * len(support) ** count > MOST_PATHS:
                raise _too_many(site_node)
            grid = all_combinations(support, shape)
            _extend(lanes, site_node.name, np.tile(grid, (lanes.count,) + (1,) * (grid.ndim - 1)), np.ones(len(grid)))
        else:
            _continuous(lanes, bound, site_node, rule, flow)
    return lanes


def _too_many(site_node: SiteNode) -> ExactError:
    return ExactError(site_node.where, "scg.exact was asked for.", f"The graph has more than {MOST_PATHS} paths.",
                      "Use scg.compile and many samples.")


def _extend(lanes: Paths, name: str, new: np.ndarray, weights: np.ndarray) -> None:
    """Every lane so far, with every point of one more site."""
    n = len(weights) if weights.ndim == 1 else weights.shape[1]
    lanes.values = {k: np.repeat(v, n, axis=0) for k, v in lanes.values.items()}
    lanes.measure = (lanes.measure[:, None] * weights).reshape(-1)
    lanes.values[name] = new
    lanes.count *= n


def _continuous(lanes: Paths, bound: Values, site_node: SiteNode, rule: Rule, flow: Flow) -> None:
    numpy = backend.load("numpy")
    dist = distribution_of(site_node.node)
    nodes = dict(zip(dist.params, feed_sites(list(dist.params.values()), lanes.leaf, flow)))
    draws = draws_of(site_node.node)

    def at_paths(dist: Any) -> dict[str, np.ndarray]:
        arrays = numpy.evaluate(list(dist.params.values()), numpy.Evaluation(
            bound.arrays, {"row": 1, "lane": lanes.count}, fed=lanes.values))
        return {name: _per_draw(v, n, (lanes.count, *draws), dist.parameters[name].event_ndim)
                for v, (name, n) in zip(arrays, dist.params.items())}

    numbers = at_paths(dist.family._at(nodes))
    for name, array in numbers.items():
        if not np.all(dist.parameters[name].test(array)):
            raise CallError(site_node.where, f"{type(dist).__name__} was given {name} = {short(dist.params[name])}.",
                            f"It must be {dist.parameters[name].text}, and on some path it is not.",
                            dist.parameters[name].advice)
    if any(isinstance(end, str) for end in (dist.support.low, dist.support.high)) and dist.able("moved_from"):
        # what is fed stays where it is, and the value is a function of it
        dist, move = dist.family._at(nodes).moved_from()
        log_p = total(dist.log_prob(leaf_of(site_node)))
        lanes.moved[site_node.name] = move(leaf_of(site_node))
        lanes.chances[site_node.name] = exp(log_p - stop_gradient(log_p))
        numbers = at_paths(dist)
    grid: list[tuple[np.ndarray, np.ndarray]] = []
    paths = lanes.count
    for i in range(math.prod(draws)):
        grid.append(_of_draw(dist, site_node, {name: a[:, i] for name, a in numbers.items()}, rule, i, paths))
        paths *= grid[-1][0].shape[1]
    points, weights = _product(grid)
    _extend(lanes, site_node.name, points.reshape(-1, *site_node.node.shape), weights)


def _of_draw(dist: Any, site_node: SiteNode, numbers: Mapping[str, np.ndarray], rule: Rule, number: int,
             paths: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (lanes, n, *event) and weights, (n,) or (lanes, n), of one draw of a site."""
    draw = site_node.name, number
    close = dist.fine_quadrature(rule.points, **numbers) if rule.close == draw else None
    points, weights = dist.quadrature(rule.orders[draw], **numbers) if close is None else close
    if close is None:
        _refuse_unresolved(site_node, points, paths)
    if dist.support.integral:
        weights = np.ones_like(weights)  # its probabilities are nodes
    return points, weights


def _product(grid: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Points (lanes, n, draws, *event) and weights for every combination of the draws' points."""
    sizes = tuple(points.shape[1] for points, _ in grid)

    def along(array: np.ndarray, i: int, rest: tuple[int, ...]) -> np.ndarray:
        return array.reshape(-1, *(n if j == i else 1 for j, n in enumerate(sizes)), *rest)

    points = [np.broadcast_to(along(p, i, p.shape[2:]), (len(p), *sizes, *p.shape[2:]))
              for i, (p, _) in enumerate(grid)]
    weights = math.prod((along(w, i, ()) for i, (_, w) in enumerate(grid)), start=np.ones(1))
    stacked = np.stack(points, axis=1 + len(sizes))
    weights = weights.reshape(len(weights), -1)
    return stacked.reshape(len(stacked), -1, *stacked.shape[1 + len(sizes):]), (
        weights[0] if len(weights) == 1 else weights)


def _refuse_unresolved(site_node: SiteNode, points: np.ndarray, lanes: int) -> None:
    """Counts that are too many paths, and values that lie closer together than float64 can tell."""
    if site_node.node.attrs.family.support.integral:
        if lanes * points.shape[1] > MOST_PATHS:
            raise _too_many(site_node)
        return
    if points.ndim > 2:
        return  # of vectors, each element takes one value many times
    rounding = np.maximum(np.spacing(np.abs(points[:, 1:])), np.spacing(np.abs(points[:, :-1])))
    if np.any(rounding > RESOLVED * np.abs(np.diff(points, axis=-1))):
        raise ExactError(site_node.where, "scg.exact was asked for.",
                         f'Values of site "{site_node.name}" lie so close together that rounding mixes them up.',
                         "Write the site as a standard one that is scaled and moved, or use scg.compile.")


def _per_draw(array: np.ndarray, node: Node, draws: tuple[int, ...], event_ndim: int) -> np.ndarray:
    """A parameter in each lane and draw, (lanes, n, *event): a number, or what it has dimensions for."""
    names = [ax.name for ax in node.axes]
    if "row" in names:
        array = np.take(array, 0, axis=names.index("row"))
    batch, event = node.shape[: node.ndim - event_ndim], node.shape[node.ndim - event_ndim:]
    wide = array.reshape(-1, *(1,) * (len(draws) - 1 - len(batch)), *batch, *event)
    return np.broadcast_to(wide, (*draws, *event)).reshape(draws[0], -1, *event)

"""Exact integration over the noise of a finite graph.

On a finite graph every sample is a step function of its uniform. The unit cube of all uniforms falls into boxes on
which everything is constant; one lane per box, weighted by its volume, gives expectations without sampling error.
Unlike feeding the sites' values this covers estimators whose replays share the site's noise, and it runs the samplers.

Boxes are found by refinement (`division.py`): evaluate the points where each sample's value changes, split the earliest
uniform whose box one of them cuts, repeat. "Earliest" in topological order: what the change points of a uniform depend
on is settled before it is split.

An estimator may read a uniform itself, and then it is smooth along it in every box: the centre gives way to the points
of Gauss–Legendre quadrature there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from scg import backend
from scg.analysis.influence import SiteNode, sites
from scg.errors import ExactError
from scg.expectation.division import Changes, Division, Uniform
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ir.traverse import downstream, topological
from scg.ops.leaves import noise_op, site_path
from scg.ops.randomness import antithetic_op, distribution_of, draw_until_op, sample_op, uniform_op
from scg.ops.scan import open_scan, scan_op
from scg.ops.structure import reshape
from scg.passes.scans import merge_scans, prune_scans

MOST_LANES = 1 << 21
LONG_RUN = ("Compare a long run with scg.exact(g, values), where that can be had, with another estimator, "
            "or with finite differences of the cost at the same rng.")


@dataclass(frozen=True)
class Boxes:
    """Lanes that cover the noise: centres of the boxes per stream, of shape (lanes, steps, *shape), and volumes.

    `smooth` names the uniforms that are read as they are, by stream and index; `widths` are those of the boxes along
    them.
    """

    uniforms: Mapping[str, np.ndarray]
    volumes: np.ndarray
    widths: Mapping[str, np.ndarray]
    smooth: tuple[tuple[str, tuple[int, ...]], ...]

    def to_both_sides(self) -> Boxes:
        """With two points in place of each centre, to both sides of it along all these uniforms at once.

        What is linear along each of them has the same mean as at the centres. Each is moved by a part of its own: what
        is made of differences of noise, such as a softmax, would not see that all of them move alike.
        """
        uniforms, moved = {path: np.repeat(u, 2, axis=0) for path, u in self.uniforms.items()}, 0
        for path, widths in self.widths.items():
            each = widths.shape[1:]
            number = moved + np.arange(1.0, math.prod(each) + 1.0).reshape(each)
            part = 0.1 + 0.3 * np.modf(0.6180339887498949 * number)[0]
            moved += part.size
            side = np.resize((-1.0, 1.0), len(widths) * 2).reshape((-1,) + (1,) * len(each))
            uniforms[path] = uniforms[path] + np.repeat(widths, 2, axis=0) * side * part
        return Boxes(uniforms, np.repeat(0.5 * self.volumes, 2), {}, ())

    def along(self, orders: Mapping[tuple[str, tuple[int, ...]], int]) -> Boxes:
        """With so many Gauss–Legendre points along some of these uniforms in place of the boxes' centres.

        Raises
        ------
        ExactError
            If there would be too many.
        """
        if not orders:
            return self
        count = math.prod(orders.values())
        if count * len(self.volumes) > MOST_LANES:
            raise ExactError(str(here() or ""), "An exact expectation over noise was asked for.",
                             "Too many uniforms of it are read as they are.", LONG_RUN)
        uniforms = {path: np.repeat(u, count, axis=0) for path, u in self.uniforms.items()}
        rules = [np.polynomial.legendre.leggauss(order) for order in orders.values()]
        nodes = np.stack([g.ravel() for g in np.meshgrid(*(x for x, _ in rules), indexing="ij")], axis=1)
        weights = reduce(np.multiply.outer, [0.5 * w for _, w in rules])
        for (path, index), points in zip(orders, nodes.T):
            where: tuple = (slice(None), *index)
            wide = np.repeat(self.widths[path][where], count)
            uniforms[path][where] += 0.5 * wide * np.tile(points, len(self.volumes))
        volumes = np.repeat(self.volumes, count) * np.tile(weights.ravel(), len(self.volumes))
        return Boxes(uniforms, volumes, {}, ())


def changes(roots: Sequence[Node]) -> list[Changes]:
    """Change points of every sample node below the roots.

    Raises
    ------
    ExactError
        If a sample has no finite support, or noise is used in another way.
    """
    return _changes(topological(roots))


def _changes(nodes: Sequence[Node]) -> list[Changes]:
    found = []
    for node in nodes:
        if node.op is sample_op:
            found.append(_change(node))
        elif node.op is scan_op:
            found.extend(_scan_changes(node))
        elif node.op is uniform_op and node.args[0].op is noise_op and node.attrs.number == 0:
            stream = node.args[0]
            nowhere = constant(np.zeros(0))
            found.append(Changes(stream.attrs.fed, nowhere, stream.args[0], stream.attrs.shape, smooth=True))
        elif node.op in (uniform_op, draw_until_op):
            raise ExactError(str(here() or ""), "An exact expectation over noise was asked for.",
                             "A term of the estimator draws a value of a continuous family.",
                             LONG_RUN)
    return found


def _change(node: Node) -> Changes:
    dist = distribution_of(node)
    if not node.attrs.family.can("breaks"):
        raise ExactError(str(here() or ""),
                         f'An exact expectation over the noise of site "{node.attrs.site}" was asked for.',
                         f"{type(dist).__name__} does not take finitely many values.", LONG_RUN)
    points = dist.breaks()
    if node.args[-1].op is antithetic_op:
        points = 1.0 - points
    stream = _stream(node)
    return Changes(stream.attrs.fed, points, stream.args[0], stream.attrs.shape)


def _stream(sample: Node) -> Node:
    """The noise leaf of a sample node."""
    noise = sample.args[-1]
    return noise.args[0] if noise.op is antithetic_op else noise


def _fixed_step(stream: Node) -> int | None:
    """The one step that a stream is drawn in; None for all steps of a scan."""
    (step,) = stream.args
    return int(step.attrs.array) if step.is_const else None


def _scan_changes(node: Node) -> list[Changes]:
    opened = open_scan(node)
    outputs = opened.new_carries + opened.ys
    # what is outside of the step, a constant of the body, has its samples found where it stands
    within = downstream((opened.step, *opened.carries, *opened.xs), outputs)
    mine = [n for n in topological(outputs) if n.id in within]
    inner = _changes([n for n in mine if n.op is not scan_op])
    deeper = _changes([n for n in mine if n.op is scan_op])
    if not inner and not deeper:
        return []
    both = (*inner, *deeper)
    nodes = opened.put_out([c.node for c in both])
    counting = replace(opened, carries=(), inits=(), new_carries=(), xs=(), arrays=(), ys=())
    numbers = counting.put_out([c.numbers for c in both])  # of them no draw is part
    for of in (nodes, numbers):  # the steps of a loop and of one inside it are one dimension
        of[len(inner):] = [reshape(n, (n.shape[0] * n.shape[1], *n.shape[2:])) for n in of[len(inner):]]
    return [replace(c, node=node, numbers=steps) for c, node, steps in zip(both, nodes, numbers)]


def boxes(roots: Sequence[Node], site_nodes: Sequence[SiteNode], evaluation, most: int = MOST_LANES) -> Boxes:
    """The boxes on which every sample below the roots is constant.

    Parameters
    ----------
    roots : sequence of Node
    site_nodes : sequence of SiteNode
        The graph's sites in topological order. Others that the roots hold come after them, or before them if they
        depend on no draw.
    evaluation : callable
        ``evaluation(lanes, uniforms) -> Evaluation`` of the reference backend.
    most : int
        Of how many there may be.

    Raises
    ------
    ExactError
        If there are more: as soon as that is known.
    """
    found = _in_few_loops(changes(roots))
    evaluate = backend.load("numpy").evaluate
    drawn = [np.reshape(n, (-1,)).astype(int).tolist() for n in evaluate([c.numbers for c in found], evaluation(1, {}))]
    steps = {c.path: 1 for c in found}
    for c, numbers in zip(found, drawn):
        steps[c.path] = max(steps[c.path], max(numbers) + 1)
    if max(steps.values(), default=1) > MOST_LANES:
        raise ExactError(str(here() or ""), "An exact expectation over noise was asked for.",
                         f"A site draws in step {max(steps.values()) - 1}.", "Name it by a smaller step.")
    known = {p.name for p in site_nodes}
    others = [p for p in sites(roots) if p.name not in known]
    at_first = [not any(n.op is sample_op for n in topological(p.anchor.args)) for p in others]
    first, last = ([p for p, at in zip(others, at_first) if at is which] for which in (True, False))
    shapes = {c.path: (steps[c.path], *c.shape) for c in found}
    every = _order(shapes, [*first, *site_nodes, *last])
    low, high, _ = Division(found, drawn, steps, every, evaluation, most).divided(lambda: _too_many(most))
    volumes = np.ones(next(iter(low.values())).shape[0] if low else 1)
    for path in low:
        volumes = volumes * (high[path] - low[path]).reshape(len(volumes), -1).prod(axis=1)
    read = {c.path for c in found if c.smooth}
    return Boxes({path: 0.5 * (low[path] + high[path]) for path in low}, volumes,
                 {path: high[path] - low[path] for path in read}, tuple(at for at in every if at[0] in read))


def _in_few_loops(found: Sequence[Changes]) -> list[Changes]:
    """The same, with what was put out by scans of its own read off as few as can be, each once."""
    nodes = prune_scans(merge_scans([c.node for c in found]))
    return list(dict.fromkeys(replace(c, node=node) for c, node in zip(found, nodes)))


def _order(shapes: Mapping[str, tuple[int, ...]], site_nodes: Sequence[SiteNode]) -> list[Uniform]:
    """Every uniform, what it can depend on before it: by scan or site, by step, by site, by element."""
    stands: dict[tuple[str, int | None], tuple[SiteNode | None, list[int]]] = {}
    for j, site_node in enumerate(site_nodes):
        stream = _stream(site_node.node)
        scans = site_node.scans
        # where the first site stands that is in the same loop, for each loop; then where it stands itself
        with_it = [next(i for i, q in enumerate(site_nodes) if q.scans[: k + 1] == scans[: k + 1])
                   for k in range(len(scans))]
        stands[site_path(stream.attrs.path), _fixed_step(stream)] = site_node, [*with_it, j]
    keys = []
    for path, shape in shapes.items():
        base = site_path(path)
        for index in np.ndindex(shape):
            # a step that no site draws in has no change points: it may stand anywhere
            stood, places = stands.get((base, index[0])) or stands.get((base, None), (None, [0]))
            loops = () if stood is None or index[0] >= math.prod(stood.loops) else stood.loops
            steps = np.unravel_index(index[0], loops) if loops else (index[0],)
            where = [int(n) for pair in zip(places, steps) for n in pair] + places[len(loops):]
            keys.append(((where, path, index[1:]), (path, index)))
    return [item for _, item in sorted(keys, key=lambda k: k[0])]


def _too_many(most: int) -> ExactError:
    pairs = most < MOST_LANES
    return ExactError(str(here() or ""), "An exact expectation over noise was asked for.",
                      f"It falls into more than {most} pieces{', whose pairs are too many.' if pairs else '.'}",
                      "Use a smaller graph" + (
                          ", or a baseline that is no mean of other replicates, as in scg.ScoreFunction(None). "
                          if pairs else ". ") + LONG_RUN)

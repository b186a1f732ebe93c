"""Where the nodes, boxes and edges of a picture stand.

Generations are columns from left to right. The order inside a column comes from `scg.export.crossings`; the heights
are those at which edges go up and down least, in the sum of squares, with room between neighbours: a quadratic program,
solved as a least distance program (Lawson & Hanson 1974, ch. 23) by one call of nonnegative least squares.
Lengths are inches; y grows downwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scg.export.boxes import Box
from scg.export.crossings import Group, Order

GAP = 0.24  # between what stands above each other
THIN = 0.14  # between edges that pass a column
COLUMNS = 0.52  # between columns
PAD = 0.13  # between a box and what is in it
TITLE = 0.2  # of a box, at its lower edge
LEVEL = 0.02  # how much everything keeps to the middle: else a chain with leaves on one side would climb
SPINE = 20.0  # how much more an edge between nodes that have both parents and children is level than one of a leaf
STRAIGHT = 300.0  # how much more a passing edge keeps its height than a node that of its parents


class Size(NamedTuple):
    """The room of a node around its centre: half its width, and what it has above and below."""

    half: float
    above: float
    below: float


class Rectangle(NamedTuple):
    """A box, or the room of a node."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: Rectangle) -> bool:
        """Whether the other lies inside."""
        return (self.left <= other.left and self.top <= other.top
                and self.right >= other.right and self.bottom >= other.bottom)

    def meets(self, other: Rectangle) -> bool:
        """Whether they have a point in common."""
        return (self.left < other.right and other.left < self.right
                and self.top < other.bottom and other.top < self.bottom)


@dataclass(frozen=True)
class Layout:
    """What was found.

    Attributes
    ----------
    centres : dict of str to (float, float)
    rooms : dict of str to Rectangle
        Of the nodes, with what is written below them.
    boxes : list of (Box, Rectangle)
        Outer ones first.
    columns : list of (float, float)
        Left and right ends.
    passing : dict of (str, str) to list of (int, float)
        For each edge that passes columns, which and at what heights, in the edge's direction.
    width, height : float
    """

    centres: dict[str, tuple[float, float]]
    rooms: dict[str, Rectangle]
    boxes: list[tuple[Box, Rectangle]]
    columns: list[tuple[float, float]]
    passing: dict[tuple[str, str], list[tuple[int, float]]]
    width: float
    height: float


def laid_out(sizes: Mapping[str, Size], layers: Mapping[str, int], edges: Sequence[tuple[str, str]], whole: Box,
             titles: Mapping[str, float]) -> Layout:
    """Lay out a graph.

    Parameters
    ----------
    sizes : dict of str to Size
    layers : dict of str to int
        The column of each node.
    edges : sequence of (str, str)
        In any direction.
    whole : Box
        All nodes, and the boxes that they stand in.
    titles : dict of str to float
        The widths of the boxes' labels.
    """
    plan = _Plan(sizes, layers, edges, whole)
    heights = _Heights(plan)
    columns = _columns(plan, titles)
    return _placed(plan, heights, columns)


class _Plan:
    """Nodes and passing edges as numbered items, in order."""

    def __init__(self, sizes: Mapping[str, Size], layers: Mapping[str, int], edges, whole: Box):
        self.names = list(sizes)
        self.layers = [layers[name] for name in self.names]
        self.sizes = [sizes[name] for name in self.names]
        number = {name: i for i, name in enumerate(self.names)}
        around = dict(_paths(whole, ()))
        groups: dict[tuple[int, ...], Group] = {}
        root = _grouped(whole, (), number, groups)
        self.segments: list[tuple[int, int]] = []
        self.passing: dict[tuple[str, str], list[int]] = {}
        for v, w in edges:
            first, last = sorted((v, w), key=lambda name: layers[name])
            if layers[first] == layers[last]:
                continue
            home = groups[_shared(around[v], around[w])]
            chain = [number[first]]
            for layer in range(layers[first] + 1, layers[last]):
                chain.append(len(self.layers))
                self.layers.append(layer)
                self.sizes.append(Size(0.0, 0.0, 0.0))
                home.children.append(chain[-1])
            chain.append(number[last])
            self.segments += pairwise(chain)
            inner = chain[1:-1]
            self.passing[v, w] = inner if first == v else inner[::-1]
        self.root = Order(self.layers, self.segments).best(root)
        self.depth = max(self.layers, default=-1) + 1

    def is_node(self, item: int) -> bool:
        """Whether the item is a node, and not a passing edge."""
        return item < len(self.names)

    def span(self, group: Group) -> tuple[int, int]:
        """The first and last layer of a group."""
        layers = [self.layers[i] for i in group.items()]
        return min(layers), max(layers)


def _paths(box: Box, path: tuple[int, ...]):
    for name in box.names:
        yield name, path
    for i, inner in enumerate(box.boxes):
        yield from _paths(inner, (*path, i))


def _grouped(box: Box, path: tuple[int, ...], number: Mapping[str, int], groups: dict) -> Group:
    groups[path] = group = Group([number[name] for name in box.names], box)
    group.children += [_grouped(inner, (*path, i), number, groups) for i, inner in enumerate(box.boxes)]
    return group


def _shared(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The innermost box around both."""
    common = 0
    while common < min(len(a), len(b)) and a[common] == b[common]:
        common += 1
    return a[:common]


class _Heights:
    """The heights of all items, and the upper and lower edges of all boxes."""

    def __init__(self, plan: _Plan):
        self.plan = plan
        self.groups = list(plan.root.groups())
        count = len(plan.layers)
        self.top = {id(g): count + 2 * i for i, g in enumerate(self.groups)}
        self.bottom = {id(g): count + 2 * i + 1 for i, g in enumerate(self.groups)}
        self.width = count + 2 * len(self.groups)
        self.rows: list[tuple[int, int, float]] = []  # (upper, lower, room): lower − upper ≥ room
        for layer in range(plan.depth):
            self._separate(plan.root, layer)
        self.at = self._solved()

    def _separate(self, group: Group, layer: int) -> None:
        """Ask for room between what stands above each other in a layer."""
        before = None
        here = [c for c in group.children if self._is_in(c, layer)]
        for child in here:
            if before is not None:
                lower, above = self._upper_edge(child)
                upper, below = self._lower_edge(before)
                self.rows.append((upper, lower, below + above + self._gap(before, child)))
            before = child
            if isinstance(child, Group):
                self._separate(child, layer)
        if id(group) in self.top:
            for child in here:
                edge, above = self._upper_edge(child)
                self.rows.append((self.top[id(group)], edge, above + PAD))
                edge, below = self._lower_edge(child)
                self.rows.append((edge, self.bottom[id(group)], below + PAD + TITLE))
            self.rows.append((self.top[id(group)], self.bottom[id(group)], 2 * PAD + TITLE))

    def _is_in(self, child, layer: int) -> bool:
        if isinstance(child, Group):
            first, last = self.plan.span(child)
            return first <= layer <= last
        return self.plan.layers[child] == layer

    def _upper_edge(self, child) -> tuple[int, float]:
        return (self.top[id(child)], 0.0) if isinstance(child, Group) else (child, self.plan.sizes[child].above)

    def _lower_edge(self, child) -> tuple[int, float]:
        return (self.bottom[id(child)], 0.0) if isinstance(child, Group) else (child, self.plan.sizes[child].below)

    def _gap(self, a, b) -> float:
        passing = [not isinstance(c, Group) and not self.plan.is_node(c) for c in (a, b)]
        return THIN if any(passing) else GAP

    def _weight(self, v: int, w: int, inner: set[int]) -> float:
        """How much a piece of an edge is to be level: most where it passes, more between nodes that are no ends."""
        if not (self.plan.is_node(v) or self.plan.is_node(w)):
            return STRAIGHT
        return SPINE if {v, w} <= inner and self.plan.is_node(v) and self.plan.is_node(w) else 1.0

    def _solved(self) -> np.ndarray:
        """Minimise squares of differences along edges, under the separations."""
        from scipy.optimize import nnls

        starts, ends = zip(*self.plan.segments) if self.plan.segments else ((), ())
        inner = set(starts) & set(ends)
        pairs = [(v, w, self._weight(v, w, inner)) for v, w in self.plan.segments]
        pairs += [(self.top[id(g)], self.bottom[id(g)], 0.05) for g in self.groups]
        form = LEVEL * np.eye(self.width)
        for v, w, weight in pairs:
            form[[v, w], [v, w]] += weight
            form[[v, w], [w, v]] -= weight
        if not self.rows:
            return np.zeros(self.width)
        root = np.linalg.cholesky(form).T  # form = rootᵀ root
        a = np.zeros((len(self.rows), self.width))
        room = np.empty(len(self.rows))
        for i, (upper, lower, wanted) in enumerate(self.rows):
            a[i, lower] += 1.0
            a[i, upper] -= 1.0
            room[i] = wanted
        g = np.linalg.solve(root.T, a.T)  # the separations of root · heights, as columns
        e = np.vstack([g, room])
        f = np.zeros(self.width + 1)
        f[-1] = 1.0
        u, _ = nnls(e, f, maxiter=50 * len(room) + 1000)
        rest = e @ u - f
        return np.linalg.solve(root, -rest[:-1] / rest[-1])


def _columns(plan: _Plan, titles: Mapping[str, float]) -> list[tuple[float, float]]:
    """The ends of the columns: as wide as their widest node, with room for the edges of boxes between them."""
    halves = np.zeros(plan.depth)
    for layer, size in zip(plan.layers, plan.sizes):
        halves[layer] = max(halves[layer], size.half)
    opening, closing = np.zeros(plan.depth + 1), np.zeros(plan.depth + 1)
    for group in plan.root.groups():
        first, last = plan.span(group)
        if first == last:
            halves[first] = max(halves[first], titles[group.box.label] / 2)
        opening[first] = max(opening[first], _levels(plan, group, 0))
        closing[last] = max(closing[last], _levels(plan, group, 1))
    columns, x = [], PAD * opening[0]
    for layer, half in enumerate(halves):
        columns.append((float(x), float(x + 2 * half)))
        x += 2 * half + COLUMNS + PAD * (closing[layer] + opening[layer + 1])
    return columns


def _levels(plan: _Plan, group: Group, end: int) -> int:
    """How many boxes stand in each other that begin, or end, where this one does."""
    own = plan.span(group)[end]
    inner = [g for g in group.children if isinstance(g, Group) and plan.span(g)[end] == own]
    return 1 + max((_levels(plan, g, end) for g in inner), default=0)


def _placed(plan: _Plan, heights: _Heights, columns) -> Layout:
    """Coordinates from zero, of everything."""
    at = heights.at
    tops = [at[i] - size.above for i, size in enumerate(plan.sizes)]
    tops += [at[heights.top[id(g)]] for g in heights.groups]
    bottoms = [at[i] + size.below for i, size in enumerate(plan.sizes)]
    bottoms += [at[heights.bottom[id(g)]] for g in heights.groups]
    zero = min(tops, default=0.0)
    centres, rooms = {}, {}
    for i, name in enumerate(plan.names):
        left, right = columns[plan.layers[i]]
        x, y, size = (left + right) / 2, float(at[i] - zero), plan.sizes[i]
        centres[name] = (x, y)
        rooms[name] = Rectangle(x - size.half, y - size.above, x + size.half, y + size.below)
    boxes = []
    for group in heights.groups:
        first, last = plan.span(group)
        boxes.append((group.box, Rectangle(
            columns[first][0] - PAD * _levels(plan, group, 0), float(at[heights.top[id(group)]] - zero),
            columns[last][1] + PAD * _levels(plan, group, 1), float(at[heights.bottom[id(group)]] - zero))))
    passing = {edge: [(plan.layers[i], float(at[i] - zero)) for i in items] for edge, items in plan.passing.items()}
    width = max([columns[-1][1] if columns else 0.0, *(r.right for _, r in boxes)])
    return Layout(centres, rooms, boxes, columns, passing, float(width), float(max(bottoms, default=0.0) - zero))

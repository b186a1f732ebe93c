"""The lines along which edges are drawn: straight where nothing stands in the way, else between the columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from scg.export.layout import Layout, Rectangle
from scg.export.shapes import Shape, cuts

Point = tuple[float, float]
CLEAR = 0.09  # how far straight lines keep from other nodes
BOWS = (0.3, 0.5, 0.8)  # how far what is carried to a neighbour may bend away from the straight line


class Route(NamedTuple):
    """A line: points, of which those of `curved` are two control points and an end of a Bézier curve.

    Attributes
    ----------
    start : (float, float)
    pieces : tuple of tuple of (float, float)
        Of one point, a straight line to it; of three, a curve.
    """

    start: Point
    pieces: tuple[tuple[Point, ...], ...]

    @property
    def tip(self) -> tuple[Point, Point]:
        """Where it ends, and the unit vector in which it arrives."""
        points = [self.start, *(p for piece in self.pieces for p in piece)]
        (x, y), (a, b) = points[-1], next(p for p in points[-2::-1] if p != points[-1])
        length = math.hypot(x - a, y - b)
        return (x, y), ((x - a) / length, (y - b) / length)

    def points(self, each: int = 12) -> Iterator[Point]:
        """Points along it."""
        at = self.start
        yield at
        for piece in self.pieces:
            for i in range(1, each + 1):
                yield _on(at, piece, i / each)
            at = piece[-1]


def _on(at: Point, piece: tuple[Point, ...], t: float) -> Point:
    if len(piece) == 1:
        return tuple(a + t * (b - a) for a, b in zip(at, piece[0]))  # type: ignore[return-value]
    weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
    return tuple(sum(w * p[i] for w, p in zip(weights, (at, *piece))) for i in (0, 1))  # type: ignore[return-value]


def routed(layout: Layout, shapes: Mapping[str, Shape], v: str, w: str, carried: bool) -> Route:
    """The line of the edge from v to w."""
    if v == w:
        return _turning(layout.centres[v], shapes[v])
    if (v, w) not in layout.passing:
        return _beside(layout, shapes, v, w)
    if not layout.passing[v, w] and carried:
        return _bowed(layout, shapes, v, w)
    straight = None if carried else _straight(layout, shapes, v, w)
    return straight or _between(layout, shapes, v, w)


def _turning(centre: Point, shape: Shape) -> Route:
    """From a node to itself, above it."""
    x, y = centre
    (dx, dy), (ex, ey) = shape.edge(0.6, -1.0), shape.edge(-0.6, -1.0)
    high = 0.42
    return Route((x + dx, y + dy), (((x + 1.9 * dx, y + dy - high), (x + 1.9 * ex, y + ey - high), (x + ex, y + ey)),))


def _beside(layout: Layout, shapes: Mapping[str, Shape], v: str, w: str) -> Route:
    """Between two nodes of one column, on its right."""
    (x, y), (a, b) = layout.centres[v], layout.centres[w]
    dx, dy = shapes[v].edge(1.0, 0.0)
    ex, ey = shapes[w].edge(1.0, 0.0)
    right = next(right for left, right in layout.columns if left <= x <= right) + 0.3
    return Route((x + dx, y + dy), (((right, y), (right, b), (a + ex, b + ey)),))


def _bowed(layout: Layout, shapes: Mapping[str, Shape], v: str, w: str) -> Route:
    """Between nodes of neighbouring columns, bent to the side that is free."""
    (x, y), (a, b) = layout.centres[v], layout.centres[w]
    length = math.hypot(a - x, b - y)
    normal = ((b - y) / length, -(a - x) / length)
    made = []
    for side, bow in itertools.product((1.0, -1.0), BOWS):
        across = tuple(side * bow * n for n in normal)
        toward, back = (a - x + 4 * across[0], b - y + 4 * across[1]), (x - a + 4 * across[0], y - b + 4 * across[1])
        (dx, dy), (ex, ey) = shapes[v].edge(*toward), shapes[w].edge(*back)
        start, end = (x + dx, y + dy), (a + ex, b + ey)
        third = ((end[0] - start[0]) / 3, (end[1] - start[1]) / 3)
        made.append(Route(start, (((start[0] + third[0] + across[0], start[1] + third[1] + across[1]),
                                   (end[0] - third[0] + across[0], end[1] - third[1] + across[1]), end),)))
    captions = [_caption(layout, shapes, n) for n in (v, w)]

    def badness(i: int) -> tuple[int, int]:
        own = sum(any(r.left < x < r.right and r.top < y < r.bottom for x, y in made[i].points(60)) for r in captions)
        return len(struck(layout, made[i], v, w)) + own, i % len(BOWS)

    return made[min(range(len(made)), key=badness)]


def _straight(layout: Layout, shapes: Mapping[str, Shape], v: str, w: str) -> Route | None:
    """A straight line, if it meets no other node, and no box that neither end stands in."""
    (x, y), (a, b) = layout.centres[v], layout.centres[w]
    (dx, dy), (ex, ey) = shapes[v].edge(a - x, b - y), shapes[w].edge(x - a, y - b)
    start, end = (x + dx, y + dy), (a + ex, b + ey)
    others = [Rectangle(r.left, r.top - CLEAR, r.right, r.bottom + CLEAR)
              for name, r in layout.rooms.items() if name not in (v, w)]
    others += [r for box, r in layout.boxes if not {v, w} & set(box.everything())]
    own = [_caption(layout, shapes, n) for n in (v, w)]
    if any(cuts(start, end, r) for r in (*others, *own)):
        return None
    return Route(start, ((end,),))


def _caption(layout: Layout, shapes: Mapping[str, Shape], name: str) -> Rectangle:
    """Where what is written below a node stands."""
    room = layout.rooms[name]
    return Rectangle(room.left, layout.centres[name][1] + shapes[name].half_height, room.right, room.bottom)


def _between(layout: Layout, shapes: Mapping[str, Shape], v: str, w: str) -> Route:
    """Level inside columns, and from one height to the next between them."""
    (x, y), (a, b) = layout.centres[v], layout.centres[w]
    ahead = a > x
    sign = 1.0 if ahead else -1.0
    stops = [(_column(layout, x), y), *((layout.columns[i], h) for i, h in layout.passing[v, w]),
             (_column(layout, a), b)]
    start, end = (x + sign * shapes[v].half_width, y), (a - sign * shapes[w].half_width, b)
    pieces: list[tuple[Point, ...]] = []
    at = start
    for (near, height), (far, next_height) in pairwise(stops):
        leave, arrive = (near[1], far[0]) if ahead else (near[0], far[1])
        if _apart(at, (leave, height)):
            pieces.append(((leave, height),))
        middle = (leave + arrive) / 2
        pieces.append(((middle, height), (middle, next_height), (arrive, next_height)))
        at = (arrive, next_height)
    if _apart(at, end):
        pieces.append((end,))
    return Route(start, tuple(pieces))


def _apart(a: Point, b: Point) -> bool:
    """Whether two points differ by more than rounding: a line between others would turn the head of its arrow."""
    return math.dist(a, b) > 1e-6


def _column(layout: Layout, x: float) -> tuple[float, float]:
    return next(c for c in layout.columns if c[0] <= x <= c[1])


def struck(layout: Layout, route: Route, v: str, w: str) -> list[str]:
    """The nodes that a line runs through, other than its ends."""
    points = [*route.points()]
    return [name for name, r in layout.rooms.items() if name not in (v, w)
            and any(r.left < x < r.right and r.top < y < r.bottom for x, y in points)]

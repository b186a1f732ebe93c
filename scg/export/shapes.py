"""The shapes of nodes in a picture, and where lines meet them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from scg.export.layout import Rectangle

LEAST = 0.2  # half the side of the smallest square


class Shape(NamedTuple):
    """A shape about a centre.

    Attributes
    ----------
    outline : str
        ``"bare"``, ``"square"``, ``"circle"`` or ``"diamond"``; they widen with what is written in them.
    half_width, half_height : float
    """

    outline: str
    half_width: float
    half_height: float

    def edge(self, dx: float, dy: float) -> tuple[float, float]:
        """Where the ray from the centre in a direction leaves the shape, relative to the centre."""
        x, y = abs(dx) / self.half_width, abs(dy) / self.half_height
        reach = {"circle": math.hypot(x, y), "diamond": x + y}.get(self.outline, max(x, y))
        return dx / reach, dy / reach


def around(outline: str, width: float, height: float) -> Shape:
    """The smallest pleasing shape around a text of that width and height."""
    return _AROUND[outline](width / 2, height / 2)


def _square(w: float, h: float) -> Shape:
    return Shape("square", max(LEAST, w + 0.09), max(LEAST, h + 0.07))


def _bare(w: float, h: float) -> Shape:
    return Shape("bare", w + 0.06, max(0.11, h + 0.02))


def _circle(w: float, h: float) -> Shape:
    radius = math.hypot(w, h) + 0.05
    if radius <= 0.34:
        return Shape("circle", max(radius, 0.22), max(radius, 0.22))
    half = max(0.25, 1.7 * h)
    return Shape("circle", w / math.sqrt(1.0 - (h / half) ** 2) + 0.05, half)


def _diamond(w: float, h: float) -> Shape:
    half = max(0.28, 2.3 * h)
    return Shape("diamond", max(half, w / (1.0 - h / half) + 0.04), half)


_AROUND: dict[str, Callable[[float, float], Shape]] = {
    "square": _square, "bare": _bare, "circle": _circle, "diamond": _diamond}


def cuts(a: tuple[float, float], b: tuple[float, float], r: Rectangle) -> bool:
    """Whether the line from a to b meets a rectangle."""
    first, last = 0.0, 1.0
    for start, end, low, high in ((a[0], b[0], r.left, r.right), (a[1], b[1], r.top, r.bottom)):
        step = end - start
        if step == 0.0:
            if not low < start < high:
                return False
            continue
        near, far = sorted(((low - start) / step, (high - start) / step))
        first, last = max(first, near), min(last, far)
    return first < last

"""Boxes, nodes, edges and the key of a picture, as patches on the axes of matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scg.export.drawing import write
from scg.export.layout import Rectangle
from scg.export.routes import Point, Route
from scg.export.shapes import Shape

NAME, SMALL = 10.5, 7.5  # sizes of letters
LINE = 1.25 / 72  # from one line to the next, for letters of size one
DASHES = (0, (3.6, 2.4))
INK, PALE, QUIET, ALARM, LATER = "black", "#ebebeb", "#5c5c5c", "#b3261e", "#3f6fb5"


class Painter:
    """Paints on axes, at an offset."""

    def __init__(self, axes, left: float, top: float):
        self.axes, self.left, self.top = axes, left, top

    def _at(self, point: Point) -> Point:
        return point[0] + self.left, point[1] + self.top

    def box(self, r: Rectangle, label: str, pale: bool = False) -> Any:
        """A box with its label at the lower right."""
        from matplotlib.patches import FancyBboxPatch

        patch = FancyBboxPatch(self._at((r.left, r.top)), r.right - r.left, r.bottom - r.top, fc="none",
                               ec="#b0b0b0" if pale else "#8a8a8a", lw=0.8,
                               boxstyle="round,pad=0,rounding_size=0.06", zorder=1)
        self.axes.add_artist(patch)
        x, y = self._at((r.right - 0.06, r.bottom - 0.035))
        write(self.axes, x, y, label, SMALL, ha="right", va="bottom", color=QUIET)
        return patch

    def shape(self, kind: str, shape: Shape, centre: Point, alarm: bool = False) -> Any:
        """The outline of a node."""
        from matplotlib import patches

        (x, y), w, h = self._at(centre), shape.half_width, shape.half_height
        style: dict[str, Any] = {"fc": "white", "ec": ALARM if alarm else INK, "lw": 1.1, "zorder": 3}
        if shape.outline == "circle":
            patch: Any = patches.Ellipse((x, y), 2 * w, 2 * h, **style)
        elif shape.outline == "diamond":
            patch = patches.Polygon([(x - w, y), (x, y - h), (x + w, y), (x, y + h)], closed=True, **style)
        elif kind == "data":
            patch = patches.FancyBboxPatch((x - w, y - h), 2 * w, 2 * h, zorder=3, fc=PALE, ec="none",
                                           boxstyle="round,pad=0,rounding_size=0.05")
        else:
            style |= {"ec": "none", "fc": "none"} if shape.outline == "bare" else {}
            patch = patches.Rectangle((x - w, y - h), 2 * w, 2 * h, **style)
        self.axes.add_artist(patch)
        return patch

    def lines(self, lines: Sequence[str], x: float, top: float, size: float, **style: Any) -> None:
        """Lines of text below each other, the first of which begins at the top."""
        for i, line in enumerate(lines):
            place = self._at((x, top + LINE * size * (i + 0.5)))
            write(self.axes, *place, line, size, zorder=4, **style)

    def edge(self, route: Route, blocked: bool = False, carried: bool = False) -> Any:
        """An arrow; dashed if it is blocked."""
        from matplotlib.patches import PathPatch, Polygon
        from matplotlib.path import Path

        colour = LATER if carried else (QUIET if blocked else INK)
        (x, y), (dx, dy) = route.tip
        x, y = self._at((x, y))
        points, codes = [self._at(route.start)], [Path.MOVETO]
        for piece in route.pieces:
            points += [self._at(p) for p in piece]
            codes += [Path.LINETO] if len(piece) == 1 else [Path.CURVE4] * 3
        points[-1] = (x - 0.07 * dx, y - 0.07 * dy)
        patch = PathPatch(Path(points, codes), fc="none", ec=colour, lw=0.9, zorder=2, capstyle="butt",
                          ls=DASHES if blocked else "solid")
        self.axes.add_artist(patch)
        corners = [(x - 0.1 * dx + side * dy, y - 0.1 * dy - side * dx) for side in (0.038, -0.038)]
        self.axes.add_artist(Polygon([(x, y), *corners], closed=True, fc=colour, ec="none", zorder=2))
        return patch

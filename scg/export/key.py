"""The key of a picture: what its signs mean, of those that are in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scg.export.drawing import Ruler, write
from scg.export.layout import Rectangle
from scg.export.painter import LINE, NAME, QUIET, SMALL, Painter
from scg.export.routes import Route
from scg.export.shapes import Shape

NARROWEST, HIGH, BETWEEN, ABOVE = 3.2, 0.22, 0.24, 0.08  # inches: of all lines, of one, of a gap, of that above
KINDS = {"param": "parameter", "input": "input", "data": "data", "node": "computed", "sample": "drawn at random",
         "cost": "cost"}
_OUTLINES = {"node": "square", "sample": "circle", "cost": "diamond"}
_ROOMS = {"size": 0.4, "box": 0.34, "blocked": 0.42, "carried": 0.42}
_ROOM = 0.24  # of other signs


class Sign(NamedTuple):
    """A sign, what it means, and how wide it and both are: a kind of node, or what is in `_ROOMS`."""

    kind: str
    text: str
    room: float
    width: float


class Key:
    """The lines of a key.

    Parameters
    ----------
    network : networkx.DiGraph
        See `scg.export.networks.to_networkx`.
    ruler : Ruler
    width : float
        Of the picture above it, in inches.

    Attributes
    ----------
    lines : list of list of Sign
    width, height : float
    """

    def __init__(self, network, ruler: Ruler, width: float):
        self.lines: list[list[Sign]] = []
        for kind, text in _signs(network):
            room = _ROOMS.get(kind, _ROOM)
            sign = Sign(kind, text, room, room + ruler.width(text, SMALL))
            if not self.lines or _width([*self.lines[-1], sign]) > max(width, NARROWEST):
                self.lines.append([])
            self.lines[-1].append(sign)
        self.width = max(map(_width, self.lines), default=0.0)
        self.height = HIGH * len(self.lines) + (ABOVE if self.lines else 0.0)

    def paint(self, axes, width: float, top: float) -> None:
        """Paint it on axes of a width, below a height."""
        for i, line in enumerate(self.lines):
            x, y = (width - _width(line)) / 2, top + HIGH * (i + 0.5)
            for sign in line:
                _paint(Painter(axes, x, y), sign)
                write(axes, x + sign.room, y, sign.text, SMALL, ha="left", color=QUIET)
                x += sign.width + BETWEEN


def _width(line: Sequence[Sign]) -> float:
    return sum(sign.width for sign in line) + BETWEEN * (len(line) - 1)


def _signs(network) -> Iterator[tuple[str, str]]:
    nodes = [about for _, about in network.nodes(data=True)]
    edges = [edge for _, _, edge in network.edges(data=True)]
    yield from ((kind, text) for kind, text in KINDS.items() if any(about["kind"] == kind for about in nodes))
    if any(about["shape"] not in ("()", about["draws"]) and about["kind"] != "cost" for about in nodes):
        yield "size", "shape"
    if any(about["rows"] or about["loop"] or about["draws"] for about in nodes):
        yield "box", "repeated"
    if any(edge["blocked"] for edge in edges):
        yield "blocked", "no derivative"
    if any(edge["carried"] for edge in edges):
        yield "carried", "to the next steps"


def _paint(painter: Painter, sign: Sign) -> None:
    """A sign, in the room to the left of its text, about a height of 0."""
    middle = (sign.room - 0.08) / 2
    match sign.kind:
        case "node" | "sample" | "cost":
            painter.shape(sign.kind, Shape(_OUTLINES[sign.kind], 0.075, 0.075), (middle, 0.0))
        case "box":
            painter.box(Rectangle(middle - 0.12, -0.07, middle + 0.12, 0.07), "")
        case "blocked" | "carried":
            route = Route((0.0, 0.0), (((2 * middle, 0.0),),))
            painter.edge(route, sign.kind == "blocked", sign.kind == "carried")
        case "size":
            painter.lines(["2 × 3"], middle, -LINE * SMALL / 2, SMALL, color=QUIET)
        case leaf:
            if leaf == "data":
                painter.shape(leaf, Shape("bare", 0.09, 0.085), (middle, 0.0))
            weight = "bold" if leaf == "param" else "normal"
            painter.lines(["a"], middle, -LINE * NAME / 2, NAME, weight=weight)

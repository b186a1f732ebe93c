"""A picture of a graph, as in Schulman et al. 2015: what is computed in squares, what is drawn at random in circles.

Costs are diamonds and leaves are bare, data on grey. Boxes stand around what is repeated: rows, steps of loops, draws.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Any

from scg.export.boxes import boxes_of
from scg.export.drawing import Drawing, Ruler, available, new_figure
from scg.export.key import Key
from scg.export.layout import Rectangle, Size, laid_out
from scg.export.networks import to_networkx
from scg.export.painter import ALARM, LINE, NAME, QUIET, SMALL, Painter
from scg.export.routes import Route, routed
from scg.export.shapes import Shape, around

WIDEST, MARGIN = 16, 0.12  # letters of a name in one line; inches around the whole
OUTLINES = {"sample": "circle", "node": "square", "cost": "diamond"}


@dataclass(frozen=True)
class Drawn:
    """How a node is drawn.

    Attributes
    ----------
    lines : list of str
        Its name.
    caption : list of str
        What stands below: family, shape, estimator.
    shape : Shape
    draws : str
        The label of the box around it, if it stands for several draws.
    size : Size
    """

    lines: list[str]
    caption: list[str]
    shape: Shape
    draws: str
    size: Size


class Picture(Drawing):
    """A graph that is drawn.

    Parameters
    ----------
    network : networkx.DiGraph
        See `scg.export.networks.to_networkx`.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    nodes : dict of str to Drawn
    layout : Layout
        In inches, without the margin.
    routes : dict of (str, str) to Route
    key : Key
        What its signs mean.
    patches : dict
        Of matplotlib, for each name, and for each edge as a pair of names.
    """

    def __init__(self, network):
        ruler = Ruler()
        self.network = network
        self.nodes = {name: _drawn(ruler, name, about, network.has_edge(name, name))
                      for name, about in network.nodes(data=True)}
        whole = boxes_of(network)
        titles = {box.label: ruler.width(box.label, SMALL) + 0.16 for box in whole.all_boxes()}
        self.layout = laid_out({name: d.size for name, d in self.nodes.items()}, dict(network.nodes(data="layer")),
                               [(v, w) for v, w in network.edges if v != w], whole, titles)
        shapes = {name: d.shape for name, d in self.nodes.items()}
        self.routes: dict[tuple[str, str], Route] = {
            (v, w): routed(self.layout, shapes, v, w, carried) for v, w, carried in network.edges(data="carried")}
        self.patches: dict[Any, Any] = {}
        super().__init__(self._painted(ruler))

    def _painted(self, ruler: Ruler):
        drawn = self._extent()
        self.key = key = Key(self.network, ruler, drawn.right - drawn.left)
        width = max(drawn.right - drawn.left, key.width) + 2 * MARGIN
        height = drawn.bottom - drawn.top + 2 * MARGIN
        figure, axes = new_figure(width, height + key.height)
        painter = Painter(axes, (width - drawn.right - drawn.left) / 2, MARGIN - drawn.top)
        for box, r in self.layout.boxes:
            painter.box(r, box.label)
        for v, w, edge in self.network.edges(data=True):
            self.patches[v, w] = painter.edge(self.routes[v, w], edge["blocked"], edge["carried"])
        for name, about in self.network.nodes(data=True):
            self.patches[name] = self._paint_node(painter, name, about)
        key.paint(axes, width, height)
        return figure

    def _extent(self) -> Rectangle:
        """What all nodes, boxes and edges take up."""
        points = [p for route in self.routes.values() for p in route.points()]
        for r in (*self.layout.rooms.values(), *(r for _, r in self.layout.boxes)):
            points += [(r.left, r.top), (r.right, r.bottom)]
        xs, ys = zip(*points, (0.0, 0.0))
        return Rectangle(min(xs), min(ys), max(xs), max(ys))

    def _paint_node(self, painter: Painter, name: str, about: dict[str, Any]):
        node, (x, y), room = self.nodes[name], self.layout.centres[name], self.layout.rooms[name]
        if node.draws:
            top = y - node.shape.half_height - 0.07
            painter.box(Rectangle(room.left, top, room.right, room.bottom), node.draws, pale=True)
        patch = painter.shape(about["kind"], node.shape, (x, y), about["verdict"] == "biased")
        tall = LINE * NAME * len(node.lines)
        painter.lines(node.lines, x, y - tall / 2, NAME, weight="bold" if about["kind"] == "param" else "normal")
        painter.lines(node.caption, x, y + node.shape.half_height + 0.03, SMALL,
                      color=ALARM if about["verdict"] == "biased" else QUIET)
        return patch


def drawn(graph, derivation=None, path=None) -> Picture:
    """A graph's picture, with what the compiler says of it if there is a derivation; written to a path if that is one.

    Raises
    ------
    SCGError
        If matplotlib is not installed, or there is no such place.
    """
    picture = Picture(to_networkx(graph, derivation))
    if path is not None:
        picture.save(path)
    return picture


def png_of(graph):
    """A graph's picture for a notebook, or None where that cannot be."""
    return drawn(graph)._repr_png_() if available() and graph.nodes else None


# --- what is drawn ---------------------------------------------------------------------------------------------------
def _drawn(ruler: Ruler, name: str, about: dict[str, Any], turns: bool) -> Drawn:
    lines = wrapped(name, WIDEST)
    width = max(ruler.width(line, NAME, "bold" if about["kind"] == "param" else "normal") for line in lines)
    shape = around(OUTLINES.get(about["kind"], "bare"), width, LINE * NAME * len(lines))
    caption = caption_of(about)
    written = max((ruler.width(line, SMALL) for line in caption), default=0.0)
    below = LINE * SMALL * len(caption) + (0.03 if caption else 0.0)
    draws = draws_of(about)
    pad = 0.07 if draws else 0.0
    half = max(shape.half_width, written / 2, ruler.width(draws, SMALL) / 2 if draws else 0.0) + pad
    size = Size(half, shape.half_height + max(pad, 0.34 if turns else 0.0),
                shape.half_height + below + pad + (LINE * SMALL if draws else 0.0))
    return Drawn(lines, caption, shape, draws, size)


def caption_of(about: dict[str, Any]) -> list[str]:
    """What is written below a node: family, shape of one draw, estimator."""
    one = _sizes(about["shape"])[len(_sizes(about["draws"])):]  # of one draw
    found = [about["family"]] if about["family"] else []
    if one and about["kind"] != "cost":
        found.append(" × ".join(one))
    found += _estimator(about["estimator"]) if about["estimator"] else []
    return found + (["biased"] if about["verdict"] == "biased" else [])


def draws_of(about: dict[str, Any]) -> str:
    """The label of the box around several draws."""
    return " ".join(f"× {size}" for size in _sizes(about["draws"]))


def _estimator(text: str) -> list[str]:
    """An estimator's name, and below what was given to it, if that is short."""
    name, _, given = text.partition("(")
    given = re.sub(r"\w+=None(, )?|\(\)", "", given.removesuffix(")")).replace("()", "").replace("=", " ", 1)
    words = wrapped(given, 24) if given else []
    return [name, *words] if len(words) <= 2 else [name]


def _sizes(shape: str) -> list[str]:
    """The dimensions of ``"(2, 3)"``."""
    return [size for size in shape.strip("()").replace(" ", "").split(",") if size]


def wrapped(text: str, most: int) -> list[str]:
    """Lines of so many letters at most, broken behind blanks, brackets and the like if possible."""
    lines = [""]
    for part in _parts(text):
        for bit in textwrap.wrap(part, most, drop_whitespace=False):
            if len(lines[-1]) + len(bit.rstrip()) > most and lines[-1]:
                lines.append("")
            lines[-1] += bit
    return [line.strip() for line in lines if line.strip()] or [text]


def _parts(text: str) -> list[str]:
    found = [""]
    for letter in text:
        found[-1] += letter
        if letter in " _-.(,[/=":
            found.append("")
    return found

"""A graph in Graphviz's language.

Names come as quoted strings, which hold any text; in labels Graphviz reads backslashes and HTML's entities, so these
are written so that they come out as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scg.export.boxes import Box, boxes_of
from scg.export.painter import LATER, PALE
from scg.export.picture import caption_of, draws_of

_SHAPES = {"sample": "ellipse", "node": "box", "cost": "diamond"}  # leaves are bare, as in the paper


def to_dot(network) -> str:
    """The text.

    Parameters
    ----------
    network : networkx.DiGraph
        See `scg.export.networks.to_networkx`.
    """
    lines = [f"digraph {_quoted(network.graph['name'])} {{", "  rankdir=LR;", '  node [fontname="DejaVu Sans"];',
             '  edge [arrowsize=0.7];', *_inside(network, boxes_of(network), "  ", [0])]
    for v, w, edge in network.edges(data=True):
        styles = {"style": "dashed"} if edge["blocked"] else {}
        if edge["carried"]:
            styles |= {"color": LATER, "constraint": "false"}
        lines.append(f"  {_quoted(v)} -> {_quoted(w)}{_attributes(styles)};")
    return "\n".join([*lines, "}", ""])


def _inside(network, box: Box, indent: str, number: list[int]) -> Iterator[str]:
    """The nodes and boxes in a box."""
    for name in box.names:
        line = f"{_quoted(name)}{_attributes(_of_node(name, network.nodes[name]))};"
        draws = draws_of(network.nodes[name])
        yield from _boxed(draws, [f"{indent}  {line}"], indent, number) if draws else [indent + line]
    for inner in box.boxes:
        yield from _boxed(inner.label, _inside(network, inner, indent + "  ", number), indent, number)


def _boxed(label: str, lines: Iterable[str], indent: str, number: list[int]) -> Iterator[str]:
    number[0] += 1
    yield f"{indent}subgraph cluster_{number[0]} {{"
    yield f"{indent}  label={_label(label)}; labelloc=b; labeljust=r; style=rounded; color=gray50;"
    yield from lines
    yield f"{indent}}}"


def _of_node(name: str, about) -> dict[str, str]:
    """The attributes of a node; values are Graphviz's text."""
    said = [name, *caption_of(about)]
    found = {"label": "\\n".join(_escaped(line) for line in said), "shape": _SHAPES.get(about["kind"], "plain")}
    if about["kind"] == "param":
        found["fontname"] = "DejaVu Sans Bold"
    if about["kind"] == "data":
        found |= {"shape": "box", "style": "filled,rounded", "fillcolor": PALE, "color": PALE, "margin": "0.05,0.02",
                  "width": "0", "height": "0"}  # as wide as its name, as in the picture
    if about["verdict"] == "biased":
        found |= {"color": "red", "fontcolor": "red"}
    return found


def _attributes(values: dict[str, str]) -> str:
    said = ", ".join(f'{key}="{value}"' for key, value in values.items())
    return f" [{said}]" if said else ""


def _quoted(name: str) -> str:
    """An identifier: in quotes, only a quote needs a backslash; one at the end would take the closing quote's."""
    return '"{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"'))


def _label(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """A text inside a label's quotes."""
    for char, written in (("&", "&amp;"), ("\\", "\\\\"), ('"', '\\"')):
        text = text.replace(char, written)
    return text

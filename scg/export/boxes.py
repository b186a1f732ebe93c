"""Boxes around what is repeated: the rows of the data, and the steps of loops.

They are nested, and do not overlap: where only a part of a loop varies by row, that part has a box of rows inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Box:
    """What stands in a box.

    Attributes
    ----------
    label : str
        ``"rows"``, ``"3 steps"``; empty for the whole graph.
    names : list of str
        Nodes that stand in it and in no box inside it.
    boxes : list of Box
    """

    label: str = ""
    names: list[str] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    def everything(self) -> Iterator[str]:
        """All nodes in it."""
        yield from self.names
        for box in self.boxes:
            yield from box.everything()

    def all_boxes(self) -> Iterator[Box]:
        """All boxes in it, outer ones first."""
        for box in self.boxes:
            yield box
            yield from box.all_boxes()


def boxes_of(network) -> Box:
    """The whole graph as a box without a label.

    Parameters
    ----------
    network : networkx.DiGraph
        See `scg.export.networks.to_networkx`.
    """
    return _filled(Box(), network, list(network), "", False)


def _filled(box: Box, network, names: list[str], loop: str, in_rows: bool) -> Box:
    """A box with these nodes, in the loop of that title, inside a box of rows or not."""
    inner: dict[str, list[str]] = {}
    own = []
    for name in names:
        title = network.nodes[name]["loop"]
        if title == loop:
            own.append(name)
        else:
            first = title[len(loop):].lstrip(".").partition(".")[0]
            inner.setdefault(f"{loop}.{first}".lstrip("."), []).append(name)
    rows = Box("rows")
    for name in own:
        (rows if network.nodes[name]["rows"] and not in_rows else box).names.append(name)
    for title, members in inner.items():
        whole = not in_rows and all(network.nodes[name]["rows"] for name in members)
        steps = network.graph[f"steps of loop {title}"]
        label = "1 step" if steps == 1 else f"{steps} steps"
        made = _filled(Box(label), network, members, title, in_rows or whole)
        (rows if whole else box).boxes.append(made)
    if rows.names or rows.boxes:
        box.boxes.append(rows)
    return box


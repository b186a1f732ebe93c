"""A declared graph as a `networkx.DiGraph`: what has a name, and what is computed from what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scg.export.blocked import blocked
from scg.export.declared import Declared, declared
from scg.export.generations import generations
from scg.export.names import Names
from scg.export.parents import EARLIER, PREVIOUS, Parents
from scg.ir.axes import ROW
from scg.ir.node import Node
from scg.surrogate.derivation import Derivation


def to_networkx(graph, derivation: Derivation | None = None):
    """The graph as declared, and with a derivation what the compiler says of it.

    Its nodes are the names of leaves, named nodes, sites and costs. All attributes are plain text, numbers and truth
    values, so that `networkx.write_graphml` and `networkx.write_gexf` take them:

    ``kind``
        ``"param"``, ``"input"``, ``"data"``, ``"node"``, ``"sample"`` or ``"cost"``.
    ``label``
        The name, and for a sample its family: ``"b ~ Bernoulli"``.
    ``shape``
        Event shape, as text: ``"(2, 3)"``; of one step, for what is inside a scan.
    ``layer``
        Its generation: every edge but the carried ones leads to a later layer.
    ``rows``
        Whether it varies by row.
    ``steps``
        For what is inside a scan its length, else 0.
    ``loop``
        For what is inside a scan which one, and inside which: ``"2"``, ``"2.1"``; else ``""``. An attribute of the
        whole, ``"steps of loop 2"``, says how long each is.
    ``family``, ``draws``
        Of a sample: its family, and the shape of its independent draws, ``""`` for one.
    ``estimator``, ``verdict``
        Of a sample, where there is a derivation: the estimator in words, ``""`` where it has nothing to estimate, and
        ``"unbiased"`` or ``"biased"``. Of a cost that a stopped gradient of yours stands in the way of, the verdict.

    An edge from v to w says that w is computed from v, through unnamed nodes only. Its attributes are ``carried``, true
    if v acts on w in later steps of their scan only (without such edges the graph is acyclic), and ``blocked``, true
    if what is differentiated acts along the edge, but no derivative goes along it. Without a derivation none is.

    Parameters
    ----------
    graph : Graph
    derivation : Derivation, optional

    Returns
    -------
    networkx.DiGraph
    """
    import networkx

    out = networkx.DiGraph(name=graph.name)
    loops, found, names = _Loops(), [*declared(graph)], Names(graph)
    for thing in found:
        out.add_node(thing.name, **_plain(thing, loops.title(thing.scans)))
    for thing in found:
        _connect(out, names, thing.name, thing.parents(Parents(names)))
    for title, steps in loops.steps.items():
        out.graph[f"steps of loop {title}"] = steps
    for name, layer in generations(out).items():
        out.nodes[name]["layer"] = layer
    if derivation is not None:
        _judge(out, derivation)
    return out


def _plain(thing: Declared, loop: str) -> dict[str, Any]:
    """All attributes of a node."""
    family = draws = ""
    if thing.kind == "sample":
        family = thing.node.attrs.family.__name__
        draws = _shape(thing.node.args[-1].shape) if thing.node.args[-1].shape else ""
    return {"kind": thing.kind, "label": f"{thing.name} ~ {family}" if family else thing.name,
            "shape": _shape(thing.shape), "layer": 0, "rows": ROW in thing.node.axes,
            "steps": int(thing.scans[-1].attrs.length) if thing.scans else 0, "loop": loop,
            "family": family, "draws": draws, "estimator": "", "verdict": ""}


def _shape(shape) -> str:
    return str(tuple(map(int, shape)))


def _judge(out, derivation: Derivation) -> None:
    """Write into nodes and edges what the compiler says of them."""
    for name, v in derivation.verdicts.items():
        used = v.differentiated or getattr(v.estimator, "always", False)
        out.nodes[name].update(estimator=str(v.estimator or "") if used else "", verdict=v.status)
    for name, cost in derivation.of_costs.items():
        out.nodes[name]["verdict"] = cost.status
    for edge in blocked(out, derivation):
        out.edges[edge]["blocked"] = True


def _connect(out, names: Names, child: str, parents) -> None:
    for p in parents:
        carried, parent = p.when in (PREVIOUS, EARLIER), names.text(p.name)
        before = out.get_edge_data(parent, child)
        out.add_edge(parent, child, carried=carried and (before is None or before["carried"]), blocked=False)


class _Loops:
    """Numbers the loops of a graph as they are met: ``"2.1"`` is the first one inside the second."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self._known: dict[tuple[int, ...], str] = {}

    def title(self, scans: Sequence[Node]) -> str:
        """The number of the innermost of these loops, each inside the one before."""
        title = ""
        for depth, scan in enumerate(scans, 1):
            path = tuple(s.id for s in scans[:depth])
            if path not in self._known:
                before = sum(len(other) == depth and other[:-1] == path[:-1] for other in self._known)
                self._known[path] = f"{title}.{before + 1}".lstrip(".")
                self.steps[self._known[path]] = int(scan.attrs.length)
            title = self._known[path]
        return title

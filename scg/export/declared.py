"""What is declared in a graph under a name, and the loops that it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scg.export.parents import ALWAYS, NOW, Loop, Parent, Parents
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.randomness import sample_op
from scg.ops.scan import of_step, scan_op, stacked


class Declared(NamedTuple):
    """A leaf, named node, site or cost.

    Attributes
    ----------
    name, kind : str
        ``"param"``, ``"input"``, ``"data"``, ``"node"``, ``"sample"`` or ``"cost"``.
    node : Node
        As the graph has it: stacked over the steps of a loop, but for a site.
    scans : tuple of Node
        The loops that it stands in, outer ones first.
    loop : Loop or None
        Of a site in a loop.
    """

    name: str
    kind: str
    node: Node
    scans: tuple[Node, ...] = ()
    loop: Loop | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its event shape, in one step."""
        return self.node.shape[len(self.scans):] if self.loop is None else self.node.shape

    def parents(self, finder: Parents) -> list[Parent]:
        """What it is computed from."""
        if self.kind == "sample":
            return finder.of_site(self.node, self.loop)
        if self.kind == "cost":
            return finder.of_output(self.node)
        if self.scans:
            return finder.of_step(self.node)
        return finder.of_named(self.node) if self.kind == "node" else []


def declared(graph) -> Iterator[Declared]:
    """All that has a name: leaves, named nodes, sites, costs."""
    for kind, table in (("param", graph.params), ("input", graph.inputs), ("data", graph.rows)):
        yield from (Declared(name, kind, node) for name, node in table.items())
    for name in dict.fromkeys(graph.names.values()):
        node = graph.nodes[name]
        yield Declared(name, "node", node, _scans(node) if name in graph.per_step else ())
    yield from _samples(graph)
    yield from (Declared(name, "cost", node, _scans(node)) for name, node in graph.costs.items())


def _scans(node: Node) -> tuple[Node, ...]:
    """The loops that put out a node step by step."""
    found = []
    while stacked(node):
        (scan,) = node.args
        found.append(scan)
        node = of_step(node)
    return tuple(found)


def _samples(graph) -> Iterator[Declared]:
    """Every sample node that was declared, with the loop it is in."""
    found = {name: Declared(name, "sample", node) for name, node in graph.nodes.items() if node.op is sample_op}

    def walk(roots, loop: Loop | None) -> None:
        for n in topological(roots):
            if n.op is sample_op:
                found.setdefault(n.attrs.site, Declared(n.attrs.site, "sample", n, _around(loop), loop))
            elif n.op is scan_op:
                walk(n.attrs.outputs, Loop(n, loop, NOW if loop else ALWAYS))

    walk([*graph.costs.values(), *graph.nodes.values()], None)
    return iter(found.values())


def _around(loop: Loop | None) -> tuple[Node, ...]:
    return () if loop is None else (*_around(loop.outer), loop.scan)

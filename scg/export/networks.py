"""A declared graph as a `networkx.DiGraph`: what has a name, and what is computed from what."""

from __future__ import annotations

from scg.export.sympy.parents import ALWAYS, EARLIER, NOW, PREVIOUS, Loop, Parents, stacked
from scg.ir.traverse import topological
from scg.ops.randomness import sample_op
from scg.ops.scan import scan_op


def to_networkx(graph):
    """The graph as declared.

    Its nodes are the names of leaves, named nodes, sites and costs, with

    ``kind``
        ``"param"``, ``"input"``, ``"data"``, ``"node"``, ``"sample"`` or ``"cost"``.
    ``label``
        The name, and for a sample its family: ``"b ~ Bernoulli"``.
    ``shape``
        Event shape; of one step, for what is inside a scan.
    ``steps``
        For what is inside a scan its length, else None.

    An edge from v to w says that w is computed from v, through unnamed nodes only. Its attribute ``carried`` is true if
    v acts on w in later steps of their scan only: without such edges the graph is acyclic.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    networkx.DiGraph
    """
    import networkx

    out = networkx.DiGraph(name=graph.name)
    parents = Parents(graph)
    for kind, table in (("param", graph.params), ("input", graph.inputs), ("data", graph.rows)):
        for name, node in table.items():
            out.add_node(name, kind=kind, label=name, shape=node.shape, steps=None)
    for name in dict.fromkeys(graph.names.values()):
        node = graph.nodes[name]
        steps, shape = (node.shape[0], node.shape[1:]) if name in graph.per_step else (None, node.shape)
        out.add_node(name, kind="node", label=name, shape=shape, steps=steps)
        _connect(out, name, parents.of_output(node) if steps else parents.of_named(node))
    for name, node, loop in _samples(graph):
        steps = loop.scan.attrs.length if loop else None
        out.add_node(name, kind="sample", label=f"{name} ~ {node.attrs.family.__name__}", shape=node.shape, steps=steps)
        _connect(out, name, parents.of_site(node, loop))
    for name, node in graph.costs.items():
        steps, shape = (node.shape[0], node.shape[1:]) if stacked(node) else (None, node.shape)
        out.add_node(name, kind="cost", label=name, shape=shape, steps=steps)
        _connect(out, name, parents.of_output(node))
    return out


def _connect(out, child: str, parents) -> None:
    for p in parents:
        carried = p.when in (PREVIOUS, EARLIER)
        before = out.get_edge_data(p.name, child)
        out.add_edge(p.name, child, carried=carried and (before is None or before["carried"]))


def _samples(graph):
    """Every sample node that was declared, with the loop it is in."""
    found = {name: (name, node, None) for name, node in graph.nodes.items() if node.op is sample_op}

    def walk(roots, loop) -> None:
        for n in topological(roots):
            if n.op is sample_op:
                found.setdefault(n.attrs.site, (n.attrs.site, n, loop))
            elif n.op is scan_op:
                walk(n.attrs.outputs, Loop(n, loop, NOW if loop else ALWAYS))

    walk([*graph.costs.values(), *graph.nodes.values()], None)
    return list(found.values())

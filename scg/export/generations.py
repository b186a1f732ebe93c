"""The generations of a graph: the layers in which it is drawn."""

from __future__ import annotations

LEAVES = ("param", "input", "data")


def generations(network) -> dict[str, int]:
    """For each node its layer: after all its parents, those that are carried left out.

    Leaves stand right before the first of their children, so that edges are short, and what only earlier steps of a
    loop lead to, behind all that does.

    Parameters
    ----------
    network : networkx.DiGraph
        With ``carried`` edges, and nodes of a ``kind``.
    """
    import networkx

    now = networkx.DiGraph()
    now.add_nodes_from(network)
    now.add_edges_from((v, w) for v, w, carried in network.edges(data="carried") if not carried)
    layer: dict[str, int] = {}
    for name in networkx.topological_sort(now):
        layer[name] = max((layer[p] + 1 for p in now.predecessors(name)), default=0)
    for name, kind in network.nodes(data="kind"):
        before, after = set(network.predecessors(name)) - {name}, set(network.successors(name)) - {name}
        if kind in LEAVES and after:
            layer[name] = min(layer[child] for child in after) - 1
        elif before and not now.in_degree(name) and not now.out_degree(name):  # what earlier steps alone lead to
            layer[name] = max(layer[parent] for parent in before) + 1
    first = min(layer.values(), default=0)
    return {name: layer[name] - first for name in network}

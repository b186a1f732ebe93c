"""Along which edges of a graph no derivative goes, although what is differentiated acts along them.

The paper calls such paths blocked: a site that is scored stops what would be propagated back through it.
"""

from __future__ import annotations

from collections.abc import Callable

from scg.export.declared import declared
from scg.export.names import Names
from scg.export.parents import Parents
from scg.ir.op import Smoothness
from scg.ops.arithmetic import named_op
from scg.ops.leaves import placeholder_op
from scg.ops.scan import out_op
from scg.surrogate.derivation import Derivation

Edge = tuple[str, str]


def blocked(network, derivation: Derivation) -> set[Edge]:
    """The edges that what is differentiated acts along, and no derivative.

    Parameters
    ----------
    network : networkx.DiGraph
        Of the graph that was derived from; see `scg.export.networks.to_networkx`.
    derivation : Derivation
    """
    targets = {name for name in derivation.moved if name in network}
    smooth = _smooth_edges(derivation.graph)
    estimators = {name: v.estimator for name, v in derivation.verdicts.items()}
    by_one_rule = any(getattr(e, "scope", "") == "graph" for e in estimators.values())

    def moves(v: str, w: str) -> bool:
        """Whether w moves with v: it is no site, or one whose value is differentiated."""
        own = network.nodes[w]["kind"] != "sample" or getattr(estimators.get(w), "differentiates", False)
        return own and (v, w) in smooth

    moved = set() if by_one_rule else _reached(network, targets, moves)
    acting = _reached(network, targets, lambda v, w: True)
    return {(v, w) for v, w in network.edges if v in acting and not (v in moved and (v, w) in smooth)}


def _reached(network, sources: set[str], along: Callable[[str, str], bool]) -> set[str]:
    """The sources, and what is reached from them along such edges."""
    found, stack = set(sources), list(sources)
    while stack:
        v = stack.pop()
        for w in network.successors(v):
            if w not in found and along(v, w):
                found.add(w)
                stack.append(w)
    return found


def _smooth_edges(graph) -> set[Edge]:
    """The edges along which there is a derivative: not through ⊥, jumps and indices only."""
    names = Names(graph)
    return {(names.text(p.name), thing.name) for thing in declared(graph) for p in thing.parents(_SmoothParents(names))}


class _SmoothParents(Parents):
    """Parents along paths that have a derivative."""

    def of_named(self, node):
        inside = node.op is named_op and self.graph.named_inside(node)
        named = node.args[0] if inside else node
        passing = _passing(named)
        return self._search([a for a in named.args if a.id in passing], None)

    def _behind(self, n, at, when, found):
        behind = super()._behind(n, at, when, found)
        if n.op is out_op or n.op is placeholder_op:
            return behind
        passing = _passing(n)
        return [item for item in behind if item[0].id in passing]


def _passing(node) -> set[int]:
    """The arguments in which a node has a derivative."""
    return {a.id for i, a in enumerate(node.args)
            if node.op.smooth_in(i) in (Smoothness.SMOOTH, Smoothness.CONTINUOUS)}

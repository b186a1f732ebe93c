"""Walking and rewriting graphs: topological order, dependence, substitution.

Replay of a site is `substitute`: replace a node, and everything downstream is rebuilt, with shapes and axes inferred
anew. What is not downstream is the same node as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from scg.ir.location import derived_from
from scg.ir.node import Node, make

# (the node with its old arguments, its new arguments) -> the new node, or None for the ordinary rebuild
Hook = Callable[[Node, tuple[Node, ...]], Node | None]


def topological(roots: Iterable[Node]) -> list[Node]:
    """Every node that the roots depend on, arguments first; bodies of loops are not entered."""
    seen: set[int] = set()
    order: list[Node] = []
    for root in roots:
        stack: list[tuple[Node, bool]] = [(root, False)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                order.append(node)
            elif node.id not in seen:
                seen.add(node.id)
                stack.append((node, True))
                stack.extend((a, False) for a in reversed(node.args) if a.id not in seen)
    return order


def ancestors(roots: Iterable[Node]) -> set[int]:
    """Ids of the roots and of all that they depend on."""
    return {node.id for node in topological(roots)}


def downstream(of: Iterable[Node], roots: Sequence[Node]) -> set[int]:
    """Ids of all nodes below `roots` that depend on one of `of`, these included."""
    tainted = {node.id for node in of}
    for node in topological(roots):
        if any(a.id in tainted for a in node.args):
            tainted.add(node.id)
    return tainted


def rebuild(node: Node, args: tuple[Node, ...]) -> Node:
    """The same op on other arguments."""
    with derived_from(node.source):
        if node.op.rebuild is not None:
            return node.op.rebuild(node, args, None)
        return make(node.op, args, node.attrs)


def substitute(roots: Sequence[Node], mapping: Mapping[Node, Node], hook: Hook | None = None) -> list[Node]:
    """The roots with nodes replaced.

    Parameters
    ----------
    roots : sequence of Node
    mapping : dict of Node to Node
        What replaces what. Replacements are not searched for further replacements.
    hook : callable, optional
        Called for each rebuilt node; what it returns stands in its place, unless that is None. Loops pass it on to
        the parts of their bodies that are downstream of a change.

    Returns
    -------
    list of Node
        One per root; a root that does not depend on a replaced node is returned as it is.
    """
    memo = {old.id: new for old, new in mapping.items()}
    for node in topological(roots):
        if node.id in memo:
            continue
        args = tuple(memo[a.id] for a in node.args)
        if all(new is old for new, old in zip(args, node.args)):
            memo[node.id] = node
            continue
        replaced = hook(node, args) if hook else None
        if replaced is None:
            with derived_from(node.source):
                replaced = (node.op.rebuild(node, args, hook) if node.op.rebuild
                            else make(node.op, args, node.attrs))
        memo[node.id] = replaced
    return [memo[root.id] for root in roots]

"""Applies the rules bottom-up, in the bodies of scans too, each node to its fixed point."""

from __future__ import annotations

from collections.abc import Sequence

from scg.errors import InternalError
from scg.ir.location import derived_from
from scg.ir.node import Node, make
from scg.ir.traverse import rebuild, topological
from scg.rules.algebra import step

MOST_STEPS = 100


def rewrite(roots: Sequence[Node]) -> list[Node]:
    """The roots, simplified."""
    memo: dict[int, Node] = {}
    for node in topological(roots):
        args = tuple(memo[a.id] for a in node.args)
        new = node if all(a is b for a, b in zip(args, node.args)) else rebuild(node, args)
        if new.op.name == "scan":
            new = _body(new)
        memo[node.id] = _fixed_point(new, memo)
    return [memo[r.id] for r in roots]


def _body(scan: Node) -> Node:
    body = scan.attrs.with_outputs(rewrite(scan.attrs.outputs))
    return scan if body == scan.attrs else make(scan.op, scan.args, body)


def _fixed_point(node: Node, memo: dict[int, Node]) -> Node:
    for _ in range(MOST_STEPS):
        with derived_from(node.source):
            new = step(node)
        if new is None:
            return node
        # the replacement's own arguments may be new nodes, to which rules apply as well
        inner = tuple(memo[a.id] if a.id in memo else rewrite([a])[0] for a in new.args)
        node = new if all(a is b for a, b in zip(inner, new.args)) else rebuild(new, inner)
    raise InternalError("", f"Simplification of {node!r} does not end.", "Two rules undo each other.")

"""Applies the rules bottom-up, in the bodies of scans too, each node to its fixed point.

Every node is looked at once: what a rule puts in a node's place is a node like any other, with a place in the same
table, and what stands in the table is not walked again. Nodes wait on a stack of our own, so depth does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence

from scg.errors import InternalError
from scg.ir.location import derived_from
from scg.ir.node import Node, make
from scg.ir.traverse import rebuild
from scg.rules.algebra import step

MOST_STEPS = 100


def rewrite(roots: Sequence[Node]) -> list[Node]:
    """The roots, simplified."""
    table = _Table()
    return [table.simplified(root) for root in roots]


class _Table:
    """What becomes of nodes, by id; those that are finished become themselves."""

    def __init__(self) -> None:
        self.done: dict[int, Node] = {}
        self.bodies: set[int] = set()  # scans whose bodies are finished

    def simplified(self, root: Node) -> Node:
        """What becomes of a node, after all that it is made of and becomes on the way."""
        becomes: dict[int, Node] = {}  # what stands in a node's place and is not finished itself
        steps: dict[int, int] = {}
        stack = [root]
        while stack:
            node = stack[-1]
            if node.id in self.done:
                stack.pop()
            elif node.id in becomes:
                self.done[node.id] = self.done[becomes[node.id].id]
            elif missing := [a for a in node.args if a.id not in self.done]:
                stack.extend(reversed(missing))
            elif (new := self._next(node)) is node:
                self.done[node.id] = node
            else:
                steps[new.id] = steps.get(node.id, 0) + 1
                if steps[new.id] > MOST_STEPS:
                    raise InternalError("", f"Simplification of {node!r} does not end.", "Two rules undo each other.")
                becomes[node.id] = new
                stack.append(new)
        return self.done[root.id]

    def _next(self, node: Node) -> Node:
        """A node over finished arguments one step on: itself if it is finished."""
        args = tuple(self.done[a.id] for a in node.args)
        if any(new is not old for new, old in zip(args, node.args)):
            return rebuild(node, args)
        if node.op.name == "scan" and node.id not in self.bodies:
            inner = _body(node)
            self.bodies.add(inner.id)
            if inner is not node:
                return inner
        with derived_from(node.source):
            new = step(node)
        return node if new is None else new


def _body(scan: Node) -> Node:
    body = scan.attrs.with_outputs(rewrite(scan.attrs.outputs))
    return scan if body == scan.attrs else make(scan.op, scan.args, body)

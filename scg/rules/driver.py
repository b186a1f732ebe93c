"""Applies the rules bottom-up, in the bodies of scans too, each node to its fixed point.

Every node is looked at once: what a rule puts in a node's place is a node like any other, with a place in the same
table, and what stands in the table is not walked again. Nodes wait on a stack of our own, so depth does not matter.

Rules that change the last bit of a number leave alone what a decision reads. Which nodes these are is only known when
all is rewritten; so where such a rule turns out to have been applied above a decision, all is done again without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import is_

from scg.analysis.decisions import decided
from scg.errors import InternalError
from scg.ir.location import derived_from
from scg.ir.node import Node, make
from scg.ir.traverse import rebuild
from scg.ops.scan import scan_op
from scg.rules.algebra import step

MOST_STEPS = 100
Read = Callable[[], Mapping[int, Node]]


def rewrite(roots: Sequence[Node]) -> list[Node]:
    """The roots, simplified."""
    exact: dict[int, Node] = {}
    read = cache(lambda: decided(roots))
    while True:
        changed: dict[int, Node] = {}
        new = _rewritten(roots, exact, changed, read)
        now = decided(new)
        if not (missed := {n.id: n for i, n in changed.items() if i in now}):
            return new
        exact.update(missed)


def _rewritten(roots: Sequence[Node], exact: Mapping[int, Node], changed: dict[int, Node], read: Read) -> list[Node]:
    table = _Table(exact, changed, read)
    return [table.simplified(root) for root in roots]


class _Table:
    """What becomes of nodes, by id; those that are finished become themselves.

    To the nodes of `exact` no rule applies that changes the last bit; `changed` says, of every node that comes of such
    a rule, to which node it was applied; `read` gives those that a decision reads in the graph as it was written.
    """

    def __init__(self, exact: Mapping[int, Node], changed: dict[int, Node], read: Read) -> None:
        self.exact, self.changed, self.read = exact, changed, read
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
        args = tuple([self.done[a.id] for a in node.args])
        if not all(map(is_, args, node.args)):
            rebuilt = rebuild(node, args)
            if node.id in self.changed:
                self._note(rebuilt, self.changed[node.id])
            return rebuilt
        if node.op is scan_op and node.id not in self.bodies:
            inner = self._body(node)
            self.bodies.add(inner.id)
            if inner is not node:
                return inner
        with derived_from(node.source):
            new = step(node, exact=True)
            loose = new is None and node.id not in self.exact
            new = step(node, exact=False) if loose else new
            if loose and new is not None and new.id in self.done and not new.is_const and node.id in self.read():
                new = None  # x stands for log eˣ: of x nobody could tell later that a decision reads it as that
        if new is None:
            return node
        source = node if loose else self.changed.get(node.id)
        if source is not None:
            self._note(new, source)
        return new

    def _note(self, new: Node, source: Node) -> None:
        """A node that is not finished, and what it is made of that is not, come of a rule applied to `source`."""
        stack = [new]
        while stack:
            n = stack.pop()
            if n.id not in self.done and n.id not in self.changed:
                self.changed[n.id] = source
                stack.extend(n.args)

    def _body(self, scan: Node) -> Node:
        body = scan.attrs.with_outputs(_rewritten(scan.attrs.outputs, self.exact, self.changed, self.read))
        return scan if body == scan.attrs else make(scan.op, scan.args, body)

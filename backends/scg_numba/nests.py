"""Which nodes get buffers, and which share a loop nest.

A node needs a buffer if it is a reduction, is drawn, is wanted, or if recomputing it where it is used would cost more than
storing it. Nodes with buffers that run over the same domain share a nest where their dependences allow it: what one
computes at a position the next uses from a register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scg_numba.scalars import VIEWS

from scg.ir.axes import union
from scg.ir.node import Node

REDUCTIONS = {"sum", "amax", "axis_sum", "contract"}
SPECIAL = {"uniform", "leave_one_out", "suffix_sum", "prefix_sum", "scan", "draw_until"}
BUFFERED = REDUCTIONS | SPECIAL
FREE = {"const", "param", "input", "data", "state", "placeholder", "noise", "antithetic"}


class Domain(NamedTuple):
    """What a nest runs over: world axes, event dimensions, and the vector dimension (``"lane"``, ``"row"`` or None)."""

    worlds: tuple[tuple[str, int], ...]
    event: tuple[int, ...]
    vector: str | None

    @property
    def elements(self) -> int:
        """Iterations outside the vector dimension."""
        return int(np.prod([s for _, s in self.worlds], dtype=int)) * int(np.prod(self.event, dtype=int))


def vector_of(axes: Iterable, shared: bool) -> str | None:
    """The vector dimension of a node: lanes, else rows; where rows are an outer loop they are no vector dimension."""
    names = {ax.name for ax in axes}
    if "lane" in names:
        return "lane"
    return "row" if "row" in names and not shared else None


def domain_of(node: Node, shared: bool) -> Domain:
    """The domain of a node's elements."""
    worlds = tuple((ax.name, ax.size) for ax in node.axes if not ax.statistical)
    return Domain(worlds, node.shape, vector_of(node.axes, shared))


def letters(node: Node) -> str:
    """All index letters of a contraction: those of the result, then those that are summed."""
    c = node.attrs
    return c.out + "".join(sorted(set(c.left + c.right) - set(c.out)))


def nest_domain(node: Node, shared: bool) -> Domain:
    """The domain of the nest that computes a buffer."""
    if node.op.name == "contract":
        sizes = {ch: s for sub, a in zip((node.attrs.left, node.attrs.right), node.args) for ch, s in zip(sub, a.shape)}
        axes = union(*(a.axes for a in node.args))
        worlds = tuple((ax.name, ax.size) for ax in axes if not ax.statistical)
        return Domain(worlds, tuple(sizes[ch] for ch in letters(node)), vector_of(axes, shared))
    return domain_of(node.args[0] if node.op.name in REDUCTIONS else node, shared)


@dataclass
class Step:
    """A loop nest over a domain with its roots, or (`domain` None) one special node."""

    domain: Domain | None
    roots: list[Node] = field(default_factory=list)
    key: object = None


class Planner:
    """Buffers and nests of one scope.

    Parameters
    ----------
    roots : sequence of Node
        What the scope must compute.
    outside : callable
        ``outside(node) -> bool``: whether a node is computed elsewhere.
    shared : bool
        Whether rows are an outer loop.
    """

    def __init__(self, roots: Sequence[Node], outside: Callable[[Node], bool], shared: bool):
        self.shared, self.outside = shared, outside
        self.order = [n for n in _inside(roots, outside)]
        self.buffered: dict[int, Node] = {}
        self._wanted(roots)
        self._needed_by_ops()
        self._cheaper_stored()
        self.steps = self._place()
        if self._shared_between_nests():
            self.steps = self._place()

    def _mark(self, node: Node) -> None:
        while node.op.name in ("stop_gradient", "assume_continuous"):
            node = node.args[0]
        if node.op.name not in FREE and node.op.name not in ("out", "scan") and not self.outside(node):
            self.buffered[node.id] = node

    def _wanted(self, roots: Sequence[Node]) -> None:
        for root in roots:
            self._mark(root)

    def _needed_by_ops(self) -> None:
        for n in self.order:
            if n.op.name in BUFFERED:
                self.buffered[n.id] = n
            if n.op.name in ("leave_one_out", "scan"):
                for a in n.args:
                    self._mark(a)
            if n.op.name == "take" and n.args[0].op.kind != "leaf":
                self._mark(n.args[0])

    def _cheaper_stored(self) -> None:
        """Arguments that would be recomputed for every element of a larger domain."""
        for n in self.order:
            if n.op.name in FREE | {"scan", "out"}:
                continue
            size = self._size(n)
            for a in n.args:
                inner = a
                while inner.op.name in VIEWS and inner.args and not self.outside(inner) and inner.op.name != "out":
                    inner = inner.args[0]
                if inner.op.kind == "elementwise" and self._size(inner) < size:
                    self._mark(inner)

    def _size(self, n: Node) -> tuple[int, int]:
        domain = nest_domain(n, self.shared)
        return (0 if domain.vector is None else 1 if domain.vector == "row" else 2, domain.elements)

    # --- nests ------------------------------------------------------------------------------------------------------
    def _place(self) -> list[Step]:
        steps: list[Step] = []
        at: dict[int, int] = {}
        for n in self.order:
            if n.id not in self.buffered:
                continue
            special = n.op.name in SPECIAL
            domain = None if special else nest_domain(n, self.shared)
            key = (domain, n.id if n.op.name == "contract" else None)
            low = 0
            for dep, pointwise in self._dependences(n):
                if dep in at:
                    joined = pointwise and not special and steps[at[dep]].key == key
                    low = max(low, at[dep] if joined else at[dep] + 1)
            where = next((i for i in range(low, len(steps)) if not special and steps[i].key == key), None)
            if where is None:
                where = len(steps)
                steps.append(Step(domain, key=None if special else key))
            steps[where].roots.append(n)
            at[n.id] = where
        return steps

    def _dependences(self, root: Node) -> list[tuple[int, bool]]:
        """Buffers that a root's nest reads, and whether at the same position only."""
        found: dict[int, bool] = {}
        same = nest_domain(root, self.shared) if root.op.name not in SPECIAL else None
        stack = [(a, root.op.kind == "elementwise" or root.op.name in REDUCTIONS - {"contract"}) for a in root.args]
        seen: set[tuple[int, bool]] = set()
        while stack:
            n, pointwise = stack.pop()
            if (n.id, pointwise) in seen:
                continue
            seen.add((n.id, pointwise))
            if n.op.name == "out":
                stack.append((n.args[0], False))
                continue
            if n.id in self.buffered:
                exact = pointwise and same == domain_of(n, self.shared) and n.op.name not in BUFFERED
                found[n.id] = found.get(n.id, True) and exact
            elif not self.outside(n):
                aligned = pointwise and n.op.kind == "elementwise" and domain_of(n, self.shared) == same
                stack.extend((a, aligned) for a in n.args)
        return list(found.items())

    def _shared_between_nests(self) -> bool:
        """Costly nodes that two nests would both compute get buffers; whether there were any."""
        users: dict[int, set[int]] = {}
        nodes: dict[int, Node] = {}
        for i, step in enumerate(self.steps):
            for root in step.roots:
                for n in self._inlined(root):
                    users.setdefault(n.id, set()).add(i)
                    nodes[n.id] = n
        costly = [n for k, n in nodes.items() if len(users[k]) > 1 and self._cost(n) > 2]
        for n in costly:
            self._mark(n)
        return bool(costly)

    def _inlined(self, root: Node) -> list[Node]:
        out, stack, seen = [], list(root.args), set()
        while stack:
            n = stack.pop()
            if n.id in seen or n.id in self.buffered or self.outside(n):
                continue
            seen.add(n.id)
            if n.op.kind == "elementwise":
                out.append(n)
            if n.op.name not in ("out", "scan"):
                stack.extend(n.args)
        return out

    def _cost(self, n: Node) -> int:
        cheap = {"add", "sub", "mul", "neg", "lt", "le", "eq", "ne", "where", "real", "and", "or", "not", "abs",
                 "maximum", "minimum", "whole_power"}
        cost, stack, seen = 0, [n], set()
        while stack:
            m = stack.pop()
            if m.id in seen or (m is not n and m.id in self.buffered) or self.outside(m):
                continue
            seen.add(m.id)
            if m.op.kind == "elementwise" and m.op.name not in ("stop_gradient", "assume_continuous"):
                cost += 1 if m.op.name in cheap else 8
            if m.op.name not in ("out", "scan"):
                stack.extend(m.args)
        return cost


def _inside(roots: Sequence[Node], outside: Callable[[Node], bool]) -> list[Node]:
    """Nodes of the scope in topological order; what is computed elsewhere is not entered."""
    seen: set[int] = set()
    order: list[Node] = []
    for root in roots:
        stack = [(root, False)]
        while stack:
            n, expanded = stack.pop()
            if expanded:
                order.append(n)
            elif n.id not in seen and not outside(n):
                seen.add(n.id)
                stack.append((n, True))
                stack.extend((a, False) for a in reversed(n.args))
    return order



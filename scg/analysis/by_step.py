"""Nodes over the steps of a loop, as nodes of one step.

Behind a loop stand arrays of what its steps put out, and what is computed of these: where it is computed step by step,
as everything is that goes along the first dimension, a step can compute it itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from scg.ir.node import Node, constant, make
from scg.ir.op import Op
from scg.ir.traverse import rebuild, topological
from scg.ops.arithmetic import add_op
from scg.ops.leaves import placeholder
from scg.ops.measure import leave_one_out_op
from scg.ops.reduce import sum_op
from scg.ops.scan import of_step, open_scan, out, out_op, stacked
from scg.ops.structure import broadcast_to, broadcast_to_op, reshape, reshape_op


class Sum(NamedTuple):
    """A carry, and what a step adds to it."""

    carry: Node
    added: Node


class Loop(NamedTuple):
    """A scan that has so many sums as carries besides, after those that it had before."""

    scan: Node
    before: int
    sums: int

    def total(self, i: int) -> Node:
        """The i-th sum when the loop is over."""
        return out(self.scan, self.before + i)

    def instead(self, outs: Iterable[Node]) -> dict[Node, Node]:
        """What stands for the results of the scan as it was before."""
        return {n: out(self.scan, n.attrs if n.attrs < self.before else n.attrs + self.sums) for n in outs}


class ByStep:
    """What a step of a scan would compute in place of nodes behind it.

    Attributes
    ----------
    opened : Opened
        The scan with the arrays that it runs along for them besides its own.
    """

    def __init__(self, scan: Node):
        self.scan, self.opened = scan, open_scan(scan)
        self._outputs = dict(zip((n.id for n in scan.attrs.outputs), self.opened.outputs))
        self._below = {scan.id: True}
        self._found: dict[int, Node | None] = {}
        self._along: dict[int, Node] = {}
        self._sums = 0

    def below(self, node: Node) -> bool:
        """Whether a node depends on the scan."""
        for n in topological([node], outside=lambda n: n.id in self._below):
            self._below[n.id] = any(self._below[a.id] for a in n.args)
        return self._below[node.id]

    def __call__(self, node: Node) -> Node | None:
        """The node in a step, for an array whose first dimension runs over the steps; None if a step cannot tell."""
        if not node.ndim or node.shape[0] != self.opened.length:
            return None
        if not self.below(node):
            return self._of_array(node)
        for n in topological([node], outside=lambda n: n.id in self._found or not self.below(n)):
            self._found[n.id] = self._in_step(n)
        return self._found[node.id]

    def all_added(self, node: Node, dims: Sequence[int]) -> Node | None:
        """What a step adds to an array's sum over the first dimension and others; None if a step cannot tell.

        The first dimension runs over the steps, or over those of a loop in each step, one after another.
        """
        merged = node.ndim and node.shape[0] != self.opened.length and node.shape[0] % self.opened.length == 0
        array = self._apart(node) if merged else node
        value = None if array is None else self(array)
        rest = tuple(d - (not merged) for d in dims if merged or d)
        return make(sum_op, (value,), rest) if value is not None and rest else value

    def _apart(self, node: Node) -> Node | None:
        """An array whose first dimension is that of the steps and one more, with both; None if it is no such array."""
        size, shape = node.shape[0], (self.opened.length, node.shape[0] // self.opened.length)
        found: dict[int, Node | None] = {}

        def part(n: Node) -> Node | None:
            if n.ndim < node.ndim:
                return n
            return reshape(n, (1, *n.shape)) if n.shape[0] == 1 else found.get(n.id)

        for n in topological([node], outside=lambda n: n.ndim < node.ndim or n.shape[0] != size):
            if n.ndim < node.ndim or n.shape[0] != size:
                continue
            if n.op is reshape_op or not self.below(n):
                found[n.id] = reshape(n.args[0] if n.op is reshape_op else n, (*shape, *n.shape[1:]))
            elif n.op.kind == "elementwise" or n.op is leave_one_out_op:
                parts = [part(a) for a in n.args]
                known = tuple(a for a in parts if a is not None)
                found[n.id] = rebuild(n, known) if len(known) == len(parts) else None
        return found.get(node.id)

    def adding(self, sums: Sequence[Sum]) -> Loop:
        """The scan with carries to which each step adds, from 0."""
        o = self.opened
        zeros = tuple(broadcast_to(constant(0.0), s.carry.shape) for s in sums)
        scan = replace(o, carries=(*o.carries, *(s.carry for s in sums)), inits=(*o.inits, *zeros),
                       new_carries=(*o.new_carries, *(make(add_op, s) for s in sums))).close()
        return Loop(scan, len(o.carries), len(sums))

    def adds(self, added: Node) -> Sum:
        """A carry to which every step adds that."""
        self._sums += 1
        return Sum(placeholder(f"{self.opened.step.attrs.name} sum {self._sums}", added.shape, added.axes), added)

    def _of_array(self, array: Node) -> Node:
        """The element of an array that the loop runs along."""
        if array.op is broadcast_to_op and not array.args[0].shape:
            return broadcast_to(array.args[0], array.shape[1:])
        if array.id not in self._along:
            o = self.opened
            leaf = placeholder(f"{o.step.attrs.name}:x {len(o.xs)}", array.shape[1:], array.axes, array.kind)
            self.opened = replace(o, xs=(*o.xs, leaf), arrays=(*o.arrays, array))
            self._along[array.id] = leaf
        return self._along[array.id]

    def _in_step(self, n: Node) -> Node | None:
        if not n.ndim or n.shape[0] != self.opened.length:
            return None
        if n.op is out_op:
            inside = stacked(n) and n.args[0] is self.scan
            return self._outputs[of_step(n).id] if inside else None
        if n.op.kind == "elementwise" or n.op is leave_one_out_op:
            args = [self._argument(a, n.ndim) for a in n.args]
            known = tuple(a for a in args if a is not None)
            return rebuild(n, known) if len(known) == len(args) else None
        along = _ALONG.get(n.op)
        if along is None and n.op.combines is not None:
            along = _reduced
        first = n.args[0] if n.args else None
        if along is None or first is None or not first.ndim or first.shape[0] != n.shape[0]:
            return None
        inner = self._argument(first, first.ndim)
        return None if inner is None else along(n, inner)

    def _argument(self, arg: Node, ndim: int) -> Node | None:
        """An argument of what goes along the first of so many dimensions."""
        if arg.ndim == ndim and arg.shape[0] == self.opened.length:
            return self._found.get(arg.id) if self.below(arg) else self._of_array(arg)
        if self.below(arg):
            return None
        return reshape(arg, arg.shape[1:]) if arg.ndim == ndim else arg


def _reduced(n: Node, inner: Node) -> Node | None:
    return None if 0 in n.attrs else make(n.op, (inner,), tuple(d - 1 for d in n.attrs))


_ALONG: Mapping[Op, Callable[[Node, Node], Node | None]] = {
    reshape_op: lambda n, inner: reshape(inner, n.shape[1:]),
    broadcast_to_op: lambda n, inner: broadcast_to(inner, n.shape[1:]) if n.ndim == inner.ndim + 1 else None,
    sum_op: _reduced,
}

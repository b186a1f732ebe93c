"""Whether two nodes are equal as formulas: polynomials over what is not taken apart, numbered by value.

Sums, differences and products are multiplied out; any other op is an atom, known by its name and by the numbers of its
arguments. So exp(x − x) R is R, whatever x is. What is found equal is equal wherever both have a value; what is not
found equal may be so all the same.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.arithmetic import add_op, div_op, mul_op, neg_op, sub_op
from scg.ops.elementary import exp_op
from scg.ops.structure import broadcast_to_op

MOST_TERMS = 64
Polynomial = dict[tuple[int, ...], float]  # coefficients by the sorted numbers of a product's atoms


def same(a: Node, b: Node) -> bool:
    """Whether two nodes have the same shape and axes, and are found equal in value (⊥x is x)."""
    if a.shape != b.shape or set(a.axes) != set(b.axes):
        return False
    numbers = _Numbers()
    return numbers.polynomial(a) == numbers.polynomial(b)


class _Numbers:
    """Numbers of atoms and of polynomials: equal ones have one."""

    def __init__(self) -> None:
        self.table: dict[Hashable, int] = {}
        self.known: dict[int, Polynomial] = {}

    def number(self, key: Hashable) -> int:
        return self.table.setdefault(key, len(self.table))

    def polynomial(self, root: Node) -> Polynomial:
        for node in topological([root]):
            if node.id not in self.known:
                self.known[node.id] = self._of(node, [self.known[a.id] for a in node.args])
        return self.known[root.id]

    def _of(self, node: Node, args: list[Polynomial]) -> Polynomial:
        op = node.op
        if node.is_const and node.kind == "real" and node.size and np.all(node.attrs.array == node.attrs.array.flat[0]):
            return _without_zeros({(): float(node.attrs.array.flat[0])})
        if op.transparent or op is broadcast_to_op:
            return args[0]
        if op is neg_op:
            return _scaled(args[0], -1.0)
        if op in (add_op, sub_op):
            return _added(args[0], _scaled(args[1], -1.0) if op is sub_op else args[1])
        if op is mul_op and len(args[0]) * len(args[1]) <= MOST_TERMS:
            return _product(args[0], args[1])
        if op is div_op:
            return self._quotient(*args)
        if op is exp_op and not args[0]:
            return {(): 1.0}
        if len(args) == 1 and op.is_linear(node):
            like = (op, node.attrs, node.args[0].shape, node.args[0].axes)
            return {(self.number((*like, term)),): c for term, c in args[0].items()}
        if not args:
            return {(self.number(node.id),): 1.0}
        of = tuple((self.number(frozenset(p.items())), a.shape, a.axes) for p, a in zip(args, node.args))
        return {(self.number((op, node.attrs, of)),): 1.0}

    def _quotient(self, p: Polynomial, q: Polynomial) -> Polynomial:
        """p times 1/q, which is a number if q is one."""
        if set(q) == {()}:
            return _scaled(p, 1.0 / q[()])
        inverse = self.number(("1 /", frozenset(q.items())))
        return _product(p, {(inverse,): 1.0})


def _without_zeros(p: Polynomial) -> Polynomial:
    return {term: c for term, c in p.items() if c != 0.0}


def _scaled(p: Polynomial, by: float) -> Polynomial:
    return {term: by * c for term, c in p.items()}


def _added(p: Polynomial, q: Polynomial) -> Polynomial:
    out = dict(p)
    for term, c in q.items():
        out[term] = out.get(term, 0.0) + c
    return _without_zeros(out)


def _product(p: Polynomial, q: Polynomial) -> Polynomial:
    out: Polynomial = {}
    for a, x in p.items():
        for b, y in q.items():
            term = tuple(sorted(a + b))
            out[term] = out.get(term, 0.0) + x * y
    return _without_zeros(out)

"""Reductions and running sums in plans: in float32 they are added up in arrays of float64, and rounded once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scg.ir.node import Node
from scg.ops.leaves import data_op, placeholder_op
from scg.ops.scan import out_op
from scg.schedule.domains import Domain, domain_of, nest_domain
from scg.schedule.ground import LANE, LANES, SAME_FOR_ALL, Ground
from scg.schedule.indices import ZERO, Ix, Position, flat, plus, scaled
from scg.schedule.language import (
    Add,
    AddPartials,
    Apply,
    Beside,
    Block,
    Buffer,
    Cast,
    Constant,
    Contraction,
    Element,
    Equal,
    Expr,
    If,
    Lane,
    Leaf,
    Load,
    Loop,
    Num,
    Operand,
    Place,
    Plus,
    Product,
    Set,
    Statement,
    Store,
    Sum,
    Total,
    Var,
    by_row,
    matrices_of,
)
from scg.schedule.orders import order_of
from scg.schedule.products import enough, letters, promising, through_transposes
from scg.schedule.scalars import Nest


def without_dimensions(root: Node, position: Position) -> Position:
    """Where a reduction over dimensions puts what its argument has at a position."""
    return Position(position.worlds, tuple(ix for d, ix in enumerate(position.event) if d not in root.attrs))


class SumBuilder(Ground):
    """The part of a builder that plans reductions and running sums."""

    def reduce_by_op(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[Statement],
                     after: list[Statement]) -> None:
        """What the buffer has and what the nest has, combined by an elementwise op."""
        by, start = root.op.combines  # type: ignore[misc]
        value = nest.value(root.args[0], position)
        where = self.element(buffer, self.flat_of(root, without_dimensions(root, position)), self.vector)
        first.append(self.cleared(buffer, nest.number(start)))
        nest.do(Store(where, Apply(by, (Load(where), value), self.dtype)))

    def reduce_product(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[Statement],
                       after: list[Statement]) -> Callable[[Block], Statement]:
        """Products, added up over letters and worlds."""
        if promising(root) and root.id not in self.in_order:
            large = self.large(self.contraction(root, buffer, (), accumulate=False, anywhere=True))
            if large is not None:
                return lambda body: large
        c, (a, b) = root.attrs, root.args
        by_letter = dict(zip(letters(root), position.event))
        left, right = [nest.value(arg, nest.argument(arg, Position(position.worlds, tuple(by_letter[ch] for ch in s))))
                       for arg, s in ((a, c.left), (b, c.right))]
        at = Position({ax.name: position.worlds[ax.name] for ax in root.axes if not ax.statistical},
                      tuple(by_letter[ch] for ch in c.out))
        if letters(root) == c.out and len(position.worlds) == sum(not ax.statistical for ax in root.axes):
            nest.do(Store(self.element(buffer, self.flat_of(root, at), self.vector), Product((left, right))))
            return lambda body: self.contraction(root, buffer, body, accumulate=False)
        totals = self.totals_of(buffer, buffer.elements)
        first.append(self.cleared(totals))
        after.extend(self.narrowed(buffer, totals))
        left = left if totals is buffer else Cast(left, "float64")
        nest.do(Add(self.element(totals, self.flat_of(root, at), self.vector), Product((left, right))))
        return lambda body: self.contraction(root, totals, body)

    def contraction(self, root: Node, target: Buffer, body: Block, accumulate: bool = True,
                    mean: bool = False, anywhere: bool = False) -> Contraction:
        """A contraction into a buffer, and the loops that do it; of sides that may be found anywhere, or in buffers and
        leaves that are the same for all."""
        c, domain = root.attrs, nest_domain(root, self.shared)
        sizes = (*((f"@{name}", size) for name, size in domain.worlds), *zip(letters(root), domain.event))
        operand = self.anywhere if anywhere else self._operand
        left, right = (operand(arg, names) for arg, names in zip(root.args, (c.left, c.right)))
        worlds = (f"@{ax.name}" for ax in root.axes if not ax.statistical)
        return Contraction(Operand(target, (*worlds, *c.out)), left, right, sizes, accumulate, mean, body)

    def _operand(self, arg: Node, names: str) -> Operand:
        """Where an argument stands, if it is all in one place."""
        array: Buffer | Leaf | None = self.env.ready.get(arg.id)
        if arg.op in SAME_FOR_ALL:
            array = Leaf(self.leaves[SAME_FOR_ALL[arg.op], arg.attrs.name], Num(0, "int"))
        return Operand(array, (*(f"@{ax.name}" for ax in arg.axes if not ax.statistical), *names))

    def anywhere(self, arg: Node, names: str) -> Operand:
        """Where what an argument is an order of stands, in an array of any kind."""
        arg, names = through_transposes(arg, names)
        return Operand(self._array(arg), (*(f"@{ax.name}" for ax in arg.axes if not ax.statistical), *names))

    def _array(self, arg: Node) -> Buffer | Leaf | Constant | None:
        """What holds a node's elements one after the other."""
        start = Num(0, "int")
        if arg.id in self.env.ready:
            return self.env.ready[arg.id]
        if arg.op in SAME_FOR_ALL:
            return Leaf(self.leaves[SAME_FOR_ALL[arg.op], arg.attrs.name], start)
        if arg.op is data_op and self.shared:
            return Leaf(self.leaves["data", arg.attrs.name], start, arg.size, Var("r", "int"))
        if arg.op is data_op:
            self.uses_rows = True
            row = Plus(Var("row", "int"), Lane("row"))
            return Leaf(self.leaves["data", arg.attrs.name], start, arg.size, row)
        if arg.op is out_op and (arg.args[0].id, arg.attrs) in self.env.outs:
            return self.env.outs[arg.args[0].id, arg.attrs]
        if arg.is_const and arg.kind == "real":
            return Constant(self.constant_of(arg), start)
        return self._outside(arg)

    def _outside(self, arg: Node) -> Buffer | Leaf | Constant | None:
        """What a placeholder in a loop's body stands for, if that is the same in every step; a copy of what is not."""
        kind, *rest = self.env.placeholders.get(arg.id, ("value",)) if arg.op is placeholder_op else ("value",)
        if kind == "array" and self.vector is not None:
            vector, buffer = self.vector, self.copied(arg, domain_of(arg, self.shared).vector)
            self.vector = vector
            return buffer
        if kind != "node" or self.env.parent is None:
            return None
        inside, self.env = self.env, self.env.parent
        try:
            return self._array(rest[0])
        finally:
            self.env = inside

    def large(self, s: Contraction) -> Contraction | None:
        """A contraction as matrix products, with the loops that do the same; None if loops are the better way."""
        matrices = matrices_of(s)
        if matrices is None or not enough(math.prod(n for _, n in s.sizes), matrices.rows, matrices.columns):
            return None
        return self.in_matrices(s)

    def in_matrices(self, s: Contraction) -> Contraction:
        """A contraction between arrays with its loops, for matrix products if it is some."""
        large = matrices_of(s) is not None
        self.multiplies |= large
        return replace(s, body=self._loops_of(s), large=large)

    def _loops_of(self, s: Contraction) -> Block:
        """The loops of a contraction between arrays."""
        indices = {name: self.index() for name, size in s.sizes if size > 1}
        sizes = dict(s.sizes)
        kinds = {o.array.vector if isinstance(o.array, Buffer) else "row" if by_row(o.array) else None
                 for o in (s.target, s.left, s.right)}
        vector = "lane" if "lane" in kinds else "row" if "row" in kinds else None
        summed = isinstance(s.target.array, Buffer) and s.target.array.vector is None

        def place(o: Operand) -> Place:
            at = flat(tuple(Ix(indices[d]) if d in indices else ZERO for d in o.dimensions),
                      tuple(sizes[d] for d in o.dimensions)).expr
            if isinstance(o.array, Buffer):
                return Element(o.array, at, None if o.array.vector is None else Lane(o.array.vector))
            assert o.array is not None
            return replace(o.array, at=at)

        body: Block = (Add(place(s.target), Product((Load(place(s.left)), Load(place(s.right))), s.mean)),)
        if vector is not None:
            kind = "counted" if vector == "lane" and summed else LANES[vector]
            body = (Loop(LANE[vector], kind, body),)
        for name, index in reversed(indices.items()):
            body = (Loop(index, "elements", body, sizes[name]),)
        assert isinstance(s.target.array, Buffer)
        return body if s.accumulate else (self.cleared(s.target.array, Num(0.0, self.dtype)), *body)

    # --- sums over dimensions and over worlds -----------------------------------------------------------------------
    def reduce_sum(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[Statement],
                   after: list[Statement]) -> None:
        """Add to a sum over dimensions what the nest has, in NumPy's order if a decision reads it."""
        if root.id in self.decided:
            self._store_in_order(nest, root, position, buffer, first, after)
        else:
            self._add(nest, root, position, without_dimensions(root, position), buffer, first, after)

    def reduce_axis_sum(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[Statement],
                        after: list[Statement]) -> None:
        """Add to a sum over worlds what the nest has."""
        kept = Position({k: v for k, v in position.worlds.items() if k not in root.attrs}, position.event)
        self._add(nest, root, position, kept, buffer, first, after)

    def _add(self, nest: Nest, root: Node, position: Position, kept: Position, buffer: Buffer, first: list[Statement],
             after: list[Statement]) -> None:
        value = nest.value(root.args[0], position)
        if self.vector is None and buffer.elements == 1 and nest.depth:
            self._add_in_any_order(nest, value, buffer, first, after)
            return
        totals = self.totals_of(buffer, buffer.elements)
        where = self.element(totals, self.flat_of(root, kept), self.vector)
        first.append(self.cleared(totals))
        after.extend(self.narrowed(buffer, totals))
        nest.do(Add(where, value))

    def _add_in_any_order(self, nest: Nest, value: Expr, buffer: Buffer, first: list[Statement],
                          after: list[Statement]) -> None:
        """All elements of an array that varies by no lane, in a variable: added side by side, as many as the processor
        adds at a time."""
        total = Var(self.fresh("s"), "float64")
        first.append(Set(total, Num(0.0, "float64")))
        nest.do(Sum(total, (value if self.dtype == "float64" else Cast(value, "float64"),)))
        after.append(Store(Element(buffer, ZERO.expr, None), Cast(total, self.dtype)))

    # --- in NumPy's order -------------------------------------------------------------------------------------------
    def _store_in_order(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[Statement],
                        after: list[Statement]) -> None:
        """A sum that a decision reads: by partial sums, which are added to each other behind the nest."""
        arg, elements = root.args[0], buffer.elements
        order = order_of(arg.shape, root.attrs)
        slots, steps = (self.constant_array(np.array(a, np.int64).reshape(-1)) for a in (order.slots, order.steps))
        allocate = self.allocate_wide if self.dtype == "float32" else self.allocate
        partial = allocate(elements * order.count, buffer.vector)
        event = position.event
        number = flat(tuple(event[d] for d in root.attrs), tuple(arg.shape[d] for d in root.attrs))
        slot = nest.let(Load(Constant(slots, number.expr)), number.depth, "int")
        own = scaled(self.flat_of(root, without_dimensions(root, position)), order.count)
        where = self.element(partial, plus(own, Ix(slot, max(own.depth, number.depth))), self.vector)
        first.append(self.cleared(partial))
        nest.do(Add(where, nest.value(arg, position)))
        e = self.index("e")
        after.append(Loop(e, "elements", (AddPartials(buffer, partial, e, order.count, steps),), elements))

    # --- running sums -----------------------------------------------------------------------------------------------
    def suffix_sum(self, node: Node) -> None:
        """Sums from each index to the end."""
        self._running(node, backwards=True)

    def prefix_sum(self, node: Node) -> None:
        """Sums up to each index."""
        self._running(node, backwards=False)

    def _running(self, node: Node, backwards: bool) -> None:
        domain, buffer = domain_of(node, self.shared), self.own_buffer(node)
        kind, size = "back" if backwards else "elements", node.shape[0]
        if self.dtype == "float32":
            self._running_wide(node, domain, buffer, kind)
            return
        at = self.index()
        nest, inner, headers = self.loops(domain._replace(event=domain.event[1:]))
        before = Beside(at, 1 if backwards else -1)
        position = Position(inner.worlds, (Ix(at), *inner.event))
        value = nest.value(node.args[0], position)
        last = self.element(buffer, self.flat_of(node, Position(inner.worlds, (Ix(before), *inner.event))),
                            domain.vector)
        where = self.element(buffer, self.flat_of(node, position), domain.vector)
        nest.do(Store(where, value))
        with self.block() as begun:
            self.close(nest, headers)
        nest.levels[-1][-1] = Store(where, Total((Load(last), value)))
        with self.block() as continued:
            self.close(nest, headers)
        first = Equal(at, Num(size - 1 if backwards else 0, "int"))
        self.write(Loop(at, kind, (If(first, tuple(begun), tuple(continued)),), size))
        self.env.ready[node.id] = buffer

    def _running_wide(self, node: Node, domain: Domain, buffer: Buffer, kind: str) -> None:
        """As `_running`, added up in float64."""
        at, part = self.index(), domain._replace(event=domain.event[1:])
        totals = self.totals_of(buffer, part.elements)
        self.write(self.cleared(totals))
        nest, inner, headers = self.loops(part)
        position = Position(inner.worlds, (Ix(at), *inner.event))
        element = flat((*(inner.worlds[name] for name, _ in part.worlds), *inner.event),
                       (*(s for _, s in part.worlds), *part.event))
        total = self.element(totals, element, part.vector)
        nest.do(Add(total, nest.value(node.args[0], position)))
        nest.do(Store(self.element(buffer, self.flat_of(node, position), part.vector), Load(total)))
        with self.block() as body:
            self.close(nest, headers)
        self.write(Loop(at, kind, tuple(body), node.shape[0]))
        self.env.ready[node.id] = buffer

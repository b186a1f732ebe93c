"""Scalar code for one element of a node, by pulling: an element is an expression in its arguments' elements.

`Nest` collects statements for the body of a loop nest. A statement stands at the depth of the innermost loop that it
depends on, so what does not vary by lane is computed outside the lane loop. Views (transposes, parts, broadcasts, axes
moved into events and back) cost nothing: they map indices. What must be an array is read from a buffer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scg.errors import InternalError
from scg.ir.node import Node
from scg.ir.op import Op
from scg.ops.arithmetic import add_op, mul_op, sub_op, where_op, whole_power_op
from scg.ops.measure import leave_one_out_op
from scg.schedule.indices import ZERO, Ix, Position, as_index, flat
from scg.schedule.language import Apply, Cast, Choose, Equal, Expr, Let, Loop, Num, Statement, Var
from scg.schedule.orders import Order, order_of
from scg.schedule.pieces import Option, possible, test_of
from scg.schedule.rules import no_rule, rule_of

FUSIBLE = (add_op, sub_op, mul_op)  # what may be fused with what it is added to: see `scg.analysis.decisions.fusible`
DEEPEST = 40  # elements that are pulled one by another on the interpreter's stack


def is_view(node: Node) -> bool:
    """Whether the elements of a node are those of its argument: it is never worth a buffer."""
    return node.op.index_map is not None or node.op.transparent or rule_of(node).view


class _TooDeep(Exception):
    """An element lies below more others than the interpreter's stack should hold."""

    def __init__(self, node: Node, at: Position, env):
        super().__init__()
        self.node, self.at, self.env = node, at, env


class Header(NamedTuple):
    """A loop without its body."""

    var: Var
    kind: str
    extent: int = 0

    def over(self, body: Sequence[Statement]) -> Loop:
        """The loop."""
        return Loop(self.var, self.kind, tuple(body), self.extent)


class Nest:
    """The statements of one loop nest.

    Parameters
    ----------
    depth : int
        Number of loops; the innermost is the vector loop if there is one.
    builder : object
        With `dtype`, `fresh(prefix) -> name`, `environment` (the number of the body that is being planned), and
        ``read(nest, node, position) -> expression or None``: the element of a node that lives in a buffer or a leaf.
    """

    def __init__(self, depth: int, builder):
        self.depth, self._builder, self.dtype = depth, builder, builder.dtype
        self.levels: list[list[Statement]] = [[] for _ in range(depth + 1)]
        self.last: list[Statement] = []  # statements that come after all others in the innermost loop
        self._values: dict[tuple, Expr] = {}
        self._let: dict[Expr, Var] = {}
        self._depths: dict[str, int] = {}
        self._recursion = 0

    # --- statements -------------------------------------------------------------------------------------------------
    def let(self, value: Expr, depth: int, kind: str | None = None) -> Var:
        """A new local variable of that value, at that depth; equal values share one."""
        found = self._let.get(value)
        if found is None:
            found = self._let[value] = Var(self._builder.fresh("v"), kind or self.dtype)
            self.levels[depth].append(Let(found, value))
            self._depths[found.name] = depth
        return found

    def do(self, statement: Statement, depth: int | None = None) -> None:
        """A statement, innermost by default."""
        self.levels[self.depth if depth is None else depth].append(statement)

    def depth_of(self, *values: Expr) -> int:
        """The depth of the innermost of some variables; literals have none."""
        return max((self._depths.get(v.name, 0) for v in values if isinstance(v, Var)), default=0)

    def number(self, value: float) -> Num:
        """A literal of the working type."""
        return Num(float(value), self.dtype)

    # --- elements ---------------------------------------------------------------------------------------------------
    def value(self, node: Node, at: Position) -> Expr:
        """The element of `node` at a position: a variable or a literal."""
        key = self._key(node, at)
        found = self._values.get(key)
        if found is not None:
            return found
        if self._recursion == DEEPEST:
            raise _TooDeep(node, at, self._builder.env)
        if self._recursion:
            return self._kept(key, node, at)
        waiting = [(node, at, self._builder.env)]
        while waiting:  # what lies too deep is computed first, and then what waits for it from the start
            node, at, env = waiting[-1]
            outer, self._builder.env = self._builder.env, env
            try:
                self._kept(self._key(node, at), node, at)
                waiting.pop()
            except _TooDeep as deeper:
                waiting.append((deeper.node, deeper.at, deeper.env))
            finally:
                self._builder.env = outer
        return self._values[key]

    def _key(self, node: Node, at: Position) -> tuple:
        return (self._builder.environment, node.id, tuple(sorted((k, v.value) for k, v in at.worlds.items())),
                tuple(i.value for i in at.event))

    def _kept(self, key: tuple, node: Node, at: Position) -> Expr:
        self._recursion += 1
        try:
            found = self._values[key] = self._compute(node, at)
        finally:
            self._recursion -= 1
        return found

    def _type_of(self, node: Node) -> str:
        return "bool" if node.kind == "bool" else self.dtype

    def _compute(self, node: Node, at: Position) -> Expr:
        read = self._builder.read(self, node, at)
        if read is not None:
            return read
        if node.is_const:
            return self._constant(node, at)
        if node.op.kind == "elementwise":
            return self._elementwise(node, at)
        if node.op.moves:
            return self._moved(node, at)
        if node.op is leave_one_out_op:
            return self._builder.others(self, node, at)
        element = rule_of(node).element
        if element is None:
            raise no_rule(node)
        return element(self, node, at)

    def _constant(self, node: Node, at: Position) -> Num:
        if not node.shape and node.kind == "real":
            return Num(node.attrs.number(), self.dtype)
        array = node.attrs.array
        where = tuple(0 if s == 1 else i.number for i, s in zip(at.event, node.shape) if s == 1 or i.known)
        if len(where) != len(node.shape):
            raise InternalError("", "A constant array was read by a running index.", "It should be a leaf.")
        value = array[where]
        return Num(bool(value), "bool") if array.dtype == bool else self.number(float(value))

    def _elementwise(self, node: Node, at: Position) -> Expr:
        args = tuple(self.value(a, self.argument(a, at)) for a in node.args)
        if node.op.transparent:
            return args[0]
        return self.let(self._applied(node, args), self.depth_of(*args), self._type_of(node))

    def _applied(self, node: Node, args: tuple[Expr, ...]) -> Expr:
        op = node.op
        if op is where_op:
            return Choose(args[1], args[0], args[2])
        if node.id in self._builder.fusible:
            if op in FUSIBLE:
                return Apply(op, args, self.dtype, fused=True)
            if op is whole_power_op and node.attrs[0] == 2:
                return Apply(mul_op, args * 2, self.dtype, fused=True)
        return Apply(op, args, self.dtype, node.attrs)

    @staticmethod
    def argument(arg: Node, at: Position) -> Position:
        """Where a broadcast argument is read: its own axes, its own event dimensions from the right."""
        have = {ax.name for ax in arg.axes}
        event = at.event[len(at.event) - len(arg.shape):]
        return Position({k: v for k, v in at.worlds.items() if k in have},
                        tuple(ZERO if s == 1 else i for i, s in zip(event, arg.shape)))

    # --- views ------------------------------------------------------------------------------------------------------
    def _moved(self, node: Node, at: Position) -> Expr:
        """An element of an argument: the first whose conditions hold, which may be known."""

        def read(argument: int, index: tuple) -> Ix:
            k = node.args[argument]
            value = self.value(k, self.argument(k, Position(at.worlds, tuple(map(as_index, index)))))
            return Ix(value, self.depth_of(value), True)

        options = possible(node, node.op.pieces_of(node, at.event, read))
        tests, values = [], []
        for option in options:
            test, depth = self._condition(option)
            tests.append((test, depth))
            values.append(self._option(node, at, option, test))
        chosen = values[-1]
        for value, (test, _) in [*zip(values, tests)][-2::-1]:
            chosen = Choose(value, test, chosen)
        depth = max([self.depth_of(*values), *(depth for _, depth in tests[:-1])])
        return chosen if len(options) == 1 else self.let(chosen, depth, self._type_of(node))

    def _condition(self, option: Option) -> tuple[Expr, int]:
        """An option's conditions, a variable if indices are guarded by them; and the depth."""
        test = test_of(option.where)
        depth = max((as_index(w.index).depth for w in option.where), default=0)
        return (self.let(test, depth, "bool") if option.guarded else test, depth)

    def _option(self, node: Node, at: Position, option: Option, test: Expr) -> Expr:
        """What is chosen where the test holds: a variable or a literal."""
        if option.argument is None:
            return Num(bool(option.number), "bool") if node.kind == "bool" else self.number(option.number)
        arg = node.args[option.argument]
        event = []
        for i, ix in enumerate(map(as_index, option.at)):
            if i in option.guarded:
                depth = max(ix.depth, self.depth_of(test))
                index = Cast(ix.expr, "int") if ix.read else ix.expr
                ix = Ix(self.let(Choose(index, test, Num(0, "int")), depth, "int"), depth)
            event.append(ix)
        return self.value(arg, self.argument(arg, Position(at.worlds, tuple(event))))

    def event_to_axis(self, node: Node, at: Position) -> Expr:
        worlds = {k: v for k, v in at.worlds.items() if k != node.attrs.name}
        return self.value(node.args[0], Position(worlds, (at.worlds[node.attrs.name], *at.event)))

    def axis_to_event(self, node: Node, at: Position) -> Expr:
        worlds = {**at.worlds, node.attrs.name: at.event[0]}
        return self.value(node.args[0], Position(worlds, at.event[1:]))

    # --- choices ----------------------------------------------------------------------------------------------------
    def replace_one(self, node: Node, at: Position) -> Expr:
        x, v = node.args
        here, world = flat(at.event, node.shape), at.worlds[node.attrs.name]
        inner = {k: i for k, i in at.worlds.items() if k != node.attrs.name}
        if here.known and world.known:
            chosen = v if here.value == world.value else x
            return self.value(chosen, self.argument(chosen, Position(at.worlds, at.event)))
        old, new = [self.value(n, self.argument(n, Position({**inner, node.attrs.name: world}, at.event)))
                    for n in (x, v)]
        test = self.let(Equal(here.expr, world.expr), max(here.depth, world.depth), "bool")
        return self.let(Choose(new, test, old), self.depth_of(test, old, new), self._type_of(node))

    # --- small reductions, written out ------------------------------------------------------------------------------
    def _total(self, node: Node, values: Sequence[Expr], order: Order | None = None) -> Expr:
        """A node that is the sum of these: in float64 if a decision reads it, as long sums are."""
        if self.dtype == "float32" and node.id in self._builder.decided:
            total = self.added([self.wide(value) for value in values], order)
            return self.let(Cast(total, "float32"), self.depth_of(total))
        return self.added(values, order)

    def wide(self, value: Expr) -> Expr:
        """A value of the working type in float64."""
        return value if self.dtype == "float64" else self.let(Cast(value, "float64"), self.depth_of(value), "float64")

    def added(self, values: Sequence[Expr], order: Order | None = None) -> Expr:
        """Their sum, one after the other by default."""
        order = order or Order((0,) * len(values), (), 1)
        sums: dict[int, Expr] = {}
        for slot, value in [*zip(order.slots, values)]:
            sums[slot] = value if slot not in sums else self.plus(sums[slot], value)
        for to, what in order.steps:
            sums[to] = self.plus(sums[to], sums[what])
        return sums[0]

    def plus(self, a: Expr, b: Expr) -> Var:
        """A variable that holds a + b."""
        return self._by(add_op, a, b)

    def times(self, a: Expr, b: Expr) -> Var:
        """A variable that holds a · b."""
        return self._by(mul_op, a, b)

    def _by(self, op: Op, a: Expr, b: Expr) -> Var:
        kind = "float64" if "float64" in (getattr(a, "type", ""), getattr(b, "type", "")) else self.dtype
        return self.let(Apply(op, (a, b), kind), self.depth_of(a, b), kind)

    def _expanded(self, node: Node, at: Position) -> list[Expr]:
        arg, out = node.args[0], []
        for index in np.ndindex(tuple(arg.shape[d] for d in node.attrs)):
            inner, rest = iter(Ix(i) for i in index), iter(at.event)
            event = tuple(next(inner) if d in node.attrs else next(rest) for d in range(arg.ndim))
            out.append(self.value(arg, Position(at.worlds, event)))
        return out

    def sum(self, node: Node, at: Position) -> Expr:
        return self._total(node, self._expanded(node, at), order_of(node.args[0].shape, node.attrs))

    def combined(self, node: Node, at: Position) -> Expr:
        """A reduction by an elementwise op, written out."""
        by, start = node.op.combines  # type: ignore[misc]
        total, *others = self._expanded(node, at) or [self.number(start)]
        for other in others:
            total = self.let(Apply(by, (total, other), self.dtype), self.depth_of(total, other), self._type_of(node))
        return total

    def axis_sum(self, node: Node, at: Position) -> Expr:
        arg = node.args[0]
        axes = [ax for ax in arg.axes if ax.name in node.attrs]
        return self._total(node, [
            self.value(arg, Position({**at.worlds, **{ax.name: Ix(i) for ax, i in zip(axes, index)}}, at.event))
            for index in np.ndindex(tuple(ax.size for ax in axes))])

    def contract(self, node: Node, at: Position) -> Expr:
        c, (a, b) = node.attrs, node.args
        sizes = {ch: s for sub, n in ((c.left, a), (c.right, b)) for ch, s in zip(sub, n.shape)}
        summed = sorted(set(sizes) - set(c.out))
        gone = [ax for ax in {ax.name: ax for n in node.args for ax in n.axes}.values()
                if not ax.statistical and ax.name not in {k.name for k in node.axes}]
        products, wide = [], self.dtype == "float32" and node.id in self._builder.decided
        for index in np.ndindex((*(ax.size for ax in gone), *(sizes[ch] for ch in summed))):
            by = {**dict(zip(c.out, at.event)), **{ch: Ix(i) for ch, i in zip(summed, index[len(gone):])}}
            worlds = {**at.worlds, **{ax.name: Ix(i) for ax, i in zip(gone, index)}}
            x, y = (self.value(n, self.argument(n, Position(worlds, tuple(by[ch] for ch in sub))))
                    for n, sub in ((a, c.left), (b, c.right)))
            left, kind = (Cast(x, "float64"), "float64") if wide else (x, self.dtype)  # exact, of two of float32
            products.append(self.let(Apply(mul_op, (left, y), kind), self.depth_of(x, y), kind))
        return self._total(node, products)

    def suffix_sum(self, node: Node, at: Position) -> Expr:
        return self._running(node, at, 1, node.shape[0] - 1)

    def prefix_sum(self, node: Node, at: Position) -> Expr:
        return self._running(node, at, -1, 0)

    def _running(self, node: Node, at: Position, step: int, end: int) -> Expr:
        here = self.value(node.args[0], at)
        if at.event[0].value == end:
            return here
        if self.dtype == "float32" and node.id in self._builder.decided:
            before = range(end, at.event[0].number, -step)
            return self._total(node, [*(self.value(node.args[0], Position(at.worlds, (Ix(i), *at.event[1:])))
                                        for i in before), here])
        rest = self.value(node, Position(at.worlds, (Ix(at.event[0].number + step), *at.event[1:])))
        return self.plus(here, rest)

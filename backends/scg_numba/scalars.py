"""Scalar code for one element of a node, by pulling: an element is an expression in its arguments' elements.

`Nest` collects statements for the body of a loop nest. A statement stands at the depth of the innermost loop that it
depends on, so what does not vary by lane is computed outside the lane loop. Views (transposes, parts, broadcasts, axes
moved into events and back) cost nothing: they map indices. What must be an array is read from a buffer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from scg.errors import InternalError
from scg.ir.node import Node
from scg.ir.op import Op
from scg.ops.arithmetic import (
    add_op,
    and_op,
    floor_op,
    maximum_op,
    minimum_op,
    mul_op,
    not_op,
    or_op,
    real_op,
    sign_op,
    sub_op,
    where_op,
    whole_power_op,
)
from scg.ops.elementary import sqrt_op
from scg.ops.measure import leave_one_out_op
from scg_numba.indices import ZERO, Ix, Position, as_index, flat
from scg_numba.orders import Order, order_of
from scg_numba.pieces import Option, possible, text_of
from scg_numba.rules import no_rule, rule_of

# How sources that Python's operators do not express well are written in kernels
TEMPLATES = {
    where_op: "({1} if {0} else {2})", real_op: "({one} if {0} else {zero})",
    maximum_op: "({0} if ({0} >= {1}) | ({0} != {0}) else {1})",
    minimum_op: "({0} if ({0} <= {1}) | ({0} != {0}) else {1})",
    and_op: "({0} & {1})", or_op: "({0} | {1})", not_op: "(not {0})",
    # of what is neither above nor below zero, NaN stays NaN, and −0 becomes 0
    sign_op: "({one} if {0} > {zero} else (-{one} if {0} < {zero} else abs({0})))", floor_op: "np.floor({0})",
    sqrt_op: "np.sqrt({0})", whole_power_op: "whole_power({0}, {attrs[0]})",
}  # fmt: skip

# What may be fused with what it is added to: see `scg.analysis.decisions.fusible`
FUSIBLE = {add_op: "plus({0}, {1})", sub_op: "minus({0}, {1})", mul_op: "times({0}, {1})"}

# Literals in sources: they get the working type, for a Python float would lift float32 to float64
FLOATS = re.compile(r"(?<![\w.])\d+\.\d*(?:[eE][-+]?\d+)?")

DEEPEST = 40  # elements that are pulled one by another on the interpreter's stack


def is_view(node: Node) -> bool:
    """Whether the elements of a node are those of its argument: it is never worth a buffer."""
    return node.op.index_map is not None or node.op.transparent or rule_of(node).view


class _TooDeep(Exception):
    """An element lies below more others than the interpreter's stack should hold."""

    def __init__(self, node: Node, at: Position, env):
        super().__init__()
        self.node, self.at, self.env = node, at, env


class Nest:
    """The statements of one loop nest.

    Parameters
    ----------
    depth : int
        Number of loops; the innermost is the vector loop if there is one.
    emitter : object
        With `dtype`, `fresh(prefix) -> name`, `environment` (the number of the body that is being emitted), and
        ``read(nest, node, position) -> variable or None``: the element of a node that lives in a buffer or a leaf.
    """

    def __init__(self, depth: int, emitter):
        self.depth, self._emitter, self.dtype = depth, emitter, emitter.dtype
        self.levels: list[list[str]] = [[] for _ in range(depth + 1)]
        self.last: list[str] = []  # statements that come after all others in the innermost loop
        self._names: dict[tuple, str] = {}
        self._depths: dict[str, int] = {}
        self._kinds: dict[str, str] = {}  # of variables that are not of the working type: "bool" or "int"
        self._recursion = 0

    # --- statements -------------------------------------------------------------------------------------------------
    def let(self, text: str, depth: int) -> str:
        """A new local variable of that value, at that depth; equal texts share one."""
        key = ("text", text)
        if key not in self._names:
            name = self._emitter.fresh("v")
            self.levels[depth].append(f"{name} = {text}")
            self._names[key], self._depths[name] = name, depth
        return self._names[key]

    def do(self, text: str, depth: int | None = None) -> None:
        """A statement, innermost by default."""
        self.levels[self.depth if depth is None else depth].append(text)

    def test(self, text: str, depth: int, kind: str = "bool") -> str:
        """A new local variable that holds a truth value, or an index."""
        name = self.let(text, depth)
        self._kinds[name] = kind
        return name

    def kind_of(self, name: str) -> str:
        """What a variable holds: ``"real"``, ``"bool"`` or ``"int"``."""
        return self._kinds.get(name, "real")

    def depth_of(self, *names: str) -> int:
        """The depth of the innermost of some variables; literals have none."""
        return max((self._depths.get(n, 0) for n in names), default=0)

    def number(self, value: float) -> str:
        """A literal of the working type."""
        if not np.isfinite(value):
            return {"inf": "INF", "-inf": "-INF"}.get(str(value), "NAN")
        return f"np.float32({value!r})" if self.dtype == "float32" else repr(float(value))

    # --- elements ---------------------------------------------------------------------------------------------------
    def value(self, node: Node, at: Position) -> str:
        """A variable that holds the element of `node` at a position."""
        key = self._key(node, at)
        found = self._names.get(key)
        if found is not None:
            return found
        if self._recursion == DEEPEST:
            raise _TooDeep(node, at, self._emitter.env)
        if self._recursion:
            return self._named(key, node, at)
        waiting = [(node, at, self._emitter.env)]
        while waiting:  # what lies too deep is computed first, and then what waits for it from the start
            node, at, env = waiting[-1]
            outer, self._emitter.env = self._emitter.env, env
            try:
                self._named(self._key(node, at), node, at)
                waiting.pop()
            except _TooDeep as deeper:
                waiting.append((deeper.node, deeper.at, deeper.env))
            finally:
                self._emitter.env = outer
        return self._names[key]

    def _key(self, node: Node, at: Position) -> tuple:
        return (self._emitter.environment, node.id, tuple(sorted((k, v.text) for k, v in at.worlds.items())),
                tuple(i.text for i in at.event))

    def _named(self, key: tuple, node: Node, at: Position) -> str:
        self._recursion += 1
        try:
            found = self._names[key] = self._compute(node, at)
        finally:
            self._recursion -= 1
        if node.kind == "bool" and found in self._depths:
            self._kinds[found] = "bool"
        return found

    def _compute(self, node: Node, at: Position) -> str:
        read = self._emitter.read(self, node, at)
        if read is not None:
            return read
        if node.is_const:
            return self._constant(node, at)
        if node.op.kind == "elementwise":
            return self._elementwise(node, at)
        if node.op.moves:
            return self._moved(node, at)
        if node.op is leave_one_out_op:
            return self._emitter.others(self, node, at)
        element = rule_of(node).element
        if element is None:
            raise no_rule(node)
        return element(self, node, at)

    def _constant(self, node: Node, at: Position) -> str:
        array = node.attrs.array
        where = tuple(0 if s == 1 else int(i.text) for i, s in zip(at.event, node.shape) if s == 1 or i.known)
        if len(where) != len(node.shape):
            raise InternalError("", "A constant array was read by a running index.", "It should be a leaf.")
        value = array[where]
        return str(bool(value)) if array.dtype == bool else self.number(float(value))

    def _elementwise(self, node: Node, at: Position) -> str:
        names = [self.value(a, self.argument(a, at)) for a in node.args]
        if node.op.transparent:
            return names[0]
        text = self._template(node).format(*names, attrs=node.attrs, one=self.number(1.0), zero=self.number(0.0))
        return self.let(text, self.depth_of(*names))

    def _template(self, node: Node) -> str:
        op = node.op
        if node.id in self._emitter.fusible:
            if op in FUSIBLE:
                return FUSIBLE[op]
            if op is whole_power_op and node.attrs[0] == 2:
                return "times({0}, {0})"
        return self.source_of(op)

    def source_of(self, op: Op) -> str:
        """The text that an elementwise op is computed by."""
        return TEMPLATES.get(op) or FLOATS.sub(lambda m: self.number(float(m[0])), str(op.source))

    def by_op(self, op: Op, a: str, b: str) -> str:
        """The text of an elementwise op of two arguments, without attributes."""
        return self.source_of(op).format(a, b, attrs=(), one=self.number(1.0), zero=self.number(0.0))

    @staticmethod
    def argument(arg: Node, at: Position) -> Position:
        """Where a broadcast argument is read: its own axes, its own event dimensions from the right."""
        have = {ax.name for ax in arg.axes}
        event = at.event[len(at.event) - len(arg.shape):]
        return Position({k: v for k, v in at.worlds.items() if k in have},
                        tuple(ZERO if s == 1 else i for i, s in zip(event, arg.shape)))

    # --- views ------------------------------------------------------------------------------------------------------
    def _moved(self, node: Node, at: Position) -> str:
        """An element of an argument: the first whose conditions hold, which may be known."""

        def read(argument: int, index: tuple) -> Ix:
            k = node.args[argument]
            name = self.value(k, self.argument(k, Position(at.worlds, tuple(map(as_index, index)))))
            return Ix(name, self.depth_of(name), True)

        options = possible(node, node.op.pieces_of(node, at.event, read))
        tests, names = [], []
        for option in options:
            test, depth = self._condition(option)
            tests.append((test, depth))
            names.append(self._option(node, at, option, test))
        text = names[-1]
        for name, (test, _) in [*zip(names, tests)][-2::-1]:
            text = f"({name} if {test} else {text})"
        depth = max([self.depth_of(*names), *(depth for _, depth in tests[:-1])])
        return text if len(options) == 1 else self.let(text, depth)

    def _condition(self, option: Option) -> tuple[str, int]:
        """The text of an option's conditions, a variable if indices are guarded by it; and its depth."""
        text = text_of(option.where)
        depth = max((as_index(w.index).depth for w in option.where), default=0)
        guards = bool(option.guarded)
        return (self.test(text, depth) if guards else text, depth)

    def _option(self, node: Node, at: Position, option: Option, test: str) -> str:
        """A variable, or a literal, with what is chosen where the test holds."""
        if option.argument is None:
            return str(bool(option.number)) if node.kind == "bool" else self.number(option.number)
        arg = node.args[option.argument]
        event = []
        for i, ix in enumerate(map(as_index, option.at)):
            if i in option.guarded:
                depth = max(ix.depth, self.depth_of(test))
                text = f"(np.int64({ix.text}) if {test} else 0)" if ix.read else f"({ix.text} if {test} else 0)"
                ix = Ix(self.test(text, depth, "int"), depth)
            event.append(ix)
        return self.value(arg, self.argument(arg, Position(at.worlds, tuple(event))))

    def event_to_axis(self, node: Node, at: Position) -> str:
        worlds = {k: v for k, v in at.worlds.items() if k != node.attrs.name}
        return self.value(node.args[0], Position(worlds, (at.worlds[node.attrs.name], *at.event)))

    def axis_to_event(self, node: Node, at: Position) -> str:
        worlds = {**at.worlds, node.attrs.name: at.event[0]}
        return self.value(node.args[0], Position(worlds, at.event[1:]))

    # --- choices ----------------------------------------------------------------------------------------------------
    def replace_one(self, node: Node, at: Position) -> str:
        x, v = node.args
        here, world = flat(at.event, node.shape), at.worlds[node.attrs.name]
        inner = {k: i for k, i in at.worlds.items() if k != node.attrs.name}
        if here.known and world.known:
            chosen = v if here.text == world.text else x
            return self.value(chosen, self.argument(chosen, Position(at.worlds, at.event)))
        names = [self.value(n, self.argument(n, Position({**inner, node.attrs.name: world}, at.event))) for n in (x, v)]
        test = self.test(f"{here.text} == {world.text}", max(here.depth, world.depth))
        return self.let(f"({names[1]} if {test} else {names[0]})", self.depth_of(test, *names))

    # --- small reductions, written out ------------------------------------------------------------------------------
    def _total(self, node: Node, names: Sequence[str], order: Order | None = None) -> str:
        """A node that is the sum of these: in float64 if a decision reads it, as long sums are."""
        if self.dtype == "float32" and node.id in self._emitter.decided:
            wide = [self.let(f"np.float64({name})", self.depth_of(name)) for name in names]
            total = self._added(wide, order)
            return self.let(f"np.float32({total})", self.depth_of(total))
        return self._added(names, order)

    def _added(self, names: Sequence[str], order: Order | None = None) -> str:
        """Their sum, one after the other by default."""
        order = order or Order((0,) * len(names), (), 1)
        sums: dict[int, str] = {}
        for slot, name in [*zip(order.slots, names)]:
            sums[slot] = name if slot not in sums else self._plus(sums[slot], name)
        for to, what in order.steps:
            sums[to] = self._plus(sums[to], sums[what])
        return sums[0]

    def _plus(self, a: str, b: str) -> str:
        return self.let(f"({a} + {b})", self.depth_of(a, b))

    def _expanded(self, node: Node, at: Position) -> list[str]:
        arg, out = node.args[0], []
        for index in np.ndindex(tuple(arg.shape[d] for d in node.attrs)):
            inner, rest = iter(Ix(i) for i in index), iter(at.event)
            event = tuple(next(inner) if d in node.attrs else next(rest) for d in range(arg.ndim))
            out.append(self.value(arg, Position(at.worlds, event)))
        return out

    def sum(self, node: Node, at: Position) -> str:
        return self._total(node, self._expanded(node, at), order_of(node.args[0].shape, node.attrs))

    def combined(self, node: Node, at: Position) -> str:
        """A reduction by an elementwise op, written out."""
        by, start = node.op.combines  # type: ignore[misc]
        total, *others = self._expanded(node, at) or [self.number(start)]
        for other in others:
            total = self.let(self.by_op(by, total, other), self.depth_of(total, other))
        return total

    def axis_sum(self, node: Node, at: Position) -> str:
        arg = node.args[0]
        axes = [ax for ax in arg.axes if ax.name in node.attrs]
        return self._total(node, [
            self.value(arg, Position({**at.worlds, **{ax.name: Ix(i) for ax, i in zip(axes, index)}}, at.event))
            for index in np.ndindex(tuple(ax.size for ax in axes))])

    def contract(self, node: Node, at: Position) -> str:
        c, (a, b) = node.attrs, node.args
        sizes = {ch: s for sub, n in ((c.left, a), (c.right, b)) for ch, s in zip(sub, n.shape)}
        summed = sorted(set(sizes) - set(c.out))
        gone = [ax for ax in {ax.name: ax for n in node.args for ax in n.axes}.values()
                if not ax.statistical and ax.name not in {k.name for k in node.axes}]
        products, wide = [], self.dtype == "float32" and node.id in self._emitter.decided
        for index in np.ndindex((*(ax.size for ax in gone), *(sizes[ch] for ch in summed))):
            by = {**dict(zip(c.out, at.event)), **{ch: Ix(i) for ch, i in zip(summed, index[len(gone):])}}
            worlds = {**at.worlds, **{ax.name: Ix(i) for ax, i in zip(gone, index)}}
            x, y = (self.value(n, self.argument(n, Position(worlds, tuple(by[ch] for ch in sub))))
                    for n, sub in ((a, c.left), (b, c.right)))
            left = f"np.float64({x})" if wide else x  # products of two float32 are exact in float64
            products.append(self.let(f"({left} * {y})", self.depth_of(x, y)))
        return self._total(node, products)

    def suffix_sum(self, node: Node, at: Position) -> str:
        return self._running(node, at, 1, node.shape[0] - 1)

    def prefix_sum(self, node: Node, at: Position) -> str:
        return self._running(node, at, -1, 0)

    def _running(self, node: Node, at: Position, step: int, end: int) -> str:
        here = self.value(node.args[0], at)
        if at.event[0].text == end:
            return here
        if self.dtype == "float32" and node.id in self._emitter.decided:
            before = range(end, int(at.event[0].text), -step)
            return self._total(node, [*(self.value(node.args[0], Position(at.worlds, (Ix(i), *at.event[1:])))
                                        for i in before), here])
        rest = self.value(node, Position(at.worlds, (Ix(int(at.event[0].text) + step), *at.event[1:])))
        return self.let(f"({here} + {rest})", self.depth_of(here, rest))

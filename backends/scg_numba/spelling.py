"""How expressions of the loop language are spelled in kernels."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

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
    pow_op,
    real_op,
    sign_op,
    sub_op,
    whole_power_op,
)
from scg.ops.call import Callee
from scg.ops.elementary import sqrt_op
from scg.schedule import language as lang

Shapes = tuple[tuple[int, ...] | None, ...]  # of arguments: see `scg.schedule.language.Invoke`

# How sources that Python's operators do not express well are written in kernels
TEMPLATES = {
    real_op: "({one} if {0} else {zero})",
    maximum_op: "({0} if ({0} >= {1}) | ({0} != {0}) else {1})",
    minimum_op: "({0} if ({0} <= {1}) | ({0} != {0}) else {1})",
    and_op: "({0} & {1})", or_op: "({0} | {1})", not_op: "(not {0})",
    # of what is neither above nor below zero, NaN stays NaN, and −0 becomes 0
    sign_op: "({one} if {0} > {zero} else (-{one} if {0} < {zero} else abs({0})))", floor_op: "np.floor({0})",
    sqrt_op: "np.sqrt({0})", whole_power_op: "whole_power({0}, {attrs[0]})",
}  # fmt: skip

# What may be rounded together with what it is added to
FUSED = {add_op: "plus({0}, {1})", sub_op: "minus({0}, {1})", mul_op: "times({0}, {1})"}

# Literals in sources: they get the working type, for a Python float would lift float32 to float64
FLOATS = re.compile(r"(?<![\w.])\d+\.\d*(?:[eE][-+]?\d+)?")

ARRAYS = {(True, True): "wide", (True, False): "wide_plain", (False, True): "arena", (False, False): "plain"}
# Numbers that stand in the text: simplification looks for them, and compilers do. All others are given to the kernel.
WRITTEN = frozenset({0.0, 0.5, 1.0, 2.0, np.inf})

REPLICATE = {None: "k - k0", "chunk": "r * (k1 - k0) + k - k0", "tile": "(row - row0) * (k1 - k0) + k - k0"}


def number(value: float, kind: str) -> str:
    """A literal."""
    if kind in ("int", "bool"):
        return str(value)
    value = float(value)
    if not np.isfinite(value):
        return {"inf": "INF", "-inf": "-INF"}.get(str(value), "NAN")
    return f"np.float32({value!r})" if kind == "float32" else repr(float(value))


@functools.lru_cache(maxsize=1024)
def source_of(op: Op, kind: str) -> str:
    """The text that an elementwise op is computed by, in a type."""
    return TEMPLATES.get(op) or FLOATS.sub(lambda m: number(float(m[0]), kind), str(op.source))


def array_of(buffer: lang.Buffer) -> str:
    """The array that a buffer is a part of."""
    return ARRAYS[buffer.wide, buffer.vector is not None]


def bounds_of(buffer: lang.Buffer) -> tuple[str, str]:
    """Where a buffer begins and ends in its array."""
    width = "" if buffer.vector is None else " * W"
    return f"{buffer.offset}{width}", f"{buffer.offset + buffer.elements}{width}"


class Spelling:
    """Expressions as text; variables among `again` have a second name.

    Attributes
    ----------
    functions : dict
        The users' functions that are called, with what arguments, and their names in the kernel.
    reals : dict
        The numbers that the kernel is given, each as its literal and its type, and their places: as variables they are
        ``real0``, ``real1``, … So a graph with other numbers has the same code.
    """

    def __init__(self) -> None:
        self.again: frozenset[str] = frozenset()
        self.reals: dict[tuple[str, str], int] = {}
        self.functions: dict[tuple[Callee, Shapes], str] = {}

    def place_of(self, x: lang.Num) -> int:
        """The place of a number among those that the kernel is given."""
        return self.reals.setdefault((x.digits if x.given else repr(float(x.value)), x.type), len(self.reals))

    def name_of(self, callee: Callee, shapes: Shapes) -> str:
        """The name of a function of the user's that is given arguments of these shapes."""
        return self.functions.setdefault((callee, shapes), f"user{len(self.functions)}")

    def _array_of(self, x: lang.ArrayOf) -> str:
        sizes = ", ".join(map(str, x.shape))
        return f"array_{len(x.shape)}({array_of(x.buffer)}, {bounds_of(x.buffer)[0]}, {sizes})"

    def _num(self, x: lang.Num) -> str:
        if x.given:
            return f"real{self.place_of(x)}"
        if x.type in ("int", "bool") or abs(x.value) in WRITTEN or x.value != x.value:
            return number(x.value, x.type)
        return f"real{self.place_of(x)}"

    def text(self, x: Any) -> str:
        """An expression or place, in brackets if it needs them."""
        return self._SPELLED[type(x)](self, x)

    def bare(self, x: Any) -> str:
        """The same, where brackets are not needed."""
        bare = self._BARE.get(type(x))
        return self.text(x) if bare is None else bare(self, x)

    def run_of(self, buffer: lang.Buffer, at: lang.Expr) -> str:
        """Where an element's run of lanes begins."""
        return f"{self._sum(buffer.offset, at)} * W"

    def _sum(self, offset: int, at: lang.Expr) -> str:
        if isinstance(at, lang.Num):
            return str(offset + int(at.value))
        return f"({offset} + {self.text(at)})" if offset else f"({self.text(at)})"

    # --- indices ----------------------------------------------------------------------------------------------------
    def _lane(self, x: lang.Lane) -> str:
        lane = {"lane": "l", "row": "q"}[x.vector]
        return f"at + {lane}" if x.grouped else lane

    # --- places -----------------------------------------------------------------------------------------------------
    def _var(self, x: lang.Var) -> str:
        return x.name + "u" if x.name in self.again else x.name

    def _element(self, x: lang.Element) -> str:
        if x.lane is None:
            return f"{array_of(x.buffer)}[{self._sum(x.buffer.offset, x.at)}]"
        if isinstance(x.at, lang.Num) or not x.buffer.offset:
            return f"{array_of(x.buffer)}[{self.run_of(x.buffer, x.at)} + {self.text(x.lane)}]"
        # LLVM sees that two runs do not overlap where they differ in a constant that stands apart
        return f"{array_of(x.buffer)}[{x.buffer.offset} * W + ({self.text(x.at)} * W + {self.text(x.lane)})]"

    def _leaf(self, x: lang.Leaf) -> str:
        row = "" if x.row is None else f"{self.text(x.row)} * {x.size} + "
        return f"leaf{x.number}[{row}{self.text(x.at)}]"

    def _ascending(self, x: lang.Ascending) -> str:
        start, row = f"{x.start} + " if x.start else "", self.text(x.row)
        if x.k is None:
            return f"sums[{start}({row}) * {x.size} : {start}({row} + 1) * {x.size}]"
        return f"sums[{start}({row}) * {x.size} + {self.text(x.k)}]"

    # --- values -----------------------------------------------------------------------------------------------------
    def _applied(self, x: lang.Apply) -> str:
        template = FUSED[x.op] if x.fused else source_of(x.op, x.type)
        # an exponent stands in the text: a compiler makes other code of one that it knows
        known = x.op is pow_op
        args = [number(a.value, a.type) if known and isinstance(a, lang.Num) else self.text(a) for a in x.args]
        if "**" in template:  # which binds more closely than a minus before it
            args = [f"({arg})" if arg.startswith("-") else arg for arg in args]
        return template.format(*args, attrs=x.attrs, one=number(1.0, x.type), zero=number(0.0, x.type))

    def _cast(self, x: lang.Cast) -> str:
        if x.type == "bool":
            return f"({self.text(x.value)} != 0)"
        return f"np.{'int64' if x.type == 'int' else x.type}({self.bare(x.value)})"

    def _choose(self, x: lang.Choose) -> str:
        return f"{self.text(x.then)} if {self.bare(x.test)} else {self.text(x.otherwise)}"

    def _product(self, x: lang.Product) -> str:
        return " * ".join(map(self.text, x.factors)) + (" / all_rows" if x.mean else "")

    def words(self, w: lang.Words) -> str:
        """The arguments of a function that looks at words."""
        return f"{self.lanes(w)}, {self.text(w.element)}, {self.text(w.step)}, {w.flipped}"

    def lanes(self, w: lang.Words) -> str:
        """The key of a stream, and the lane."""
        first = "r0" if w.by_row else "k"
        lane = first if w.lane is None else f"{first} + {self.text(w.lane)}"
        return f"keys[{2 * w.stream}], keys[{2 * w.stream + 1}], {lane}"

    def _part_of(self, x: lang.PartOf) -> str:
        start = self.run_of(x.buffer, x.at)
        return f"arena[{start} + at : {start} + at + size]"

    def _signed(self, x: lang.Signed) -> str:
        return "".join(f" {sign} {self.text(term)}" for sign, term in x.terms).removeprefix(" + ").strip()

    def _about_base(self, x: lang.AboutBase) -> str:
        base, gaps = self.text(x.base), self.text(x.gaps)
        if not x.centred:
            return f"({gaps} + size * {base})"
        if x.both is None or x.weights is None:
            return f"(0.0 if size > 1 else {gaps} + {base})"
        both, weights = self.text(x.both), self.text(x.weights)
        return f"(({both} - {weights} * {gaps} * share) * ratio if size > 1 else {both} + {weights} * {base})"

    # --- tests ------------------------------------------------------------------------------------------------------
    def _within(self, x: lang.Within) -> str:
        index = self.text(x.index)
        return f"({index} == {x.low})" if x.high == x.low + 1 else f"({index} >= {x.low}) & ({index} < {x.high})"

    def _joined(self, tests: tuple[lang.Expr, ...], by: str) -> str:
        return by.join(map(self.text, tests))

    _BARE: dict[type, Callable[[Spelling, Any], str]] = {
        lang.Choose: _choose,
        lang.Near: lambda s, x: f"abs({s.text(x.a)} - {s.text(x.b)}) <= {s.text(x.edge)}",
    }
    _SPELLED: dict[type, Callable[[Spelling, Any], str]] = {
        lang.Plus: lambda s, x: f"({s.text(x.a)} + {s.text(x.b)})",
        lang.Beside: lambda s, x: f"({s.text(x.x)} {'+' if x.step > 0 else '-'} {abs(x.step)})",
        lang.Times: lambda s, x: f"{x.factor} * {s.text(x.x)}",
        lang.Over: lambda s, x: f"(({s.text(x.x)}) // {x.by})",
        lang.Rest: lambda s, x: f"(({s.text(x.x)}) % {x.by})",
        lang.Lane: _lane,
        lang.RowOf: lambda s, x: "row_of[at]" if x.grouped else "row_of[l]",
        lang.Replicate: lambda s, x: f"min(r0 + {s.text(x.lane)}, samples - 1)",
        lang.Var: _var,
        lang.Element: _element,
        lang.Part: lambda s, x: f"{s.text(x.part)}[{s.text(x.lane)}]",
        lang.Leaf: _leaf,
        lang.Constant: lambda s, x: f"CONST{x.number}[{s.text(x.at)}]",
        lang.GroupTotal: lambda s, x: f"totals[{x.slot} * W + g]",
        lang.Recorded: lambda s, x: f"record{x.number}[{REPLICATE[x.row]} + l, {s.text(x.at)}]",
        lang.Ascending: _ascending,
        lang.Weight: lambda s, x: f"weights[{s.text(x.k)}]",
        lang.Num: _num,
        lang.Load: lambda s, x: s.text(x.place),
        lang.Apply: _applied,
        lang.Cast: _cast,
        lang.Choose: lambda s, x: f"({s._choose(x)})",
        lang.Total: lambda s, x: " + ".join(map(s.text, x.terms)),
        lang.Product: _product,
        lang.Undecided: lambda s, x: f"-{number(1.0, x.type)}",
        lang.BelowAt: lambda s, x: f"below_at({s.text(x.low)}, {s.text(x.high)}, {s.words(x.words)})",
        lang.CategoryAt: lambda s, x: f"category_at(weights, {x.size}, {s.words(x.words)})",
        lang.CategoryAmong: lambda s, x: f"category_among({s.text(x.below)}, {s.text(x.above)}, {s.words(x.words)})",
        lang.IndexAmong: lambda s, x: f"index_among({s.text(x.sums)}, {x.size}, {s.text(x.value)}, {s.text(x.edge)})",
        lang.ArrayOf: _array_of,
        lang.PartOf: _part_of,
        lang.OthersShare: lambda s, x: "(short_other if size == shortest else long_other)",
        lang.Signed: _signed,
        lang.AboutBase: _about_base,
        lang.Counted: lambda s, x: f"counted({s.text(x.ones)}, size, {s.bare(x.one)}, {s.bare(x.zero)})",
        lang.Within: _within,
        lang.Every: lambda s, x: s._joined(x.tests, " & "),
        lang.Some: lambda s, x: f"({s._joined(x.tests, ' | ')})",
        lang.Equal: lambda s, x: f"{s.text(x.a)} == {s.text(x.b)}",
        lang.Less: lambda s, x: f"{s.text(x.a)} < {s.text(x.b)}",
        lang.AtMost: lambda s, x: f"{s.text(x.a)} <= {s.text(x.b)}",
        lang.Near: lambda s, x: f"({s.bare(x)})",
    }

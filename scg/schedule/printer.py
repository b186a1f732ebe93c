"""Kernels in the loop language, for people to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scg.ops.arithmetic import add_op, div_op, eq_op, le_op, lt_op, mul_op, ne_op, neg_op, sub_op
from scg.schedule import language as lang
from scg.source import in_comment

INFIX = {add_op: "+", sub_op: "−", mul_op: "·", div_op: "/", lt_op: "<", le_op: "≤", eq_op: "=", ne_op: "≠"}
LOOPS = {"lanes": "for each lane", "counted": "for each lane, those that pad the tile left out",
         "tile rows": "for each row of the tile", "rows": "for each row", "plain rows": "for each row"}
GROUPS = {"all": ", by group where groups are", "row": ", by group where a row has enough of them", None: ""}


def printed(kernel: lang.Kernel) -> str:
    """A kernel as text: what it has, what is done once, and what is done for each tile."""
    return "\n".join(_Printer(kernel).lines())


class _Printer:
    def __init__(self, kernel: lang.Kernel):
        self.kernel = kernel

    def lines(self) -> list[str]:
        k = self.kernel
        rows = "rows one after another" if not k.one_sequence else "all rows" if k.layout.shared else "one sequence"
        has = [f"{name} {size}" for name, size in k.sizes._asdict().items() if size]
        tiles = f"tiles of {k.width} replicates of {rows}"
        return [f'kernel of "{k.layout.name}": {k.layout.dtype}, {tiles}',
                f"arrays: {', '.join(has)}", "once:", *self._block(k.call), "for each tile:", *self._block(k.tile),
                *(["at the end:", *self._block(k.end)] if k.end else [])]

    # --- statements -------------------------------------------------------------------------------------------------
    def _block(self, block: lang.Block) -> list[str]:
        return ["    " + line for s in block for line in self._statement(s)] or ["    nothing"]

    def _statement(self, s: lang.Statement) -> list[str]:
        x = self._text
        match s:
            case lang.Note(text):
                return [f"# {in_comment(text)}"]
            case lang.Let(var, value):
                return [f"{var.name} = {x(value)}"]
            case lang.Set(place, value) | lang.Store(place, value):
                return [f"{x(place)} ← {x(value)}"]
            case lang.Add(place, value):
                return [f"{x(place)} ← {x(place)} + {x(value)}"]
            case lang.Sum(var, factors):
                return [f"{var.name} ← {var.name} + {' · '.join(map(x, factors))}, in any order"]
            case lang.Tally(element, value, moments):
                return [f"observe {x(value)} of element {element}" + (", a gap to its pivot" if moments else "")]
            case lang.TallyCounted(element, ones, one, zero, moments):
                return [f"observe {x(one)} of element {element} in {ones.name} lanes, {x(zero)} in the others"
                        + (": gaps to its pivot" if moments else "")]
            case lang.If(test, body, otherwise):
                rest = ["else:", *self._block(otherwise)] if otherwise else []
                return [f"if {x(test)}:", *self._block(body), *rest]
            case lang.Loop(var, kind, body, extent):
                down = ", from the last" if kind == "back" else ""
                return [LOOPS.get(kind, f"for {var.name} of {extent}{down}") + ":", *self._block(body)]
            case lang.Replicates(body):
                return ["for each replicate of the tile:", *self._block(body)]
            case lang.RowTiles(body):
                return ["for each tile of rows:", *self._block(body)]
            case lang.Contraction(target, left, right, _, accumulate, mean, body, large):
                if large:
                    body = ()
                product = f"{self._operand(left)} · {self._operand(right)}"
                sum_of = f"{'the mean over rows' if mean else 'the sum'} of {product}"
                before = f"{self._operand(target)} + " if accumulate else ""
                how = ", as matrix products" if large else ":"
                return [f"{self._operand(target)} ← {before}{sum_of}{how}", *self._lines(body)]
            case lang.Groups(head, lanes, after, _, bases, sums):
                about = f", about {', '.join(base.name for base, _ in bases)}" if bases else ""
                return [f"for each group{about}:", *self._lines(head), "    for each lane of the group:",
                        *("    " + line for line in self._block(lanes)), *self._lines(sums), *self._lines(after)]
            case lang.ByGroup(_, body, otherwise):
                return ["if groups are the observations:", *self._block(body), "else:", *self._block(otherwise)]
            case lang.Recheck(count, body):
                return [f"if {count.name} lanes are undecided:", *self._block(body)]
            case lang.Rounds(counter, uniforms, words, body, carries, after, done):
                drawn = f"{', '.join(u.name for u in uniforms)} = uniforms of {self._words(words)}"
                nexts = f"{', '.join(c.name for c in carries)} ← {', '.join(map(x, after))}"
                return [f"in rounds {counter.name}, until {x(done)}:", f"    {drawn}", *self._lines(body),
                        f"    {nexts}"]
            case lang.Invoke(callee, arguments, found, _, unless):
                names = self._all(found) if isinstance(found, lang.Buffer) else ", ".join(v.name for v in found)
                where = "" if unless is None else f", 0 where {x(unless)} ≠ 0"
                return [f"{names} ← {callee.name}({', '.join(map(x, arguments))}){where}"]
            case lang.Sides(low, high, value, both):
                return [f"{low.name}, {high.name} = {x(value)}" + (" as a probability and its rest" if both else
                                                                   f" and 1 − {x(value)}")]
            case lang.FillUniform(buffer, words, _, fine):
                kind = "fine uniforms" if fine else "uniforms"
                return [f"{x(lang.Element(buffer, words.element))} ← {kind} of {self._words(words)}"]
            case lang.FillElements(buffer, words, _, fine):
                kind = "fine uniforms" if fine else "uniforms"
                return [f"{self._all(buffer)} ← {kind} of {self._words(words)} on"]
            case lang.FillBelow(buffer, at, low, high, words):
                return [f"{x(lang.Element(buffer, at))} ← whether below {low.name}, of {self._words(words)}"]
            case lang.LeaveOneOut(target, source, e):
                return [f"{x(lang.Element(target, e))} ← the mean of the others of {x(lang.Element(source, e))}"]
            case lang.Fill(buffer, value):
                return [f"{self._all(buffer)} ← {x(value)}"]
            case lang.Copy(target, source) | lang.Narrow(target, source):
                return [f"{self._all(target)} ← {self._all(source)}"]
            case lang.AddPartials(target, partial, e, count):
                return [f"{x(lang.Element(target, e))} ← the {count} partial sums from {partial.offset} + "
                        f"{count}·{x(e)} of {_array(partial)}, in pairs"]
            case lang.Cumulate(place, weight):
                return [f"{x(place)} ← {x(weight)} + the sum before, if there is one"]
            case lang.SumFromTheEnd(start, rows, size):
                return [f"sums {start}:{start + rows * size}, {size} at a time, ← their sums from the end"]
            case lang.Table(rows, _, loop):
                return [f"a table of {len(rows)} statements" + (", in each lane:" if loop else ":"),
                        *(f"    {row.name} = {x(row.value)}, in slot {row.slot}" for row in rows)]
            case lang.Observe(run, _, by_group):
                return [f"observe the lanes of arena {self._run(run)}{GROUPS[by_group]}"]
            case lang.ObserveSums(run, _):
                return [f"observe the groups' totals {self._run(run)}"]
            case lang.ObserveConstants(runs):
                return [f"observe plain {self._run(run)}, the same in every lane" for run, _ in runs]
            case lang.SumRows(target, source):
                return [f"{self._all(target)} ← sums of {self._all(source)} over each row's lanes"]
            case lang.SpreadRows(target, source):
                each = "lane's row" if target.vector == "lane" else "row"
                return [f"arena[{target.offset}] ← {self._text(source)}, q the {each}"]
            case lang.AddUp(target, source):
                return [f"{self._all(target)} ← {self._all(target)} + {self._all(source)}"]
            case lang.ObserveTotals(source, first, assigns):
                return [f"observe the sums {self._all(source)} as elements {first}:{first + source.elements}"
                        + {"first": ", those of the first tile in their place", "only": ", in their place"}.get(
                            assigns or "", "")]
            case lang.Contrast(target):
                return [f"arena[{target.offset}] ← what each lane counts in its comparison"]
            case lang.Compare(target, products, first):
                return [f"for each comparison, in {self._all(target)}:", *self._block(products),
                        f"    observe its squares as those of elements {first}:{first + target.elements}"]
            case lang.Pivots():
                return ["the first tile is for the pivots, and run again"]
        raise NotImplementedError(type(s).__name__)

    def _operand(self, x: lang.Operand) -> str:
        name = {lang.Buffer: lambda a: f"{_array(a)} {a.offset}", lang.Leaf: self._leaf,
                lang.Constant: lambda a: f"constant {a.number}"}.get(type(x.array))
        return f"{'…' if name is None else name(x.array)}[{', '.join(x.dimensions)}]"

    @staticmethod
    def _all(buffer: lang.Buffer) -> str:
        return f"{_array(buffer)}[{buffer.offset}:{buffer.offset + buffer.elements}]"

    def _lines(self, block: lang.Block) -> list[str]:
        return self._block(block) if block else []

    @staticmethod
    def _run(run: lang.Run) -> str:
        return f"{run.offset}:{run.offset + run.size} as elements {run.first}:{run.first + run.size}"

    # --- expressions ------------------------------------------------------------------------------------------------
    def _text(self, x: Any) -> str:
        return _SPELLED[type(x)](self, x)

    def _words(self, w: lang.Words) -> str:
        lane = "all lanes" if w.lane is None else self._text(w.lane)
        words = f"words {self.kernel.layout.paths[w.stream]!r} of {lane}, element {self._text(w.element)}"
        step = "" if w.step == lang.Num(0, "int") else f", step {self._text(w.step)}"
        return words + step + (", complemented" if w.flipped else "")

    def _applied(self, x: lang.Apply) -> str:
        args = [self._text(a) for a in x.args]
        if x.op in INFIX and len(args) == 2:
            return f"({args[0]} {INFIX[x.op]} {args[1]})"
        attrs = [str(a) for a in x.attrs] if isinstance(x.attrs, tuple) else []
        return f"−{args[0]}" if x.op is neg_op else f"{x.op.name}({', '.join([*args, *attrs])})"

    def _element(self, x: lang.Element) -> str:
        at = lang.Num(x.buffer.offset + x.at.value, "int") if isinstance(x.at, lang.Num) else x.at
        start = f"{x.buffer.offset} + " if x.at is at and x.buffer.offset else ""
        lane = "" if x.lane is None else f", {self._text(x.lane)}"
        return f"{_array(x.buffer)}[{start}{self._text(at)}{lane}]"

    def _leaf(self, x: lang.Leaf) -> str:
        leaf = self.kernel.layout.leaves[x.number]
        inside = [*([] if x.row is None else [self._text(x.row)]), *([self._text(x.at)] if leaf.shape else [])]
        return leaf.name + (f"[{', '.join(inside)}]" if inside else "")

    def _ascending(self, x: lang.Ascending) -> str:
        first = f"{x.start} + {x.size}·{self._text(x.row)}" if x.start else f"{x.size}·{self._text(x.row)}"
        return f"the {x.size} sums from {first}" if x.k is None else f"sums[{first} + {self._text(x.k)}]"

    def _index_among(self, x: lang.IndexAmong) -> str:
        return (f"how many of the first {x.size} of {x.sums.name} {self._text(x.value)} is not below, or undecided "
                f"within {self._text(x.edge)}")

    def _about_base(self, x: lang.AboutBase) -> str:
        if x.both is not None and x.weights is not None:
            weights, gaps = self._text(x.weights), x.gaps.name
            return f"({self._text(x.both)} − {weights}·{gaps} / size) · size / (size − 1)"
        return "0" if x.centred else f"{x.gaps.name} + size·{x.base.name}"

    def _within(self, x: lang.Within) -> str:
        index = self._text(x.index)
        return f"{index} = {x.low}" if x.high == x.low + 1 else f"{x.low} ≤ {index} < {x.high}"


def _array(buffer: lang.Buffer) -> str:
    return ("wide " if buffer.wide else "") + ("plain" if buffer.vector is None else "arena")


def _pair(by: str) -> Callable[[_Printer, Any], str]:
    return lambda p, x: f"{p._text(x.a)} {by} {p._text(x.b)}"


_SPELLED: dict[type, Callable[[_Printer, Any], str]] = {
    lang.Var: lambda p, x: x.name,
    lang.Num: lambda p, x: str(x.value).replace("-", "−"),
    lang.Load: lambda p, x: p._text(x.place),
    lang.Apply: _Printer._applied,
    lang.Cast: lambda p, x: f"{x.type}({p._text(x.value)})",
    lang.Choose: lambda p, x: f"({p._text(x.then)} if {p._text(x.test)} else {p._text(x.otherwise)})",
    lang.Total: lambda p, x: " + ".join(map(p._text, x.terms)),
    lang.Product: lambda p, x: " · ".join(map(p._text, x.factors)) + (" / rows" if x.mean else ""),
    lang.Undecided: lambda p, x: "undecided",
    lang.Signed: lambda p, x: " ".join(f"{sign} {p._text(term)}" for sign, term in x.terms).removeprefix("+ "),
    lang.BelowAt: lambda p, x: f"whether below {x.low.name}, of {p._words(x.words)}",
    lang.CategoryAt: lambda p, x: f"the index among {x.size} weights, of {p._words(x.words)}",
    lang.CategoryAmong: lambda p, x: f"the index among {p._text(x.below)}, and from the end {p._text(x.above)}, of "
                                     f"{p._words(x.words)}",
    lang.IndexAmong: _Printer._index_among,
    lang.Ascending: _Printer._ascending,
    lang.Weight: lambda p, x: f"weight[{p._text(x.k)}]",
    lang.ArrayOf: lambda p, x: f"{p._all(x.buffer)} as {x.shape}",
    lang.OthersShare: lambda p, x: "1 / (size − 1)",
    lang.AboutBase: _Printer._about_base,
    lang.Counted: lambda p, x: f"{p._text(x.ones)}·{p._text(x.one)} + (size − {p._text(x.ones)})·{p._text(x.zero)}",
    lang.Plus: _pair("+"),
    lang.Times: lambda p, x: f"{x.factor}·{p._text(x.x)}",
    lang.Over: lambda p, x: f"⌊({p._text(x.x)}) / {x.by}⌋",
    lang.Rest: lambda p, x: f"({p._text(x.x)}) mod {x.by}",
    lang.Beside: lambda p, x: f"{p._text(x.x)} {'+' if x.step > 0 else '−'} {abs(x.step)}",
    lang.Lane: lambda p, x: {"lane": "l", "row": "q"}[x.vector],
    lang.RowOf: lambda p, x: "row of l",
    lang.Replicate: lambda p, x: f"replicate {p._text(x.lane)}",
    lang.Element: _Printer._element,
    lang.Part: lambda p, x: f"{x.part.name}[{p._text(x.lane)}]",
    lang.PartOf: lambda p, x: f"the group's lanes of {p._element(lang.Element(x.buffer, x.at))}",
    lang.Leaf: _Printer._leaf,
    lang.Constant: lambda p, x: f"constant {x.number}[{p._text(x.at)}]",
    lang.GroupTotal: lambda p, x: f"total {x.slot} of the group",
    lang.Recorded: lambda p, x: f"record {x.number}[{p._text(x.at)}]",
    lang.Within: _Printer._within,
    lang.Every: lambda p, x: " and ".join(map(p._text, x.tests)),
    lang.Some: lambda p, x: " or ".join(map(p._text, x.tests)),
    lang.Equal: _pair("="),
    lang.Less: _pair("<"),
    lang.AtMost: _pair("≤"),
    lang.Near: lambda p, x: f"|{p._text(x.a)} − {p._text(x.b)}| ≤ {p._text(x.edge)}",
}

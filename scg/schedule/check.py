"""What is wrong with a kernel in the loop language: nothing, if the planner is right.

Every variable has a value before it is read, and where it is read; every place is written before, and lies in its
buffer; lanes, rows and groups are known where they are asked for. Loops over elements and steps are gone through one by
one, those over lanes, rows, groups and rounds once; an index that is read from data is taken to be anywhere where the
tests around it let it be.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

from scg.schedule import language as lang

Span = tuple[float, float]  # from one number to another, both included
ANYWHERE: Span = (-math.inf, math.inf)
KNOWN_WITH = {"lanes": "lane", "counted": "lane", "run": "lane", "tile rows": "row", "rows": "rows",
              "plain rows": "rows"}


def faults(kernel: lang.Kernel) -> list[str]:
    """What is wrong, each thing once."""
    check = _Check(kernel)
    check.block(kernel.call)
    with check.within("tile"):
        check.block(kernel.tile)
    check.block(kernel.end)
    return list(dict.fromkeys(check.found))


class _Check:
    def __init__(self, kernel: lang.Kernel):
        self.kernel, self.found = kernel, []  # type: tuple[lang.Kernel, list[str]]
        sizes = kernel.sizes
        self.sizes = {"arena": sizes.arena, "plain": sizes.plain, "wide": sizes.wide, "wide_plain": sizes.wide_plain,
                      "totals": sizes.totals, "sums": sizes.sums, "weights": sizes.weights}
        self.written: dict[str, set[int]] = {name: set() for name in self.sizes}
        names = [*(f"pivot{i}" for i, _ in kernel.tallies), *(f"base{i}" for i in range(kernel.bases))]
        self.spans: dict[str, Span] = dict.fromkeys(names, ANYWHERE)  # of the variables that have a value
        self.lets: dict[str, lang.Expr] = {}
        self.assumed: dict[lang.Expr, Span] = {}
        self.kept: dict[tuple[str, int], Span] = {}  # of the integers that tables keep
        self.known: list[str] = []  # what loops around stand for: "tile", "lane", "row", "rows", "group"

    def fault(self, text: str) -> None:
        self.found.append(text)

    @contextlib.contextmanager
    def within(self, *what: str) -> Iterator[None]:
        """What is given a value in here has none behind it."""
        spans, lets, known = dict(self.spans), dict(self.lets), list(self.known)
        self.known += what
        yield
        self.spans, self.lets, self.known = spans, lets, known

    def ask(self, what: str, text: str) -> None:
        if what not in self.known:
            self.fault(f"{text} is asked for where there is none")

    # --- statements -------------------------------------------------------------------------------------------------
    def block(self, block: Iterable[lang.Statement]) -> None:
        for s in block:
            self.statement(s)

    def statement(self, s: lang.Statement) -> None:
        match s:
            case lang.Let(var, value):
                self.read(value)
                self.lets[var.name] = value
                self.spans[var.name] = self.span(value) if var.type == "int" else ANYWHERE
            case lang.Set(var, value):
                self.read(value)
                self.spans[var.name] = ANYWHERE
            case lang.Store(place, value):
                self.read(value)
                self.place(place, True)
            case lang.Add(place, value):
                self.read(value)
                self.place(place, False)
            case lang.Sum(var, factors):
                for x in (var, *factors):
                    self.read(x)
            case lang.TallyCounted(_, ones, one, zero):
                self.ask("tile", "a tile to count its lanes")
                for x in (ones, one, zero):
                    self.read(x)
            case lang.Tally(element, value):
                self.ask("lane", f"a lane to observe of element {element}")
                self.read(value)
            case lang.If(test, body, otherwise):
                self.read(test)
                self.either(self.decided(test), body, otherwise)
            case lang.ByGroup(_, body, otherwise):
                self.either(None, body, otherwise)
            case lang.Recheck(count, body):
                self.read(count)
                self.either(None, body, ())
            case lang.Loop(var, kind, body, extent):
                self.loop(var, kind, body, extent)
            case lang.Replicates(body):
                self.ask("tile", "a tile to loop over its replicates")
                with self.within("lane", "replicate"):
                    self.block(body)
            case lang.RowTiles(body):
                self.ask("replicate", "a replicate to loop over its rows")
                with self.within():
                    self.spans["row"] = 0, 0
                    self.block(body)
            case lang.Contraction():
                self.contraction(s)
            case lang.Fill(buffer) | lang.AddPartials(target=buffer):
                if isinstance(s, lang.AddPartials):
                    first = int(self.span(s.e)[0]) * s.count
                    self.at(s.partial, (first, first + s.count - 1), False)
                    self.at(buffer, self.span(s.e), True)
                else:
                    self.at(buffer, (0, buffer.elements - 1), True)
            case lang.Copy(target, source) | lang.Narrow(target, source) | lang.SumRows(target, source):
                self.at(source, (0, source.elements - 1), False)
                self.at(target, (0, target.elements - 1), True)
            case lang.SpreadRows(target, source):
                with self.within(KNOWN_WITH["tile rows"]):
                    self.place(source, False)
                self.at(target, (0, target.elements - 1), True)
            case lang.AddUp(target, source):
                for buffer in (source, target):
                    self.at(buffer, (0, buffer.elements - 1), False)
            case lang.Cumulate(place, weight):
                self.read(weight)
                self.place(place, True)
            case lang.SumFromTheEnd(start, rows, size):
                self.slots("sums", (start, start + rows * size - 1), False)
            case lang.FillUniform(buffer, words):
                self.words(words)
                self.at(buffer, self.span(words.element), True)
            case lang.FillElements(buffer, words):
                self.words(words)
                self.at(buffer, (0, buffer.elements - 1), True)
            case lang.FillBelow(buffer, at, low, high, words):
                self.words(words)
                self.read(low)
                self.read(high)
                self.at(buffer, self.span(at), True)
            case lang.Sides(low, high, value):
                self.read(value)
                self.spans[low.name] = self.spans[high.name] = ANYWHERE
            case lang.Rounds():
                self.rounds(s)
            case lang.Invoke(_, arguments, found, _, unless):
                for x in (*arguments, *(() if unless is None else (unless,))):
                    self.read(x)
                if isinstance(found, lang.Buffer):
                    self.at(found, (0, found.elements - 1), True)
                else:
                    self.spans.update((var.name, ANYWHERE) for var in found)
            case lang.LeaveOneOut(target, source, e):
                self.at(source, self.span(e), False)
                self.at(target, self.span(e), True)
            case lang.Groups(head, lanes, after, sums=sums):
                with self.within("group"):
                    self.block(head)
                    with self.within("lane"):
                        self.block(lanes)
                    self.block(sums)
                    self.block(after)
            case lang.Table():
                self.table(s)
            case lang.Observe(run):
                self.slots("arena", (run.offset, run.offset + run.size - 1), False)
            case lang.ObserveSums(run):
                self.slots("totals", (run.offset, run.offset + run.size - 1), False)
            case lang.ObserveTotals(source):
                self.at(source, (0, source.elements - 1), False)
            case lang.Contrast(target):
                self.at(target, (0, 0), True)
            case lang.Compare(target, products):
                self.at(target, (0, target.elements - 1), True)
                self.block(products)
            case lang.ObserveConstants(runs):
                for run, _ in runs:
                    self.slots("plain", (run.offset, run.offset + run.size - 1), False)

    def loop(self, var: lang.Var, kind: str, body: lang.Block, extent: int) -> None:
        """A loop, step by step if it is over elements."""
        if kind in KNOWN_WITH:
            self.ask("tile", f"a tile to loop over its {kind}")
            with self.within(KNOWN_WITH[kind]):
                self.spans[var.name] = ANYWHERE
                self.block(body)
            return
        for i in range(extent) if kind == "elements" else range(extent - 1, -1, -1):
            with self.within():
                self.spans[var.name] = (i, i)
                self.block(body)

    def contraction(self, s: lang.Contraction) -> None:
        """Its loops, and whether the arrays are as large as it says."""
        sizes = dict(s.sizes)
        for array, dimensions in (s.target, s.left, s.right):
            said = math.prod(sizes[d] for d in dimensions)
            have = said if array is None else self.size_of(array)
            if said != have:
                self.fault(f"an array of {have} elements is contracted as one of {said}")
        self.block(s.body)

    def size_of(self, array: lang.Buffer | lang.Leaf | lang.Constant) -> int:
        if isinstance(array, lang.Leaf):
            return math.prod(self.kernel.layout.leaves[array.number].shape)
        constant = array.elements if isinstance(array, lang.Buffer) else self.kernel.constants[array.number]
        return constant if isinstance(constant, int) else 0 if constant is None else constant.size

    def either(self, which: bool | None, body: lang.Block, otherwise: lang.Block) -> None:
        """One of two blocks; if it is not known which, what both write is written."""
        if which is not None:
            with self.within():
                self.block(body if which else otherwise)
            return
        before, after = {name: set(slots) for name, slots in self.written.items()}, []
        for block in (body, otherwise):
            self.written = {name: set(slots) for name, slots in before.items()}
            with self.within():
                self.block(block)
            after.append(self.written)
        self.written = {name: after[0][name] & after[1][name] for name in before}
        self.written["weights"] |= after[0]["weights"]  # written and read by the same branch of several steps

    def decided(self, test: lang.Expr) -> bool | None:
        """Whether an equality of indices holds, if it is known."""
        if not isinstance(test, lang.Equal):
            return None
        (a, a1), (b, b1) = self.span(test.a), self.span(test.b)
        return a == b if a == a1 and b == b1 else None

    def rounds(self, s: lang.Rounds) -> None:
        self.words(s.words)
        for carry in s.carries:
            self.read(carry)
        with self.within():
            self.spans.update((x.name, ANYWHERE) for x in (s.counter, *s.uniforms))
            self.block(s.body)
            for x in (*s.after, s.done):
                self.read(x)

    def table(self, s: lang.Table) -> None:
        locations = dict(s.locations)
        with self.within(*([KNOWN_WITH[s.loop[1]]] if s.loop else [])):
            for row in s.rows:
                for var in lang.variables(row.value):
                    if var.name in locations:
                        slot, by_lane, _ = locations[var.name]
                        array = "arena" if by_lane else "plain"
                        self.slots(array, (slot, slot), False)
                        self.spans[var.name] = self.kept.get((array, slot), ANYWHERE)
                self.read(row.value)
                array = "arena" if s.loop else "plain"
                self.slots(array, (row.slot, row.slot), True)
                self.kept[array, row.slot], self.lets[row.name] = self.span(row.value), row.value

    # --- places -----------------------------------------------------------------------------------------------------
    def slots(self, array: str, span: Span, write: bool) -> None:
        """Elements of an array from one to another."""
        low, high = span
        if not (low >= 0 and high < self.sizes[array]):
            self.fault(f"{array} has {self.sizes[array]} elements, and {low}:{high + 1} of them are asked for")
        elif write:
            self.written[array].update(range(int(low), int(high) + 1))
        elif missing := set(range(int(low), int(high) + 1)) - self.written[array]:
            self.fault(f"{array} {min(missing)} is read before it is written")

    def at(self, buffer: lang.Buffer, span: Span, write: bool) -> None:
        """Elements of a buffer from one to another."""
        low, high = span
        if not (low >= 0 and high < buffer.elements):
            self.fault(f"a buffer has {buffer.elements} elements, and {low}:{high + 1} of them are asked for")
            return
        array = ("wide" if buffer.wide else "arena") if buffer.vector else "wide_plain" if buffer.wide else "plain"
        self.slots(array, (buffer.offset + low, buffer.offset + high), write)

    def place(self, p: Any, write: bool) -> None:
        """A place that is written, or read."""
        match p:
            case lang.Var(name):
                if name not in self.spans:
                    self.fault(f"{name} is read where it has no value")
            case lang.Element(buffer, at, lane):
                self.at(buffer, self.span(at), write)
                if (lane is None) != (buffer.vector is None):
                    self.fault("an element of a plain buffer has a lane, or one of another buffer has none")
                self.read(at)
                self.read(lane)
            case lang.Part(part, lane):
                self.read(part)
                self.read(lane)
                of = self.lets.get(part.name)
                if isinstance(of, lang.PartOf):
                    self.at(of.buffer, self.span(of.at), write)
            case lang.Leaf(number, at, _, row):
                self.inside(f"leaf {number}", self.span(at), math.prod(self.kernel.layout.leaves[number].shape))
                self.read(at)
                self.read(row)
            case lang.Constant(number, at):
                array = self.kernel.constants[number]
                self.inside(f"constant {number}", self.span(at), 0 if array is None else array.size)
                self.read(at)
            case lang.GroupTotal(slot):
                self.ask("group", f"total {slot} of a group")
                self.slots("totals", (slot, slot), write)
            case lang.Recorded(number, _, at):
                self.ask("lane", f"a lane of record {number}")
                self.inside(f"record {number}", self.span(at), self.kernel.layout.records[number].size)
            case lang.Ascending(start, row, size, k):
                (low, high), (first, last) = self.span(row), (0, size - 1) if k is None else self.span(k)
                self.slots("sums", (start + low * size + first, start + high * size + last), write)
            case lang.Weight(k):
                self.slots("weights", self.span(k), write)

    def inside(self, what: str, span: Span, size: int) -> None:
        if not (span[0] >= 0 and span[1] < size):
            self.fault(f"{what} has {size} elements, and {span[0]}:{span[1] + 1} of them are asked for")

    # --- values -----------------------------------------------------------------------------------------------------
    def words(self, w: lang.Words) -> None:
        self.ask("tile", "a tile's noise")
        for x in (w.lane, w.element, w.step):
            self.read(x)

    def read(self, x: Any) -> None:
        """All that a value is made of."""
        match x:
            case lang.Var(name):
                if not (name == "row" and "tile" in self.known):
                    self.place(x, False)
            case lang.Load(place):
                self.place(place, False)
            case lang.Lane(vector):
                self.ask(vector, f"a {vector}")
            case lang.RowOf(grouped):
                self.ask("group" if grouped else "lane", "the row of a lane")
            case lang.OthersShare() | lang.PartOf() | lang.Counted():
                self.ask("group", "a group")
            case lang.ArrayOf(buffer):
                self.at(buffer, (0, buffer.elements - 1), False)
            case lang.CategoryAt(size):
                self.slots("weights", (0, size - 1), False)
            case lang.CategoryAmong(below, above):
                self.place(below, False)
                self.place(above, False)
        if not isinstance(x, lang.Load | lang.Var | lang.CategoryAmong | None):
            for part in lang.parts(x):
                self.read(part)

    def span(self, x: lang.Expr) -> Span:
        """Where an index may be."""
        low, high = self._span(x)
        inner = x.value if isinstance(x, lang.Cast) else x
        for given in (x, inner):
            if given in self.assumed:
                least, most = self.assumed[given]
                low, high = max(low, least), min(high, most)
        return low, high

    def _span(self, x: lang.Expr) -> Span:
        match x:
            case lang.Num(value):
                return value, value
            case lang.Var(name):
                return self.spans.get(name, ANYWHERE)
            case lang.Plus(a, b):
                (a0, a1), (b0, b1) = self.span(a), self.span(b)
                return a0 + b0, a1 + b1
            case lang.Times(factor, a):
                low, high = self.span(a)
                return min(factor * low, factor * high), max(factor * low, factor * high)
            case lang.Over(a, by):
                low, high = self.span(a)
                return low // by, high // by
            case lang.Rest(a, by):
                low, high = self.span(a)
                return (low % by, high % by) if low // by == high // by else (0, by - 1)
            case lang.Beside(a, step):
                low, high = self.span(a)
                return low + step, high + step
            case lang.Load(lang.Constant(number)) if (array := self.kernel.constants[number]) is not None:
                return int(array.min()), int(array.max())
            case lang.Cast(lang.Load(lang.Element(buffer, lang.Num(at))), "int") if not buffer.wide:
                return self.kept.get(("plain" if buffer.vector is None else "arena", buffer.offset + int(at)), ANYWHERE)
            case lang.Choose(then, test, otherwise):
                return self._where(then, test, otherwise)
        return ANYWHERE

    def _where(self, then: lang.Expr, test: lang.Expr, otherwise: lang.Expr) -> Span:
        """Where one of two indices may be: the first, where the test holds."""
        given = self.lets.get(test.name, test) if isinstance(test, lang.Var) else test
        tests = given.tests if isinstance(given, lang.Every) else (given,)
        outer, self.assumed = self.assumed, dict(self.assumed)
        self.assumed.update((t.index, (t.low, t.high - 1)) for t in tests if isinstance(t, lang.Within))
        (a0, a1), (b0, b1) = self.span(then), self.span(otherwise)
        self.assumed = outer
        return min(a0, b0), max(a1, b1)

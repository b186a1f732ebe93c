"""Kernels in the loop language run by Python, statement by statement: nothing that they do is hidden in a text.

Lanes are computed one by one, tiles are a few replicates wide, and one lane pads each. Of what is observed, sums over
replicates are kept; bases and pivots, which no result depends on but by rounding, are arbitrary.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scg_numpy import compile as reference_of

from scg import noise
from scg.program import Call, Chunk, Partial, Program, comparisons
from scg.run.moments import group_starts
from scg.schedule import language as lang
from scg.schedule import plan
from scg.sums import BY_ROW, ROWS, SUM, VARIANCES

WIDTH = 5  # lanes of a tile
ANY = 0.25  # a base, and a pivot


class LoopKernel:
    """A program as a kernel in the loop language."""

    def __init__(self, program: Program):
        self.kernel = plan(program)
        self.layout = program.layout

    def run(self, call: Call, chunk: Chunk) -> Partial:
        """Evaluate a range of replicates; see `scg.program.Kernel`."""
        run = _Run(self.kernel, call, chunk)
        with np.errstate(all="ignore"):
            run.block(self.kernel.call)
            for row, rows, k, end in run.tiles():
                run.begin(row, rows, k, end)
                run.block(self.kernel.tile)
            run.block(self.kernel.end)
        count = chunk.k1 - chunk.k0
        run.numbers[SUM] += [ANY * count if (i, True) in self.kernel.tallies else 0.0 for i in range(self.layout.width)]
        records = [r.reshape(len(r), *slot.shape) for r, slot in zip(run.records, self.layout.records)]
        by_row = run.by_row.reshape(-1, chunk.rows, self.layout.row_width) if self.layout.by_row else None
        return Partial(run.numbers, tuple(records), by_row)


class HeldToReference:
    """Such a kernel, of which every range is what the reference makes of it, to a tolerance."""

    source = ""

    def __init__(self, program: Program):
        self.loops, self.reference = LoopKernel(program), reference_of(program)
        self.tolerance = 1e-10 if program.layout.dtype == "float64" else 3e-4

    def run(self, call: Call, chunk: Chunk) -> Partial:
        """Evaluate a range of replicates both ways."""
        found, right = self.loops.run(call, chunk), self.reference.run(call, chunk)
        self._hold(found.numbers[SUM], right.numbers[SUM])
        for where in self.loops.layout.compared:
            self._hold(found.numbers[VARIANCES, where], right.numbers[VARIANCES, where])
        if right.by_row is not None:
            self._hold(found.by_row[SUM], right.by_row[SUM])
        for one, other in zip(found.records, right.records, strict=True):
            self._hold(one.ravel(), other.ravel())
        return right

    def _hold(self, found: np.ndarray, right: np.ndarray) -> None:
        np.testing.assert_allclose(found, right, rtol=self.tolerance, atol=self.tolerance)


class _Run:
    """One range of replicates; `v` has the variables by name."""

    def __init__(self, kernel: lang.Kernel, call: Call, chunk: Chunk):
        self.kernel, self.layout, self.chunk, self.division = kernel, kernel.layout, chunk, call.division
        self.leaves = [np.asarray(a).reshape(-1) for a in call.arrays]
        self.keys = [noise.key(call.seed, path) for path in self.layout.paths]
        self.numbers = np.zeros((ROWS, self.layout.width))
        self.by_row = np.zeros((BY_ROW, chunk.rows * self.layout.row_width))[: self.layout.row_numbers]
        self.records = [np.empty((chunk.rows * (chunk.k1 - chunk.k0), slot.size)) for slot in self.layout.records]
        sizes, real = kernel.sizes, self.layout.dtype
        most = (max(WIDTH, chunk.k1 - chunk.k0) + 1) * 2
        self.arrays = {(True, False): np.empty((sizes.arena, most), real), (False, False): np.empty(sizes.plain, real),
                       (True, True): np.empty((sizes.wide, most)), (False, True): np.empty(sizes.wide_plain)}
        self.totals, self.sums = np.empty((sizes.totals, most)), np.empty(sizes.sums)
        self.weights = np.empty(sizes.weights)
        self.comparisons = comparisons(self.layout, self.division, chunk) if self.layout.compared else []
        self.run: tuple[int, int] = (0, 0)
        self.v: dict[str, Any] = {f"base{i}": ANY for i in range(kernel.bases)}
        self.v |= {f"pivot{i}": ANY for i, _ in kernel.tallies}
        self.k = self.r0 = self.lanes = self.rows = 0

    # --- tiles ------------------------------------------------------------------------------------------------------
    def tiles(self):
        """The first row, the rows, and the samples of each tile; what is coupled or short is whole."""
        row0, rows, k0, k1 = self.chunk
        for row in [row0] if self.kernel.one_sequence else range(row0, row0 + rows, 2):
            whole = self.layout.coupled or k1 - k0 <= WIDTH
            together = 1 if self.kernel.one_sequence else min(2, row0 + rows - row)
            for part in range(1 if whole else together):
                for k in range(k0, k1, k1 - k0 if whole else WIDTH):
                    yield row + part, together if whole else 1, k, k1 if whole else min(k + WIDTH, k1)

    def begin(self, row: int, rows: int, k: int, end: int) -> None:
        """Know where a tile stands."""
        self.k, self.each, self.rows, self.lanes = k, end - k, rows, rows * (end - k)
        self.v["row"], self.r0 = row, k if self.kernel.one_sequence else row * self.division.samples + k
        starts = [int(s) for s in group_starts(self.division, self.chunk)] if self.layout.coupled else []
        self.edges = [part * self.each + s for part in range(rows) for s in starts] + [self.lanes]

    # --- statements -------------------------------------------------------------------------------------------------
    def block(self, block: lang.Block) -> None:
        for statement in block:
            self.do(statement)

    def do(self, s: lang.Statement) -> None:
        v, x = self.v, self.value
        match s:
            case lang.Note() | lang.Pivots():
                pass
            case lang.Let(place, value) | lang.Set(place, value) | lang.Store(place, value):
                array, at = self.place(place)
                array[at] = x(value)
            case lang.Add(place, value):
                array, at = self.place(place)
                array[at] = array[at] + x(value)
            case lang.Sum(var, factors):
                v[var.name] += np.prod([np.float64(x(f)) for f in factors])
            case lang.Tally(element, value, _):
                self.numbers[SUM, element] += x(value)
            case lang.TallyCounted(element, ones, one, zero):
                self.numbers[SUM, element] += self.sum_of_both(x(ones), self.lanes, x(one), x(zero))
            case lang.If(test, body, otherwise):
                self.block(body if x(test) else otherwise)
            case lang.ByGroup(one_row, body, otherwise):
                self.block(body if self.division.by_group and not (one_row and self.chunk.rows > 1) else otherwise)
            case lang.Recheck(count, body):
                self.block(body if v[count.name] > 0 else ())
            case lang.Loop(var, kind, body, extent):
                for v[var.name] in self.range_of(kind, extent):
                    if kind in ("rows", "plain rows"):
                        self.r0 = v["r"] * self.division.samples + self.k
                    self.block(body)
            case lang.Replicates(body):
                for v["l"] in range(self.lanes):
                    self.r0 = self.k + v["l"]
                    self.block(body)
            case lang.RowTiles(body):
                for v["row"] in range(0, self.chunk.rows, WIDTH):
                    self.rows = min(WIDTH, self.chunk.rows - v["row"])
                    self.block(body)
            case lang.Contraction(large=large):
                # both ways, by turns
                if (large and self.v.get("by loops", 0) % 2) or not self.contracted(s):
                    self.block(s.body)
                self.v["by loops"] = self.v.get("by loops", 0) + large
            case lang.Fill(buffer, number):
                self.run_of(buffer)[...] = x(number)
            case lang.Copy(target, source) | lang.Narrow(target, source):
                self.run_of(target)[...] = self.run_of(source)
            case lang.AddPartials(target, partial, e, count, steps):
                sums = self.run_of(partial)[x(e) * count : (x(e) + 1) * count]
                for to, what in np.reshape(self.kernel.constants[steps], (-1, 2)):
                    sums[to] += sums[what]
                self.run_of(target)[x(e)] = sums[0]
            case lang.FillUniform(buffer, words, number, fine):
                at, by_row = (words.element, words.step), buffer.vector == "row"
                for lane in range(self.rows if by_row else self.lanes + 1):
                    r = (self.r0 if words.by_row else self.k) + lane
                    r = self.r0 + (v["row"] + lane) * self.division.samples if by_row else r
                    self.run_of(buffer)[x(at[0]), lane] = noise.uniform(
                        self.keys[words.stream], r, int(x(at[0])), int(x(at[1])), number, fine, self.layout.dtype)
            case lang.FillElements(buffer, words, number, fine):
                self.run_of(buffer)[...] = [noise.uniform(
                    self.keys[words.stream], self.r0, int(x(words.element)) + e, int(x(words.step)), number, fine,
                    self.layout.dtype) for e in range(buffer.elements)]
            case lang.FillBelow(buffer, at, low, high, words):
                for lane in range(self.lanes + 1):
                    word = self.word(words._replace(lane=lang.Num(lane, "int")))
                    self.run_of(buffer)[x(at), lane] = noise.below(word, x(low), x(high))
            case lang.Sides(low, high, value, both):
                p = np.float64(x(value))
                e = np.exp(-abs(p))
                small, large = e / (1.0 + e), 1.0 / (1.0 + e)
                v[low.name], v[high.name] = (p, 1.0 - p) if not both else (large, small) if p > 0 else (small, large)
            case lang.LeaveOneOut(target, source, e):
                for first, last in zip(self.edges, self.edges[1:]):
                    group = self.run_of(source)[x(e), first:last].astype(float)
                    others = (group.sum() - group) / max(last - first - 1, 1)
                    self.run_of(target)[x(e), first:last] = others if last - first > 1 else 0.0
            case lang.Groups(head, lanes, after, sums=sums):
                for v["g"], (v["at"], end) in enumerate(zip(self.edges, self.edges[1:])):
                    size = v["size"] = end - v["at"]
                    self.block(head)
                    for v["l"] in range(size):
                        self.block(lanes)
                    self.block(sums)
                    self.block(after)
            case lang.Cumulate(place, weight):
                array, at = self.place(place)
                array[at] = x(weight) + (array[at - 1] if x(place.k) > 0 else 0.0)
            case lang.SumFromTheEnd(start, rows, size):
                part = self.sums[start : start + rows * size].reshape(rows, size)
                part[...] = np.cumsum(part[:, ::-1], axis=1)[:, ::-1]
            case lang.Rounds(counter=counter):
                v[counter.name] = 0
                while not self.round(s) and v[counter.name] < s.most:
                    v[counter.name] += 1
                if v[counter.name] == s.most:
                    v.update((c.name, np.nan) for c in s.carries[: s.wanted])
            case lang.Table(rows, locations, loop):
                for row in rows:
                    for lane in self.range_of(loop[1], 0) if loop else [0]:
                        if loop:
                            v[loop[0].name] = lane
                        self.row_of_table(row, dict(locations), loop)
            case lang.Observe(run, _, _, width, row):
                first = {"chunk": v.get("r", 0), "tile": v["row"] - self.chunk.row0}.get(row, 0)
                for i in range(run.size):
                    x_i = self.arrays[True, False][run.offset + i, : self.lanes].astype(float)
                    for part in range(self.rows):
                        own = x_i[part * self.each : (part + 1) * self.each]
                        if width:
                            self.by_row[SUM, (first + part) * width + run.first + i] += own.sum()
                        else:
                            self.numbers[SUM, run.first + i] += own.sum()
            case lang.ObserveSums(run):
                totals = self.totals[run.offset : run.offset + run.size, : len(self.edges) - 1]
                self.numbers[SUM, run.first : run.first + run.size] += totals.sum(axis=1)
            case lang.ObserveTotals(source, first):
                self.numbers[SUM, first : first + source.elements] += self.run_of(source)
            case lang.Contrast(target):
                self.run_of(target)[0, self.lanes :] = 0.0
                for first, last, (_, _, low, middle, high) in self.runs():
                    one, other = middle - low, high - middle
                    for lane in range(first, last):
                        early = self.k + lane % self.each < middle
                        self.run_of(target)[0, lane] = np.sqrt(other / one) if early else -np.sqrt(one / other)
            case lang.Compare(target, contractions, at):
                sums = self.run_of(target)
                for first, last, (row0, row1, low, _, high) in self.runs():
                    if first > 0 or (self.row_of(0), self.k) == (row0, low):
                        sums[...] = 0.0
                    self.run = first, last
                    self.block(s for c in contractions for s in c.body)
                    if (self.row_of(last - 1), self.k + (last - 1) % self.each) == (row1 - 1, high - 1):
                        self.numbers[VARIANCES, at : at + sums.size] += sums.astype(float) ** 2
            case lang.SumRows(target, source):
                for row in range(self.rows):
                    own = self.run_of(source)[:, row * self.each : (row + 1) * self.each]
                    self.run_of(target)[:, row] = own.astype(float).sum(axis=1)
            case lang.SpreadRows(target, source):
                by_lane = target.vector == "lane"
                for lane in range(self.lanes + 1 if by_lane else self.rows):
                    v["q"] = min(lane // self.each, self.rows - 1) if by_lane else lane
                    array, at = self.place(source)
                    self.run_of(target)[0, lane] = array[at]
            case lang.AddUp(target, source):
                self.run_of(target)[...] += self.run_of(source)
            case lang.ObserveConstants(runs):
                for run, _ in runs:
                    values = self.arrays[False, False][run.offset : run.offset + run.size]
                    self.numbers[SUM, run.first : run.first + run.size] += values.astype(float) * self.lanes
            case _:
                raise NotImplementedError(type(s).__name__)

    def row_of(self, lane: int) -> int:
        """The row that a lane of the tile belongs to."""
        return (0 if self.kernel.one_sequence else self.v["row"]) + lane // self.each

    def runs(self):
        """The first lane of each comparison that the tile has lanes of, the one behind its last, and the comparison."""
        for part in self.comparisons:
            row0, row1, low, _, high = part
            own = [lane for lane in range(self.lanes)
                   if row0 <= self.row_of(lane) < row1 and low <= self.k + lane % self.each < high]
            if own:
                yield own[0], own[-1] + 1, part

    def round(self, s: lang.Rounds) -> bool:
        """One round of a sampling loop; whether it is the last."""
        w, n = s.words, len(s.uniforms)
        r = (self.r0 if w.by_row else self.k) + self.value(w.lane)
        at = self.keys[w.stream], r, int(self.value(w.element)), int(self.value(w.step))
        for i, u in enumerate(s.uniforms):
            drawn = noise.uniform(*at, 2 * (self.v[s.counter.name] * n + i), True)
            self.v[u.name] = np.float64(1.0 - drawn if w.flipped else drawn)
        self.block(s.body)
        for carry, value in [*zip(s.carries, map(self.value, s.after))]:
            self.v[carry.name] = value
        return bool(self.value(s.done))

    def array_of(self, o: lang.Operand, sizes: dict[str, int], lanes: int) -> tuple[np.ndarray, str] | None:
        """What is contracted, with so many lanes or all rows of the tile if it has any; and a letter for these."""
        shape, array = [sizes[d] for d in o.dimensions], o.array
        if array is None:
            return None
        if isinstance(array, lang.Constant):
            return self.kernel.constants[array.number].reshape(shape), ""
        if isinstance(array, lang.Leaf):
            rows = self.leaves[array.number].reshape(-1, *shape)
            if lang.by_row(array):
                return np.moveaxis(rows[self.v["row"] : self.v["row"] + self.rows], 0, -1), "Z"
            return rows[0 if array.row is None else self.value(array.row)], ""
        if array.vector is None:
            return self.run_of(array).reshape(shape), ""
        count, letter = (lanes, "Y") if array.vector == "lane" else (self.rows, "Z")
        return self.run_of(array)[:, :count].reshape(*shape, count), letter

    def contracted(self, s: lang.Contraction) -> bool:
        """A contraction of whole arrays, as such; whether that is what it is."""
        plain = isinstance(s.target.array, lang.Buffer) and s.target.array.vector is None
        found = [self.array_of(o, dict(s.sizes), self.lanes + (not plain)) for o in (s.target, s.left, s.right)]
        known = [f for f in found if f is not None]
        if len(known) < 3 or {letter for _, letter in known} >= {"Y", "Z"}:
            return False
        letters = {name: chr(ord("a") + i) for i, (name, _) in enumerate(s.sizes)}
        subs = ["".join(letters[d] for d in o.dimensions) + v for o, (_, v) in zip((s.target, s.left, s.right), known)]
        if subs[0][-1:] in ("Y", "Z") and subs[0][-1] not in subs[1] + subs[2]:
            return False
        product = np.einsum(f"{subs[1]},{subs[2]}->{subs[0]}", *(a.astype(float) for a, _ in known[1:]))
        target = known[0][0]  # a view, of elements that follow each other
        begins = not s.accumulate or (s.mean and s.large and self.v["row"] == 0)
        target[...] = (0 if begins else target) + product / (self.chunk.rows if s.mean else 1)
        return True

    def range_of(self, kind: str, extent: int) -> range:
        """What a loop runs over."""
        if kind in ("rows", "plain rows"):
            return range(self.chunk.rows)
        return {"elements": range(extent), "back": range(extent - 1, -1, -1), "lanes": range(self.lanes + 1),
                "counted": range(self.lanes), "run": range(*self.run), "tile rows": range(self.rows)}[kind]

    def row_of_table(self, row: lang.Row, locations: dict[str, lang.Location], loop) -> None:
        """One statement of a table, in one lane."""
        for var in lang.variables(row.value):
            if var.name in locations:
                slot, by_lane, kind = locations[var.name]
                found = self.arrays[by_lane, False][(slot, self.v[loop[0].name]) if by_lane else slot]
                self.v[var.name] = {"bool": bool, "int": int}.get(kind, lambda y: y)(found)
        self.arrays[bool(loop), False][(row.slot, self.v[loop[0].name]) if loop else row.slot] = self.value(row.value)

    # --- places -----------------------------------------------------------------------------------------------------
    def run_of(self, buffer: lang.Buffer) -> np.ndarray:
        """A buffer's part of its array."""
        return self.arrays[buffer.vector is not None, buffer.wide][buffer.offset : buffer.offset + buffer.elements]

    def place(self, p: lang.Place) -> tuple[Any, Any]:
        """A container, and where a place is in it."""
        x = self.value
        match p:
            case lang.Var(name):
                return self.v, name
            case lang.Element(buffer, at, lane):
                return self.run_of(buffer), x(at) if lane is None else (x(at), x(lane))
            case lang.Part(part, lane):
                return self.v[part.name], x(lane)
            case lang.Leaf(number, at, size, row):
                return self.leaves[number], x(at) + (0 if row is None else x(row) * size)
            case lang.Constant(number, at):
                return self.kernel.constants[number], x(at)
            case lang.GroupTotal(slot):
                return self.totals[slot], self.v["g"]
            case lang.Recorded(number, row, at):
                first = {"chunk": self.v.get("r", 0), "tile": self.v["row"] - self.chunk.row0}.get(row, 0)
                replicate = first * (self.chunk.k1 - self.chunk.k0) + self.k - self.chunk.k0 + self.v["l"]
                return self.records[number], (replicate, x(at))
            case lang.Ascending(start, row, size, k):
                first = start + x(row) * size
                return self.sums, slice(first, first + size) if k is None else first + x(k)
            case lang.Weight(k):
                return self.weights, x(k)
        raise NotImplementedError(type(p).__name__)

    # --- values -----------------------------------------------------------------------------------------------------
    def word(self, w: lang.Words):
        """The words of a draw, by number."""
        r = (self.r0 if w.by_row else self.k) + int(self.value(w.lane))
        at = self.keys[w.stream], r, int(self.value(w.element)), int(self.value(w.step))
        return lambda i: noise.word(*at, i) ^ (0xFFFFFFFF if w.flipped else 0)

    @staticmethod
    def sum_of_both(ones: float, size: int, one: float, zero: float) -> float:
        """A sum of so many values, of two kinds."""
        return math.fsum([one] * int(ones) + [zero] * int(size - ones))

    def value(self, e: Any) -> Any:
        v, x = self.v, self.value
        match e:
            case lang.Var(name):
                return v[name]
            case lang.Num(number, kind):
                return int(number) if kind == "int" else number if kind == "bool" else np.dtype(kind).type(number)
            case lang.Load(place):
                array, at = self.place(place)
                return array[at]
            case lang.Apply(op, args, kind, attrs):
                found = np.asarray(op.value(*map(x, args), *(attrs or ())))[()]
                return found if found.dtype == bool else np.dtype(kind).type(found)
            case lang.Cast(value, kind):
                return {"int": int, "bool": bool}.get(kind, np.dtype(kind).type if "float" in kind else None)(x(value))
            case lang.Choose(then, test, otherwise):
                return x(then) if x(test) else x(otherwise)
            case lang.Total(terms):
                return sum(map(x, terms[1:]), x(terms[0]))
            case lang.Product(factors, mean):
                product = x(factors[0])
                for factor in factors[1:]:
                    product = product * x(factor)
                return product / self.chunk.rows if mean else product
            case lang.Undecided():
                return -1.0
            case lang.BelowAt(low, high, words):
                return float(noise.below(self.word(words), float(x(low)), float(x(high))))
            case lang.CategoryAt(size, words):
                return float(noise.category(self.word(words), [float(w) for w in self.weights[:size]]))
            case lang.CategoryAmong(below, above, words):
                sums = [[float(w) for w in x(lang.Load(place))] for place in (below, above)]
                return float(noise.category_of_sums(self.word(words), *sums))
            case lang.IndexAmong(sums, size, number, edge):
                below = x(sums)[:size]
                return -1.0 if np.any(np.abs(below - x(number)) <= x(edge)) else float(np.sum(below <= x(number)))
            case lang.PartOf(buffer, at):
                return self.run_of(buffer)[x(at), v["at"] : v["at"] + v["size"]]
            case lang.OthersShare():
                return 1.0 / (v["size"] - 1) if v["size"] > 1 else 0.0
            case lang.Signed(terms):
                return sum(x(term) if sign == "+" else -x(term) for sign, term in terms)
            case lang.Counted(ones, one, zero):
                return self.sum_of_both(x(ones), v["size"], x(one), x(zero))
            case lang.AboutBase(base, gaps, both, weights, centred):
                size, base, gaps = v["size"], x(base), x(gaps)
                if both is None:
                    return gaps + size * base if not centred else 0.0 if size > 1 else gaps + base
                if size == 1:
                    return x(both) + x(weights) * base
                return (x(both) - x(weights) * gaps / size) * size / (size - 1)
            case lang.Within(index, low, high):
                return low <= x(index) < high
            case lang.Every(tests):
                return all(map(x, tests))
            case lang.Some(tests):
                return any(map(x, tests))
            case lang.Equal(a, b):
                return x(a) == x(b)
            case lang.Less(a, b):
                return x(a) < x(b)
            case lang.AtMost(a, b):
                return x(a) <= x(b)
            case lang.Near(a, b, edge):
                return abs(x(a) - x(b)) <= x(edge)
            case lang.Plus(a, b):
                return x(a) + x(b)
            case lang.Times(factor, a):
                return factor * x(a)
            case lang.Over(a, by):
                return x(a) // by
            case lang.Rest(a, by):
                return x(a) % by
            case lang.Beside(a, step):
                return x(a) + step
            case lang.Lane(vector, grouped):
                return v["l" if vector == "lane" else "q"] + (v["at"] if grouped else 0)
            case lang.RowOf(grouped):
                return min(v["at" if grouped else "l"] // self.each, self.rows - 1)
            case lang.Replicate(lane):
                return min(self.r0 + x(lane), self.division.samples - 1)
        raise NotImplementedError(type(e).__name__)

"""How statements of the loop language are written in kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from scg.program import FEWEST_GROUPS
from scg.schedule import language as lang
from scg.source import in_comment
from scg.sums import SUM
from scg_numba.drawn import DrawWriter
from scg_numba.forms import Forms
from scg_numba.spelling import Spelling, array_of, bounds_of, number

EXTENTS = {"lanes": "padded", "counted": "lanes", "run": "runs[c], runs[c + 1]", "tile rows": "rows",
           "rows": "all_rows", "plain rows": "all_rows"}
BY_GROUP = {"all": "by_group", "row": f"by_group and groups >= {FEWEST_GROUPS}"}


def extent_of(kind: str, count: int = 0) -> str:
    """What a loop's ``range`` is of."""
    return EXTENTS.get(kind) or (f"{count - 1}, -1, -1" if kind == "back" else str(count))


def by_size(name: str) -> str:
    """A quotient of group sizes: there are two of these, and divisions are slow."""
    return f"{name} = short_{name} if size == shortest else long_{name}"


class Writer(DrawWriter):
    """Writes the statements of one kernel."""

    def __init__(self, kernel: lang.Kernel, indent: int = 1):
        self.kernel, self.layout, self.indent = kernel, kernel.layout, indent
        self.x = Spelling()
        self.lines: list[str] = []
        self.forms = Forms(kernel, self.x)

    def written(self, block: lang.Block, indent: int) -> list[str]:
        """The lines of a block."""
        self.lines, self.indent = [], indent
        self.block(block)
        return self.lines

    def line(self, *texts: str) -> None:
        """Lines at the present indentation."""
        self.lines.extend("    " * self.indent + text for text in texts)

    def under(self, head: str, block: lang.Block) -> None:
        """A block under a head."""
        self.line(head)
        self.indent += 1
        self.block(block)
        if not block:
            self.line("pass")
        self.indent -= 1

    def block(self, block: lang.Block) -> None:
        """Statements one after the other."""
        for statement in block:
            self._WRITTEN[type(statement)](self, statement)

    # --- values -----------------------------------------------------------------------------------------------------
    def _tally(self, s: lang.Tally) -> None:
        i, value = s.element, self.x.text(s.value)
        self.line(f"sum{i} = added(sum{i}, {value})")
        if s.moments:
            self.line(f"square{i} = added_product(square{i}, {value}, {value})", f"spread{i} |= bits({value})")

    def _tally_counted(self, s: lang.TallyCounted) -> None:
        i, lanes, one, zero = s.element, f"{s.ones.name}, lanes", self.x.text(s.one), self.x.text(s.zero)
        self.line(f"sum{i} += counted({lanes}, {one}, {zero})")
        if s.moments:
            self.line(f"square{i} += counted({lanes}, {one} * {one}, {zero} * {zero})",
                      f"spread{i} |= bits_of_both({lanes}, {one}, {zero})")

    def _sum(self, s: lang.Sum) -> None:
        by = "added" if len(s.factors) == 1 else "added_product"
        self.line(f"{s.var.name} = {by}({s.var.name}, {', '.join(map(self.x.text, s.factors))})")

    # --- control ----------------------------------------------------------------------------------------------------
    def _if(self, s: lang.If) -> None:
        self.under(f"if {self.x.bare(s.test)}:", s.body)
        if s.otherwise:
            self.under("else:", s.otherwise)

    def _loop(self, s: lang.Loop) -> None:
        if s.kind != "rows":
            self.under(f"for {s.var.name} in range({extent_of(s.kind, s.extent)}):", s.body)
            return
        self.line(f"for {s.var.name} in range({extent_of(s.kind)}):")
        self.indent += 1
        self.line("r0 = r * samples + k")
        self.block(s.body)
        self.indent -= 1

    def _replicates(self, s: lang.Replicates) -> None:
        self.line("for l in range(lanes):")
        self.indent += 1
        self.line("r0 = k + l")
        self.block(s.body)
        self.indent -= 1

    def _row_tiles(self, s: lang.RowTiles) -> None:
        self.line("row = 0", "while row < all_rows:")
        self.indent += 1
        self.line("rows = min(TILE, all_rows - row)")
        self.block(s.body)
        self.line("row += rows")
        self.indent -= 1

    def _by_group(self, s: lang.ByGroup) -> None:
        self.under("if by_group and not many:" if s.one_row else "if by_group:", s.body)
        self.under("else:", s.otherwise)

    # --- runs -------------------------------------------------------------------------------------------------------
    def _copy(self, s: lang.Copy) -> None:
        (start, _), source = bounds_of(s.target), bounds_of(s.source)[0]
        count = f"{s.source.elements}{'' if s.source.vector is None else ' * W'}"
        self.line(f"copy({array_of(s.source)}, {start}, {source}, {count})")

    def _narrow(self, s: lang.Narrow) -> None:
        (start, stop), source = bounds_of(s.target), bounds_of(s.source)[0]
        self.line(f"narrow({array_of(s.target)}, {start}, {array_of(s.source)}, {source}, {stop} - {start})")

    def _add_partials(self, s: lang.AddPartials) -> None:
        e, width = self.x.text(s.e), "1" if s.target.vector is None else "W"
        array, start = array_of(s.partial), f"({s.partial.offset} + {e} * {s.count}) * {width}"
        self.line(f"add_partial_sums({array}, {start}, CONST{s.steps}, {width})",
                  f"narrow({array_of(s.target)}, ({s.target.offset} + {e}) * {width}, {array}, {start}, {width})")

    def _cumulate(self, s: lang.Cumulate) -> None:
        first, k = self.x.text(s.place).removesuffix("]"), self.x.text(s.place.k)
        self.line(f"{first}] = {self.x.text(s.weight)} + ({first} - 1] if {k} > 0 else 0.0)")

    # --- products ---------------------------------------------------------------------------------------------------
    def _contraction(self, s: lang.Contraction) -> None:
        """Its loops, or matrix products."""
        found = lang.matrices_of(s) if s.large else None
        if found is None:
            self.block(s.body)
        else:
            self._products(s, found)

    def _products(self, s: lang.Contraction, found: lang.Matrices, of_run: str = "") -> None:
        """Matrix products, with the loops around them; over the lanes of the tile, or of a run of these, which are
        added to so many times what is there."""
        assert isinstance(s.target.array, lang.Buffer)
        clears = f"fill({array_of(s.target.array)}, {', '.join(bounds_of(s.target.array))}, 0.0)"
        if found.summed and (s.mean or not s.accumulate):
            self.line(*(["if row == 0:", f"    {clears}"] if s.mean else [clears]))
        for i, size in enumerate(found.loops):
            self.line(f"for m{i} in range({size}):")
            self.indent += 1
        beta = "1.0" if s.accumulate or found.summed else "0.0"
        if s.mean and not found.summed:
            beta = "0.0 if row == 0 else 1.0"
        sizes = ", ".join(map(self._size, (found.rows, found.columns)))
        inner = {lang.LANES: "lanes", lang.ROWS: "rows"}.get(str(found.inner)) or str(found.inner)
        behind = ["", ""]
        if of_run:
            inner, beta = "runs[c + 1] - runs[c]", of_run
            behind = [f"{self._before(m, i == 1)} * runs[c]" for i, m in enumerate((found.left, found.right))]
        left, right = map(self._matrix, (found.left, found.right), behind)
        head = "mean_product(1.0 / all_rows, " if s.mean else "matrix_product("
        self.line(f"{head}{found.left.transposed:d}, {found.right.transposed:d}, {sizes}, {inner}, "
                  f"{left}, {right}, {beta}, {self._matrix(found.target)})")
        self.indent -= len(found.loops)

    def _contrast(self, s: lang.Contrast) -> None:
        start = f"{s.target.offset} * W"
        where = "0, 1" if self.kernel.one_sequence else "row, rows"
        self.line(f"parts = contrast(arena[{start} : {start} + padded], runs, compared, {where}, k, end)")

    def _compare(self, s: lang.Compare) -> None:
        """Products of each run, and their squares."""
        array, (start, stop) = array_of(s.target), bounds_of(s.target)
        self.line("for c in range(parts):")
        self.indent += 1
        founds = [lang.matrices_of(p) if p.large else None for p in s.products]
        clears = founds[0] is not None and not founds[0].loops  # the first product takes the place of what was there
        if not clears:
            self.line("if goes_on(runs, c) == 0.0:", f"    fill({array}, {start}, {stop}, 0.0)")
        for i, (product, found) in enumerate(zip(s.products, founds)):
            if found is None:
                self.block(product.body)
            else:
                self._products(product, found, "goes_on(runs, c)" if clears and i == 0 else "1.0")
        self.line(f"add_squares({array}, {start}, {s.target.elements}, {s.first}, numbers, runs, c, parts)")
        self.indent -= 1

    @staticmethod
    def _before(m: lang.Matrix, rows: bool) -> str:
        """How far apart the rows of a side are, or its columns: as it is multiplied."""
        return _apart(m.apart) if rows != m.transposed else "1"

    @staticmethod
    def _size(size: int | str) -> str:
        return {lang.LANES: "padded", lang.ROWS: "rows"}.get(str(size)) or str(size)

    def _matrix(self, m: lang.Matrix, behind: str = "") -> str:
        """An array, where a matrix begins in it, or so far behind that, and how far apart its rows are."""
        array = m.array.array
        steps = [f"{_apart(step)} * m{i}" for i, step in enumerate(m.steps) if step is not None]
        if isinstance(array, lang.Buffer):
            name, start = array_of(array), bounds_of(array)[0]
        elif isinstance(array, lang.Leaf):
            name = f"leaf{array.number}"
            start = "0" if array.row is None else f"row * {array.size}" if lang.by_row(array) else f"r * {array.size}"
        else:
            assert array is not None
            name, start = f"CONST{array.number}", "0"
        return f"{name}, {' + '.join([start, *steps, *([behind] if behind else [])])}, {_apart(m.apart)}"

    def _sum_rows(self, s: lang.SumRows) -> None:
        target, source = bounds_of(s.target)[0], bounds_of(s.source)[0]
        self.line(f"sum_rows(arena, {target}, {source}, {s.source.elements}, W, rows, end - k)")

    def _spread_rows(self, s: lang.SpreadRows) -> None:
        source, start, by_lane = s.source, f"{s.target.offset} * W", s.target.vector == "lane"
        target = f"arena[{start} : {start} + {'padded' if by_lane else 'rows'}]"
        if isinstance(source, lang.Element):
            first = self.x.run_of(source.buffer, source.at)
            of, apart = f"arena[{first} : {first} + rows], 0", "1"
        else:
            of, apart = f"leaf{source.number}, row * {source.size} + {self.x.text(source.at)}", str(source.size)
        self.line(f"spread_rows({target}, {of}, {apart}, rows, {'end - k' if by_lane else '1'})")

    def _add_up(self, s: lang.AddUp) -> None:
        self.line(f"add_up({array_of(s.target)}, {s.target.offset}, {array_of(s.source)}, {s.source.offset}, "
                  f"{s.source.elements})")

    def _observe_totals(self, s: lang.ObserveTotals) -> None:
        in_first_tile = "k == k0" if self.kernel.one_sequence else "row == row0 and k == k0"
        in_first_tile = "r0 == k0" if self.kernel.one_by_one else in_first_tile
        assigned = {"first": in_first_tile, "only": "True"}.get(s.assigns or "", "False")
        indent = self.indent
        if s.assigns == "first":
            self.line("if not alone:")
            self.indent += 1
        self.line(f"observe_totals({array_of(s.source)}, {s.source.offset}, {s.source.elements}, {s.first}, numbers, "
                  f"{assigned})")
        self.indent = indent

    # --- functions of the user's ------------------------------------------------------------------------------------
    def _invoke(self, s: lang.Invoke) -> None:
        """A call, and its values one after another: of a number, an array, or a tuple of several of these.

        A tuple of one is taken apart by what reads it, for functions may return its only value instead.
        """
        if s.unless is None:
            self._called(s, "")
            return
        over, found = self.x.text(s.unless), s.found
        given = ", ".join([over, *map(self.x.text, s.arguments)])
        nothing = [f"    fill({array_of(found)}, {', '.join(bounds_of(found))}, 0.0)"] if isinstance(
            found, lang.Buffer) else [f"    {v.name} = {number(0.0, v.type)}" for v in found]
        self.line(f"if {self.x.name_of(s.callee, s.shapes)}_skipped({given}):", *nothing, "else:")
        self.indent += 1
        self._called(s, f" & ({over} == 0.0)")
        self.indent -= 1

    def _called(self, s: lang.Invoke, matters: str) -> None:
        callee, at = s.callee, 0
        first = str(s.found.offset) if isinstance(s.found, lang.Buffer) else s.found[0].name
        names = [f"part{first}_{i}" for i in range(len(callee.shapes))]
        parts = f"({', '.join(names)})" if len(names) > 1 else names[0]
        self.line(f"{parts}, zero{first} = {self.x.name_of(callee, s.shapes)}"
                  f"({', '.join(map(self.x.text, s.arguments))})", f"failed |= np.int64(zero{first}{matters})")
        for name, shape in zip(names, callee.shapes):
            size = math.prod(shape)
            if isinstance(s.found, lang.Buffer):
                self.line(f"put({array_of(s.found)}, {s.found.offset + at}, {size}, {name})")
            else:
                found = ", ".join(v.name for v in s.found[at : at + size])
                self.line(f"{found}{',' if size == 1 else ''} = elements({name}, {size})")
            at += size

    # --- groups -----------------------------------------------------------------------------------------------------
    def _leave_one_out(self, s: lang.LeaveOneOut) -> None:
        e = self.x.text(s.e)
        self.line(f"leave_one_out(arena, ({s.source.offset} + {e}) * W, ({s.target.offset} + {e}) * W, edges, count)")

    def _groups(self, s: lang.Groups) -> None:
        """A nest over groups, and for those of the usual size a second one, whose loop over lanes has a known length;
        variables have other names there, for one that is assigned twice takes Numba much longer."""
        first, ratio = "-1 if seen == 0.0 else 0" if s.bases else "0", [by_size("ratio")] if s.bases else []
        if s.usual is not None:
            self.line(f"even = shortest == {s.usual} and lanes == {s.usual} * count")
        self.line(f"for g in range({first}, {'count' if s.usual is None else '0 if even else count'}):")
        self.indent += 1
        self.line("at = edges[max(g, 0)]", "size = edges[max(g, 0) + 1] - at")
        self._group(s, "size")
        if s.bases:
            self.line(by_size("share"), "if g < 0:", *(f"    {b.name} = {gaps.name} * share" for b, gaps in s.bases),
                      "    continue")
        self.line(*ratio)
        self.block(s.after)
        self.indent -= 1
        if s.usual is None:
            return
        self.line("for g in range(count if even else 0):")
        self.x.again = frozenset(x.var.name for x in (*s.head, *s.lanes, *s.sums) if isinstance(x, lang.Let))
        self.indent += 1
        self.line(f"at, size = {s.usual} * g, {s.usual}")
        self._group(s, str(s.usual))
        self.line(*(["share = short_share"] if s.bases else []), *ratio)
        self.block(s.after)
        self.indent -= 1
        self.x.again = frozenset()

    def _group(self, s: lang.Groups, size: str) -> None:
        self.block(s.head)
        self.under(f"for l in range({size}):", s.lanes)
        self.block(s.sums)

    # --- numbers ----------------------------------------------------------------------------------------------------
    def _observe(self, s: lang.Observe) -> None:
        i = s.var.name
        self.line(f"for {i} in range({s.run.size}):")
        self.indent += 1
        row = {"chunk": "r", "tile": "(row - row0)"}.get(s.row or "")
        element = f"{s.run.first} + {i}" if row is None else f"{row} * {s.width} + {s.run.first} + {i}"
        self._observe_lanes(f"({s.run.offset} + {i}) * W", element, s.run.moments,
                            None if s.by_group is None else BY_GROUP[s.by_group], s.width)
        self.indent -= 1

    def _observe_lanes(self, where: str, element: str, moments: bool, by_group: str | None, width: int) -> None:
        numbers, lanes = "by_row" if width else "numbers", "lanes"
        apart = not self.kernel.one_sequence and (moments or bool(width))
        x, groups = f"{where} : {where} + lanes", "edges[: count + 1]"
        if apart:
            self.line("for part in range(rows):")
            self.indent += 1
            lanes, each = "(end - k)", "(count // rows)"
            groups = f"edges[part * {each} : (part + 1) * {each} + 1]"
            element += f" + part * {width}" if width else ""
            where += f" + part * {lanes}"
        part = f"{where} : {where} + {lanes}"
        if not moments:
            self.line(f"{numbers}[{SUM}, {element}] += row_sum(arena[{part}])")
        else:
            replicates = f"observe_replicates(arena[{part}], {element}, {numbers})"
            grouped = f"observe_groups(arena[{x}], {groups}, {element}, {numbers})"
            self.line(*([replicates] if by_group is None else
                        [f"if {by_group}:", f"    {grouped}", "else:", f"    {replicates}"]))
            if apart and not width:
                self._close_rows(element)
        self.indent -= apart

    def _close_rows(self, element: str) -> None:
        self.line("if many and end == samples:", f"    close_row({element}, numbers)")

    def _observe_sums(self, s: lang.ObserveSums) -> None:
        i, run = s.var.name, s.run
        sums = f"totals[({run.offset} + {i}) * W : ({run.offset} + {i}) * W + count]"
        self.line(f"for {i} in range({run.size}):",
                  f"    observe_sums({sums}, edges, {run.first} + {i}, numbers)" if run.moments else
                  f"    numbers[{SUM}, {run.first} + {i}] += row_sum({sums})")

    def _observe_constants(self, s: lang.ObserveConstants) -> None:
        apart = not self.kernel.one_sequence
        each = "count // rows" if apart else "count"
        self.line(f"seen_now = float({f'{each} if by_group else end - k' if self.layout.coupled else 'end - k'})")
        for run, var in s.runs:
            i = var.name
            self.line(f"for {i} in range({run.size}):")
            self.indent += 1
            value, element = f"plain[{run.offset} + {i}]", f"{run.first} + {i}"
            if not run.moments:
                self.line(f"numbers[{SUM}, {element}] += np.float64({value}) * lanes")
            else:
                self.line(*(["for part in range(rows):"] if apart else []))
                self.indent += apart
                self.line(f"observe_constant({value}, {element}, end - k, seen_now, numbers)")
                if apart:
                    self._close_rows(element)
                self.indent -= apart
            self.indent -= 1

    def _pivots(self, s: lang.Pivots) -> None:
        """The first tile is run twice: its means are the pivots of the sums of squares."""
        self.line("if not warm:")
        self.indent += 1
        self.line("warm = True")
        for i in elements(self.kernel, True):
            self.line(f"pivot{i} = sum{i} / lanes", f"sum{i} = square{i} = 0.0", f"spread{i} = 0")
        self.line(*(f"sum{i} = 0.0" for i in elements(self.kernel, False)), "continue")
        self.indent -= 1

    _WRITTEN: dict[type, Callable[[Writer, Any], None]] = {
        lang.Note: lambda w, s: w.line(f"# {in_comment(s.text)}"),
        lang.Let: lambda w, s: w.line(f"{w.x.text(s.var)} = {w.x.text(s.value)}"),
        lang.Set: lambda w, s: w.line(f"{w.x.text(s.var)} = {w.x.bare(s.value)}"),
        lang.Store: lambda w, s: w.line(f"{w.x.text(s.place)} = {w.x.bare(s.value)}"),
        lang.Add: lambda w, s: w.line(f"{w.x.text(s.place)} += {w.x.bare(s.value)}"),
        lang.Sum: _sum,
        lang.Tally: _tally,
        lang.TallyCounted: _tally_counted,
        lang.If: _if,
        lang.Loop: _loop,
        lang.Replicates: _replicates,
        lang.RowTiles: _row_tiles,
        lang.Contraction: _contraction,
        lang.SumRows: _sum_rows,
        lang.SpreadRows: _spread_rows,
        lang.AddUp: _add_up,
        lang.Contrast: _contrast,
        lang.Compare: _compare,
        lang.ObserveTotals: _observe_totals,
        lang.Fill: lambda w, s: w.line(
            f"fill({array_of(s.buffer)}, {', '.join(bounds_of(s.buffer))}, {w.x.text(s.value)})"),
        lang.Copy: _copy,
        lang.Narrow: _narrow,
        lang.AddPartials: _add_partials,
        lang.Cumulate: _cumulate,
        lang.SumFromTheEnd: lambda w, s: w.line(f"sum_from_the_end(sums, {s.start}, {s.rows}, {s.size})"),
        lang.FillUniform: DrawWriter._fill_uniform,
        lang.FillElements: DrawWriter._fill_elements,
        lang.FillBelow: DrawWriter._fill_below,
        lang.Sides: DrawWriter._sides,
        lang.Recheck: lambda w, s: w.under(
            f"if {s.count.name} > 0:  # lanes that one word does not decide", s.body),
        lang.Rounds: DrawWriter._rounds,
        lang.Invoke: _invoke,
        lang.LeaveOneOut: _leave_one_out,
        lang.Groups: _groups,
        lang.ByGroup: _by_group,
        lang.Table: lambda w, s: w.line(*w.forms.of(s)),
        lang.Observe: _observe,
        lang.ObserveSums: _observe_sums,
        lang.ObserveConstants: _observe_constants,
        lang.Pivots: _pivots,
    }


def _apart(stride: lang.Stride) -> str:
    """How far apart rows are."""
    return f"{stride.elements} * W" if stride.widths else str(stride.elements)


def elements(kernel: lang.Kernel, moments: bool | None = None) -> Sequence[int]:
    """The elements that are tallied: with moments, without, or all."""
    return [i for i, own in kernel.tallies if moments in (None, own)]

"""The whole text of a kernel's module: head, call-level part, tile loop, statistics.

The function `chunk` takes a range of replicates, the noise keys, the array of numbers to add to, arrays to work in, and
the leaves' values; see `scg.program` for what it must return.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.contract import contract_op
from scg.ops.leaves import noise_op
from scg.ops.scan import scan_op
from scg.program import Output, Program
from scg.source import in_comment
from scg.sums import COUNT, OBSERVED, SQUARES, SUM
from scg_numba import structural as structural  # fills the table of rules
from scg_numba.emit import CACHE_BYTES, NARROWEST, WIDEST, Emitter
from scg_numba.groups import Run
from scg_numba.indices import Position
from scg_numba.nests import UNROLLED, GroupSum, Sink, domain_of
from scg_numba.rows import RowOutput, observe_rows, row_outputs
from scg_numba.text import Text

MANY = 500  # nodes that vary: with more of them what is summed by group is stored first
MOST_BY_GROUP = 6  # elements that are summed by group where they are computed


# How many lanes a tile has, as whole groups fit into the array of edges, if all groups are equal; else 0.
EQUAL_GROUPS = ["    step = samples // groups",
                "    step = max((edges.size - 1) // step, 1) * step if samples == step * groups else 0"]


def rank_of(roots, shared: bool) -> dict[int, int]:
    """When a node is computed: 0 once per call, 1 per tile, 2 per row of a tile (with shared sites only)."""
    ranks: dict[int, int] = {}
    for n in topological(roots):
        names = {ax.name for ax in n.axes}
        own = (2 if "row" in names else 1 if "lane" in names else 0) if shared else int(bool(names & {"row", "lane"}))
        if n.op is scan_op:
            inner = rank_of(n.attrs.outputs, shared)
            own = max(own, *inner.values())
        below = [ranks[a.id] for a in n.args if a.op is not noise_op]
        if shared and reduces_rows(n):
            own, below = 1, [min(r, 1) for r in below]
        ranks[n.id] = max([own, *below])
    return ranks


def reduces_rows(n: Node) -> bool:
    """Whether a node is a mean over rows."""
    return any(ax.name == "row" for a in n.args for ax in a.axes) and not any(ax.name == "row" for ax in n.axes) \
        and n.op.reduces


def text_of(program: Program) -> Text:
    """The module that computes a program."""
    writer = _Writer(program)
    return writer.text()


class _Writer:
    def __init__(self, program: Program):
        self.program, self.layout = program, program.layout
        self.e = Emitter(program)
        self.roots = [o.node for o in program.outputs]
        self.ranks = rank_of(self.roots, self.layout.shared)
        self.fused, self.grouped = self._fused(), self._grouped()
        self.by_row = row_outputs(program)

    def _small(self) -> dict[int, Output]:
        """Outputs by lane that are written out element by element, by their first element."""
        out, at = {}, 0
        for o in self.program.means:
            if domain_of(o.node, self.layout.shared).vector == "lane" and o.node.size <= UNROLLED:
                out[at] = o
            at += o.node.size
        return out

    def _fused(self) -> dict[int, Output]:
        """Outputs that are summed in registers by the nest that computes them.

        Without rows all lanes of a chunk are observations of one sequence: a pivot, a sum and a sum of squares will do.
        """
        return {} if self.layout.shared or self.layout.coupled or self._has_rows() else self._small()

    def _grouped(self) -> dict[int, Output]:
        """Outputs that are summed by leave-one-out group, by the nests that compute them.

        Not where there are many: their registers would make compilation long, and a helper observes them all.
        """
        if sum(rank > 0 for rank in self.ranks.values()) > MANY:  # nor where the nests would be long
            return {}
        small = self._small() if self.layout.coupled and not self.layout.shared else {}
        return small if sum(o.node.size for o in small.values()) <= MOST_BY_GROUP else {}

    def text(self) -> Text:
        e, layout = self.e, self.layout
        self._call_level()
        head, e.lines = e.lines, []
        e.indent = 2
        (self._shared_tile if layout.shared else self._flat_tile)()
        self._statistics()
        tile, e.lines = e.lines, []
        width = self._width()
        workspace = self._workspace(width)
        lines = [*self._opening(workspace), *head, *e.before_tiles, *self._tile_loop(), *tile, *self._closing()]
        if e.pool:
            lines[:0] = [f"POOL = np.concatenate(({', '.join(e.pool)},))", "", ""]
        return Text("\n".join(lines) + "\n", layout.name, width, layout.dtype, e.constants, workspace)

    def _width(self) -> int:
        size = 4 if self.layout.dtype == "float32" else 8
        fits = CACHE_BYTES // (size * max(self.e.widths, 1))
        width = int(np.clip(1 << max(fits, 1).bit_length() - 1, NARROWEST, WIDEST))
        if self.layout.group is not None:  # a tile holds whole groups
            width = max(width, -(-self.layout.group // NARROWEST) * NARROWEST)
        return width

    # --- call level -------------------------------------------------------------------------------------------------
    def _call_level(self) -> None:
        """What varies by no row and no lane: computed once per chunk."""
        wanted: dict[int, Node] = {}
        for n in topological(self.roots):
            if self.ranks[n.id] > 0:
                wanted.update((a.id, a) for a in self._reached(n))
        wanted.update((r.id, r) for r in self.roots if self.ranks[r.id] == 0)
        self.e.scope(list(wanted.values()), lambda n: n.op is noise_op)

    def _reached(self, n: Node):
        """Arguments of a varying node that are computed once per call (literal and leaf ones are read in place)."""
        for a in n.args:
            if self.ranks[a.id] == 0 and a.kind != "noise":
                yield a

    # --- tiles ------------------------------------------------------------------------------------------------------
    def _flat_tile(self) -> None:
        summed = {id(o) for o in (*self.fused.values(), *self.grouped.values())}
        roots = [o.node for o in self.program.outputs if self.ranks[o.node.id] > 0 and id(o) not in summed]
        sinks = [Sink(o.node, domain_of(o.node, False), self._accumulator(at, o.node, o.moments), counts=True)
                 for at, o in self.fused.items()]
        sinks += [Sink(o.node, domain_of(o.node, False), sums=GroupSum(at, o.moments))
                  for at, o in self.grouped.items()]
        self.e.scope(roots, lambda n: self.ranks[n.id] == 0, sinks)

    def _accumulator(self, at: int, node: Node, moments: bool):
        """Statements that add an element to its sum, and to its sum of squares about the pivot."""

        def write(nest, position, value: str, last: bool) -> None:
            i = at + int(self.e.flat_of(node, position).text)
            value = f"np.float64({value})" if self.layout.dtype == "float32" else value
            if not moments:
                nest.do(f"sum{i} = added(sum{i}, {value})")
                return
            gap = nest.let(f"minus({value}, pivot{i})", nest.depth)
            nest.do(f"sum{i} = added(sum{i}, {gap})")
            nest.do(f"square{i} = added_product(square{i}, {gap}, {gap})")
            nest.do(f"spread{i} |= bits({gap})")

        return write

    def _elements(self, moments: bool | None = None) -> list[int]:
        """The elements that are summed in registers."""
        return [at + i for at, o in self.fused.items() if moments in (None, o.moments) for i in range(o.node.size)]

    def _shared_tile(self) -> None:
        """Lane-level work, and between it loops over rows for the means that it needs."""
        e = self.e
        order = topological(self.roots)
        waiting = [n for n in order if reduces_rows(n) and self.ranks[n.id] == 1]
        outputs = self.by_row
        done: set[int] = set()
        while waiting or outputs:
            ready = [n for n in waiting if self._waits_for(n, done) <= {n.id}]
            complete = [o for o in outputs if not self._waits_for(o.node, done)]
            self._lane_level(self._used_by_rows(ready, [o.node for o in complete]))
            self._row_loop(ready, complete)
            done |= {n.id for n in ready}
            waiting = [n for n in waiting if n.id not in done]
            outputs = [o for o in outputs if o not in complete]
        self._lane_level([r for r in self.roots if self.ranks[r.id] == 1])
        self._row_records()
        e.row_loop = False

    def _waits_for(self, n: Node, done: set[int]) -> set[int]:
        return {m.id for m in topological([n]) if reduces_rows(m) and m.id not in done}

    def _used_by_rows(self, reducers: list[Node], outputs: list[Node]) -> list[Node]:
        """Lane-level nodes that the row loop reads."""
        out: dict[int, Node] = {n.id: n for n in outputs if self.ranks[n.id] == 1}
        for n in topological([*reducers, *outputs]):
            if self.ranks[n.id] == 2 or reduces_rows(n):
                out.update((a.id, a) for a in n.args
                           if self.ranks[a.id] == 1 and a.kind != "noise")
        return [n for n in out.values() if n.id not in self.e.env.ready]

    def _lane_level(self, roots: list[Node]) -> None:
        self.e.scope(roots, lambda n: self.ranks[n.id] != 1 or n.op is noise_op)

    def _row_loop(self, reducers: list[Node], outputs: list[RowOutput]) -> None:
        e = self.e
        sums = []
        for n in reducers:
            domain = domain_of(n, True)
            buffer = e.allocate(domain.elements, domain.vector)
            totals = e.totals_of(buffer, domain.elements)
            e.write(e.cleared(totals, domain.elements))
            sums.append((buffer, totals, domain.elements))
        e.write("for r in range(all_rows):")
        e.indent += 1
        e.write("r0 = r * samples + k")
        before = dict(e.env.ready), dict(e.env.outs)
        inner = [a for n in reducers for a in n.args if self.ranks[a.id] == 2]
        inner += [o.node for o in outputs if self.ranks[o.node.id] == 2]
        e.scope(inner, lambda n: self.ranks[n.id] != 2 or n.op is noise_op)
        for n, (_, totals, _) in zip(reducers, sums):
            self._add_row(n, totals, n.op is contract_op)
        observe_rows(e, outputs, "r")
        e.indent -= 1
        e.env.ready, e.env.outs = before
        for n, (buffer, totals, elements) in zip(reducers, sums):
            for text in e.narrowed(buffer, totals, elements):
                e.write(text)
            e.env.ready[n.id] = buffer

    def _add_row(self, n: Node, buffer, product: bool) -> None:
        e = self.e
        if product:
            self._add_product(n, buffer)
            return
        arg = n.args[0]
        nest, position, headers = e.loops(domain_of(arg, True))
        value = nest.value(arg, position)
        nest.do(f"{e.element(buffer, e.flat_of(n, position), e._vector)} += {value} / all_rows")
        e.close(nest, headers)

    def _add_product(self, n: Node, buffer) -> None:
        from scg_numba.nests import letters, nest_domain

        e, c, (a, b) = self.e, n.attrs, n.args
        nest, position, headers = e.loops(nest_domain(n, True))
        by_letter = dict(zip(letters(n), position.event))
        values = [nest.value(arg, nest.argument(arg, Position(position.worlds, tuple(by_letter[ch] for ch in sub))))
                  for arg, sub in ((a, c.left), (b, c.right))]
        at = Position({ax.name: position.worlds[ax.name] for ax in n.axes if not ax.statistical},
                      tuple(by_letter[ch] for ch in c.out))
        left = values[0] if e.dtype == "float64" else f"np.float64({values[0]})"
        nest.do(f"{e.element(buffer, e.flat_of(n, at), e._vector)} += {left} * {values[1]} / all_rows")
        e.close(nest, headers)

    def _row_records(self) -> None:
        """Records of what varies by row: a row loop of their own."""
        records = [(i, o) for i, o in enumerate(self.program.records) if self.ranks[o.node.id] == 2]
        if not records:
            return
        e = self.e
        used = {a.id: a for n in topological([o.node for _, o in records]) if self.ranks[n.id] == 2
                for a in n.args if self.ranks[a.id] == 1 and a.kind != "noise"}
        self._lane_level([n for n in used.values() if n.id not in e.env.ready])
        e.write("for r in range(all_rows):")
        e.indent += 1
        e.write("r0 = r * samples + k")
        before = dict(e.env.ready), dict(e.env.outs)
        e.scope([o.node for _, o in records], lambda n: self.ranks[n.id] != 2 or n.op is noise_op)
        for i, o in records:
            self._record(i, o, "r * (k1 - k0) + k - k0")
        e.indent -= 1
        e.env.ready, e.env.outs = before

    # --- statistics -------------------------------------------------------------------------------------------------
    def _statistics(self) -> None:
        e = self.e
        if self._elements(moments=True):
            self._warm_up()
        self._observe()
        if not self.layout.shared:
            observe_rows(e, self.by_row, "(row - row0)")
        for i, o in enumerate(self.program.records):
            if not self.layout.shared:
                self._record(i, o, "k - k0" if e.one_sequence else "(row - row0) * (k1 - k0) + k - k0")
            elif self.ranks[o.node.id] != 2:  # the same for all rows
                e.write("for r in range(all_rows):")
                e.indent += 1
                self._record(i, o, "r * (k1 - k0) + k - k0")
                e.indent -= 1

    def _warm_up(self) -> None:
        """The first tile is run twice: its means are the pivots of the sums of squares."""
        e = self.e
        e.write("if not warm:")
        e.indent += 1
        e.write("warm = True")
        for i in self._elements(moments=True):
            e.write(f"pivot{i} = sum{i} / lanes")
            e.write(f"sum{i} = square{i} = 0.0")
            e.write(f"spread{i} = 0")
        for i in self._elements(moments=False):
            e.write(f"sum{i} = 0.0")
        e.write("continue")
        e.indent -= 1

    def _observe(self) -> None:
        """Add to the sums, and to the observations, what no nest adds up itself."""
        e, at, by_lane, constant = self.e, 0, [], []
        for o in self.program.means:
            if at not in self.fused and at not in self.grouped:
                vector = domain_of(o.node, self.layout.shared).vector and "lane"
                buffer = e.env.ready.get(o.node.id)
                if buffer is None or buffer.vector != vector:
                    buffer = e._copied(o.node, vector)
                (constant if vector is None else by_lane).append(Run(buffer.offset, at, o.node.size, o.moments))
            at += o.node.size
        e.observe_constants(constant, self.layout.coupled)
        e.observe_all(by_lane, "by_group" if self.layout.coupled else None)

    def _record(self, i: int, o: Output, first: str) -> None:
        e = self.e
        domain = domain_of(o.node, self.layout.shared)
        nest, position, headers = e.loops(domain._replace(vector="lane"))
        headers[-1] = "for l in range(lanes):"
        nest.do(f"record{i}[{first} + l, {e.flat_of(o.node, position).text}] = {nest.value(o.node, position)}")
        e.close(nest, headers)

    # --- the frame --------------------------------------------------------------------------------------------------
    def _workspace(self, width: int) -> dict[str, tuple[int, str]]:
        """The arrays that the kernel works in: how many elements of which type each has."""
        e, dtype = self.e, self.layout.dtype
        workspace = {"arena": (max(e.widths, 1) * width, dtype), "plain": (max(e.plain, 1), dtype)}
        if e.draws:
            workspace["scratch"] = (64, dtype)
        if self._numbers_rows():
            workspace["row_of"] = (width, "int64")
        if self.layout.coupled:
            workspace["edges"] = (width + 1, "int64")
        for name, size in (("wide", e.wide * width), ("wide_plain", e.wide_plain),
                           ("weights", e.weights), ("sums", e.sums)):
            if size:
                workspace[name] = (size, "float64")
        if e.totals:
            workspace["totals"] = (e.totals * width, "float64")
        return workspace

    def _numbers_rows(self) -> bool:
        """Whether the row of each lane must be known."""
        return not self.e.one_sequence and (self.e.uses_rows or self._has_rows())

    def _opening(self, workspace: Iterable[str]) -> list[str]:
        layout, e = self.layout, self.e
        leaves = [f"leaf{i}" for i in range(len(layout.leaves))]
        records = [f"record{i}" for i in range(len(layout.records))]
        arguments = ", ".join(["row0", "all_rows", "k0", "k1", "samples", "groups", "by_group", "keys", "numbers",
                               *workspace, *(["by_row"] if layout.by_row else []), *records, *leaves])
        notes = ["    # " + in_comment(f"leaf{i}: {leaf.role} {leaf.name!r} {leaf.shape}")
                 for i, leaf in enumerate(layout.leaves)]
        return ["@njit(**OPTIONS)", f"def chunk({arguments}):", *notes,
                *(["    warm = False"] if self._elements(moments=True) else []),
                *(f"    sum{i} = square{i} = pivot{i} = 0.0" for i in self._elements()),
                *(f"    spread{i} = 0" for i in self._elements(moments=True)),
                *(EQUAL_GROUPS if self.layout.coupled else []),
                *(e.opening_of_groups() if self.grouped else [])]

    def _tile_loop(self) -> list[str]:
        edges, end = [], "min(k + W, k1)"
        if self.layout.coupled:
            end = "min(k + step, k1) if step > 0 else tile_end(k, k1, samples, groups, edges.size - 1)"
            edges = ["        count = group_edges(edges, rows, k, end, samples, groups)"]
        if self.e.one_sequence:
            if edges:  # where all groups are equal, those of two tiles of one length are, too: divisions are slow
                edges = ["        if step == 0 or lanes != known:",
                         "            count, known = group_edges(edges, 1, k, end, samples, groups), lanes"]
            return [*(["    count = known = 0"] if edges else []), "    k = k0", "    while k < k1:",
                    f"        end = {end}", "        lanes = end - k", "        padded = (lanes + 63) // 64 * 64",
                    "        r0 = k", *edges]
        of_rows = ["        for l in range(padded):", "            row_of[l] = min(l // (end - k), rows - 1)"]
        return ["    last = row0 + all_rows", "    many = all_rows > 1", "    row, k = row0, k0",
                "    while row < last:",
                "        if many and samples <= W:",
                "            rows, end = min(W // samples, last - row), samples",
                "        else:",
                f"            rows, end = 1, {end}",
                "        lanes = rows * (end - k)",
                "        padded = (lanes + 63) // 64 * 64",
                "        r0 = row * samples + k",
                *edges, *(of_rows if self._numbers_rows() else [])]

    def _has_rows(self) -> bool:
        return any(ax.name == "row" for n in topological(self.roots) for ax in n.axes)

    def _closing(self) -> list[str]:
        e = self.e
        after = ["    settle(numbers)"] if self._observes() else []
        after += ["    settle(by_row)"] if any(o.moments for o in self.by_row) else []
        for i in self._elements():
            after.append(f"    numbers[{SUM}, {i}] = sum{i} + pivot{i} * (k1 - k0)")
        for i in self._elements(moments=True):
            after += [f"    numbers[{COUNT}, {i}], numbers[{OBSERVED}, {i}] = k1 - k0, numbers[{SUM}, {i}]",
                      f"    numbers[{SQUARES}, {i}] = centred(k1 - k0, sum{i}, square{i}, spread{i})"]
        next_row = [] if e.one_sequence else ["        if k == k1:", "            k = k0", "            row += rows"]
        seen = ["        seen += count"] if self.grouped else []
        return [*seen, "        k = end", *next_row, *after]

    def _observes(self) -> bool:
        """Whether some outputs are observed from the arena, not in registers."""
        return self.layout.width > sum(o.node.size for o in self.fused.values())

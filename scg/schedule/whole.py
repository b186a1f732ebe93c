"""A whole kernel: the call-level part, the tile, statistics.

A kernel takes a range of replicates, the noise keys, the array of numbers to add to, arrays to work in, and the leaves'
values; see `scg.program` for what it must return.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.arithmetic import sub_op
from scg.ops.contract import contract_op
from scg.ops.leaves import noise_op
from scg.ops.scan import scan_op
from scg.program import Output, Program
from scg.schedule import structural as structural  # fills the table of rules
from scg.schedule.builder import Builder
from scg.schedule.compared import Comparisons
from scg.schedule.domains import UNROLLED, domain_of, nest_domain
from scg.schedule.indices import Position
from scg.schedule.language import (
    Add,
    Apply,
    Block,
    Buffer,
    Cast,
    Expr,
    Kernel,
    Loop,
    Pivots,
    Product,
    Recorded,
    Run,
    Statement,
    Store,
    Tally,
    Var,
)
from scg.schedule.nests import GroupSum, Sink
from scg.schedule.products import letters, promising
from scg.schedule.rows import RowOutput, observe_rows, row_outputs
from scg.schedule.scalars import Nest
from scg.schedule.summed import SummedOutput, Sums, summed_outputs

CACHE_BYTES = 192 * 1024  # what a tile's buffers may take: they should stay in the second-level cache
FIRST_BYTES = 48 * 1024  # with no more than that tiles are wider: they stay in the first-level cache
STEPS_BYTES = 24 * 1024  # what they may take where there are loops, which go over all buffers of a step at every step
WIDEST, WIDE, NARROWEST = 2048, 1024, 64
PRODUCTS = 512  # lanes of a tile with matrix products, which reuse what they read the more the wider they are
PRODUCTS_IN_STEPS = 128  # … in the steps of a loop, which go over all buffers of a step again and again
PRODUCTS_BYTES = 1 << 26  # unless the buffers would be larger than this
MANY = 500  # nodes that vary: with more of them what is summed by group is stored first
MOST_BY_GROUP = 6  # elements that are summed by group where they are computed
ROW = Var("r", "int")  # the row, where rows are a loop inside the tile


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


class Whole:
    """Plans a kernel whose tiles hold lanes of one row, of several, or of the replicates that all rows share."""

    def __init__(self, program: Program):
        self.program, self.layout = program, program.layout
        self.b = Builder(program)
        self.roots = [o.node for o in program.outputs]
        self.ranks = self._ranks()
        self.sums = Sums(self.b, self._summed())
        self.summed = {o.at for o in self.sums.outputs}
        self.b.spreads = not self.b.one_sequence and (
            bool(self.summed) or any(n.op is contract_op and promising(n) for n in topological(self.roots)))
        self.fused, self.grouped = self._fused(), self._grouped()
        self.by_row = row_outputs(program)

    def _ranks(self) -> dict[int, int]:
        """When each node is computed."""
        return rank_of(self.roots, self.layout.shared)

    def _summed(self) -> list[SummedOutput]:
        """The outputs that are added up tile by tile."""
        return [] if self.layout.shared else summed_outputs(self.program.means, lambda n: self.ranks[n.id] > 0)

    def _small(self) -> dict[int, Output]:
        """Outputs by lane that are written out element by element, by their first element."""
        out, at = {}, 0
        for o in self.program.means:
            if domain_of(o.node, self.layout.shared).vector == "lane" and o.node.size <= UNROLLED and \
                    at not in self.summed:
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

    def kernel(self) -> Kernel:
        """The kernel."""
        b, layout = self.b, self.layout
        with b.block() as call:
            self._call_level()
            self.sums.begin()
        with b.block() as tile:
            self._tile()
        with b.block() as end:
            self.sums.end()
        tallies = [(at + i, o.moments) for at, o in self.fused.items() for i in range(o.node.size)]
        return Kernel(layout, self._width(), (*call, *b.before_tiles), tuple(tile), b.sizes, tuple(b.constants),
                      tuple(tallies), b.bases, b.one_sequence, bool(self.grouped), b.draws, self._numbers_rows(),
                      self._observes(), tuple(end), self.sums.assigned, self.sums.left)

    def _width(self) -> int:
        size = 4 if self.layout.dtype == "float32" else 8
        bytes_of_lane = size * max(self.b.widths, 1)
        fits, most = CACHE_BYTES // bytes_of_lane, WIDEST if WIDEST * bytes_of_lane <= FIRST_BYTES else WIDE
        if any(n.op is scan_op for n in topological(self.roots)):
            fits = STEPS_BYTES // bytes_of_lane
        width = int(np.clip(1 << max(fits, 1).bit_length() - 1, NARROWEST, most))
        if self.b.multiplies:
            most = PRODUCTS_BYTES // bytes_of_lane
            enough = PRODUCTS_IN_STEPS if self._multiplies_in_steps() else PRODUCTS
            width = max(width, min(enough, most // NARROWEST * NARROWEST))
        if self.layout.group is not None:  # a tile holds whole groups
            width = max(width, -(-self.layout.group // NARROWEST) * NARROWEST)
        return width

    def _multiplies_in_steps(self) -> bool:
        """Whether there are large products in the steps of a loop."""
        return any(n.op is contract_op and promising(n) for scan in topological(self.roots) if scan.op is scan_op
                   for n in topological(scan.attrs.outputs))

    # --- call level -------------------------------------------------------------------------------------------------
    def _call_level(self) -> None:
        """What varies by no row and no lane: computed once per chunk."""
        wanted: dict[int, Node] = {}
        for n in topological(self.roots):
            if self.ranks[n.id] > 0:
                wanted.update((a.id, a) for a in self._reached(n))
        wanted.update((r.id, r) for r in self.roots if self.ranks[r.id] == 0)
        wanted.update((n.id, n) for n in self.sums.constants)
        self.b.scope(list(wanted.values()), lambda n: n.op is noise_op)

    def _reached(self, n: Node):
        """Arguments of a varying node that are computed once per call (literal and leaf ones are read in place)."""
        for a in n.args:
            if self.ranks[a.id] == 0 and a.kind != "noise":
                yield a

    def _tile(self) -> None:
        """A tile, and what is observed of it."""
        if self.layout.shared:
            self._shared_tile()
        else:
            self._flat_tile()
        self._statistics()

    # --- tiles ------------------------------------------------------------------------------------------------------
    def _flat_tile(self) -> None:
        summed = {id(o) for o in (*self.fused.values(), *self.grouped.values(), *(s.output for s in self.sums.outputs))}
        roots = [o.node for o in self.program.outputs if self.ranks[o.node.id] > 0 and id(o) not in summed]
        roots += [n for n in self.sums.sides if any(ax.statistical for ax in n.axes)]
        sinks = [Sink(o.node, domain_of(o.node, False), self._accumulator(at, o.node, o.moments), counts=True)
                 for at, o in self.fused.items()]
        sinks += [Sink(o.node, domain_of(o.node, False), sums=GroupSum(at, o.moments))
                  for at, o in self.grouped.items()]
        self.b.scope(roots, lambda n: self.ranks.get(n.id, 1) == 0, sinks)

    def _accumulator(self, at: int, node: Node, moments: bool):
        """Statements that add an element to its sum, and to its sum of squares about the pivot."""

        def write(nest: Nest, position: Position, value: Expr, last: bool) -> None:
            i = at + self.b.flat_of(node, position).number
            value = Cast(value, "float64") if self.layout.dtype == "float32" else value
            if moments:
                pivot = Var(f"pivot{i}", "float64")
                value = nest.let(Apply(sub_op, (value, pivot), "float64", fused=True), nest.depth, "float64")
            nest.do(Tally(i, value, moments))

        return write

    def _shared_tile(self) -> None:
        self._rows_and_between(self.roots)
        self._row_records()

    def _rows_and_between(self, roots: list[Node]) -> None:
        """Lane-level work, and between it loops over rows for the means that it needs."""
        order = topological(roots, lambda n: n.id in self.b.env.ready)
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
        self._lane_level([r for r in roots if self.ranks[r.id] == 1])

    def _waits_for(self, n: Node, done: set[int]) -> set[int]:
        below = topological([n], lambda m: m.id in done or m.id in self.b.env.ready)
        return {m.id for m in below if reduces_rows(m)}

    def _used_by_rows(self, reducers: list[Node], outputs: list[Node]) -> list[Node]:
        """Lane-level nodes that the row loop reads."""
        out: dict[int, Node] = {n.id: n for n in outputs if self.ranks[n.id] == 1}
        for n in topological([*reducers, *outputs], lambda n: n.id in self.b.env.ready):
            if self.ranks[n.id] == 2 or reduces_rows(n):
                out.update((a.id, a) for a in n.args
                           if self.ranks[a.id] == 1 and a.kind != "noise")
        return [n for n in out.values() if n.id not in self.b.env.ready]

    def _lane_level(self, roots: list[Node]) -> None:
        self.b.scope(roots, lambda n: self.ranks[n.id] != 1 or n.op is noise_op)

    def _row_loop(self, reducers: list[Node], outputs: list[RowOutput]) -> None:
        b = self.b
        sums: list[tuple[Buffer, Buffer]] = []
        for n in reducers:
            domain = domain_of(n, b.shared)
            buffer = b.allocate(domain.elements, domain.vector)
            sums.append((buffer, self._totals_of(n, buffer)))
        inner = [a for n in reducers for a in n.args if self.ranks[a.id] == 2]
        inner += [o.node for o in outputs if self.ranks[o.node.id] == 2]
        with self._each_row("rows"):
            b.scope(inner, lambda n: self.ranks[n.id] != 2 or n.op is noise_op)
            for n, (_, totals) in zip(reducers, sums):
                (self._add_product if n.op is contract_op else self._add_row)(n, totals)
            observe_rows(b, outputs, "chunk")
        for n, (buffer, totals) in zip(reducers, sums):
            b.write(*b.narrowed(buffer, totals))
            b.env.ready[n.id] = buffer

    def _totals_of(self, n: Node, buffer: Buffer) -> Buffer:
        """Where a mean over rows is added up: nothing yet."""
        totals = self.b.totals_of(buffer, buffer.elements)
        self.b.write(self.b.cleared(totals))
        return totals

    @contextlib.contextmanager
    def _each_row(self, kind: str) -> Iterator[None]:
        """What is written in here is done for every row, and known there only."""
        b = self.b
        before = dict(b.env.ready), dict(b.env.outs)
        with b.block() as body:
            yield
        b.write(self._of_rows(kind, tuple(body)))
        b.env.ready, b.env.outs = before

    def _of_rows(self, kind: str, body: Block) -> Statement:
        """The body for every row."""
        return Loop(ROW, kind, body)

    def _add_row(self, n: Node, totals: Buffer) -> None:
        b, arg = self.b, n.args[0]
        nest, position, headers = b.loops(domain_of(arg, b.shared))
        value = nest.value(arg, position)
        nest.do(Add(b.element(totals, b.flat_of(n, position), b.vector), Product((value,), True)))
        b.close(nest, headers)

    def _add_product(self, n: Node, totals: Buffer) -> None:
        b, c = self.b, n.attrs
        nest, position, headers = b.loops(nest_domain(n, b.shared))
        by_letter = dict(zip(letters(n), position.event))
        left, right = [nest.value(arg, nest.argument(arg, Position(position.worlds, tuple(by_letter[ch] for ch in s))))
                       for arg, s in zip(n.args, (c.left, c.right))]
        at = Position({ax.name: position.worlds[ax.name] for ax in n.axes if not ax.statistical},
                      tuple(by_letter[ch] for ch in c.out))
        left = left if b.dtype == "float64" else Cast(left, "float64")
        nest.do(Add(b.element(totals, b.flat_of(n, at), b.vector), Product((left, right), True)))
        with b.block() as body:
            b.close(nest, headers)
        b.write(b.contraction(n, totals, tuple(body), mean=True))

    def _row_records(self) -> None:
        """Records of what varies by row: a row loop of their own."""
        records = [(i, o) for i, o in enumerate(self.program.records) if self.ranks[o.node.id] == 2]
        if not records:
            return
        b = self.b
        used = {a.id: a for n in topological([o.node for _, o in records]) if self.ranks[n.id] == 2
                for a in n.args if self.ranks[a.id] == 1 and a.kind != "noise"}
        self._lane_level([n for n in used.values() if n.id not in b.env.ready])
        with self._each_row("rows"):
            b.scope([o.node for _, o in records], lambda n: self.ranks[n.id] != 2 or n.op is noise_op)
            for i, o in records:
                self._record(i, o, "chunk")

    # --- statistics -------------------------------------------------------------------------------------------------
    def _statistics(self) -> None:
        b = self.b
        if any(o.moments for o in self.fused.values()):
            b.write(Pivots())
        self.sums.tile()
        Comparisons(b, self.sums.outputs).tile()
        self._observe()
        if not self.layout.shared:
            observe_rows(b, self.by_row, "tile")
        for i, o in enumerate(self.program.records):
            if not self.layout.shared:
                self._record(i, o, None if b.one_sequence else "tile")
            elif self.ranks[o.node.id] != 2:  # the same for all rows
                with self._each_row("plain rows"):
                    self._record(i, o, "chunk")

    def _observe(self) -> None:
        """Add to the sums, and to the observations, what no nest adds up itself."""
        b, at = self.b, 0
        by_lane: list[Run] = []
        constant: list[Run] = []
        for o in self.program.means:
            if at not in self.fused and at not in self.grouped and at not in self.summed:
                vector = domain_of(o.node, self.layout.shared).vector and "lane"
                buffer = b.env.ready.get(o.node.id)
                if buffer is None or buffer.vector != vector:
                    buffer = b.copied(o.node, vector)
                (constant if vector is None else by_lane).append(Run(buffer.offset, at, o.node.size, o.moments))
            at += o.node.size
        for s in self.sums.outputs:
            if s.parts.constant is not None:
                node = s.parts.constant
                buffer = b.env.ready.get(node.id) or b.copied(node, None)
                constant.append(Run(buffer.offset, s.at, node.size, False))
        b.observe_constants(constant)
        b.observe_all(by_lane, self.layout.coupled)

    def _record(self, i: int, o: Output, row: str | None) -> None:
        b = self.b
        nest, position, headers = b.loops(domain_of(o.node, self.layout.shared)._replace(vector="lane"))
        headers[-1] = headers[-1]._replace(kind="counted")
        nest.do(Store(Recorded(i, row, b.flat_of(o.node, position).expr), nest.value(o.node, position)))
        b.close(nest, headers)

    # --- facts of the whole -------------------------------------------------------------------------------------------
    def _numbers_rows(self) -> bool:
        """Whether the row of each lane must be known."""
        return not self.b.one_sequence and (self.b.uses_rows or self._has_rows())

    def _has_rows(self) -> bool:
        return any(ax.name == "row" for n in topological(self.roots) for ax in n.axes)

    def _observes(self) -> bool:
        """Whether some outputs are observed from the arena, not in registers."""
        return self.layout.width > sum(o.node.size for o in self.fused.values())

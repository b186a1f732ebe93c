"""Kernels that take one replicate after another, whose rows are the lanes; and which of the two a program has.

A draw that all rows share is, once it is drawn, the same for all of them, as a parameter is. Where it is a matrix that
every row is multiplied by, one replicate at a time makes that a matrix product with the rows as its long side, and the
gradient of the draw, a mean over the rows, another one. Lanes that are replicates would have a product of a matrix and
a vector for each row and replicate, and all of a tile's matrices in memory.

Such a program is planned as if there were one replicate: its draws have no axes, and what was by replicate is plain.
"""

from __future__ import annotations

from dataclasses import replace

from scg.ir.node import Node, make
from scg.ir.traverse import substitute, topological
from scg.ops.contract import contract_op
from scg.ops.leaves import feed_op, noise_op
from scg.ops.randomness import uniform_op
from scg.ops.scan import scan_op
from scg.program import MANY, Output, Program
from scg.schedule.language import Block, Buffer, Equal, If, Kernel, Num, ObserveTotals, RowTiles, Statement, Var
from scg.schedule.products import enough, promising, through_transposes
from scg.schedule.summed import SummedOutput
from scg.schedule.whole import Whole, reduces_rows


def plan(program: Program) -> Kernel:
    """The kernel that computes a program."""
    one = of_one_replicate(program)
    kernel = None if one is None else OneByOne(one).kernel_of(program)
    return kernel or Whole(program).kernel()


def of_one_replicate(program: Program) -> Program | None:
    """The program of a single replicate, if it is worth to take one at a time; None if it is not, or cannot be done.

    It can where replicates do not meet, and all that is drawn are uniforms that all rows share.
    """
    layout, roots = program.layout, [o.node for o in program.outputs]
    if not layout.shared or layout.coupled or layout.by_row or layout.records:
        return None
    order = topological(roots)
    streams = [n for n in order if n.op is noise_op]
    drawn = [n for n in order if n.kind != "noise" and any(a.kind == "noise" for a in n.args)]
    if any(n.op in (scan_op, feed_op) for n in order) or any(n.op is not uniform_op for n in drawn) or any(
            ax.name == "row" for n in streams for ax in n.axes):
        return None
    plain = {n: _of_one(n) for n in streams}
    found = substitute(roots, plain)
    if not any(_meets_rows(n) for n in topological(found)):
        return None
    outputs = tuple(o._replace(node=n) for o, n in zip(program.outputs, found))
    return Program(replace(layout, shared=False), outputs)


def _of_one(stream: Node) -> Node:
    """A stream of one replicate."""
    return make(noise_op, stream.args, stream.attrs._replace(axes=()), owner=stream.owner)


def _meets_rows(n: Node) -> bool:
    """Whether it is a large product of what is drawn and what varies by row."""
    if n.op is not contract_op or not promising(n):
        return False
    by_row = [any(ax.name == "row" for ax in a.axes) for a in n.args]
    return any(by_row) and any(_is_drawn(a) for a, varies in zip(n.args, by_row) if not varies)


def _is_drawn(node: Node) -> bool:
    return any(n.op is uniform_op for n in topological([node]))


class OneByOne(Whole):
    """Plans such a kernel: tiles are replicates, and within each the rows come in tiles of their own."""

    def kernel_of(self, program: Program) -> Kernel | None:
        """The kernel of a program, of which this is one replicate; None if it has no matrix products after all."""
        kernel = self.kernel()
        if not self.b.multiplies:
            return None
        assigned = tuple((at, at + buffer.elements) for at, buffer in self.left)
        return replace(kernel, layout=program.layout, one_sequence=True, numbers_rows=False, one_by_one=True,
                       assigned=assigned, left=self.left)

    def _ranks(self) -> dict[int, int]:
        """When each node is computed: 0 once per call, 1 per replicate, 2 per tile of rows."""
        ranks: dict[int, int] = {}
        for n in topological(self.roots):
            own = 2 if any(ax.name == "row" for ax in n.axes) else int(n.op is uniform_op)
            below = [ranks[a.id] for a in n.args if a.op is not noise_op]
            if reduces_rows(n):
                own, below = 1, []
            ranks[n.id] = max([own, *below])
        return ranks

    def _summed(self) -> list[SummedOutput]:
        return []

    def _fused(self) -> dict[int, Output]:
        return {}

    def _grouped(self) -> dict[int, Output]:
        return {}

    def _tile(self) -> None:
        self._shared_tile()
        large, at = [], 0
        for o in self.program.means:
            if not o.moments and enough(o.node.size) and self.ranks[o.node.id] > 0:
                large.append((at, self.b.env.ready.get(o.node.id) or self.b.copied(o.node, None)))
            at += o.node.size
        self.summed = {at for at, _ in large}
        self._observe()
        many = self.layout.width > MANY
        self.b.write(*(ObserveTotals(buffer, at, "first" if many else None) for at, buffer in large))
        self.left = tuple(large) if many else ()

    def _of_rows(self, kind: str, body: Block) -> Statement:
        """The body for every tile of rows."""
        return RowTiles(body)

    def _totals_of(self, n: Node, buffer: Buffer) -> Buffer:
        """Where a mean over rows is added up: matrix products put the first tile's into the result, and add to it."""
        return buffer if self._is_large(n) else super()._totals_of(n, buffer)

    def _add_product(self, n: Node, totals: Buffer) -> None:
        """A product's mean over the rows of a tile, whose sides stand in arrays by row."""
        if not self._is_large(n):
            super()._add_product(n, totals)
            return
        b = self.b
        product = b.contraction(n, totals, (), mean=True, anywhere=True)
        sides = [o if o.array is not None else o._replace(array=b.copied(through_transposes(a, " " * a.ndim)[0], "row"))
                 for o, a in zip((product.left, product.right), n.args)]
        product = b.in_matrices(replace(product, left=sides[0], right=sides[1]))
        begun = If(Equal(Var("row", "int"), Num(0, "int")), (b.cleared(totals),))
        b.write(*([replace(product, body=(begun, *product.body))] if product.large else [begun, product]))

    @staticmethod
    def _is_large(n: Node) -> bool:
        """Whether a mean over rows is one of outer products of large vectors that both vary by row."""
        return n.op is contract_op and enough(n.size) and all(any(ax.name == "row" for ax in a.axes) for a in n.args)

"""Kernels that take one replicate after another, whose rows are the lanes; and which of the two a program has.

A draw that all rows share is, once it is drawn, the same for all of them, as a parameter is. Where it is a matrix that
every row is multiplied by, one replicate at a time makes that a matrix product with the rows as its long side, and the
gradient of the draw, a mean over the rows, another one. Lanes that are replicates would have a product of a matrix and
a vector for each row and replicate, and all of a tile's matrices in memory.

Such a program is planned as if there were one replicate: its draws have no axes, and what was by replicate is plain.
Where replicates meet, in leave-one-out means, a tile's are gone through twice: first for what the means are of, which
is kept of each, then, as these are known, for all else; what is large is drawn again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from scg.ir.axes import without
from scg.ir.node import Node, make
from scg.ir.traverse import downstream, substitute, topological
from scg.ops.arithmetic import add_op, neg_op, sub_op
from scg.ops.contract import contract_op
from scg.ops.leaves import feed_op, noise_op, placeholder, placeholder_op
from scg.ops.measure import expect, expect_op, leave_one_out_op
from scg.ops.randomness import uniform_op
from scg.ops.scan import scan_op
from scg.program import MANY, Output, Program
from scg.schedule.domains import domain_of
from scg.schedule.language import (
    Block,
    Buffer,
    Element,
    Equal,
    If,
    Kernel,
    Lane,
    LeaveOneOut,
    Load,
    Loop,
    Num,
    ObserveTotals,
    Replicates,
    RowTiles,
    Run,
    Statement,
    Store,
    Var,
)
from scg.schedule.products import enough, promising, through_transposes
from scg.schedule.summed import SummedOutput
from scg.schedule.whole import Whole, reduces_rows


def plan(program: Program) -> Kernel:
    """The kernel that computes a program."""
    one = of_one_replicate(program)
    kernel = None if one is None else OneByOne(one).kernel_of(program)
    return kernel or Whole(program).kernel()


class One(NamedTuple):
    """A program of one replicate, in which leaves stand for leave-one-out means: they, and what each is the mean of.

    Replicates may be `coupled` though no mean is left: groups are the observations of standard errors then, too.
    """

    program: Program
    means: tuple[tuple[Node, Node], ...]
    coupled: bool


def of_one_replicate(program: Program) -> One | None:
    """The program of a single replicate, if it is worth to take one at a time; None if it is not, or cannot be done.

    It can where all that is drawn are uniforms, and replicates meet in means of what no row has.
    """
    layout, roots = program.layout, [o.node for o in program.outputs]
    if not layout.shared or layout.by_row or layout.records:
        return None
    order = topological(roots)
    streams = [n for n in order if n.op is noise_op]
    drawn = [n for n in order if n.kind != "noise" and any(a.kind == "noise" for a in n.args)]
    if any(n.op in (scan_op, feed_op) for n in order) or any(n.op is not uniform_op for n in drawn):
        return None
    if layout.coupled:
        roots = substitute(roots, {n: of_means(n.args[0]) for n in order if n.op is expect_op and n.attrs == ("row",)})
    roots = substitute(roots, {n: _of_one(n) for n in streams})
    others = [n for n in topological(roots) if n.op is leave_one_out_op]
    if not any(_meets_rows(n) for n in topological(roots)) or any(
            ax.name == "row" for n in others for ax in n.axes) or any(
            n.op is leave_one_out_op for n in topological([a for n in others for a in n.args])):
        return None
    leaves = {n: placeholder(f"the others' mean, {i}", n.shape, ()) for i, n in enumerate(others)}
    outputs = tuple(o._replace(node=n) for o, n in zip(program.outputs, substitute(roots, leaves)))
    return One(Program(replace(layout, shared=False, coupled=False), outputs),
               tuple((leaf, n.args[0]) for n, leaf in leaves.items()), layout.coupled)


def of_means(node: Node) -> Node:
    """A node's mean over the rows; of sums and of leave-one-out means, those of the means."""
    if not any(ax.name == "row" for ax in node.axes):
        return node
    if node.op in (add_op, sub_op, neg_op) and any(n.op is leave_one_out_op for n in _terms(node)):
        return make(node.op, tuple(map(of_means, node.args)), node.attrs)
    if node.op is leave_one_out_op:
        return make(node.op, (of_means(node.args[0]),), node.attrs)
    return expect(node, ("row",))


def _terms(node: Node) -> list[Node]:
    """What a sum is of."""
    return [t for a in node.args for t in _terms(a)] if node.op in (add_op, sub_op, neg_op) else [node]


def _of_one(stream: Node) -> Node:
    """A stream of one replicate."""
    return make(noise_op, stream.args, stream.attrs._replace(axes=without(stream.attrs.axes, ("lane",))),
                owner=stream.owner)


def _meets_rows(n: Node) -> bool:
    """Whether it is a large product of what is drawn and what varies by row."""
    if n.op is not contract_op or not promising(n):
        return False
    by_row = [any(ax.name == "row" for ax in a.axes) for a in n.args]
    return any(by_row) and any(_is_drawn(a) for a, varies in zip(n.args, by_row) if not varies)


def _is_drawn(node: Node) -> bool:
    return any(n.op is uniform_op and not n.axes for n in topological([node]))


class OneByOne(Whole):
    """Plans such a kernel: a tile's replicates one after another, and within each the rows in tiles of their own."""

    def __init__(self, one: One):
        self.means, self.coupled = one.means, one.coupled
        args = [Output("record", "", arg, False) for _, arg in one.means]
        super().__init__(Program(one.program.layout, (*one.program.outputs, *args)))
        self.large: list[tuple[int, Buffer]] = []

    def kernel_of(self, program: Program) -> Kernel | None:
        """The kernel of a program, of which this is one replicate; None if it has no matrix products after all."""
        kernel = self.kernel()
        if not self.b.multiplies:
            return None
        kept = tuple(self.large) if self.layout.width > MANY else ()
        return replace(kernel, layout=program.layout, one_sequence=True, numbers_rows=False, one_by_one=True,
                       assigned=tuple((at, at + buffer.elements) for at, buffer in kept), left=kept)

    def _ranks(self) -> dict[int, int]:
        """When each node is computed: 0 once per call, 1 per replicate, 2 per tile of rows."""
        ranks: dict[int, int] = {}
        for n in topological(self.roots):
            own = 2 if any(ax.name == "row" for ax in n.axes) else int(n.op in (uniform_op, placeholder_op))
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
        b, means, leaves = self.b, self.program.means, [leaf for leaf, _ in self.means]
        known_then = downstream(leaves, self.roots)
        placed = list(zip(accumulate((o.node.size for o in means), initial=0), means))
        first = [(at, o) for at, o in placed if o.node.id not in known_then]
        then = [(at, o) for at, o in placed if o.node.id in known_then]
        with self._each_replicate():
            self._rows_and_between([*(o.node for _, o in first), *(arg for _, arg in self.means)])
            observed = self._observed(first)
            sources = [self._kept(arg) for _, arg in self.means]
        if then:
            others = [self._others(source) for source in sources]
            known = [*zip(leaves, others), *zip((arg for _, arg in self.means), sources)]
            with self._each_replicate():
                b.env.ready.update((node.id, self._own(buffer)) for node, buffer in known)
                self._rows_and_between([o.node for _, o in then])
                observed += self._observed(then)
        b.observe_constants([run for run, by_lane in observed if not by_lane])
        b.observe_all([run for run, by_lane in observed if by_lane], self.coupled)

    @contextlib.contextmanager
    def _each_replicate(self) -> Iterator[None]:
        """What is written in here is done for every replicate of the tile, and known there only."""
        b = self.b
        before = dict(b.env.ready), dict(b.env.outs)
        with b.block() as body:
            yield
        b.write(Replicates(tuple(body)))
        b.env.ready, b.env.outs = before

    def _kept(self, node: Node) -> Buffer:
        """A buffer by lane with the elements that a node has of the present replicate."""
        b = self.b
        buffer = b.allocate(node.size, "lane")
        nest, position, headers = b.loops(domain_of(node, False))
        nest.do(Store(Element(buffer, b.flat_of(node, position).expr, Lane("lane")), nest.value(node, position)))
        b.close(nest, headers)
        return buffer

    def _others(self, source: Buffer) -> Buffer:
        """The means of the others, in all lanes."""
        b = self.b
        target, e = b.allocate(source.elements, "lane"), b.index("e")
        b.write(Loop(e, "elements", (LeaveOneOut(target, source, e),), source.elements))
        return target

    def _own(self, others: Buffer) -> Buffer:
        """What a buffer by lane has of the present replicate."""
        b = self.b
        plain, e = b.allocate(others.elements, None), b.index("e")
        value = Load(Element(others, e, Lane("lane")))
        b.write(Loop(e, "elements", (Store(Element(plain, e, None), value),), others.elements))
        return plain

    def _observed(self, outputs: list[tuple[int, Output]]) -> list[tuple[Run, bool]]:
        """What is to be observed of the tile, and whether by lane or the same in all. What is large is added up now."""
        b, found, assigns = self.b, [], "first" if self.layout.width > MANY else None
        for at, o in outputs:
            by_lane = self.ranks[o.node.id] > 0
            large = by_lane and not o.moments and enough(o.node.size)
            buffer = self._kept(o.node) if by_lane and not large else \
                b.env.ready.get(o.node.id) or b.copied(o.node, None)
            if large:
                self.large.append((at, buffer))
                b.write(ObserveTotals(buffer, at, assigns))
            else:
                found.append((Run(buffer.offset, at, o.node.size, o.moments), by_lane))
        return found

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

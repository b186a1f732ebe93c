"""Gradients of large parameters, which are sums of products: they are added up over the lanes of a tile as they come.

The gradient of a weight is, for every replicate, an outer product (or a sum of some, moved about). Only its mean is
wanted, and sums over replicates pass through all that is linear: so the products are matrix products over the lanes of
a tile, which add to one array of a range, and what is linear around them is done once, when the range is over. A side
that varies by row only meets the sum of the other over the row's lanes.

Standard errors of such gradients are from comparisons (`compared.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scg.ir.node import Node, make
from scg.ops.arithmetic import add_op, neg_op, numbered, sub_op, with_numbers_of
from scg.ops.contract import contract_op
from scg.ops.structure import transpose_op
from scg.program import MANY, Output
from scg.schedule.builder import Builder
from scg.schedule.domains import domain_of
from scg.schedule.language import (
    AddUp,
    Buffer,
    Contraction,
    Narrow,
    ObserveTotals,
    Operand,
    SumRows,
)
from scg.schedule.products import enough, sizes_of, through_transposes

LINEAR = (add_op, sub_op, neg_op, transpose_op)


class Parts(NamedTuple):
    """A node as a sum over replicates: of what varies, from the sums of `products`; and what is the same in all."""

    varying: Node | None
    constant: Node | None
    products: tuple[Node, ...] = ()


@dataclass(frozen=True, eq=False)
class SummedOutput:
    """An output without moments, where its elements begin in the vector of means, and its parts."""

    at: int
    output: Output
    parts: Parts


def summed_outputs(means: Sequence[Output], varies: Callable[[Node], bool]) -> list[SummedOutput]:
    """The outputs that are added up tile by tile."""
    found, at = [], 0
    for o in means:
        parts = None if o.moments else parts_of(o.node, varies)
        if parts is not None:
            found.append(SummedOutput(at, o, parts))
        at += o.node.size
    return found


def parts_of(node: Node, varies: Callable[[Node], bool]) -> Parts | None:
    """The parts of a large node that is linear in products over replicates; None of another one."""
    parts = _parts(node, varies) if varies(node) and enough(node.size) else None
    return parts if parts is not None and parts.products else None


def _parts(node: Node, varies: Callable[[Node], bool]) -> Parts | None:
    """The parts of a node that is linear in products; None of another one."""
    if not varies(node):
        return Parts(None, node)
    if node.op is contract_op:
        return Parts(mean_of(node), None, (node,)) if _is_product(node) else None
    if node.op.transparent:
        return _parts(node.args[0], varies)
    if (at := numbered(node)) is not None:
        return _numbered(node, _parts(node.args[at], varies))
    if node.op not in LINEAR:
        return None
    parts = [_parts(a, varies) for a in node.args]
    if any(p is None for p in parts) or any(a.shape != node.shape for a in node.args if node.op is not transpose_op):
        return None
    known = [p for p in parts if p is not None]
    return Parts(_again(node, [p.varying for p in known]), _again(node, [p.constant for p in known]),
                 tuple(dict.fromkeys(n for p in known for n in p.products)))


def _numbered(node: Node, found: Parts | None) -> Parts | None:
    """The parts of what is multiplied or divided by a number."""
    if found is None:
        return None
    varying, constant = (None if x is None else with_numbers_of(node, x) for x in (found.varying, found.constant))
    return Parts(varying, constant, found.products)


def _again(node: Node, args: Sequence[Node | None]) -> Node | None:
    """The same of other arguments, of which some are 0."""
    have = [a for a in args if a is not None]
    if not have:
        return None
    if len(have) == len(args):
        return make(node.op, tuple(have), node.attrs)
    return make(neg_op, tuple(have)) if node.op is sub_op and args[0] is None else have[0]


def _is_product(node: Node) -> bool:
    """Whether all that varies is at most replicates, rows and dimensions: worlds are not added up here."""
    return all(ax.statistical for a in node.args for ax in a.axes) and enough(node.size)


def mean_of(product: Node) -> Node:
    """The node that stands for a product's mean over rows and lanes."""
    return make(contract_op, product.args, product.attrs._replace(axes=()))


class Sums:
    """The products of some outputs: what the tile must compute for them, and where they are added up."""

    def __init__(self, b: Builder, outputs: Sequence[SummedOutput]):
        self.b, self.outputs = b, outputs
        self.products = list(dict.fromkeys(n for o in outputs for n in o.parts.products))
        self.wide = b.dtype == "float32"
        self.totals: dict[int, Buffer] = {}
        self.passing: Buffer | None = None
        self.own: dict[int, Buffer] = {}

    @property
    def constants(self) -> list[Node]:
        """What is the same in all replicates."""
        return [o.parts.constant for o in self.outputs if o.parts.constant is not None]

    @property
    def sides(self) -> list[Node]:
        """What the tile must compute."""
        return [through_transposes(a, " " * a.ndim)[0] for n in self.products for a in n.args]

    def _alone(self, n: Node) -> list[SummedOutput]:
        """Where a product is all that varies of an output: it goes to its numbers tile by tile."""
        return [o for o in self.outputs if o.parts.varying is mean_of(n)]

    def _assigns(self, o: SummedOutput) -> bool:
        """Whether nothing else is added to an output's numbers; it matters where they are many."""
        return self.b.layout.width > MANY and o.parts.constant is None

    @property
    def assigned(self) -> tuple[tuple[int, int], ...]:
        """The ends of these outputs' elements."""
        return tuple((o.at, o.at + o.output.node.size) for o in self.outputs if self._assigns(o))

    @property
    def left(self) -> tuple[tuple[int, Buffer], ...]:
        """Those of which nothing but a product is made: where they begin, and where a tile leaves the product."""
        return tuple((o.at, self.own[o.parts.products[0].id]) for o in self.outputs
                     if self._is_alone(o) and self._assigns(o))

    def begin(self) -> None:
        """Where products are added up that something else is made of: nothing yet."""
        for o in self.outputs:
            self.b.write(*(self.b.cleared(self._total_of(n)) for n in o.parts.products if not self._is_alone(o)))

    def _is_alone(self, o: SummedOutput) -> bool:
        return o.parts.varying is mean_of(o.parts.products[0])

    def _total_of(self, n: Node) -> Buffer:
        if n.id not in self.totals:
            self.totals[n.id] = self.b.allocate_wide(n.size, None) if self.wide else self.b.allocate(n.size, None)
        return self.totals[n.id]

    def tile(self) -> None:
        """A tile's part of every product."""
        for n in self.products:
            self.b.comment(n)
            target = self._own(n) if any(map(self._assigns, self._alone(n))) else self._passing(n.size)
            self._product(n, target)
            self.b.write(*(ObserveTotals(target, o.at, "first" if self._assigns(o) else None) for o in self._alone(n)))
            if n.id in self.totals:
                self.b.write(AddUp(self.totals[n.id], target))

    def _own(self, n: Node) -> Buffer:
        """Where a product stands until the range is over."""
        self.own[n.id] = self.b.allocate(n.size, None)
        return self.own[n.id]

    def _passing(self, size: int) -> Buffer:
        """Where a product stands until it is added to something: all others at the same place."""
        if self.passing is None:
            self.passing = self.b.allocate(max(n.size for n in self.products), None)
        return replace(self.passing, elements=size)

    def _product(self, n: Node, target: Buffer) -> None:
        """Matrix products over lanes, or over rows where one side varies by these only."""
        b, c = self.b, n.attrs
        sides = [b.anywhere(a, names) for a, names in zip(n.args, (c.left, c.right))]
        by = [domain_of(a, False).vector for a in n.args]
        for i, a in enumerate(n.args):
            unread = by[i] == "lane" and not isinstance(sides[i].array, Buffer)  # what is fed
            if unread or by[i] is None or by == ["row", "row"]:
                node, _ = through_transposes(a, " " * a.ndim)
                sides[i], by[i] = sides[i]._replace(array=b.copied(node)), "lane"
        if "row" in by:
            i = by.index("lane")
            source = sides[i].array
            assert isinstance(source, Buffer)
            by_row = b.allocate(source.elements, "row")
            b.write(SumRows(by_row, source))
            sides[i] = sides[i]._replace(array=by_row)
        to = Operand(target, tuple(c.out))
        b.write(b.in_matrices(Contraction(to, sides[0], sides[1], sizes_of(n), False, False, ())))

    def end(self) -> None:
        """What is made of sums over a range."""
        b = self.b
        for o in self.outputs:
            node = o.parts.varying
            assert node is not None
            if self._is_alone(o):
                continue
            b.comment(o.output.node)
            for n in o.parts.products:
                self._ready(n)
            b.scope([node], lambda n: False)
            b.write(ObserveTotals(b.env.ready[node.id], o.at, "only" if self._assigns(o) else None))

    def _ready(self, n: Node) -> None:
        """A product's sum, in the working type, where the node of its mean is looked for."""
        if mean_of(n).id not in self.b.env.ready:
            totals = self.totals[n.id]
            self.b.env.ready[mean_of(n).id] = narrow = self.b.allocate(n.size, None) if self.wide else totals
            self.b.write(*([Narrow(narrow, totals)] if self.wide else []))

"""Standard errors of gradients that are summed in tiles: one half of the samples is compared with the other.

What is summed is linear in products, so the comparison is the same sum with one side of each product multiplied by a
number for each lane, positive in one half and negative in the other (`scg.program.comparisons` has the formula). The
lanes of a comparison follow each other, so it is a matrix product over a run of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, NamedTuple

from scg.ir.node import Node
from scg.ops.arithmetic import mul_op, neg_op, numbered, sub_op, with_numbers_of
from scg.ops.structure import transpose_op
from scg.schedule.builder import Builder
from scg.schedule.domains import domain_of
from scg.schedule.indices import ZERO
from scg.schedule.language import (
    Apply,
    Block,
    Buffer,
    Compare,
    Contraction,
    Contrast,
    Load,
    Loop,
    Operand,
    Store,
    changed,
)
from scg.schedule.products import sizes_of, through_transposes
from scg.schedule.summed import LINEAR, SummedOutput


class Term(NamedTuple):
    """A product that is added to an output, or taken from it, and its letters in the order of the output's.

    And the nodes that multiply or divide it by numbers, one after another.
    """

    product: Node
    negative: bool
    names: str
    factors: tuple[Node, ...] = ()


def terms_of(node: Node, products: Sequence[Node], negative: bool = False) -> list[Term]:
    """The products that a node is a sum of, which is linear in them and in what is the same for all replicates."""
    if any(node is product for product in products):
        return [Term(node, negative, node.attrs.out)]
    if (at := numbered(node)) is not None:
        return [t._replace(factors=(*t.factors, node)) for t in terms_of(node.args[at], products, negative)]
    if node.op not in LINEAR and not node.op.transparent:
        return []
    if node.op is transpose_op:
        below = terms_of(node.args[0], products, negative)
        return [term._replace(names="".join(term.names[d] for d in node.attrs)) for term in below]
    signs = (False, True) if node.op is sub_op else (True,) if node.op is neg_op else (False,) * len(node.args)
    return [term for arg, turned in zip(node.args, signs) for term in terms_of(arg, products, negative ^ turned)]


class Comparisons:
    """What a tile does for the standard errors of some outputs."""

    def __init__(self, b: Builder, outputs: Sequence[SummedOutput]):
        self.b = b
        asked = {where.start for where in b.layout.compared}
        self.outputs = [o for o in outputs if o.at in asked and any(ax.name == "lane" for ax in o.output.node.axes)]
        self.sides: dict[tuple[int, bool | None], Buffer] = {}

    def tile(self) -> None:
        """A tile's part of every comparison."""
        if not self.outputs:
            return
        self.sides, self.contrast = {}, self.b.allocate(1, "lane")
        self.b.write(Contrast(self.contrast))
        for o in self.outputs:
            target = self.b.allocate(o.output.node.size, None)
            products = tuple(self._product(term, target) for term in terms_of(o.output.node, o.parts.products))
            self.b.comment(o.output.node)
            self.b.write(Compare(target, products, o.at))

    def _product(self, term: Term, target: Buffer) -> Contraction:
        """A product over the lanes of a run."""
        b, n, c = self.b, term.product, term.product.attrs
        sides = [b.anywhere(a, names) for a, names in zip(n.args, (c.left, c.right))]
        # one side is multiplied: one that is not there by lane, and copied anyway, or the smaller one
        there = [isinstance(s.array, Buffer) and s.array.vector == "lane" for s in sides]
        i = min((0, 1), key=lambda side: (there[side], n.args[side].size))
        sides[i] = sides[i]._replace(array=self._by_lane(n.args[i], term.negative, term.factors))
        if not there[1 - i]:
            sides[1 - i] = sides[1 - i]._replace(array=self._by_lane(n.args[1 - i]))
        to = Operand(target, tuple(term.names))
        found = b.in_matrices(Contraction(to, sides[0], sides[1], sizes_of(n), True, False, ()))
        return replace(found, body=_over_run(found.body))

    def _by_lane(self, side: Node, negative: bool | None = None, factors: Sequence[Node] = ()) -> Buffer:
        """A side by lane; with a sign, times the contrast, and by numbers."""
        b, (node, _) = self.b, through_transposes(side, " " * side.ndim)
        node = reduce(lambda product, factor: with_numbers_of(factor, product), factors, node)
        if (node.id, negative) in self.sides:
            return self.sides[node.id, negative]
        domain = domain_of(node, False)._replace(vector="lane")
        buffer = self.sides[node.id, negative] = b.allocate(domain.elements, "lane")
        with b.spread_in(domain):
            nest, position, headers = b.loops(domain)
            value = nest.value(node, position)
            if negative is not None:
                factor = Load(b.element(self.contrast, ZERO, "lane"))
                value = Apply(mul_op, (value, Apply(neg_op, (factor,), b.dtype) if negative else factor), b.dtype)
            nest.do(Store(b.element(buffer, b.flat_of(node, position), "lane"), value))
            b.close(nest, headers)
        return buffer


def _over_run(body: Block) -> Block:
    """Loops over the lanes of a run instead of all lanes."""
    def change(x: Any) -> Any:
        return replace(x, kind="run") if isinstance(x, Loop) and x.kind == "counted" else x

    return changed(body, change)

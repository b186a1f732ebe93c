"""Which nodes are points of the simplex by the way they are made: along their last dimension no element is negative,
and all add up to 1.

What elements add up to is a fact of its own (`ConstantSums`): 1 for shares of a sum, as a softmax is, and for draws of
families that say so; and what ops make of these numbers, each by its record. A vector that is a point is *proved* to be
one; of one that adds up to another number it is known that it is none; of others nothing is.
"""

from __future__ import annotations

from typing import NamedTuple

from scg.analysis.bounds import FromRanges, Ranges
from scg.ir.constant_sums import Sums, moved, of_literal
from scg.ir.node import Node
from scg.ops.scan import Opened, ScanBody, out_op

ROUNDING = 1e-5  # vectors whose sum is so near to 1 are taken to sum to 1


class ConstantSums(FromRanges[Sums]):
    """What elements add up to along dimensions, by construction; see `scg.ir.constant_sums`."""

    def _of(self, node: Node) -> Sums:
        if node.kind != "real" or not node.ndim:
            return {}
        if node.is_const:
            return of_literal(node)
        if node.op is out_op:
            scan, index = node.args[0], node.attrs
            inside = self.inside(scan)(scan.attrs.outputs[index])
            return self._joined(inside, self(scan.args[index])) if index < len(scan.attrs.carries) else inside
        known = [self._known[a.id] for a in node.args]
        if node.op.stands_for is not None:
            return known[node.op.stands_for]
        if node.op.constant_sums is not None:
            return node.op.constant_sums(node, known, [self._ranges(a) for a in node.args])
        if node.op.transparent:
            return known[0]
        return moved(node, known) if node.op.moves else {}

    def _of_step(self, body: ScanBody | Opened) -> Sums:
        return {}

    def _joined(self, before: Sums, after: Sums) -> Sums:
        return {d: s for d, s in before.items() if after.get(d) == s}


class Simplex(NamedTuple):
    """Whether a node is a point of the simplex along its last dimension.

    Attributes
    ----------
    holds : bool or None
        None where neither is known.
    why : str
        The reason, in words that follow "it".
    """

    holds: bool | None
    why: str


def in_simplex(node: Node) -> Simplex:
    """Whether a node is a point of the simplex, and why."""
    if not node.ndim:
        return Simplex(False, "is a number, not a vector")
    within, sums = Ranges()(node), ConstantSums()(node).get(-1)
    if sums is None:
        return Simplex(None, "need not add up to 1, for all that is known")
    if abs(sums - 1.0) > ROUNDING:
        return Simplex(False, f"adds up to {sums:g}")
    if within.high < 0.0:
        return Simplex(False, "has negative elements")
    if within.low < 0.0:
        return Simplex(None, "may have negative elements, for all that is known")
    return Simplex(True, "has no negative elements, and they add up to 1")

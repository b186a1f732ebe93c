"""Which nodes a computer finds finite for certain: by how large they can be, if what is given is not enormous.

`scg.analysis.reals` says what is defined, of real numbers. A computer's exp(1000) is infinite besides, and its
log(exp(−1000)) is −∞. So this counts digits: of a number that is given, or drawn about one, no more than `GIVEN` before
the point; of a product as many as its factors have together; and where a loop multiplies what it carries, no end. Of
each op its record says how many (`Op.magnitude`).
"""

from __future__ import annotations

import math

import numpy as np

from scg.analysis.bounds import FromRanges
from scg.ir import digits
from scg.ir.node import Node
from scg.ops.randomness import sample_op
from scg.ops.scan import Opened, ScanBody, out_op

GIVEN = 9.0  # decimal digits of a number that is given: such a call is checked for infinities, and for no more
MOST = 37.0  # in single precision too, which ends at 3e38


class Magnitudes(FromRanges[float]):
    """Decimal digits before the point of each node that is asked about; ∞ where there may be no end of them."""

    def _needed(self, node: Node) -> tuple[Node, ...]:
        if node.op is out_op:
            return node.args[0].args
        return node.args[:-1] if node.op is sample_op else node.args

    def _of(self, node: Node) -> float:
        if node.is_const:
            if node.attrs.ask("at most", 1.0):
                return 0.0
            array = np.abs(node.attrs.array)
            return digits.of_number(float(array.max(initial=0.0))) if np.all(np.isfinite(array)) else math.inf
        if node.op is out_op:
            index, scan = node.attrs, node.args[0]
            found = self.inside(scan)(scan.attrs.outputs[index])
            return max(found, self._known[scan.args[index].id]) if index < len(scan.attrs.carries) else found
        if node.kind == "noise":
            return 0.0
        interval = self._ranges(node)
        known = [self._known[a.id] for a in self._needed(node)]
        if node.op is sample_op or (node.op.kind == "leaf" and node.op.is_defined(node)):
            # a draw is about as large as its parameters; of those that may be infinite a call is checked, as of what
            # is given
            return min(max([GIVEN, *(d for d in known if d <= MOST)]), digits.of_interval(interval))
        if not math.isfinite(max(known, default=0.0)):
            return math.inf
        found = node.op.digits(node, tuple(map(self._ranges, node.args)), known)
        return min(found, digits.of_interval(interval))

    def _of_step(self, body: ScanBody | Opened) -> float:
        return digits.of_number(float(body.length))

    def _joined(self, before: float, after: float) -> float:
        return before if after <= before else math.inf


def certainly_finite(node: Node) -> bool:
    """Whether every value of a node is finite for certain."""
    if node.is_const and node.attrs.ask("at most", 10.0**MOST):
        return True
    return Magnitudes()(node) <= MOST

"""What is certain of a node's range: enough to leave out checks that cannot fail, and poles that cannot be reached."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from scg.distributions.constraints import Constraint, nonnegative, positive, unit_interval, weights
from scg.ir.interval import ANY, UNIT, Interval
from scg.ir.node import Node

SMALLEST = 1e-30  # what is computed to be above it does not underflow, in single precision either


class Ranges:
    """The interval of each node that is asked about.

    Parameters
    ----------
    leaves : dict of int to Interval, optional
        Those of placeholders, by id: inside the body of a scan.
    """

    def __init__(self, leaves: Mapping[int, Interval] | None = None):
        self._known = dict(leaves or {})
        self._inside: dict[int, Ranges] = {}

    def __call__(self, node: Node) -> Interval:
        waiting = [node]
        while waiting:  # what is known is not walked again
            n = waiting[-1]
            missing = [a for a in n.args if a.id not in self._known]
            if n.id not in self._known and missing:
                waiting += missing
                continue
            waiting.pop()
            if n.id not in self._known:
                self._known[n.id] = self._of(n)
        return self._known[node.id]

    def _of(self, node: Node) -> Interval:
        if node.op.name == "out":
            scan, index = node.args[0], node.attrs
            inside = self.inside(scan)
            result = inside(scan.attrs.outputs[index])
            return result.hull(self(scan.args[index])) if index < len(scan.attrs.carries) else result
        if node.op.bounds is None:
            return ANY
        return node.op.bounds(node, *(self._known[a.id] for a in node.args))

    def inside(self, scan: Node) -> Ranges:
        """Ranges in the body of a scan: of every step."""
        if scan.id not in self._inside:
            self._inside[scan.id] = self._looped(scan)
        return self._inside[scan.id]

    def _looped(self, scan: Node) -> Ranges:
        body = scan.attrs
        leaves = (*body.carries, *body.consts, *body.xs)
        start = {leaf.id: self(a) for leaf, a in zip(leaves, scan.args)}
        start[body.step.id] = Interval(0.0, max(body.length - 1.0, 0.0), False, False)
        while True:
            inner = Ranges(start)
            after = {c.id: inner(new) for c, new in zip(body.carries, body.new_carries)}
            wider = {id: _widened(start[id], found) for id, found in after.items()}
            if all(wider[id] == start[id] for id in wider):
                return inner
            start.update(wider)


def _widened(before: Interval, after: Interval) -> Interval:
    """An interval that holds both, and that cannot grow forever: an end that moves goes to 0 or to infinity."""
    if before.holds(after):
        return before
    both = before.hull(after)
    low = both.low if both.low == before.low else 0.0 if both.low >= 0 else -math.inf
    high = both.high if both.high == before.high else 0.0 if both.high <= 0 else math.inf
    return Interval(low, high, both.positive if low == 0 else both.low_open or math.isinf(low),
                    both.negated().positive if high == 0 else both.high_open or math.isinf(high), both.nonzero)


def holds(constraint: Constraint, node: Node) -> bool:
    """Whether every value of the node that a computer finds satisfies the constraint for certain.

    Intervals are of real numbers. A computer's exp(−1000) is 0, so what is only known to be above 0 may be 0: that it
    is positive is certain where it keeps away from 0.
    """
    if node.op.name == "const":
        return bool(np.all(constraint.test(node.attrs.array)))
    if constraint is positive or constraint is weights:
        return Ranges()(node).low >= SMALLEST
    if constraint is nonnegative:
        return Ranges()(node).low >= 0.0
    return constraint is unit_interval and UNIT.holds(Ranges()(node))

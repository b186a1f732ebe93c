"""Where nodes lie, and what they come close to: what decides whether a derivative passes a pole."""

from __future__ import annotations

from scg.analysis.bounds import EndlessRanges, Ranges
from scg.ir.interval import Interval
from scg.ir.node import Node
from scg.ops.control import lying_op
from scg.ops.leaves import data_op, input_op, param_op
from scg.ops.randomness import sample_op


class AtPoints(Ranges):
    """Ranges where what is given is at a point that is no pole: one number in all replicates, 0 in all or in none."""

    def _of(self, node: Node) -> Interval:
        return Interval(nonzero=True) if node.op in (param_op, input_op, data_op) else super()._of(node)


class UpToEnds(AtPoints):
    """The same, where draws and what they were made of come as close as they can to the finite ends of their range."""

    def _of(self, node: Node) -> Interval:
        if node.op is lying_op and node.attrs:
            return node.attrs[1]
        found = super()._of(node)
        if node.op is not sample_op:
            return found
        return found.with_ends()


class Intervals:
    """Where nodes lie, what they come close to, and where they lie if they may be infinite."""

    def __init__(self, ranges: Ranges, closed: Ranges, endless: Ranges | None = None):
        self._ranges, self.closed, self.endless = ranges, closed, endless or EndlessRanges()

    def __call__(self, node: Node) -> Interval:
        return self._ranges(node)

    def inside(self, scan: Node) -> Intervals:
        """The same in the body of a scan."""
        return Intervals(self._ranges.inside(scan), self.closed.inside(scan), self.endless.inside(scan))

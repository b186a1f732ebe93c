"""Which nodes may hold an infinity that somebody wrote, such as the −∞ of a masked logit.

Others are infinite only where a call makes them so, by a logarithm of 0 or a quotient by 0: that is seen at the call.
"""

from __future__ import annotations

import numpy as np

from scg.analysis.bounds import EndlessRanges, FromRanges
from scg.ir.node import Node
from scg.ops.randomness import sample_op
from scg.ops.scan import Opened, ScanBody, out_op


class Infinities(FromRanges[bool]):
    """Whether each node that is asked about may hold an infinity that is a literal of the graph."""

    of_ranges = EndlessRanges

    def _needed(self, node: Node) -> tuple[Node, ...]:
        if node.op is out_op:
            return node.args[0].args
        return () if node.op is sample_op or node.kind in ("noise", "bool") else node.args

    def _of(self, node: Node) -> bool:
        if node.is_const:
            return bool(np.any(np.isinf(node.attrs.array)))
        if node.op is out_op:
            index, scan = node.attrs, node.args[0]
            began = index < len(scan.attrs.carries) and self._known[scan.args[index].id]
            return began or self.inside(scan)(scan.attrs.outputs[index])
        return any(self._known[a.id] for a in self._needed(node)) and not self._ranges(node).finite

    def _of_step(self, body: ScanBody | Opened) -> bool:
        return False

    def _joined(self, before: bool, after: bool) -> bool:
        return before or after

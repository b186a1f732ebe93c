"""Which nodes are real numbers for certain: defined, and finite but for what a computer's numbers cannot hold.

Values of a call are checked to be finite, and draws are real; most ops make real numbers of these. The others do where
their arguments keep to their domain, which is a matter of bounds (`Op.defined`).
"""

from __future__ import annotations

from scg.analysis.bounds import FromRanges
from scg.analysis.facts import Certainties
from scg.ir.node import Node
from scg.ops.randomness import sample_op
from scg.ops.scan import out_op


class Reals(FromRanges[bool], Certainties):
    """Whether each node that is asked about is a real number for certain."""

    def _needed(self, node: Node) -> tuple[Node, ...]:
        if node.op is out_op:
            return node.args[0].args
        return () if node.op is sample_op else node.args

    def _of(self, node: Node) -> bool:
        if node.is_const:
            return node.attrs.ask("finite")
        if node.op is out_op:
            index, scan = node.attrs, node.args[0]
            began = index >= len(scan.attrs.carries) or self._known[scan.args[index].id]
            return began and self.inside(scan)(scan.attrs.outputs[index])
        if node.op is sample_op or node.kind in ("noise", "bool"):
            return True  # a comparison holds or not, also of what is infinite
        known = all(self._known[a.id] for a in node.args)
        return known and node.op.is_defined(node, *map(self._ranges, node.args))

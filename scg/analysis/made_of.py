"""Which params a node is made of: of a loop, what that one of its results is, not all that the loop computes."""

from __future__ import annotations

from scg.analysis.facts import Facts
from scg.ir.node import Node
from scg.ops.leaves import param_op
from scg.ops.scan import ScanBody, out_op


class MadeOf(Facts[frozenset[int]]):
    """The ids of the params that a node is made of, through draws and stopped gradients too."""

    def _of(self, node: Node) -> frozenset[int]:
        if node.op is param_op:
            return frozenset((node.id,))
        if node.op is out_op:
            return self.inside(node.args[0])(node.args[0].attrs.outputs[node.attrs])
        return frozenset().union(*(self._known[a.id] for a in node.args))

    def _of_step(self, body: ScanBody) -> frozenset[int]:
        return frozenset()

    def _joined(self, before: frozenset[int], after: frozenset[int]) -> frozenset[int]:
        return before | after

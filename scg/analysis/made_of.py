"""Which leaves and named nodes a node is made of: of a loop, what that one of its results is, not all of them."""

from __future__ import annotations

from scg.analysis.facts import Facts
from scg.ir.node import Node
from scg.ops.arithmetic import named_op
from scg.ops.leaves import data_op, input_op, param_op
from scg.ops.scan import Opened, ScanBody, out_op


class MadeOf(Facts[frozenset[int]]):
    """The ids of the params, inputs, data and named nodes that a node is made of, through draws and stops too."""

    def _of(self, node: Node) -> frozenset[int]:
        if node.op in (param_op, input_op, data_op):
            return frozenset((node.id,))
        if node.op is out_op:
            return self.inside(node.args[0])(node.args[0].attrs.outputs[node.attrs])
        below = frozenset[int]().union(*(self._known[a.id] for a in node.args))
        return below | {node.id} if node.op is named_op else below

    def _of_step(self, body: ScanBody | Opened) -> frozenset[int]:
        return frozenset()

    def _joined(self, before: frozenset[int], after: frozenset[int]) -> frozenset[int]:
        return before | after

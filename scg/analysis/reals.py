"""Which nodes are real numbers for certain: defined, and finite but for what a computer's numbers cannot hold.

Values of a call are checked to be finite, and draws are real; most ops make real numbers of these. The others do where
their arguments keep to their domain, which is a matter of bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from scg.analysis.bounds import Ranges
from scg.analysis.facts import Certainties
from scg.ir.interval import Interval
from scg.ir.node import Node
from scg.ops.scan import out_op

_GIVEN = {"param", "input", "data", "state", "sample", "uniform"}
_TOTAL = {
    "add", "sub", "mul", "neg", "abs", "sign", "floor", "maximum", "minimum", "lt", "le", "eq", "ne", "and", "or",
    "not", "real", "where", "either", "exp", "expm1", "sigmoid", "softplus", "tanh", "sin", "cos", "xmuly", "exp_times",
    "stop_gradient", "assume_continuous", "sum", "amax", "contract", "reshape", "broadcast_to", "put",
    "stack", "concatenate", "suffix_sum", "prefix_sum", "event_to_axis", "axis_to_event",
    "axis_sum", "expect", "leave_one_out", "replace_one", "named",
}  # fmt: skip
# Where the others are defined, by the intervals of their arguments
_DEFINED: dict[str, Callable[..., bool]] = {
    "log": lambda n, x: x.positive, "log1p": lambda n, x: x.low > -1.0, "sqrt": lambda n, x: x.low >= 0.0,
    "div": lambda n, a, b: b.clear_of_zero, "xdivy": lambda n, a, b: b.clear_of_zero,
    "xlogy": lambda n, x, y: y.positive, "xlog1py": lambda n, x, y: y.low > -1.0,
    "pow": lambda n, a, b: a.positive, "whole_power": lambda n, a: n.attrs[0] >= 0 or a.clear_of_zero,
    "lgamma": lambda n, x: x.positive, "digamma": lambda n, x: x.positive, "trigamma": lambda n, x: x.positive,
    "ndtri": lambda n, p: Interval(0.0, 1.0).holds(p),
    "take": lambda n, table, k: k.low >= 0.0 and k.high <= n.args[0].shape[0] - 1.0,
}  # fmt: skip


class Reals(Certainties):
    """Whether each node that is asked about is a real number for certain.

    Parameters
    ----------
    leaves : dict of int to bool, optional
        Whether placeholders are, by id: inside the body of a scan.
    ranges : Ranges, optional
    """

    def __init__(self, leaves: Mapping[int, bool] | None = None, ranges: Ranges | None = None):
        super().__init__(leaves)
        self._ranges = ranges or Ranges()

    def _needed(self, node: Node) -> tuple[Node, ...]:
        if node.op is out_op:
            return node.args[0].args
        return () if node.op.name in _GIVEN else node.args

    def _of(self, node: Node) -> bool:
        name = node.op.name
        if name == "const":
            return bool(np.all(np.isfinite(node.attrs.array)))
        if name == "out":
            index, scan = node.attrs, node.args[0]
            began = index >= len(scan.attrs.carries) or self._known[scan.args[index].id]
            return began and self.inside(scan)(scan.attrs.outputs[index])
        if name in _GIVEN or not all(self._known[a.id] for a in node.args):
            return name in _GIVEN
        if name in _TOTAL or node.op.index_map is not None:
            return True
        return name in _DEFINED and _DEFINED[name](node, *map(self._ranges, node.args))

    def _within(self, leaves: Mapping[int, bool], scan: Node | None) -> Reals:
        return Reals(leaves, self._ranges if scan is None else self._ranges.inside(scan))

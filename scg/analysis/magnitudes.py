"""Which nodes a computer finds finite for certain: by how large they can be, if what is given is not enormous.

`scg.analysis.reals` says what is defined, of real numbers. A computer's exp(1000) is infinite besides, and its
log(exp(−1000)) is −∞. So this counts digits: of a number that is given, or drawn about one, no more than `GIVEN` before
the point; of a product as many as its factors have together; and where a loop multiplies what it carries, no end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from scg.analysis.bounds import Ranges
from scg.analysis.facts import Facts
from scg.ir.interval import SMALLEST, Interval
from scg.ir.node import Node
from scg.ops.randomness import sample_op
from scg.ops.scan import ScanBody, out_op

GIVEN = 9.0  # decimal digits of a number that is given: such a call is checked for infinities, and for no more
MOST = 37.0  # in single precision too, which ends at 3e38
_GIVEN = {"param", "input", "data", "state", "uniform"}
_LARGEST = {  # as large as the largest argument
    "add", "sub", "neg", "abs", "sign", "floor", "maximum", "minimum", "lt", "le", "eq", "ne", "and", "or", "not",
    "real", "where", "sigmoid", "softplus", "tanh", "sin", "cos", "stop_gradient", "assume_continuous", "sum", "amax",
    "reshape", "broadcast_to", "put", "stack", "concatenate", "suffix_sum", "prefix_sum",
    "event_to_axis", "axis_to_event", "axis_sum", "expect", "leave_one_out", "replace_one", "named",
}  # fmt: skip
_PRODUCTS = {"mul", "xmuly", "contract"}


def _digits(x: Interval) -> float:
    """Of the largest number of an interval, 0 at least."""
    return _of_number(max(abs(x.low), abs(x.high)))


def _of_number(largest: float) -> float:
    return max(math.log10(largest), 0.0) if largest > 0 else 0.0


def _inverse(x: Interval) -> float:
    """Of 1 / x."""
    low = max(x.low, -x.high)
    return max(-math.log10(low), 0.0) if low >= SMALLEST else math.inf


def _power(n: Node, x: Interval, digits: float) -> float:
    power = n.attrs[0]
    return power * digits if power >= 0 else -power * _inverse(x)


def _exponential(x: Interval) -> float:
    return max(x.high / math.log(10.0), 0.0)


def _if(condition: bool, digits: float) -> float:
    return digits if condition else math.inf


# Digits of the others, by the intervals of their arguments and the digits of these
_OTHERS: dict[str, Callable[..., float]] = {
    "exp": lambda n, x, d: _exponential(x), "expm1": lambda n, x, d: _exponential(x),
    "exp_times": lambda n, x, z, d, e: _exponential(x) + e,
    "log": lambda n, x, d: _if(x.low >= SMALLEST, max(d, 2.0)),
    "log1p": lambda n, x, d: _if(x.low > -0.5, d), "sqrt": lambda n, x, d: _if(x.low >= 0.0, d),
    "div": lambda n, a, b, d, e: d + _inverse(b), "xdivy": lambda n, a, b, d, e: d + _inverse(b),
    "xlogy": lambda n, x, y, d, e: _if(y.low >= SMALLEST, d + 2.0),
    "xlog1py": lambda n, x, y, d, e: _if(y.low > -0.5, d + 2.0),
    "pow": lambda n, a, b, d, e: _if(a.low >= 0.0 and b.low >= 0.0, max(b.high, 1.0) * d),
    "whole_power": _power, "lgamma": lambda n, x, d: _if(x.low >= SMALLEST, d + 2.0),
    "digamma": lambda n, x, d: max(d, _inverse(x)), "trigamma": lambda n, x, d: 2.0 * _inverse(x),
    "take": lambda n, table, k, d, e: _if(k.low >= 0.0 and k.high <= n.args[0].shape[0] - 1.0, d),
}  # fmt: skip


class Magnitudes(Facts[float]):
    """Decimal digits before the point of each node that is asked about; ∞ where there may be no end of them.

    Parameters
    ----------
    leaves : dict of int to float, optional
        Those of placeholders, by id: inside the body of a scan.
    ranges : Ranges, optional
    """

    def __init__(self, leaves: Mapping[int, float] | None = None, ranges: Ranges | None = None):
        super().__init__(leaves)
        self._ranges = ranges or Ranges()

    def _needed(self, node: Node) -> tuple[Node, ...]:
        if node.op is out_op:
            return node.args[0].args
        return node.args[:-1] if node.op is sample_op else () if node.op.name in _GIVEN else node.args

    def _of(self, node: Node) -> float:
        name = node.op.name
        if name == "const":
            array = np.abs(node.attrs.array)
            return _of_number(float(array.max(initial=0.0))) if np.all(np.isfinite(array)) else math.inf
        if name == "out":
            index, scan = node.attrs, node.args[0]
            found = self.inside(scan)(scan.attrs.outputs[index])
            return max(found, self._known[scan.args[index].id]) if index < len(scan.attrs.carries) else found
        interval = self._ranges(node)
        if name in _GIVEN or name == "sample":
            # a draw is about as large as its parameters; of those that may be infinite a call is checked, as of what
            # is given
            drawn_from = (self._known[a.id] for a in self._needed(node))
            return min(max([GIVEN, *(d for d in drawn_from if d <= MOST)]), _digits(interval))
        digits = [self._known[a.id] for a in node.args]
        moved = node.op.index_map is not None
        found = max(digits, default=math.inf) if moved or name in _LARGEST else sum(digits) if name in _PRODUCTS else \
            _OTHERS[name](node, *map(self._ranges, node.args), *digits) if name in _OTHERS else math.inf
        return min(found, _digits(interval)) if math.isfinite(max(digits, default=0.0)) else math.inf

    def _of_step(self, body: ScanBody) -> float:
        return _of_number(float(body.length))

    def _joined(self, before: float, after: float) -> float:
        return before if after <= before else math.inf

    def _within(self, leaves: Mapping[int, float], scan: Node | None) -> Magnitudes:
        return Magnitudes(leaves, self._ranges if scan is None else self._ranges.inside(scan))


def certainly_finite(node: Node) -> bool:
    """Whether every value of a node is finite for certain."""
    return Magnitudes()(node) <= MOST

"""What a sum of softplus(x + w) changes by from x to x + w, in worlds that take or leave the step w, or turn it round.

softplus(x + w) − softplus(x) = log(σ(−x) + σ(x) eʷ), so a sum of such changes is the logarithm of a product: of what is
known once per replicate and once per world, with one multiplication for each element of a world.
"""

from __future__ import annotations

import numpy as np

from scg.ir.axes import union
from scg.ir.node import Node, apply, make
from scg.ir.op import Op, register
from scg.ops.elementary import softplus_op
from scg.ops.reduce import amax
from scg.ops.structure import aligned


def _value(n: Node, arrays):
    """Step by step; the arguments after the third say the same in another form."""
    x, turn, step = (aligned(a, arg, n.axes, 1) for a, arg in zip(arrays[:3], n.args))
    softplus = softplus_op.value
    changes = softplus(x + turn * step) - softplus(x)  # type: ignore[misc]
    return np.sum(np.ascontiguousarray(changes, np.float64), axis=-1).astype(changes.dtype)


# args: x, the turn of each world (−1, 0 or 1), its step w, and of these σ(−x), σ(x), eʷ, e⁻ʷ and the largest |w|
softplus_changes_op = register(Op(
    "softplus_changes", "structural", reduces=True, shape=lambda args, attrs: (), value=_value,
    axes=lambda args, attrs: union(*(a.axes for a in args)), defined=True,
    text="sum(softplus({0} + {1} * {2}) - softplus({0}))"))


def softplus_changes(x: Node, turn: Node, step: Node) -> Node:
    """Σ softplus(x + turn · step) − softplus(x) over the elements of the vectors x and step; turn is −1, 0 or 1.

    Only where nothing is differentiated any more: it has no derivative.
    """
    powers = (apply("exp", step), apply("exp", -step), amax(apply("abs", step)))
    return make(softplus_changes_op, (x, turn, step, apply("sigmoid", -x), apply("sigmoid", x), *powers))

"""Weighted sums of σ(x + w) in worlds that take or leave the step w, or turn it round.

σ(x + w) = 1 / (1 + e⁻ˣ e⁻ʷ): of what is known once per replicate and once per world, with one division for each element
of a world.
"""

from __future__ import annotations

import numpy as np

from scg.ir.axes import union
from scg.ir.node import Node, apply, make
from scg.ir.op import Op, register
from scg.ops.elementary import sigmoid_op
from scg.ops.reduce import amax
from scg.ops.structure import aligned


def _value(n: Node, arrays):
    """Step by step; the arguments after the fourth say the same in another form."""
    x, turn, step, weights = (aligned(a, arg, n.axes, 1) for a, arg in zip(arrays[:4], n.args))
    terms = weights * sigmoid_op.value(x + turn * step)  # type: ignore[misc]
    return np.sum(np.ascontiguousarray(terms, np.float64), axis=-1).astype(terms.dtype)


# args: x, the turn of each world (−1, 0 or 1), its step w, the weights, and of these e⁻ˣ, e⁻ʷ, eʷ and the largest |w|
sigmoid_sums_op = register(Op(
    "sigmoid_sums", "structural", reduces=True, shape=lambda args, attrs: (), value=_value,
    axes=lambda args, attrs: union(*(a.axes for a in args)), defined=True,
    text="sum({3} * sigmoid({0} + {1} * {2}))"))


def sigmoid_sums(x: Node, turn: Node, step: Node, weights: Node) -> Node:
    """Σ weights · σ(x + turn · step) over the elements of the vectors x, step and weights; turn is −1, 0 or 1.

    Only where nothing is differentiated any more: it has no derivative.
    """
    powers = (apply("exp", -x), apply("exp", -step), apply("exp", step), amax(apply("abs", step)))
    return make(sigmoid_sums_op, (x, turn, step, weights, *powers))

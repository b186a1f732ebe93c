"""Sums of numbers that are given by their logarithms, without overflow.

What is subtracted before exponentials are taken changes no result, so its derivative, with its kinks at ties, is
stopped. It must be finite: −∞ is the logarithm of 0, and a sum of nothing but zeros is 0, not undefined.
"""

from __future__ import annotations

from math import log, prod

import numpy as np

from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant
from scg.ir.said import said
from scg.ops.arithmetic import choose, elementwise, stop_gradient_op, sub_op
from scg.ops.control import held
from scg.ops.elementary import exp_op, log_op
from scg.ops.reduce import amax, sum_op, total
from scg.ops.shapes import normalise_axis, refuse
from scg.ops.structure import reshape_op


def _slope(g: Node, y: Node, x: Node) -> tuple[Node]:
    """g/x; 0 at x = 0, as a number, not as a mask: what an infinite slope further down makes of it is not known."""
    return (g * choose(apply("lt", 0.0, x), 1.0 / x, 0.0),)


# The logarithm of a sum of exponentials. The sum is 0 where each of them is, and has no slope there.
log_of_sum_op = elementwise(
    "log_of_sum", np.log, "log({0})", derivative=_slope, bounds=log_op.bounds, poles=log_op.poles, text="log({0})",
    sympy=log_op.sympy, defined=log_op.defined, logarithmic=True, magnitude=log_op.magnitude,
    advice="Where each exponent is -inf the sum is 0, and its logarithm -inf: keep one of them finite, or leave out "
           "what has none by scg.where(mask, …, 0.0).",
    samples=log_op.samples)


def logsumexp(node, axis=None, *, keepdims=False) -> Node:
    """``log(sum(exp(node)))`` along `axis` (all axes by default), without overflow: −∞ where all are, ∞ where one is.

    The derivative is a softmax; 0 where the sum is 0, whose logarithm stays −∞ unless an element leaves it infinitely
    fast, as log x does at x = 0: then it is unknown (NaN).
    """
    node = as_real(constant(node))
    dims = normalise_axis(axis, node.ndim)
    top = _finite_or_zero(amax(node, axis=dims, keepdims=True))
    inner = apply("log_of_sum", total(apply("exp", node - top), axis=dims, keepdims=True)) + top
    shape = tuple(size for i, size in enumerate(node.shape) if i not in dims)
    kept = ", keepdims=True" if keepdims else ""
    along = _dims(dims, node.ndim)
    return said(inner if keepdims else FUNCTIONS["reshape"](inner, shape), f"logsumexp({{0}}{along}{kept})", node)


def _dims(dims: tuple[int, ...], ndim: int) -> str:
    return f", axis={dims[0] if len(dims) == 1 else dims}" if len(dims) < ndim else ""


def logmeanexp(node, axis=None, *, keepdims=False) -> Node:
    """``log(mean(exp(node)))`` along `axis` (all axes by default), without overflow: see `logsumexp`."""
    node = as_real(constant(node))
    dims = normalise_axis(axis, node.ndim)
    count = prod(node.shape[d] for d in dims)
    if not count:
        raise refuse(f"The logmeanexp of shape {node.shape} along {'all axes' if axis is None else f'axis {axis}'} was "
                     "asked for.", "It has no elements there, and so no mean.", "Give it at least one.")
    kept = ", keepdims=True" if keepdims else ""
    return said(logsumexp(node, axis=axis, keepdims=keepdims) - log(count),
                f"logmeanexp({{0}}{_dims(dims, node.ndim)}{kept})", node)


def summed(node: Node) -> tuple[Node, int] | None:
    """Of a logarithm of a sum of exponentials along one axis: the exponents, less what keeps them small, and the axis.

    None of what is no such node.
    """
    below = node.args[0] if node.op in (log_op, log_of_sum_op) else None
    while below is not None and below.op is reshape_op:
        below = below.args[0]
    if below is None or below.op is not sum_op or below.args[0].op is not exp_op or len(below.attrs) != 1:
        return None
    exponents = below.args[0].args[0]
    return _unshifted(exponents, *below.attrs), *below.attrs


def _unshifted(exponents: Node, axis: int) -> Node:
    """x of x − t, where t is held and is constant along the axis."""
    if exponents.op is sub_op and exponents.args[1].op is stop_gradient_op:
        x, t = exponents.args
        at = axis - (x.ndim - t.ndim)
        if x.shape == exponents.shape and (at < 0 or t.shape[at] == 1):
            return x
    return exponents


def logaddexp(a, b) -> Node:
    """``log(exp(a) + exp(b))``, element by element, without overflow; also of infinite numbers, as in `logsumexp`."""
    a, b = as_real(constant(a)), as_real(constant(b))
    top = _finite_or_zero(apply("maximum", a, b))
    return said(apply("log_of_sum", apply("exp", a - top) + apply("exp", b - top)) + top, "logaddexp({0}, {1})", a, b)


def log_softmax(node, axis=-1) -> Node:
    """``log(softmax(node))`` along `axis` (the last by default), accurate for small probabilities."""
    node = as_real(constant(node))
    dims = normalise_axis(axis, node.ndim)
    less = node - _finite_or_zero(amax(node, axis=dims, keepdims=True))  # first: what they share is lost to no rounding
    found = less - apply("log_of_sum", total(apply("exp", less), axis=dims, keepdims=True))
    return said(found, f"log_softmax({{0}}{_along(axis)})", node)


def log_normalised(logits: Node) -> Node:
    """`log_softmax` along the last dimension of logits of which the largest is known to be finite."""
    less = logits - held(amax(logits, axis=-1, keepdims=True))
    found = less - apply("log", total(apply("exp", less), axis=-1, keepdims=True))
    return said(found, "log_softmax({0})", logits)


def softmax(node, axis=-1) -> Node:
    """``exp(node)`` normalised to sum to one along `axis` (the last by default)."""
    node = as_real(constant(node))
    e = apply("exp", node - held(amax(node, axis=axis, keepdims=True)))
    return said(e / total(e, axis=axis, keepdims=True), f"softmax({{0}}{_along(axis)})", node)


def _along(axis) -> str:
    return "" if axis == -1 else f", axis={axis}"


def _is_finite(node: Node) -> Node:
    return apply("lt", apply("abs", held(node)), np.inf)


def _finite_or_zero(largest: Node) -> Node:
    """What is subtracted from numbers of which this is the largest."""
    return held(choose(_is_finite(largest), largest, 0.0))

"""Reductions over event dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scg.ir import constant_sums, draws
from scg.ir.interval import Interval
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant, make
from scg.ir.op import Op, lookup, register
from scg.ir.said import said
from scg.ops.arithmetic import maximum_op
from scg.ops.shapes import normalise_axis, refuse


def _reduced(args, attrs):
    return tuple(size for i, size in enumerate(args[0].shape) if i not in attrs)


def combined(n: Node, arrays) -> np.ndarray:
    """The value of a reduction by an elementwise op: element after element, in C order of the reduced dimensions."""
    by, start = n.op.combines  # type: ignore[misc]
    (array,), dims = arrays, _dims(n.args[0], n.attrs)
    parts = np.moveaxis(array, dims, range(len(dims)))
    count, shape = int(np.prod(parts.shape[: len(dims)])), parts.shape[len(dims):]
    total = np.full(shape, start, array.dtype)
    for part in parts.reshape(count, *shape):
        total = by.value(total, part)  # type: ignore[misc]
    return total


def combining(name: str, by: Op | str, start: float, *, derivative: Callable[..., Any],
              value: Callable[..., Any] = combined, bounds: Callable[..., Interval] | None = None,
              tied: Callable[..., Any] | None = None, text: Callable[..., str] | None = None) -> Op:
    """Register an op that reduces the dimensions that are its attributes, a tuple, by an elementwise op.

    Parameters
    ----------
    name : str
    by : Op or str
        An elementwise op of two arguments, of any of which several may be combined in any order.
    start : float
        The result of no elements: what `by` leaves the other argument as it is with.
    derivative, value, bounds, tied, text : callable
        See `Op`.
    """
    by = lookup(by) if isinstance(by, str) else by
    return register(Op(name, "structural", reduces=True, combines=(by, start), shape=_reduced, value=value,
                       derivative=derivative, bounds=bounds, tied=tied, integral=by.integral, depends=_depends,
                       smoothness=by.smooth_in(0), picks=by.picks, linear=by.linear, multiplies=by.multiplies,
                       flat=by.flat, regular=by.regular is True, text=text))


def _dims(node: Node, dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(len(node.axes) + d for d in dims)


def expand(node: Node, dims: tuple[int, ...]) -> Node:
    """Event dimensions of size 1 put back where a reduction over `dims` took them."""
    shape = list(node.shape)
    for d in dims:
        shape.insert(d, 1)
    return FUNCTIONS["reshape"](node, tuple(shape))


def _sum_value(array: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    """Added up in float64 whatever the type; NumPy's order depends on how an array lies in memory: here on the node."""
    total = np.sum(np.ascontiguousarray(array, np.float64), axis=dims)
    return np.asarray(total).astype(np.asarray(array).dtype, copy=False)


def _sum_derivative(g, y, a):
    return (FUNCTIONS["broadcast_to"](expand(g, y.attrs), a.shape),)


def _extreme_derivative(g, y, a):
    # the adjoint goes to the elements that attain the extreme, shared equally among ties
    hit = as_real(apply("eq", a, expand(y, y.attrs)))
    return (hit * expand(g / _attaining(y), y.attrs),)


def _attaining(y: Node) -> Node:
    """How many elements attain the extreme."""
    return FUNCTIONS["sum"](as_real(apply("eq", y.args[0], expand(y, y.attrs))), axis=y.attrs)


def _sum_of(n: Node, args: tuple[Node, ...], hook=None) -> Node:
    """The same sum of another node, which may pick one of its elements."""
    from scg.ops.lookups import picked

    (arg,) = args
    found = picked(arg) if n.attrs == (arg.ndim - 1,) else None
    return make(sum_op, args, n.attrs) if found is None else found


def _depends(n: Node, of: Sequence[draws.Draws]) -> draws.Draws:
    return draws.united_over(of[0], n.attrs) if draws.told_apart(of) else draws.of_all(of)


def _over(name: str) -> Callable[[Node], str]:
    """How a reduction reads, with NumPy's axis where it is not of all dimensions."""
    def text(n: Node) -> str:
        return _over_dims(name, n.attrs, n.args[0])

    return text


def _over_dims(name: str, dims: tuple[int, ...], node: Node, keepdims: bool = False) -> str:
    axis = "" if len(dims) == node.ndim else f", axis={dims[0] if len(dims) == 1 else dims}"
    return f"{name}({{0}}{axis}{', keepdims=True' if keepdims else ''})"


sum_op = register(Op(
    "sum", "structural", reduces=True, shape=_reduced, derivative=_sum_derivative, integral="closed", rebuild=_sum_of,
    bounds=lambda n, a: a.repeated(n.args[0].size // max(n.size, 1)),
    value=lambda n, a: _sum_value(a[0], _dims(n.args[0], n.attrs)), linear=True, depends=_depends,
    constant_sums=constant_sums.reduced, text=_over("sum")))
amax_op = combining(
    "amax", maximum_op, -np.inf, derivative=_extreme_derivative, bounds=lambda n, a: a,
    tied=lambda n: apply("lt", 1.0, _attaining(n)), value=lambda n, a: np.max(a[0], axis=_dims(n.args[0], n.attrs)),
    text=_over("max"))


def total(node, axis=None, *, keepdims=False) -> Node:
    """The sum over event dimensions (all of them by default)."""
    return _reduce("sum", as_real(constant(node)), axis, keepdims)


def mean(node, axis=None, *, keepdims=False) -> Node:
    """The mean over event dimensions (all of them by default)."""
    node = as_real(constant(node))
    dims = normalise_axis(axis, node.ndim)
    count = int(np.prod([node.shape[d] for d in dims], dtype=int))
    if count == 0:
        raise refuse("A mean over no elements was asked for.", f"The shape is {node.shape}.", "Give it elements.")
    return said(total(node, axis, keepdims=keepdims) / float(count), _over_dims("mean", dims, node, keepdims), node)


def product(node, axis=None) -> Node:
    """The product over event dimensions (all of them by default), by halves; its derivative is right at 0 too."""
    node = as_real(constant(node))
    dims = normalise_axis(axis, node.ndim)
    if not dims:
        return node
    kept = [d for d in range(node.ndim) if d not in dims]
    count = int(np.prod([node.shape[d] for d in dims], dtype=int))
    if not count:
        return 1.0 + total(node, axis=dims)
    first = node if dims == tuple(range(len(dims))) else FUNCTIONS["transpose"](node, (*dims, *kept))
    left, odd = FUNCTIONS["reshape"](first, (count, *(node.shape[d] for d in kept))), None
    while len(left) > 1:
        half = len(left) // 2
        if len(left) % 2:
            odd = left[-1] if odd is None else odd * left[-1]
        left = left[:half] * left[half : 2 * half]
    return left[0] if odd is None else left[0] * odd


def amax(node, axis=None, *, keepdims=False) -> Node:
    """The largest element along event dimensions."""
    return _reduce("amax", as_real(constant(node)), axis, keepdims)


def amin(node, axis=None, *, keepdims=False) -> Node:
    """The smallest element along event dimensions."""
    return -amax(-as_real(constant(node)), axis, keepdims=keepdims)


def _reduce(op: str, node: Node, axis, keepdims: bool) -> Node:
    dims = normalise_axis(axis, node.ndim)
    if op == "amax" and any(node.shape[d] == 0 for d in dims):
        raise refuse("A maximum over no elements was asked for.", f"The shape is {node.shape}.", "Give it elements.")
    out = make(op, (node,), dims) if dims else node
    return expand(out, dims) if keepdims else out


FUNCTIONS.update({"sum": total, "mean": mean, "max": amax, "min": amin})

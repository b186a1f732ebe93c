"""NumPy's own functions on nodes: the tables behind ``__array_ufunc__`` and ``__array_function__``."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable

import numpy as np

from scg.errors import NodeUseError
from scg.ir.location import here
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant, make
from scg.ops.arithmetic import choose, whole_power, xor
from scg.ops.contract import dot, matmul, outer
from scg.ops.indices import getitem
from scg.ops.log_space import logaddexp
from scg.ops.reduce import amax, amin, mean, total
from scg.ops.rounding import (
    ceil,
    floor_divide,
    fmod,
    quotient_and_remainder,
    remainder,
    rint,
    rounded,
    trunc,
)
from scg.ops.shapes import normalise_axis, one_axis, refuse
from scg.ops.structure import broadcast_to, concatenate, reshape, stack, transpose

_UFUNCS = {np.add: "add", np.subtract: "sub", np.multiply: "mul", np.true_divide: "div", np.negative: "neg",
           np.absolute: "abs", np.fabs: "abs", np.sign: "sign", np.floor: "floor", np.maximum: "maximum",
           np.minimum: "minimum", np.less: "lt", np.less_equal: "le", np.equal: "eq", np.not_equal: "ne",
           np.bitwise_and: "and", np.bitwise_or: "or", np.invert: "not", np.exp: "exp", np.log: "log",
           np.log1p: "log1p", np.expm1: "expm1",
           np.sqrt: "sqrt", np.tanh: "tanh", np.sin: "sin", np.cos: "cos", np.tan: "tan"}


def power(a, b, modulo=None) -> Node:
    """``a ** b``; a whole constant exponent is defined for negative bases too."""
    if modulo is not None:
        return remainder(power(a, b), modulo)
    a, b = as_real(constant(a)), as_real(constant(b))
    if b.is_const and b.shape == () and float(b.attrs.array).is_integer() and abs(b.attrs.array) <= 64:
        return whole_power(a, int(b.attrs.array))
    return apply("pow", a, b)


def take_along(a, indices, axis=None) -> Node:
    """NumPy's take: elements along an event dimension, of the flattened array by default."""
    a = constant(a)
    if axis is None:
        return getitem(reshape(a, (-1,)), indices)
    dim = one_axis(axis, a.ndim)
    return getitem(a, (*[slice(None)] * dim, indices))


def clip(a, a_min=None, a_max=None, *, min=None, max=None) -> Node:
    """Values kept within bounds; continuous."""
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    out = as_real(constant(a))
    out = out if low is None else apply("maximum", out, low)
    return out if high is None else apply("minimum", out, high)


def where(condition, a, b) -> Node:
    """`a` where the condition holds, else `b`."""
    return choose(_truth(condition), a, b)


def _truth(a) -> Node:
    """A boolean as it is; of a number, whether it is not 0."""
    a = constant(a)
    return a if a.kind == "bool" else apply("ne", a, 0.0)


def squeeze(a, axis=None) -> Node:
    """Event dimensions of size 1 removed."""
    dims = normalise_axis(axis, a.ndim) if axis is not None else tuple(i for i, s in enumerate(a.shape) if s == 1)
    if any(a.shape[d] != 1 for d in dims):
        raise refuse(f"squeeze(axis={axis}) of shape {a.shape} was asked for.", "A dimension is larger than 1.",
                     "Name dimensions of size 1, or none.")
    return reshape(a, tuple(s for i, s in enumerate(a.shape) if i not in dims))


def expand_dims(a, axis) -> Node:
    """New event dimensions of size 1, at these places of the result."""
    many = axis if isinstance(axis, (tuple, list)) else (axis,)
    new, rest = normalise_axis(many, a.ndim + len(many)), iter(a.shape)
    return reshape(a, tuple(1 if d in new else next(rest) for d in range(a.ndim + len(many))))


def cumsum(a, axis=None) -> Node:
    """Running sums along an event dimension."""
    a = as_real(constant(a))
    a, axis = (reshape(a, (-1,)), 0) if axis is None else (a, one_axis(axis, a.ndim))
    order = (axis, *(d for d in range(a.ndim) if d != axis))
    back = tuple(int(i) for i in np.argsort(order))
    return transpose(make("prefix_sum", (transpose(a, order),)), back)


_OTHER_UFUNCS: dict[np.ufunc, Callable] = {
    np.power: power, np.float_power: power, np.square: lambda a: whole_power(constant(a), 2),
    np.floor_divide: floor_divide, np.remainder: remainder, np.fmod: fmod, np.divmod: quotient_and_remainder,
    np.rint: rint, np.trunc: trunc, np.ceil: ceil,
    np.reciprocal: lambda a: 1.0 / a, np.positive: as_real, np.matmul: matmul,
    np.greater: lambda a, b: apply("lt", b, a), np.greater_equal: lambda a, b: apply("le", b, a),
    np.logaddexp: logaddexp, np.log2: lambda a: apply("log", a) / math.log(2.0),
    np.log10: lambda a: apply("log", a) / math.log(10.0), np.exp2: lambda a: apply("exp", a * math.log(2.0)),
    np.bitwise_xor: xor, np.logical_not: lambda a: apply("not", _truth(a)),
    np.logical_xor: lambda a, b: xor(_truth(a), _truth(b)),
    np.logical_and: lambda a, b: apply("and", _truth(a), _truth(b)),
    np.logical_or: lambda a, b: apply("or", _truth(a), _truth(b)),
}  # fmt: skip

_ARRAY_FUNCTIONS: dict[Callable, Callable] = {
    np.sum: total, np.mean: mean, np.max: amax, np.amax: amax, np.min: amin, np.amin: amin, np.dot: dot,
    np.outer: outer, np.stack: stack, np.concatenate: concatenate, np.reshape: lambda a, shape: reshape(a, shape),
    np.transpose: lambda a, axes=None: transpose(a, axes), np.ravel: lambda a: reshape(a, (-1,)), np.clip: clip,
    np.where: where, np.squeeze: squeeze, np.expand_dims: expand_dims, np.broadcast_to: broadcast_to,
    np.cumsum: cumsum, np.round: rounded, np.around: rounded, np.fix: trunc,
    np.shape: lambda a: a.shape, np.ndim: lambda a: a.ndim, np.size: lambda a: a.size,
    np.take: take_along, np.zeros_like: lambda a: constant(np.zeros(a.shape)),
    np.ones_like: lambda a: constant(np.ones(a.shape)),
}  # fmt: skip


_signature = functools.cache(inspect.signature)


def array_ufunc(ufunc, method: str, inputs, kwargs):
    """A NumPy ufunc on nodes."""
    function = _OTHER_UFUNCS.get(ufunc)
    name = _UFUNCS.get(ufunc)
    if method == "reduce" and ufunc in (np.add, np.maximum, np.minimum) and set(kwargs) <= {"axis", "keepdims"}:
        reducer = {np.add: total, np.maximum: amax, np.minimum: amin}[ufunc]
        return reducer(inputs[0], axis=kwargs.get("axis", 0), keepdims=kwargs.get("keepdims", False))
    if method != "__call__" or kwargs or (function is None and name is None):
        raise _unsupported(_called(ufunc) + ("" if method == "__call__" else f".{method}"), kwargs)
    return function(*inputs) if function is not None else apply(str(name), *inputs)


def _called(ufunc) -> str:
    """A ufunc by the name of its library: of those that are not NumPy's, SciPy's are most of what is used."""
    name = ufunc.__name__
    if getattr(np, name, None) is ufunc:
        return f"np.{name}"
    return f"scipy.special.{name}" if name in _SCIPY else f"The ufunc {name}"


def array_function(func, args, kwargs):
    """A NumPy function on nodes."""
    function = _ARRAY_FUNCTIONS.get(func)
    if function is None:
        raise _unsupported(f"{func.__module__.replace('numpy', 'np', 1)}.{func.__name__}", {})
    given = {k: v for k, v in kwargs.items() if v is not np._NoValue}
    try:
        _signature(function).bind(*args, **given)
    except TypeError:
        raise _unsupported(f"np.{func.__name__}", kwargs) from None
    return function(*args, **given)


_SCIPY = {
    "expit": "Use scg.sigmoid.", "log_expit": "Use -scg.softplus(-x).", "logit": "Use np.log(p) - np.log1p(-p).",
    "gammaln": "Use scg.lgamma.", "loggamma": "Use scg.lgamma.", "gamma": "Use np.exp(scg.lgamma(x)).",
    "psi": "Use scg.digamma.", "digamma": "Use scg.digamma.", "xlogy": "Use x * np.log(y), where y is not 0.",
    "xlog1py": "Use x * np.log1p(y).", "entr": "Use -p * np.log(p), or a distribution's entropy().",
    "rel_entr": "Use p * np.log(p / q), or scg.kl_divergence.", "kl_div": "Use scg.kl_divergence.",
    "betaln": "Use scg.lgamma(a) + scg.lgamma(b) - scg.lgamma(a + b).",
    "binom": "Use np.exp of scg.lgamma(n + 1) - scg.lgamma(k + 1) - scg.lgamma(n - k + 1).",
    "boxcox": "Use (x**lmbda - 1) / lmbda.", "exprel": "Use np.expm1(x) / x.", "exp2": "Use np.exp2.",
    "exp10": "Use np.exp(x * np.log(10.0)).", "cbrt": "Use x ** (1 / 3), for positive x.",
    "expm1": "Use np.expm1.", "log1p": "Use np.log1p.", "cosm1": "Use np.cos(x) - 1.",
    "huber": "Use np.where(abs(r) <= d, 0.5 * r**2, d * (abs(r) - 0.5 * d)).",
    **{name: f"Use scg.{name}." for name in ("erf", "ndtr", "ndtri", "log_ndtr")},
    "erfc": "Use 2.0 * scg.ndtr(-np.sqrt(2.0) * x).", "erfinv": "Use scg.ndtri(0.5 * (x + 1.0)) / np.sqrt(2.0).",
    "erfcinv": "Use -scg.ndtri(0.5 * x) / np.sqrt(2.0).",
    "erfcx": "Use 2.0 * np.exp(x**2 + scg.log_ndtr(-np.sqrt(2.0) * x)).",
}  # fmt: skip
_INSTEAD = {
    **{f"scipy.special.{name}": text for name, text in _SCIPY.items()},
    "np.einsum": "Use @, np.dot, or products and sums of two nodes at a time: (a[:, None] * b).sum(0).",
    "np.tensordot": "Use np.reshape and @.", "np.inner": "Use (a * b).sum(-1), or @.", "np.vdot": "Use (a * b).sum().",
    "np.kron": "Use np.outer and np.reshape.", "np.trace": "Use (x * np.eye(n)).sum().",
    "np.vstack": "Use np.stack or np.concatenate.", "np.hstack": "Use np.concatenate.",
    "np.dstack": "Use np.stack with axis=2.", "np.column_stack": "Use np.stack with axis=1.",
    "np.append": "Use np.concatenate.", "np.insert": "Use slices and np.concatenate.",
    "np.delete": "Use slices and np.concatenate.", "np.split": "Use slices: x[:k], x[k:].",
    "np.tile": "Use np.concatenate([x] * n), or np.broadcast_to.", "np.repeat": "Use x[np.repeat(np.arange(n), k)].",
    "np.roll": "Use np.concatenate([x[-k:], x[:-k]]).", "np.flip": "Use x[::-1].", "np.diff": "Use x[1:] - x[:-1].",
    "np.pad": "Use np.concatenate with arrays of zeros.", "np.swapaxes": "Use np.transpose with axes.",
    "np.moveaxis": "Use np.transpose with axes.", "np.diag": "Use x * np.eye(n), or (x * np.eye(n)).sum(0).",
    "np.var": "Use ((x - x.mean())**2).mean().", "np.std": "Use np.sqrt(((x - x.mean())**2).mean()).",
    "np.average": "Use (weights * x).sum() / weights.sum().", "np.prod": "Use x[0] * x[1] * …",
    "np.cumprod": "Use np.exp(np.cumsum(np.log(x))), of positive x.",
    "np.any": "Use condition.max().", "np.all": "Use condition.min().", "np.select": "Use nested scg.where.",
    "np.piecewise": "Use nested scg.where.", "np.heaviside": "Use scg.where(x > 0, 1.0, 0.0).",
    "np.copysign": "Use np.abs and np.sign.", "np.hypot": "Use np.sqrt(a**2 + b**2).",
    "np.sinh": "Use (np.exp(x) - np.exp(-x)) / 2.", "np.cosh": "Use (np.exp(x) + np.exp(-x)) / 2.",
    "np.linalg.norm": "Use np.sqrt((x**2).sum()).",
    "np.allclose": "Use abs(a - b) < tolerance.", "np.isclose": "Use abs(a - b) < tolerance.",
    "np.array_equal": "Use (a == b).min().", "np.copy": "Nodes do not change: use the node itself.",
    **{f"np.arg{end}": f"Compare: (x == x.{end}()) is 1 at the {word}, so c[np.arg{end}(x)] is "
                       f"((x == x.{end}()) * c).sum(), where no two are equal."
       for end, word in (("max", "largest"), ("min", "smallest"))},
    **dict.fromkeys(("np.sort", "np.argsort", "np.median", "np.quantile", "np.percentile"),
                    "There is no sorting of nodes; the largest and the smallest are x.max() and x.min()."),
    **dict.fromkeys(("np.linalg.inv", "np.linalg.solve", "np.linalg.det", "np.linalg.cholesky", "np.linalg.eigh"),
                    "There is no linear algebra on nodes beyond @; of numbers alone, compute it before the graph."),
}  # fmt: skip


def _unsupported(name: str, kwargs) -> NodeUseError:
    options = f" with {', '.join(kwargs)}" if kwargs else ""
    return NodeUseError(str(here() or ""), f"{name}{options} was called on a node.", "It is not defined for nodes.",
                        _INSTEAD.get(
                            name, "Use NumPy's operators and the functions that scg's documentation lists."))


def of_numpy(name: str) -> str | None:
    """What to write in place of a method that arrays of NumPy or of others have; None if nothing is known."""
    found = next((_INSTEAD[key] for key in (f"np.{name}", f"np.linalg.{name}", f"scipy.special.{name}")
                  if key in _INSTEAD), None)
    known = getattr(np, name, None)
    if found is None and (known in _UFUNCS or known in _OTHER_UFUNCS or known in _ARRAY_FUNCTIONS):
        return f"Use np.{name}(node)."
    return found


FUNCTIONS.update({"of_numpy": of_numpy, "array_ufunc": array_ufunc, "array_function": array_function, "power": power,
                  "concatenate": concatenate, "where": where, "xor": xor})

"""Functions on nodes that NumPy has no name for, and those it has under `scg`'s roof too."""

from __future__ import annotations

import inspect

from scg.ir.methods import FUNCTIONS as METHODS
from scg.ir.node import Node, apply, as_real, constant
from scg.ir.said import said
from scg.ir.signed import signed
from scg.ops.contract import dot as dot
from scg.ops.contract import matmul as matmul
from scg.ops.contract import outer as outer
from scg.ops.control import assume_continuous as assume_continuous
from scg.ops.control import stop_gradient as stop_gradient
from scg.ops.log_space import log_softmax as log_softmax
from scg.ops.log_space import logaddexp as logaddexp
from scg.ops.log_space import logmeanexp as logmeanexp
from scg.ops.log_space import logsumexp as logsumexp
from scg.ops.log_space import softmax as softmax
from scg.ops.numpy_protocol import clip as clip
from scg.ops.numpy_protocol import cumsum as cumsum
from scg.ops.numpy_protocol import power as power
from scg.ops.numpy_protocol import take_along
from scg.ops.numpy_protocol import where as where
from scg.ops.structure import concatenate as concatenate
from scg.ops.structure import one_hot as one_hot
from scg.ops.structure import stack as stack


def _unary(name: str, text: str):
    def function(x) -> Node:
        return apply(name, as_real(constant(x)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (f"{text}\n\n    Parameters\n    ----------\n    x : Node or array_like\n\n"
                        "    Returns\n    -------\n    Node\n    ")
    return function


exp = _unary("exp", "eˣ, element by element.")
log = _unary("log", "The natural logarithm, element by element.")
log1p = _unary("log1p", "log(1 + x), accurate near 0.")
expm1 = _unary("expm1", "eˣ − 1, accurate near 0.")
sqrt = _unary("sqrt", "The square root, element by element.")
sigmoid = _unary("sigmoid", "1 / (1 + e⁻ˣ), element by element.")
softplus = _unary("softplus", "log(1 + eˣ), element by element, without overflow.")
tanh = _unary("tanh", "The hyperbolic tangent, element by element.")
sin = _unary("sin", "The sine, element by element.")
cos = _unary("cos", "The cosine, element by element.")
tan = _unary("tan", "The tangent, element by element.")
abs = _unary("abs", "The absolute value, element by element; continuous.")
sign = _unary("sign", "The sign, element by element; discontinuous.")
floor = _unary("floor", "The largest integer not above, element by element; discontinuous.")
lgamma = _unary("lgamma", "log Γ(x), element by element, for positive x.")
erf = _unary("erf", "The error function 2/√π ∫₀ˣ exp(−t²) dt, element by element.")
ndtr = _unary("ndtr", "The standard normal distribution function Φ(x), element by element; accurate far below 0.")
log_ndtr = _unary("log_ndtr", "log Φ(x), element by element: accurate where Φ(x) underflows, or is nearly 1.")
ndtri = _unary("ndtri", "The standard normal quantile Φ⁻¹(p), element by element, for p between 0 and 1.")
digamma = _unary("digamma", "The derivative of log Γ, element by element, for positive x.")


def take(array, indices, axis: int | None = 0) -> Node:
    """``array[indices]``: for an array of NumPy's, or a list, and an index that is a node, of any shape.

    Parameters
    ----------
    array : Node or array_like
    indices : Node or array_like
        Whole numbers from 0: a sample of integer support, data, what is computed from these.
    axis : int, optional
        The dimension that is indexed, the first by default; with None the flattened array is.

    Returns
    -------
    Node
        The dimensions of `indices` stand in the place of the indexed one.
    """
    return take_along(array, indices, axis)


def relu(x) -> Node:
    """max(x, 0), element by element; continuous."""
    x = as_real(constant(x))
    return said(apply("maximum", x, 0.0), "relu({0})", x)


def maximum(a, b) -> Node:
    """The larger of two, element by element; continuous."""
    return apply("maximum", a, b)


def minimum(a, b) -> Node:
    """The smaller of two, element by element; continuous."""
    return apply("minimum", a, b)


def _checked(function):
    """The function as users call it: wrong arguments are an error of this package."""
    checked = signed(function)
    checked.__module__ = __name__
    return checked


FUNCTIONS = [name for name, thing in globals().items() if inspect.isfunction(thing)
             and not name.startswith("_")
             and name not in ("apply", "as_real", "constant", "said", "signed", "take_along")]
globals().update({name: _checked(globals()[name]) for name in FUNCTIONS})
METHODS["of_scg"] = lambda name: f"Use scg.{name}(node)." if name in FUNCTIONS else None

"""The law of an elementwise op: its value, scalar source, sympy form and derivatives agree at its sample points."""

from __future__ import annotations

import math
import re

import numpy as np
import sympy
from scipy import special

from scg.differentiate.reverse_mode import gradients
from scg.ir.node import constant, make
from scg.ir.op import Op, Smoothness
from tests.laws.checks.derivatives import check_derivatives, leaf, value
from tests.laws.checks.slopes import slope

# What the names in an op's `source` mean.
SCALARS = {
    "exp": math.exp, "log": math.log, "log1p": math.log1p, "expm1": math.expm1, "sqrt": math.sqrt, "tanh": math.tanh,
    "sin": math.sin, "cos": math.cos, "abs": abs, "floor": math.floor, "maximum": max, "minimum": min,
    "sign": lambda x: (x > 0) - (x < 0), "where": lambda c, a, b: a if c else b, "one": 1.0, "zero": 0.0,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "softplus": lambda x: math.log1p(math.exp(x)),
    "lgamma": math.lgamma, "digamma": special.digamma, "trigamma": lambda x: special.polygamma(1, x),
    "lgamma_rest": lambda x: math.lgamma(x) - x * math.log(x) + x,
    "digamma_rest": lambda x: math.log(x) - special.digamma(x),
    "trigamma_rest": lambda x: special.polygamma(1, x) - 1 / x, "log_ratio": lambda x, m: math.log(x / m),
    "deviance": lambda x, m: x * math.log(x / m) - x + m,
    "gamma_slope": slope, "ndtri": special.ndtri, "INF": math.inf, "NAN": math.nan,
}  # fmt: skip


def arity(op: Op) -> int:
    """How many arguments stand in its source; what follows in a sample are attributes."""
    return 1 + max(int(i) for i in re.findall(r"\{(\d+)\}", op.source))


def check_elementwise(op: Op) -> None:
    """All interpretations of the op at all its samples."""
    assert op.samples, f"{op.name} has no samples"
    assert op.sympy is not None, f"{op.name} has no sympy form"
    for sample in op.samples:
        n = arity(op)
        _check_value(op, sample[:n], sample[n:])
        _check_derivative(op, sample[:n], sample[n:])


def _check_value(op: Op, args, attrs) -> None:
    found = np.asarray(op.value(*args, *attrs))
    assert found.shape == (), f"{op.name} of scalars has shape {found.shape}"
    assert (found.dtype == bool) == (op.result == "bool"), f"{op.name} returns {found.dtype}"
    exact = [sympy.true if a is True else sympy.false if a is False else sympy.Float(a, 40) for a in args]
    form = op.sympy(sympy, *exact, *attrs)
    expected = bool(form) if found.dtype == bool else float(sympy.N(form, 30))
    _close(op, "value", found, expected)
    text = op.source.format(*(f"({a!r})" for a in args), attrs=attrs)
    _close(op, "source", eval(text, dict(SCALARS)), expected)


def _close(op: Op, what: str, found, expected) -> None:
    error = abs(float(found) - float(expected))
    assert error <= 1e-13 * max(1.0, abs(expected)), f"{what} of {op.name}: {found}, by its sympy form {expected}"


def _check_derivative(op: Op, args, attrs) -> None:
    leaves = [constant(a) if isinstance(a, bool) else leaf(f"x{i}", ()) for i, a in enumerate(args)]
    node = make(op, tuple(leaves), tuple(attrs))
    values = {x.attrs.name: np.asarray(a) for x, a in zip(leaves, args) if x.op.name == "feed"}
    smooth = [x for i, x in enumerate(leaves) if x.op.name == "feed" and
              op.smooth_in(i) in (Smoothness.SMOOTH, Smoothness.CONTINUOUS)]
    flat = [x for x in leaves if x.op.name == "feed" and all(x is not s for s in smooth)]
    if flat:
        found = gradients({node: constant(1.0)}, flat)
        assert all(g is None for g in found), f"a derivative flows through {op.name}, which says that none does"
    if smooth and op.derivative is not None:
        order = 2 if _twice(op, node, smooth) else 1
        check_derivatives(node, smooth, values, order)


def _twice(op: Op, node, smooth) -> bool:
    """Whether the derivative can be differentiated again: it uses no op without a derivative."""
    from scg.ir.traverse import topological

    grads = [g for g in gradients({node: constant(1.0)}, smooth) if g is not None]
    return all(n.op.derivative is not None for n in topological(grads) if n.args)


def evaluate_sample(op: Op, sample) -> np.ndarray:
    """The op at a sample, through the interpreter."""
    n = arity(op)
    return value(make(op, tuple(constant(a) for a in sample[:n]), tuple(sample[n:])), {})

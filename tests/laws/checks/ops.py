"""The law of an elementwise op, with meanings of the names in sources that are not the ops' own values."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from scg.ir.node import constant, make
from scg.ir.op import Op
from scg.laws import ops
from scg.laws.derivatives import value
from tests.laws.checks.slopes import slope


def mills(x):
    """φ/Φ of the normal distribution."""
    return math.sqrt(2.0 / math.pi) * np.exp(-0.5 * x * x) / special.erfc(-x / math.sqrt(2.0))


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
    "gamma_slope": slope, "ndtri": special.ndtri, "erf": math.erf, "ndtr": special.ndtr, "log_ndtr": special.log_ndtr,
    "inverse_mills": mills, "inverse_mills_rest": lambda x: x + mills(x), "INF": math.inf, "NAN": math.nan,
}  # fmt: skip


def check_elementwise(op: Op) -> None:
    """All interpretations of the op at all its samples."""
    ops.check_elementwise(op, SCALARS)


def evaluate_sample(op: Op, sample) -> np.ndarray:
    """The op at a sample, through the interpreter."""
    return value(make(op, tuple(constant(a) for a in sample[:op.arity]), tuple(sample[op.arity:])), {})

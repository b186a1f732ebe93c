"""Exponentials, logarithms, sigmoids and trigonometric functions, element by element."""

from __future__ import annotations

import math

import numpy as np

from scg.ir import digits
from scg.ir.interval import SMALLEST, Interval, exactly
from scg.ir.node import apply
from scg.ir.op import Inverse, Pole
from scg.ops.arithmetic import elementwise

_real = ((0.7,), (-1.3,), (2.5,))
_positive = ((0.3,), (1.0,), (7.5,))


def _increasing(function):
    """Bounds of an increasing function."""
    return lambda n, x: x.through(function)


def avoids_zero(n, *args: Interval) -> bool:
    """Whether the last argument, that of a logarithm, keeps clear of 0; below 0 a call reports that it has no value."""
    return args[-1].clear_of_zero


def avoids_minus_one(n, *args: Interval) -> bool:
    """The same of the argument of log(1 + x)."""
    return args[-1].plus(exactly(1.0)).clear_of_zero


def _between_poles(n, x: Interval) -> bool:
    return -0.5 * np.pi < x.low and x.high < 0.5 * np.pi


def _falls_slowly(position: int, tail: float) -> float:
    """The density of an exponential: slower than any exponential."""
    return 0.0


def _above(least: float):
    """Where a function begins that has one argument."""
    return lambda position: least


def _exponentially(position: int, tail: float) -> float:
    """That of a logarithm, which is −∞ where its argument ends."""
    return 1.0


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _softplus(x):
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


exp_op = elementwise(
    "exp", np.exp, "exp({0})", derivative=lambda g, y, x: (g * y,), bounds=_increasing(np.exp),
    sympy=lambda m, x: m.exp(x), defined=True, magnitude=digits.exponential, growth=np.inf,
    advice="Keep its argument below 709, or use scg.sigmoid, scg.softplus or scg.logsumexp.", samples=_real,
    inverse=Inverse(lambda i, y: apply("log", y), lambda i, x, y: x, tail=_falls_slowly))
log_op = elementwise(
    "log", np.log, "log({0})", derivative=lambda g, y, x: (g / x,), bounds=_increasing(np.log),
    poles=Pole("where its argument touches 0", avoids_zero, order=0.0, cancels=True),
    sympy=lambda m, x: m.log(x), defined=lambda n, x: x.positive, logarithmic=True, advice="Keep its argument above 0.",
    magnitude=lambda n, x, d: digits.where(x[0].low >= SMALLEST, max(d[0], 2.0)), samples=_positive,
    inverse=Inverse(lambda i, y: apply("exp", y), lambda i, x, y: -y, above=_above(0.0), tail=_exponentially))
log1p_op = elementwise(
    "log1p", np.log1p, "log1p({0})", derivative=lambda g, y, x: (g / (1.0 + x),), bounds=_increasing(np.log1p),
    poles=Pole("where its argument touches −1", avoids_minus_one, order=0.0),
    sympy=lambda m, x: m.log(1 + x),
    defined=lambda n, x: x.low > -1.0, logarithmic=True, advice="Keep its argument above -1.",
    magnitude=lambda n, x, d: digits.where(x[0].low > -0.5, d[0]), samples=_positive + ((-0.4,),),
    inverse=Inverse(lambda i, y: apply("expm1", y), lambda i, x, y: -y, above=_above(-1.0), tail=_exponentially))
expm1_op = elementwise(
    "expm1", np.expm1, "expm1({0})", derivative=lambda g, y, x: (g * (y + 1.0),),
    bounds=_increasing(np.expm1), sympy=lambda m, x: m.exp(x) - 1, defined=True, magnitude=digits.exponential,
    growth=np.inf, samples=_real,
    inverse=Inverse(lambda i, y: apply("log1p", y), lambda i, x, y: x, tail=_falls_slowly))
sqrt_op = elementwise(
    "sqrt", np.sqrt, "sqrt({0})", derivative=lambda g, y, x: (g * 0.5 / y,),
    bounds=lambda n, x: x.larger(exactly(0.0)).through(np.sqrt, x.clear_of_zero),
    sympy=lambda m, x: m.sqrt(x), steep=True, growth=0.5,
    defined=lambda n, x: x.low >= 0.0, magnitude=lambda n, x, d: digits.where(x[0].low >= 0.0, d[0]),
    advice="Keep its argument above 0.", samples=_positive,
    inverse=Inverse(lambda i, y: y * y, lambda i, x, y: -math.log(2.0) - apply("log", y), above=_above(0.0),
                    tail=lambda i, t: 2.0 * t))
sigmoid_op = elementwise(
    "sigmoid", _sigmoid, "sigmoid({0})", derivative=lambda g, y, x: (g * y * (1.0 - y),),
    bounds=_increasing(_sigmoid), sympy=lambda m, x: 1 / (1 + m.exp(-x)), regular=True, defined=True,
    samples=_real,
    inverse=Inverse(lambda i, y: apply("log", y) - apply("log1p", -y),
                    lambda i, x, y: -apply("softplus", x) - apply("softplus", -x)))
softplus_op = elementwise(
    "softplus", _softplus, "softplus({0})", derivative=lambda g, y, x: (g * apply("sigmoid", x),),
    bounds=_increasing(_softplus), sympy=lambda m, x: m.log(1 + m.exp(x)), regular=True, defined=True,
    samples=_real,
    inverse=Inverse(lambda i, y: y + apply("log", -apply("expm1", -y)), lambda i, x, y: -apply("softplus", -x)))
tanh_op = elementwise(
    "tanh", np.tanh, "tanh({0})", derivative=lambda g, y, x: (g * (1.0 - y * y),),
    bounds=_increasing(np.tanh), sympy=lambda m, x: m.tanh(x), regular=True, defined=True,
    samples=_real,
    inverse=Inverse(lambda i, y: 0.5 * (apply("log1p", y) - apply("log1p", -y)),
                    lambda i, x, y: 2.0 * (math.log(2.0) - x - apply("softplus", -2.0 * x))))
sin_op = elementwise(
    "sin", np.sin, "sin({0})", derivative=lambda g, y, x: (g * apply("cos", x),),
    bounds=lambda n, x: Interval(-1.0, 1.0, False, False), sympy=lambda m, x: m.sin(x), regular=True, defined=True,
    oscillates=True,
    samples=_real)
cos_op = elementwise(
    "cos", np.cos, "cos({0})", derivative=lambda g, y, x: (-(g * apply("sin", x)),),
    bounds=lambda n, x: Interval(-1.0, 1.0, False, False), sympy=lambda m, x: m.cos(x), regular=True, defined=True,
    oscillates=True,
    samples=_real)
tan_op = elementwise(
    "tan", np.tan, "(sin({0}) / cos({0}))", derivative=lambda g, y, x: (g * (1.0 + y * y),),
    poles=Pole("at odd multiples of π/2", _between_poles),
    sympy=lambda m, x: m.tan(x), samples=((0.7,), (-1.3,)))

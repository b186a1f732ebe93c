"""Exponentials, logarithms, sigmoids and trigonometric functions, element by element."""

from __future__ import annotations

import numpy as np

from scg.ir.node import apply
from scg.ops.arithmetic import elementwise

_real = ((0.7,), (-1.3,), (2.5,))
_positive = ((0.3,), (1.0,), (7.5,))


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def _softplus(x):
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


elementwise("exp", np.exp, "exp({0})", derivative=lambda g, y, x: (g * y,), sympy=lambda m, x: m.exp(x), samples=_real)
elementwise("log", np.log, "log({0})", derivative=lambda g, y, x: (g / x,), domain="positive",
            sympy=lambda m, x: m.log(x), samples=_positive)
elementwise("log1p", np.log1p, "log1p({0})", derivative=lambda g, y, x: (g / (1.0 + x),), domain="above minus one",
            sympy=lambda m, x: m.log(1 + x), samples=_positive + ((-0.4,),))
elementwise("expm1", np.expm1, "expm1({0})", derivative=lambda g, y, x: (g * (y + 1.0),),
            sympy=lambda m, x: m.exp(x) - 1, samples=_real)
elementwise("sqrt", np.sqrt, "sqrt({0})", derivative=lambda g, y, x: (g * 0.5 / y,), domain="positive",
            sympy=lambda m, x: m.sqrt(x), samples=_positive)
elementwise("sigmoid", _sigmoid, "sigmoid({0})", derivative=lambda g, y, x: (g * y * (1.0 - y),),
            sympy=lambda m, x: 1 / (1 + m.exp(-x)), samples=_real)
elementwise("softplus", _softplus, "softplus({0})", derivative=lambda g, y, x: (g * apply("sigmoid", x),),
            sympy=lambda m, x: m.log(1 + m.exp(x)), samples=_real)
elementwise("tanh", np.tanh, "tanh({0})", derivative=lambda g, y, x: (g * (1.0 - y * y),),
            sympy=lambda m, x: m.tanh(x), samples=_real)
elementwise("sin", np.sin, "sin({0})", derivative=lambda g, y, x: (g * apply("cos", x),),
            sympy=lambda m, x: m.sin(x), samples=_real)
elementwise("cos", np.cos, "cos({0})", derivative=lambda g, y, x: (-(g * apply("sin", x)),),
            sympy=lambda m, x: m.cos(x), samples=_real)
elementwise("tan", np.tan, "(sin({0}) / cos({0}))", derivative=lambda g, y, x: (g * (1.0 + y * y),),
            sympy=lambda m, x: m.tan(x), domain="off the poles", samples=((0.7,), (-1.3,)))

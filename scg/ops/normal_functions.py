"""Functions of the normal distribution: its distribution function, the logarithm of that, the error function.

The slope of log Φ is the inverse Mills ratio φ/Φ, an op of its own, since exp of the logarithms' difference is right to
x² units in the last place only. What that ratio is more than −x, as it is far below 0, is the next derivative's factor:
a difference that leaves nothing of it there, so it is an op as well. From the third on, derivatives of log Φ
are differences of numbers near 1, and right to so many digits after the point as these.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from scg.ir import digits
from scg.ir.interval import Interval
from scg.ir.node import Node, apply
from scg.ir.op import Inverse
from scg.ops.arithmetic import elementwise

_LOG_PEAK = -0.5 * math.log(2.0 * math.pi)  # log φ(0)
_PEAK = math.exp(_LOG_PEAK)
_FAR, _LEVELS = 3.0, 60  # of the continued fraction: beyond that far so many levels are right to a double's last place
_real = ((0.7,), (-1.3,), (2.5,), (-6.0,))


def _in_double(function):
    """The function computed in double precision, its result in that of the argument."""
    def value(x):
        x = np.asarray(x)
        with np.errstate(all="ignore"):
            return function(x.astype(np.float64)).astype(np.result_type(x, np.float32))

    return value


def _bell(x):
    """exp(−x²/2): of x in two parts, of which the first has an exact square, as rounding x² costs x²/2 units else."""
    x = np.minimum(np.abs(x), 40.0)
    short = x.astype(np.float32).astype(np.float64)
    return np.exp(-0.5 * short * short) * np.exp(-0.5 * (x - short) * (x + short))


def _below(x):
    """Φ(−|x|)."""
    y = math.sqrt(0.5) * np.abs(x)
    return np.where(y < 0.5, 0.5 - 0.5 * special.erf(y), 0.5 * special.erfcx(y) * _bell(x))


def _ndtr(x):
    return np.where(x < 0.0, _below(x), 1.0 - _below(x))


def _log_ndtr(x):
    y = np.minimum(x, -0.7)
    far = np.log(0.5 * special.erfcx(-math.sqrt(0.5) * y)) - 0.5 * y * y
    return np.where(x < 0.0, np.where(x < -0.7, far, np.log(_below(x))), np.log1p(-_below(x)))


def _inverse_mills(x):
    return np.where(x < 0.0, 2.0 * _PEAK / special.erfcx(-math.sqrt(0.5) * np.minimum(x, 0.0)),
                    _PEAK * _bell(x) / (1.0 - _below(x)))


def _inverse_mills_rest(x):
    """Far below 0 by its continued fraction 1/(t + 2/(t + 3/(t + …))) in t = −x (P. S. Laplace, of φ/Φ)."""
    t, found = np.maximum(-x, _FAR), 0.0
    for k in range(_LEVELS, 0, -1):
        found = k / (t + found)
    return np.where(x < -_FAR, found, np.maximum(x, -_FAR) + _inverse_mills(np.maximum(x, -_FAR)))


def _about(function, x: Interval) -> Interval:
    """Bounds of an increasing function that is right to some more units in the last place than those of NumPy."""
    return x.through(_in_double(function)).times(Interval(1.0 - 1e-14, 1.0 + 1e-14, False, False))


def _between_0_and_1(n: Node, x: Interval) -> Interval:
    most = Interval(1.0, 1.0, False, x.high_open or x.high < math.inf)
    return _about(_ndtr, x).negated().larger(most.negated()).negated()


def _positive(n: Node, x: Interval) -> Interval:
    return Interval(0.0, math.inf, True, True)


def _mills(m, x):
    """φ/Φ in a formula."""
    return m.sqrt(2 / m.pi) * m.exp(-x**2 / 2) / m.erfc(-x / m.sqrt(2))


def _peak_of(node: Node) -> Node:
    return apply("exp", -0.5 * node * node)


erf_op = elementwise(
    "erf", special.erf, "erf({0})",
    derivative=lambda g, y, x: (g * (2.0 / math.sqrt(math.pi)) * apply("exp", -(x * x)),),
    bounds=lambda n, x: x.through(special.erf), sympy=lambda m, x: m.erf(x), regular=True, defined=True, samples=_real)
ndtr_op = elementwise(
    "ndtr", _in_double(_ndtr), "ndtr({0})", derivative=lambda g, y, x: (g * _PEAK * _peak_of(x),),
    bounds=_between_0_and_1, sympy=lambda m, x: m.erfc(-x / m.sqrt(2)) / 2,
    regular=True, defined=True, samples=_real,
    inverse=Inverse(lambda i, y: apply("ndtri", y), lambda i, x, y: _LOG_PEAK - 0.5 * x * x))
log_ndtr_op = elementwise(
    "log_ndtr", _in_double(_log_ndtr), "log_ndtr({0})",
    derivative=lambda g, y, x: (g * apply("inverse_mills", x),),
    bounds=lambda n, x: _about(_log_ndtr, x), sympy=lambda m, x: m.log(m.erfc(-x / m.sqrt(2)) / 2),
    defined=True, magnitude=lambda n, x, d: 2.0 * d[0] + 1.0, growth=2.0, samples=_real)
inverse_mills_op = elementwise(
    "inverse_mills", _in_double(_inverse_mills), "inverse_mills({0})",
    derivative=lambda g, y, x: (-(g * y * apply("inverse_mills_rest", x)),), bounds=_positive, sympy=_mills,
    regular=True, defined=True, magnitude=digits.largest, samples=_real)
inverse_mills_rest_op = elementwise(
    "inverse_mills_rest", _in_double(_inverse_mills_rest), "inverse_mills_rest({0})",
    derivative=lambda g, y, x: (g * (1.0 - apply("inverse_mills", x) * y),), bounds=_positive,
    sympy=lambda m, x: x + _mills(m, x), regular=True, defined=True, magnitude=lambda n, x, d: d[0] + 0.1,
    samples=_real)

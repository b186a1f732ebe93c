"""Draws whose derivative is given, instead of a differentiable formula for the draw.

A draw x of a distribution function F moves with a parameter a as F(x; a) = u stays the same: dx/da = −(∂F/∂a) / p
(Figurnov, Mohamed & Mnih 2018; Jankowiak & Obermeyer 2018, who also give maps for several dimensions).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import special

from scg.ir.node import Node, apply, make
from scg.ir.op import Op, Pole, Smoothness, register
from scg.ir.traverse import Substitution
from scg.ops.arithmetic import elementwise
from scg.ops.cancelling import in_float64
from scg.ops.shapes import broadcast, refuse

_MOST = 64  # parameters of one draw


def _derivative(g, y, x, *given):
    """∂y = Σ slope · ∂parameter; the slopes, which are written with x, hold of y, which moves."""
    slopes = map(Substitution({x: y}, since=x.id), given[1::2])
    return (None, *(part for slope in slopes for part in (g * slope, None)))


def _shape(args, attrs):
    shape = broadcast(args, attrs)
    if shape != args[0].shape:
        raise refuse(f"Slopes of shape {shape} were given for a draw of shape {args[0].shape}.",
                     "There is one for each element of the draw.", "Give each element of a parameter by itself.")
    return shape


# args: the draw, then a parameter and the slope of the draw in it, one pair after another. It is a mark, written out
# before a program is made.
implicit_op = register(Op(
    "implicit", "structural", shape=_shape, derivative=_derivative, multiplies=False, regular=False,
    smoothness=(Smoothness.BLOCKING, *(Smoothness.SMOOTH, Smoothness.BLOCKING) * _MOST),
    said="implicit(x, a, s): x, with the derivative s in a"))


def implicit(draw: Node, slopes: Iterable[tuple[Node, Node]]) -> Node:
    """The draw, with a derivative in parameters that is given.

    Parameters
    ----------
    draw : Node
        No derivative flows through it otherwise.
    slopes : iterable of pairs of Node
        A parameter and the draw's derivative in it, element by element, both of a shape that broadcasts to the draw's.
        What a slope has of the draw is taken to move with it where it is differentiated again.
    """
    return make(implicit_op, (draw, *(node for pair in slopes for node in pair)))


def gamma_slope(concentration, log_x) -> Node:
    """The derivative of log x in the concentration, for a gamma draw x of rate 1."""
    return apply("gamma_slope", concentration, log_x)


def without(node: Node) -> Node:
    """The draw itself."""
    return node.args[0] if node.op is implicit_op else node


# --- the gamma distribution ------------------------------------------------------------------------------------------
# With u fixed, d log x / da is the ratio of −∂P(a, x)/∂a to x p(x). Substituting t = x e^(∓s) in the incomplete gamma
# integral gives, below and above the point where log x is the mean of the logarithm,
#
#   ∫ e^(−as + x(1 − e^(−s))) (ψ(a) − log x + s) ds   and   ∫ e^(as − x(e^s − 1)) (log x − ψ(a) + s) ds,   s > 0,
#
# the first of which is integrated by parts once, so that all terms are positive: nothing cancels anywhere. Both are
# taken by the double exponential rule for integrands that fall exponentially (Takahasi & Mori 1974); where a < 1, the
# first is summed as the power series of the incomplete gamma function.
POINTS = np.linspace(-3.7, 4.6, 80)
STEPS = np.exp(POINTS - np.exp(-POINTS))
WEIGHTS = STEPS * (1.0 + np.exp(-POINTS)) * (POINTS[1] - POINTS[0])
TERMS = 26


@in_float64
def _gamma_slope(a, log_x):
    a, log_x = np.broadcast_arrays(a, log_x)
    x, mean = np.exp(log_x), special.digamma(a) + 1.0 / a
    low, small = log_x <= mean, a < 1.0
    return np.where(low, np.where(small, _by_series(a, log_x, x, mean), _from_below(a, log_x, x, mean)),
                    _from_above(a, log_x, x, mean))


def _by_series(a, log_x, x, mean):
    x = np.minimum(x, 2.0)
    total, slope, term, harmonic = np.ones_like(x), np.zeros_like(x), np.ones_like(x), np.zeros_like(x)
    for n in range(1, TERMS):
        term = term * x / (a + n)
        harmonic = harmonic + 1.0 / (a + n)
        total, slope = total + term, slope + term * harmonic
    return (total * (mean - log_x) + slope) / a


def _from_below(a, log_x, x, mean):
    scale = 2.0 / ((a - x) + np.sqrt((a - x) ** 2 + 2.0 * x))
    plain, weighted = np.zeros_like(x), np.zeros_like(x)
    for step, weight in zip(STEPS, WEIGHTS):
        s = scale * step
        e = weight * scale * np.exp(-a * s - x * np.expm1(-s))
        plain, weighted = plain + e, weighted + s * np.exp(-s) * e
    return (mean - log_x) * plain + weighted * (x / a)


def _from_above(a, log_x, x, mean):
    scale = 2.0 / ((x - a) + np.sqrt((x - a) ** 2 + 2.0 * x))
    total = np.zeros_like(x)
    for step, weight in zip(STEPS, WEIGHTS):
        s = scale * step
        total = total + weight * scale * np.exp(a * s - x * np.expm1(s)) * (log_x - mean + 1.0 / a + s)
    return total


@functools.cache
def slope_function(m: Any) -> Any:
    """The sympy function of a gamma draw's slope, which numbers can be put into."""

    class GammaSlope(m.Function):
        """d log x / da of a gamma draw x of concentration a, from a and log x."""

        def __reduce__(self):
            return _slope_again, self.args

        nargs = 2
        is_real = True
        _imp_ = staticmethod(_gamma_slope)  # what sympy.lambdify makes of it

        def _eval_evalf(self, prec):
            a, log_x = self.args
            if not (a.is_number and log_x.is_number):
                return None
            x, digits = m.exp(log_x), int(prec / 3.3) + 10
            moved = (log_x - m.digamma(a)) * m.uppergamma(a, x) + m.meijerg([[], [1, 1]], [[0, 0, a], []], x)
            return (m.exp(x - a * log_x) * moved).evalf(digits)

    return GammaSlope


def _slope_again(a, log_x):
    """The function of what a pickle holds."""
    return slope_function(sys.modules["sympy"])(a, log_x)  # whose expressions these are


# Its derivative would need the second moment of the same integral: a second derivative of a path is refused.
gamma_slope_op = elementwise(
    "gamma_slope", _gamma_slope, "gamma_slope({0}, {1})", sympy=lambda m, a, t: slope_function(m)(a, t),
    said="gamma_slope(a, t): dt/da, where exp(t) is a quantile of the gamma distribution of concentration a and rate 1",
    poles=(Pole("where its concentration touches 0", lambda n, a, t: a.positive), None),
    hinders="has no derivative here: it is the slope of a gamma draw's path, of which a second one is not known",
    samples=((0.3, -1.2), (2.5, 0.4), (40.0, 3.8)))

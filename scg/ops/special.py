"""Special functions of the distributions: the gamma family, the normal distribution function's inverse, and products
in which a factor of 0 wins, over an infinite other one too."""

from __future__ import annotations

import numpy as np
from scipy import special

from scg.ir import digits, draws
from scg.ir.interval import SMALLEST, Interval, exactly
from scg.ir.node import Node, apply
from scg.ir.op import Pole
from scg.ops.arithmetic import elementwise, sub_op
from scg.ops.elementary import avoids_minus_one, avoids_zero

_positive = ((0.3,), (1.7,), (12.5,))
def _at_integers(order: float) -> Pole:
    return Pole("at 0 and the negative integers", lambda n, x: x.positive, order)



_probability = ((0.2,), (0.5,), (0.97,))


def _is_uniform(p: Node) -> bool:
    """Whether it is a uniform draw u or 1 − u, which are 2⁻⁵³ away from 0 and 1: nothing that others compute is."""
    mirrored = p.op is sub_op and p.args[0].is_const and p.args[0].attrs.ask("is", 1.0)
    u = p.args[1] if mirrored else p
    if not u.args or u.args[0].kind != "noise" or u.op.bounds is None:
        return False
    within = u.op.bounds(u, *(Interval() for _ in u.args))
    return within.low == 0.0 and within.high == 1.0 and within.low_open and within.high_open


lgamma_op = elementwise(
    "lgamma", special.gammaln, "lgamma({0})", derivative=lambda g, y, x: (g * apply("digamma", x),),
    sympy=lambda m, x: m.loggamma(x), poles=_at_integers(0.0), defined=lambda n, x: x.positive,
    magnitude=lambda n, x, d: digits.where(x[0].low >= SMALLEST, d[0] + 2.0), samples=_positive)
digamma_op = elementwise(
    "digamma", special.digamma, "digamma({0})", derivative=lambda g, y, x: (g * apply("trigamma", x),),
    sympy=lambda m, x: m.digamma(x), poles=_at_integers(1.0), defined=lambda n, x: x.positive,
    magnitude=lambda n, x, d: digits.where(x[0].low > 0.0, max(d[0], digits.of_inverse(x[0]))), samples=_positive)
trigamma_op = elementwise(
    "trigamma", lambda x: special.polygamma(1, x), "trigamma({0})", poles=_at_integers(2.0),
    sympy=lambda m, x: m.polygamma(1, x), defined=lambda n, x: x.positive,
    magnitude=lambda n, x, d: digits.where(x[0].low > 0.0, 2.0 * digits.of_inverse(x[0])), samples=_positive)
ndtri_op = elementwise(
    "ndtri", special.ndtri, "ndtri({0})",
    derivative=lambda g, y, p: (g * np.sqrt(2.0 * np.pi) * apply("exp", 0.5 * y * y),),
    poles=Pole("where its argument touches 0 or 1",
               lambda n, p: p.clear_of_zero and p.plus(exactly(-1.0)).clear_of_zero, order=0.0),
    sympy=lambda m, p: m.sqrt(2) * m.erfinv(2 * p - 1), defined=lambda n, p: Interval(0.0, 1.0).holds(p),
    advice="Keep its argument between 0 and 1.",
    regular=lambda n: _is_uniform(n.args[0]), samples=_probability)


# --- products in which 0 wins ----------------------------------------------------------------------------------------
# p log q is 0 at p = 0, whatever q is: what has no probability adds nothing to an entropy. As ops of their own they are
# exact there, and so are their derivatives, which are infinite only where the true ones are. Only p itself wins so: an
# adjoint that is 0 does not, for it may be a number that vanishes as the slope grows, as exp(log q) does.
def _zero_wins(function):
    """The value of x f(y), 0 where x is 0 and f(y) infinite."""
    def value(x, y):
        with np.errstate(all="ignore"):
            other = function(y)
            return np.where((np.asarray(x) == 0.0) & ~np.isnan(other), 0.0, np.multiply(x, other))

    return value


weighed_op = elementwise(
    "weighed", lambda a, x, z: np.where((np.asarray(x) == 0.0) & ~np.isnan(z), 0.0, np.divide(a * x, z)),
    "(0.0 if ({1} == 0.0) & ({2} == {2}) else {0} * {1} / {2})",
    derivative=lambda g, y, a, x, z: (weighed(g, x, z), g * a / z, -weighed(g * a / z, x, z)),
    poles=(None, None, Pole("where its denominator passes 0", lambda n, a, x, z: z.clear_of_zero)),
    bounds=lambda n, a, x, z: a.times(x).times(z.reciprocal()),
    sympy=lambda m, a, x, z: a * x / z,
    multiplies=True, defined=lambda n, a, x, z: z.clear_of_zero,
    samples=((0.3, 1.7, -0.6), (-2.5, 0.4, 1.1), (1.2, 0.0, 0.7)))


def weighed(a: Node, x: Node, z: Node) -> Node:
    """a x / z, the derivative of x log z in z times a number: 0 where x is 0, and not where a is.

    At x = 1 and z = 0 nothing is known of it: of exp(log z) it is 1, although the adjoint a = exp(log z) is 0.
    """
    return apply("weighed", a, x, z)


def _itself(y):
    return y


_weight_and_value = ((0.3, 1.7), (2.5, 0.4), (1.0, 3.1))
xmuly_op = elementwise(
    "xmuly", _zero_wins(_itself), "(0.0 if ({0} == 0.0) & ({1} == {1}) else {0} * {1})",
    derivative=lambda g, y, x, z: (g * z, g * x), bounds=lambda n, x, z: x.times(z),
    text="{0} * {1}", sympy=lambda m, x, z: x * z,
    multiplies=True, defined=True, magnitude=digits.product, depends=draws.multiplied,
    samples=_weight_and_value)
xlogy_op = elementwise(
    "xlogy", _zero_wins(np.log), "(0.0 if ({0} == 0.0) & ({1} >= 0.0) else {0} * log({1}))",
    derivative=lambda g, y, x, z: (g * apply("log", z), weighed(g, x, z)),
    poles=(None, Pole("where its argument touches 0", avoids_zero, order=0.0, cancels=True)),
    bounds=lambda n, x, z: x.times(z.through(np.log)), text="{0} * log({1})", sympy=lambda m, x, z: x * m.log(z),
    multiplies=True, defined=lambda n, x, z: z.positive,
    magnitude=lambda n, x, d: digits.where(x[1].low >= SMALLEST, d[0] + 2.0), samples=_weight_and_value)
xlog1py_op = elementwise(
    "xlog1py", _zero_wins(np.log1p), "(0.0 if ({0} == 0.0) & ({1} >= -1.0) else {0} * log1p({1}))",
    derivative=lambda g, y, x, z: (g * apply("log1p", z), weighed(g, x, 1.0 + z)),
    poles=(None, Pole("where its argument touches −1", avoids_minus_one, order=0.0)),
    bounds=lambda n, x, z: x.times(z.through(np.log1p)), text="{0} * log1p({1})",
    sympy=lambda m, x, z: x * m.log(1 + z),
    multiplies=True, defined=lambda n, x, z: z.low > -1.0,
    magnitude=lambda n, x, d: digits.where(x[1].low > -0.5, d[0] + 2.0), samples=(*_weight_and_value, (0.6, -0.4)))
exp_times_op = elementwise(
    "exp_times", lambda a, z: _zero_wins(_itself)(np.exp(a), z),
    "(0.0 if (exp({0}) == 0.0) & ({1} == {1}) else exp({0}) * {1})",
    derivative=lambda g, y, a, z: (g * y, g * apply("exp", a)),
    bounds=lambda n, a, z: a.through(np.exp).times(z), text="exp({0}) * {1}", sympy=lambda m, a, z: m.exp(a) * z,
    multiplies=True, defined=True, magnitude=lambda n, x, d: digits.of_exponential(x[0]) + d[1],
    samples=((0.3, 1.7), (-2.5, 0.4), (1.0, -3.1)))


def ndtri(p) -> Node:
    """The standard normal quantile of a probability."""
    return apply("ndtri", p)


def trigamma(x) -> Node:
    """The second derivative of log Γ."""
    return apply("trigamma", x)


def xlogy(x, y) -> Node:
    """x log y, element by element: 0 where x is 0."""
    return apply("xlogy", x, y)


def xlog1py(x, y) -> Node:
    """x log(1 + y), element by element: 0 where x is 0."""
    return apply("xlog1py", x, y)


def xmuly(x, y) -> Node:
    """x y, element by element: 0 where x is 0, also if y is infinite."""
    return apply("xmuly", x, y)


def exp_times(a, y) -> Node:
    """eᵃ y, element by element: 0 where a is −∞, also if y is infinite. Its derivative there is 0 as well."""
    return apply("exp_times", a, y)

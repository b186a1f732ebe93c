"""Differences in which large terms cancel, each computed as one number, and numbers that are written in two ways.

log Γ(a) is near a log a − a, and what is left of a log-probability at a large count is the rest. Subtracted in the
working precision it would be lost. These ops are accurate to some units of the last place of their largest term once
the terms that cancel are gone; in single precision they are computed in double precision and rounded.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import special

from scg.ir.interval import exactly
from scg.ir.node import Node, NodeLike, apply, constant, make
from scg.ir.op import Pole, Smoothness
from scg.ops.arithmetic import choose, elementwise
from scg.ops.special import weighed, xlog1py_op, xlogy_op

LARGE = 16.0  # from here on the series below are exact to rounding, and sums of larger terms lose digits
TINY, HUGE = 1e-30, 1e30  # between these, products have not lost digits to underflow or overflow, in either precision


def in_float64(function):
    """A NumPy function that computes in double precision, and rounds to the type of its arguments."""

    @functools.wraps(function)
    def value(*args):
        arrays = [np.asarray(a) for a in args]
        kind = np.result_type(*arrays) if all(a.dtype.kind == "f" for a in arrays) else np.float64
        with np.errstate(all="ignore"):
            result = function(*(a.astype(np.float64) for a in arrays))
            return np.asarray(result).astype(kind)

    return value


def _series(x, coefficients):
    """Σ cᵢ x⁻²ⁱ for x from 16 on."""
    square = 1.0 / np.maximum(x, LARGE) ** 2
    total = np.zeros_like(square)
    for c in reversed(coefficients):
        total = total * square + c
    return total


# Stirling's series and its derivatives (Abramowitz & Stegun 6.1.41, 6.3.18, 6.4.12), without their leading terms
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760)
_TRIGAMMA = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730)


def _of_positive(few, many):
    """A function by two formulas, below and from `LARGE` on; ∞ at 0, NaN below."""
    @in_float64
    def value(x):
        return np.where(x > 0.0, np.where(x < LARGE, few(x), many(x)), np.where(x == 0.0, np.inf, np.nan))

    return value


_lgamma_rest = _of_positive(lambda x: special.gammaln(x) - x * np.log(x) + x,
                            lambda x: 0.5 * np.log(2.0 * np.pi / x) + _series(x, _STIRLING) / x)
_digamma_rest = _of_positive(lambda x: np.log(x) - special.digamma(x),
                             lambda x: 0.5 / x + _series(x, _DIGAMMA) / (x * x))
_trigamma_rest = _of_positive(lambda x: np.where(x < 1e-18, 1.0 / x**2, special.polygamma(1, x) - 1.0 / x),
                              lambda x: (0.5 + _series(x, _TRIGAMMA) / x) / (x * x))


@in_float64
def _log_ratio(x, m):
    ratio = x / m
    plain = (m > 0.0) & (ratio > 1e-300) & (ratio < 1e300)
    far = np.where(plain, np.log(ratio), np.log(x) - np.log(m))
    return np.where((np.abs(x - m) <= 0.5 * m) & (m > 0.0) & (m < np.inf), np.log1p((x - m) / m), far)


@in_float64
def _deviance(x, m):
    ends = np.where(x == 0.0, m, np.where(x > 0.0, (x - m) + np.inf, np.nan))
    inside = (x > 0.0) & (x < np.inf) & (m > 0.0)
    value = np.where(m < np.inf, (m - x) + x * _log_ratio(x, m), m)
    return np.where(inside, value, np.where(m >= 0.0, ends, np.nan))


def _log_bernoulli(x, odds):
    return (x - (odds > 0.0)) * odds - np.log1p(np.exp(-np.abs(odds)))


def _log_outcome(x, p):
    return xlogy_op.value(x, p) + xlog1py_op.value(1.0 - x, -p)


def _bernoulli_residual(x, odds):
    small = np.exp(-np.abs(odds))
    small = small / (1.0 + small)
    return (x - (odds > 0.0)) + np.where(odds > 0.0, small, -small)


_outcomes = ((1.0, 0.7), (0.0, -1.3), (1.0, -2.5), (0.0, 1.9))
_outcomes_of_p = ((1.0, 0.7), (0.0, 0.2), (0.3, 0.6))
_positive = ((0.3,), (1.7,), (12.5,), (90.0,))
_two_positive = ((0.3, 1.7), (2.5, 2.4), (40.0, 37.0))


def _at_zero(order: float, position: int = 0) -> Pole:
    # below 0 the ops have no value, and a call reports that
    return Pole("where its argument touches 0", lambda n, *x: x[position].clear_of_zero, order)


_each_at_zero = (_at_zero(0.0), _at_zero(0.0, 1))  # an argument that is not differentiated may be 0


lgamma_rest_op = elementwise(
    "lgamma_rest", _lgamma_rest, "lgamma_rest({0})", poles=_at_zero(0.0), samples=_positive,
    derivative=lambda g, y, x: (-(g * apply("digamma_rest", x)),),
    sympy=lambda m, x: m.loggamma(x) - x * m.log(x) + x)
digamma_rest_op = elementwise(
    "digamma_rest", _digamma_rest, "digamma_rest({0})", poles=_at_zero(1.0), samples=_positive,
    derivative=lambda g, y, x: (-(g * apply("trigamma_rest", x)),),
    sympy=lambda m, x: m.log(x) - m.digamma(x))
trigamma_rest_op = elementwise(
    "trigamma_rest", _trigamma_rest, "trigamma_rest({0})", poles=_at_zero(2.0), samples=_positive,
    sympy=lambda m, x: m.polygamma(1, x) - 1 / x)
log_ratio_op = elementwise(
    "log_ratio", _log_ratio, "log_ratio({0}, {1})", poles=_each_at_zero, samples=_two_positive,
    multiplies=False, derivative=lambda g, y, x, m: (g / x, -g / m), text="log({0} / {1})",
    sympy=lambda m, x, z: m.log(x) - m.log(z))
deviance_op = elementwise(
    "deviance", _deviance, "deviance({0}, {1})", poles=_each_at_zero, samples=_two_positive,
    derivative=lambda g, y, x, m: (g * apply("log_ratio", x, m),
                                   g * choose(apply("eq", x, 0.0), 1.0, (m - x) / m)),
    sympy=lambda m, x, z: x * m.log(x) - x * m.log(z) - x + z)
# log p of an outcome x, 0 or 1, of log-odds l, and its derivative in these: both vanish as the outcome becomes certain,
# so what cancels is taken out, where l is positive 1 with 1. Between 0 and 1 they go on as lines in x.
log_bernoulli_op = elementwise(
    "log_bernoulli", _log_bernoulli, "(({0} - (1.0 if {1} > 0.0 else 0.0)) * {1} - softplus(-abs({1})))",
    derivative=lambda g, y, x, odds: (g * odds, g * apply("bernoulli_residual", x, odds)), regular=True,
    text="{0} * {1} - softplus({1})", sympy=lambda m, x, odds: x * odds - m.log(1 + m.exp(odds)),
    samples=_outcomes)
bernoulli_residual_op = elementwise(
    "bernoulli_residual", _bernoulli_residual,
    "(({0} - (1.0 if {1} > 0.0 else 0.0)) + sigmoid(-abs({1})) * (1.0 if {1} > 0.0 else -1.0))",
    regular=True,
    multiplies=False, derivative=lambda g, y, x, odds: (g, -(g * apply("sigmoid", odds) * apply("sigmoid", -odds))),
    text="{0} - sigmoid({1})", sympy=lambda m, x, odds: x - 1 / (1 + m.exp(-odds)), samples=_outcomes)
# log p of an outcome x, 0 or 1, of probability p, where no outcome of probability 0 counts that did not come about.
# Between 0 and 1 it goes on as a line in x.
log_outcome_op = elementwise(
    "log_outcome", _log_outcome,
    "((0.0 if ({0} == 0.0) & ({1} >= 0.0) else {0} * log({1}))"
    " + (0.0 if ({0} == 1.0) & ({1} <= 1.0) else (1.0 - {0}) * log1p(-{1})))",
    poles=(None, Pole("where its argument touches 0 or 1",
                      lambda n, x, p: p.clear_of_zero and p.plus(exactly(-1.0)).clear_of_zero, 0.0)),
    derivative=lambda g, y, x, p: (g * (apply("log", p) - apply("log1p", -p)),
                                   weighed(g, x, p) - weighed(g, 1.0 - x, 1.0 - p)),
    text="where({0} == 1, log({1}), log1p(-{1}))",
    sympy=lambda m, x, p: m.Piecewise((m.log(p), m.Eq(x, 1)), (m.log(1 - p), m.Eq(x, 0)),
                                      (x * m.log(p) + (1 - x) * m.log(1 - p), True)),
    samples=_outcomes_of_p)


# One number, written in two ways: the first is computed where the condition holds, the second where it does not. They
# are equal, so nothing jumps where the condition changes, and formulas show the second.
either_op = elementwise(
    "either", np.where, "({1} if {0} else {2})", bounds=lambda n, condition, a, b: b,
    smoothness=(Smoothness.BLOCKING, Smoothness.SMOOTH, Smoothness.SMOOTH), seamless=(0,),
    derivative=lambda g, y, condition, a, b: (None, choose(condition, g, 0.0), choose(condition, 0.0, g)),
    text="{2}", sympy=lambda m, condition, a, b: b, picks=slice(1, 3), stands_for=2,
    samples=((True, 0.7, 0.7), (False, -1.3, -1.3)))
# A choice of terms of a sum, each of which jumps where the condition changes, and the sum does not: in x − 1 + σ(−l)
# for l above 0, x − 0 − σ(l) below, the jumps of 1 and 0 and of σ(−l) and −σ(l) cancel.
term_op = elementwise(
    "term", np.where, "({1} if {0} else {2})", bounds=lambda n, condition, a, b: a.hull(b),
    smoothness=(Smoothness.BLOCKING, Smoothness.SMOOTH, Smoothness.SMOOTH), seamless=(0,),
    derivative=lambda g, y, condition, a, b: (None, term(condition, g, 0.0), term(condition, 0.0, g)),
    text="where({0}, {1}, {2})", sympy=lambda m, condition, a, b: m.Piecewise((a, condition), (b, True)),
    regular=True, work=1, integral="closed", picks=slice(1, 3), samples=((True, 0.7, -1.0), (False, 0.7, -1.0)))


# One number, in the form in which it is computed and shown, and in one that behaves alike: what is to be known of jumps
# and poles is known of that one, which need not be accurate.
alike_op = elementwise(
    "alike", lambda a, b: np.broadcast_arrays(a, b)[0], "({0} if True else {1})",
    bounds=lambda n, a, b: b, derivative=lambda g, y, a, b: (g, None),
    smoothness=(Smoothness.SMOOTH, Smoothness.BLOCKING), sympy=lambda m, a, b: a, picks=slice(0, 1), stands_for=1,
    regular=True, work=0, samples=((0.7, 0.7), (-1.3, -1.3)))


def lgamma_rest(a: Node) -> Node:
    """log Γ(a) − a log a + a, which is ½ log(2π/a) and less for large a."""
    return apply("lgamma_rest", a)


def digamma_rest(a: Node) -> Node:
    """log a − ψ(a), which is 1/(2a) and less for large a."""
    return apply("digamma_rest", a)


def deviance(x: Node, m: Node) -> Node:
    """x log(x/m) − x + m, which is m at x = 0 (Loader 2000)."""
    return apply("deviance", x, m)


def large(x: Node) -> Node:
    """Where x is so large that the formulas for large numbers hold, and the plain ones lose digits."""
    return apply("le", LARGE, x)


def within_reach(x: Node) -> Node:
    """Where a product of positive numbers has neither lost digits to underflow nor overflown."""
    return apply("and", apply("le", TINY, x), apply("le", x, HUGE))


def if_within_reach(x: Node) -> Node:
    """The number where it is `within_reach`; elsewhere some positive one, so that no pole stands in the formula."""
    return apply("maximum", x, TINY)


def log_bernoulli(x: Node, logits: Node) -> Node:
    """x l − log(1 + eˡ): log p of an outcome x, 0 or 1, of log-odds l, and of 0 and 1 to the last digits."""
    return apply("log_bernoulli", x, logits)


def shown_as(careful: Node, plain: Node) -> Node:
    """A number that is computed as `careful`, and shown, and compared with others, as `plain`."""
    return make(either_op, (constant(True), careful, plain))


def term(condition: Node, a: NodeLike, b: NodeLike) -> Node:
    """`a` where the condition holds, else `b`: a term whose jump another of the same condition takes back."""
    return make(term_op, (condition, constant(a), constant(b)))


def log_outcome(x: Node, probs: Node) -> Node:
    """x log p + (1 − x) log(1 − p): log p of an outcome x, 0 or 1, of probability p."""
    return apply("log_outcome", x, probs)


def alike(number: Node, formula: Node) -> Node:
    """The number, of which is known what is known of the formula: but for rounding they are equal."""
    return apply("alike", number, formula)


def either(condition: Node, careful: Node, plain: Node) -> Node:
    """A number that is computed as `careful` where the condition holds, and else as `plain`, as which it is shown.

    The two must be equal but for rounding. A condition between literals is decided at once.
    """
    if all(a.is_const for a in condition.args):
        holds = condition.op.value(*(a.attrs.array for a in condition.args))
        if np.all(holds) or not np.any(holds):
            return careful if np.all(holds) else plain
    return make(either_op, (condition, careful, plain))

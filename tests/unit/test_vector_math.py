"""Accuracy, edges, vectorisation and cost of the functions that kernels use instead of libm.

The measure everywhere is the error in ulp of the exact value, taken from mpmath on some thousand arguments per function
and from numpy's long double on a million. Arguments are drawn per region: the whole range by exponent, the places where
cancellation or a change of formula could hurt, and the ends where results are denormal.
"""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm
import mpmath
import numpy as np
import pytest
import scipy.special
from mpmath import mp, mpf
from numba import njit, types
from numba.core.errors import TypingError
from scg_numba import normal_tails, special, vector_math

pytestmark = pytest.mark.optimised
FASTMATH = {"contract", "nsz", "reassoc", "arcp"}
BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
HERE = Path(__file__).resolve()
BACKENDS = HERE.parents[2] / "backends"
INF, NAN = np.inf, np.nan
HALF_PI = np.pi / 2


def kernel(function, **options):
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return njit(loop, error_model="numpy", **options)


def evaluate(compiled, x):
    out = np.empty_like(x)
    compiled(x, out)
    return out


# --- the cases ------------------------------------------------------------------------------------------------------


class Draw:
    """Arguments of one format: `n` of them per call."""

    def __init__(self, dtype, n, seed=0):
        self.info, self.n, self.rng = np.finfo(dtype), n, np.random.default_rng(seed)
        self.double = dtype is np.float64
        self.lowest_exponent = self.info.minexp - self.info.nmant
        # Arguments of exp whose results are the largest and the smallest denormal numbers.
        self.exp_top, self.exp_bottom = np.log(float(self.info.max)), np.log(2.0) * (self.lowest_exponent - 1)

    def uniform(self, low, high):
        return self.rng.uniform(low, high, self.n)

    def power(self, low, high):
        """Positive numbers between 2^low and 2^high, each binade as often as any other."""
        return 2.0 ** self.uniform(low, high)

    def signed(self, x):
        return x * self.rng.choice([-1.0, 1.0], self.n)

    def around(self, centre, width=1.0):
        """Numbers at distances from less than an ulp up to `width`."""
        return centre + self.signed(width * self.power(-self.info.nmant - 3, 0))

    def tiny(self):
        """Denormal and other small numbers of both signs."""
        return self.signed(self.power(self.lowest_exponent, 0))

    def multiples_of_half_pi(self, upto):
        return np.round(self.power(0, np.log2(upto / HALF_PI))) * HALF_PI


class Case(NamedTuple):
    exact: Callable
    arguments: Callable
    ulp: float  # promised in float64
    ulp_single: float
    long_double: Callable | None = None


def exact_ndtr(x):
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def exact_log_ndtr(x):
    return mpmath.log(exact_ndtr(x)) if x < 0 else mpmath.log1p(-exact_ndtr(-x))


def exact_mills(x):
    return mpmath.npdf(x) / exact_ndtr(x)


def normal_arguments(d):
    return [d.uniform(-8, 8), d.uniform(-2, 2), -d.power(3, 13), d.uniform(0, 37 if d.double else 12), d.tiny()]


def exact_ndtri(p):
    """Newton's method on the logarithm of the lower tail, from scipy's value."""
    if p > 0.5:
        return -exact_ndtri(1 - p)
    z = mpf(float(scipy.special.ndtri(float(p))))
    for _ in range(3):
        tail = exact_ndtr(z)
        z -= tail * mpmath.log(tail / p) * mpmath.sqrt(2 * mpmath.pi) * mpmath.exp(z * z / 2)
    return z


def long_sigmoid(x):
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def trig_arguments(d):
    bound = 2.0 ** (48 if d.double else 19)
    return [
        d.uniform(-10, 10),
        d.uniform(-1e5, 1e5),
        d.signed(d.power(0, np.log2(bound))),
        d.tiny(),
        np.arange(1, d.n + 1) * HALF_PI,
        d.multiples_of_half_pi(bound),
    ]


ELEMENTARY = {
    "exp": Case(
        mpmath.exp,
        lambda d: [d.uniform(d.exp_bottom, d.exp_top), d.uniform(-1, 1), d.uniform(1, 1.05) * 0.95 * d.exp_bottom],
        1.1, 1.1, np.exp,
    ),
    "expm1": Case(
        mpmath.expm1,
        lambda d: [d.uniform(-40, d.exp_top), d.uniform(-1, 1), d.around(0.0), d.uniform(0.3, 0.45), d.tiny()],
        2, 2, np.expm1,
    ),
    "sigmoid": Case(
        lambda x: 1 / (1 + mpmath.exp(-x)),
        lambda d: [d.uniform(d.exp_bottom, 40), d.uniform(-5, 5), d.uniform(1, 1.05) * 0.95 * d.exp_bottom],
        2.5, 2.5, long_sigmoid,
    ),
    "tanh": Case(
        mpmath.tanh,
        lambda d: [d.uniform(-25, 25), d.uniform(-1, 1), d.tiny(), d.uniform(0.1, 0.4)],
        3, 3, np.tanh,
    ),
    "log": Case(
        mpmath.log,
        lambda d: [d.power(d.lowest_exponent, d.info.maxexp - 1e-6), d.uniform(0.5, 2), d.around(1.0, 0.3)],
        1, 1, np.log,
    ),
    "log1p": Case(
        mpmath.log1p,
        lambda d: [
            d.power(0, d.info.maxexp - 1e-6), d.uniform(-0.9, 2), d.around(0.0, 0.9), d.tiny() * 0.9,
            -1 + d.power(-d.info.nmant, 0),
        ],
        1.5, 1.5, np.log1p,
    ),
    "softplus": Case(
        lambda x: mpmath.log1p(mpmath.exp(x)),
        lambda d: [d.uniform(d.exp_bottom, 100), d.uniform(-5, 5), d.uniform(1, 1.05) * 0.95 * d.exp_bottom],
        2, 2, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
    ),
    "sin": Case(mpmath.sin, trig_arguments, 2, 2, np.sin),
    "cos": Case(mpmath.cos, trig_arguments, 2, 2, np.cos),
}  # fmt: skip
SPECIAL = {
    "erf": Case(mpmath.erf, lambda d: [d.uniform(-6, 6), d.uniform(-1.5, 1.5), d.tiny()], 1, 0.51),
    "erfc": Case(
        mpmath.erfc,
        lambda d: [d.uniform(-6, 6), d.uniform(0, 27.2 if d.double else 10), d.uniform(-1.5, 1.5), d.around(0.0)],
        4, 0.51,
    ),
    "ndtr": Case(
        exact_ndtr,
        lambda d: [d.uniform(-8, 8), d.uniform(-38.4 if d.double else -14, 0), d.uniform(-2, 2), d.around(0.0)],
        5, 0.51,
    ),
    "log_ndtr": Case(exact_log_ndtr, lambda d: normal_arguments(d), 5, 0.51),
    "inverse_mills": Case(exact_mills, lambda d: normal_arguments(d), 6, 0.51),
    "inverse_mills_rest": Case(lambda x: x + exact_mills(x), lambda d: normal_arguments(d), 6, 0.51),
    "ndtri": Case(
        exact_ndtri,
        lambda d: [
            d.uniform(1e-6, 1 - 1e-6), d.power(d.lowest_exponent, -1), 1 - d.power(-d.info.nmant, -1),
            d.uniform(0.05, 0.09), d.around(0.5, 0.4),
        ],
        6, 6,
    ),
    "lgamma": Case(
        mpmath.loggamma,
        lambda d: [d.uniform(0.01, 10), d.power(-100, 100), d.around(1.0, 0.9), d.around(2.0), d.uniform(2.4, 3)],
        4, 0.51,
    ),
    "digamma": Case(
        mpmath.digamma,
        lambda d: [d.uniform(0.01, 10), d.power(-100, 100), d.around(1.4616321449683622, 0.4), d.around(1.0, 0.9)],
        3, 0.51,
    ),
    "trigamma": Case(
        lambda x: mpmath.psi(1, x),
        lambda d: [d.uniform(0.01, 10), d.power(-60, 60), d.around(2.0), d.around(1.0, 0.9)],
        3, 0.51,
    ),
    "digamma_rest": Case(
        lambda x: mpmath.log(x) - mpmath.digamma(x),
        lambda d: [d.uniform(0.01, 10), d.power(-60, 60), d.around(2.0), d.around(16.0)],
        4, 0.51,
    ),
    "trigamma_rest": Case(
        lambda x: mpmath.psi(1, x) - 1 / x,
        lambda d: [d.uniform(0.01, 10), d.power(-60, 60), d.around(2.0), d.around(16.0)],
        130, 0.51,
    ),
}  # fmt: skip
CASES = ELEMENTARY | SPECIAL
MODULES = (vector_math, special, normal_tails)
FUNCTIONS = {name: next(getattr(m, name) for m in MODULES if hasattr(m, name)) for name in CASES}
KERNELS = {name: kernel(function, fastmath=FASTMATH) for name, function in FUNCTIONS.items()}
EVERY = pytest.mark.parametrize("name", CASES)
EVERY_ELEMENTARY = pytest.mark.parametrize("name", ELEMENTARY)


def arguments(name, dtype, n):
    with np.errstate(under="ignore"):
        return np.concatenate([np.asarray(x).astype(dtype) for x in CASES[name].arguments(Draw(dtype, n))])


# --- the measure ----------------------------------------------------------------------------------------------------


def ulp_error(got, exact):
    """|got − exact| in units of the last place of `exact`, per element; `exact` is a list of mpf."""
    units = np.spacing(np.abs(np.array([float(e) for e in exact])).astype(got.dtype)).astype(float)
    return np.array([float(abs(mpf(float(g)) - e)) for g, e in zip(got, exact, strict=True)]) / units


def long_ulp_error(got, exact):
    """The same for an array of long doubles."""
    units = np.spacing(np.abs(exact).astype(got.dtype)).astype(np.longdouble)
    return np.abs(got.astype(np.longdouble) - exact) / units


def worst(error, x):
    i = error.argmax()
    return f"{error[i]:.3f} ulp at {x[i]!r}"


@BOTH
def test_the_measure_sees_a_planted_error(dtype):
    x = arguments("exp", dtype, 50)
    x = x[x > -80]  # not where results are denormal, and an ulp is large
    with mp.workprec(150):
        exact = [mpmath.exp(mpf(float(v))) for v in x]
    planted = 1e-13 if dtype is np.float64 else 1e-6
    right = np.array([float(e) for e in exact]).astype(dtype)
    assert ulp_error(right, exact).max() <= 0.5
    assert ulp_error((right.astype(float) * (1 + planted)).astype(dtype), exact).min() > 3
    one_off = np.nextafter(right, dtype(INF))
    assert ulp_error(one_off, exact).min() > 0.49
    assert ulp_error(one_off, exact).max() <= 1.5


# --- accuracy -------------------------------------------------------------------------------------------------------


@BOTH
@EVERY
def test_against_mpmath(name, dtype):
    case = CASES[name]
    x = arguments(name, dtype, 150 if name in SPECIAL else 500)
    x = x[x != 0]
    got = evaluate(KERNELS[name], x)
    with mp.workprec(150):
        exact = [case.exact(mpf(float(v))) for v in x]
        assert np.isfinite(got).all(), x[~np.isfinite(got)][:5]
        error = ulp_error(got, exact)
    assert error.max() <= (case.ulp if dtype is np.float64 else case.ulp_single), worst(error, x)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="long double is no wider than double")
@BOTH
@EVERY_ELEMENTARY
def test_a_million_points_against_long_double(name, dtype):
    case = CASES[name]
    x = arguments(name, dtype, 200_000)
    got = evaluate(KERNELS[name], x)
    with np.errstate(all="ignore"):
        exact = case.long_double(x.astype(np.longdouble if dtype is np.float64 else np.float64)).astype(np.longdouble)
    error = long_ulp_error(got, exact)
    assert error.max() <= (case.ulp if dtype is np.float64 else case.ulp_single), worst(error, x)


@pytest.mark.parametrize(
    "name, scipys",
    [
        ("erf", scipy.special.erf),
        ("erfc", scipy.special.erfc),
        ("ndtr", scipy.special.ndtr),
        ("ndtri", scipy.special.ndtri),
        ("lgamma", scipy.special.gammaln),
        ("digamma", scipy.special.digamma),
        ("trigamma", lambda x: scipy.special.polygamma(1, x)),
    ],
)
def test_many_points_against_scipy(name, scipys):
    n = 10_000 if name == "trigamma" else 200_000
    x = arguments(name, np.float64, n)
    x = x[(x > 0) & (x < 1)] if name == "ndtri" else x
    # Tails of scipy's erfc and ndtr are no better than this.
    np.testing.assert_allclose(evaluate(KERNELS[name], x), scipys(x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "name, exact, tolerance",
    [("lgamma", lambda x: mpmath.re(mpmath.loggamma(x)), 3e-15), ("digamma", mpmath.digamma, 1e-14),
     ("trigamma", lambda x: mpmath.psi(1, x), 1e-14)],
)  # fmt: skip
def test_gamma_functions_of_negative_numbers(name, exact, tolerance):
    d = Draw(np.float64, 300)
    next_to_poles = -d.rng.integers(0, 10, d.n) + d.around(0.0, 0.4)
    x = np.concatenate([-d.uniform(0.01, 20), next_to_poles, -d.power(-60, 8)])
    x = x[(x < 0) & (x != np.round(x))]
    got = evaluate(KERNELS[name], x)
    values = [exact(mpf(float(v))) for v in x]
    error = [float(abs(mpf(float(g)) - v) / max(1, abs(v))) for g, v in zip(got, values, strict=True)]
    assert max(error) <= tolerance, x[np.argmax(error)]


def kernel_of_two(function):
    def loop(x, y, out):
        for i in range(x.size):
            out[i] = function(x[i], y[i])

    return njit(loop, error_model="numpy", fastmath=FASTMATH)


@BOTH
def test_functions_that_cross_zero(dtype):
    """lgamma_rest, log_ratio and deviance: within 3 ulp of the result and of what it is promised to be held to."""
    d, ulp = Draw(dtype, 200), 3 * np.finfo(dtype).eps
    x = np.concatenate([d.uniform(0.01, 40), d.power(-60, 60), d.around(2.5)]).astype(dtype)
    m = (x * np.concatenate([1 + d.around(0.0, 0.5), d.power(-60, 60), d.uniform(0.5, 2)])).astype(dtype)
    if dtype is np.float64:  # quotients that are no numbers
        x, m = np.append(x, [1e300, 1e-300, 5e-324]), np.append(m, [1e-300, 1e300, 1e300])
    results = [evaluate(kernel(special.lgamma_rest, fastmath=FASTMATH), x)]
    for function in (special.log_ratio, special.deviance):
        results.append(np.empty_like(x))
        kernel_of_two(function)(x, m, results[-1])
    with mp.workprec(150):
        for a, b, rest, ratio, deviance in zip(map(mpf, x.tolist()), map(mpf, m.tolist()), *results, strict=True):
            exact = mpmath.loggamma(a) - a * mpmath.log(a) + a
            if a < 2**70:  # above, 150 bits do not hold the exact one
                assert abs(mpf(float(rest)) - exact) <= ulp * max(1, abs(exact)), a
            exact = mpmath.log(a / b)
            assert abs(mpf(float(ratio)) - exact) <= ulp * abs(exact), (a, b)
            exact = a * exact - a + b
            if abs(exact) < np.finfo(dtype).max:
                assert abs(mpf(float(deviance)) - exact) <= ulp * (abs(exact) + abs(a - b)) + 1e-300, (a, b)


@EVERY
def test_fastmath_changes_no_bit(name):
    plain = kernel(FUNCTIONS[name])
    x = arguments(name, np.float64, 1000)
    assert np.array_equal(evaluate(plain, x), evaluate(KERNELS[name], x), equal_nan=True)


# --- edges ----------------------------------------------------------------------------------------------------------

PLACES = [0.0, -0.0, INF, -INF, NAN]
EDGES = {  # the values at PLACES, then pairs of an argument and its value
    "exp": ([1, 1, INF, 0, NAN], [("max", INF), ("-max", 0), ("tiny", 1)]),
    "expm1": ([0.0, -0.0, INF, -1, NAN], [("max", INF), ("-max", -1), ("tiny", "tiny"), ("-tiny", "-tiny")]),
    "sigmoid": ([0.5, 0.5, 1, 0, NAN], [("max", 1), ("-max", 0), ("tiny", 0.5)]),
    "tanh": ([0.0, -0.0, 1, -1, NAN], [("max", 1), ("-max", -1), ("tiny", "tiny"), ("-tiny", "-tiny")]),
    "log": ([-INF, -INF, INF, NAN, NAN], [("-tiny", NAN), (-1, NAN), (1, 0.0)]),
    "log1p": ([0.0, -0.0, INF, NAN, NAN], [(-1, -INF), (-1.5, NAN), ("tiny", "tiny"), ("-tiny", "-tiny")]),
    "softplus": ([np.log(2), np.log(2), INF, 0, NAN], [("max", "max"), ("-max", 0)]),
    "sin": ([0.0, -0.0, NAN, NAN, NAN], [("tiny", "tiny"), ("-tiny", "-tiny")]),
    "cos": ([1, 1, NAN, NAN, NAN], [("tiny", 1)]),
    "erf": ([0.0, -0.0, 1, -1, NAN], [("max", 1), ("-max", -1), ("tiny", "tiny"), ("-tiny", "-tiny")]),
    "erfc": ([1, 1, 0, 2, NAN], [("max", 0), ("-max", 2)]),
    "ndtr": ([0.5, 0.5, 1, 0, NAN], [("max", 1), ("-max", 0)]),
    "log_ndtr": ([-np.log(2), -np.log(2), 0.0, -INF, NAN], [("max", 0.0), ("-max", -INF)]),
    "inverse_mills": ([np.sqrt(2 / np.pi), np.sqrt(2 / np.pi), 0.0, INF, NAN], [("max", 0.0), ("-max", "max")]),
    "inverse_mills_rest": ([np.sqrt(2 / np.pi), np.sqrt(2 / np.pi), INF, 0.0, NAN], [("max", "max")]),
    "ndtri": ([-INF, -INF, NAN, NAN, NAN], [(1, INF), (0.5, 0.0), (-1, NAN), (1.5, NAN), ("-tiny", NAN)]),
    "lgamma": ([INF, INF, INF, INF, NAN], [(1, 0.0), (2, 0.0), (-1, INF), (-2, INF), ("max", INF), ("-max", INF)]),
    "digamma": ([-INF, INF, INF, NAN, NAN], [(-1, NAN), ("tiny", -INF), ("-tiny", INF)]),
    "trigamma": ([INF, INF, 0, INF, NAN], [(-1, INF), (-2, INF), ("tiny", INF)]),
    "digamma_rest": ([INF, INF, 0, NAN, NAN], [(-1, NAN), ("tiny", INF), ("-tiny", NAN)]),
    "trigamma_rest": ([INF, INF, 0, NAN, NAN], [(-1, NAN), ("tiny", INF), ("-tiny", NAN)]),
}  # fmt: skip


@BOTH
@EVERY
def test_edges(name, dtype):
    info = np.finfo(dtype)
    names = {"max": info.max, "-max": -info.max, "tiny": info.smallest_subnormal, "-tiny": -info.smallest_subnormal}
    at_places, pairs = EDGES[name]
    x = np.array([names.get(v, v) for v in [*PLACES, *(place for place, _ in pairs)]], dtype)
    expected = np.array([names.get(v, v) for v in [*at_places, *(value for _, value in pairs)]], dtype)
    # Once per element and once filling the vector loop, which may take another path than its remainder.
    got = evaluate(KERNELS[name], np.repeat(x, 64)).reshape(-1, 64)
    for k in range(64):
        np.testing.assert_array_equal(got[:, k], expected)
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(got[numbers, k]), np.signbit(expected[numbers]))


@BOTH
def test_overflow_and_underflow_set_in_where_they_should(dtype):
    info = np.finfo(dtype)
    wide = np.longdouble if dtype is np.float64 else np.float64
    for name in ("exp", "expm1"):
        last = dtype(np.log(wide(info.max)))
        x = last + np.arange(-20, 21).astype(dtype) * np.spacing(last)
        with np.errstate(over="ignore"):
            expected = getattr(np, name)(x.astype(wide)).astype(dtype)
        np.testing.assert_array_equal(np.isinf(evaluate(KERNELS[name], x)), np.isinf(expected))
    bottom = dtype(np.log(2) * (info.minexp - info.nmant))
    x = bottom + np.linspace(-2, 2, 401).astype(dtype)
    with np.errstate(under="ignore"):
        expected = np.exp(x.astype(wide)).astype(dtype)
    for name in ("exp", "sigmoid", "softplus"):
        assert (np.abs(evaluate(KERNELS[name], x) - expected) <= info.smallest_subnormal).all()


@BOTH
def test_trigonometry_beyond_its_bound(dtype):
    bound = dtype(2.0**48 if dtype is np.float64 else 2.0**19)
    info = np.finfo(dtype)
    x = Draw(dtype, 10_000).power(np.log2(bound), info.maxexp - 1e-6).astype(dtype)
    x = np.concatenate([x, -x])
    sine, cosine = evaluate(KERNELS["sin"], x), evaluate(KERNELS["cos"], x)
    np.testing.assert_allclose(sine**2 + cosine**2, 1, rtol=8 * info.eps)
    np.testing.assert_array_equal(sine, evaluate(KERNELS["sin"], np.sign(x) * bound))


# --- types and code -------------------------------------------------------------------------------------------------


@EVERY
def test_the_result_has_the_type_of_the_argument(name):
    function = FUNCTIONS[name]

    @njit
    def call(x):
        return function(x)

    for given, result in ((types.float64, types.float64), (types.float32, types.float32), (types.int64, types.float64)):
        call.compile((given,))
        assert call.overloads[(given,)].signature.return_type == result
    with pytest.raises(TypingError):
        call.compile((types.complex128,))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64", "arm64", "aarch64"), reason="needs vector registers")
@BOTH
@EVERY
def test_a_loop_is_vectorised_and_calls_nothing(name, dtype):
    compiled = KERNELS[name]
    evaluate(compiled, np.ones(1, dtype))
    array = types.Array(types.float64 if dtype is np.float64 else types.float32, 1, "C")
    code = compiled.inspect_llvm((array, array))
    inner = "double" if dtype is np.float64 or (name in SPECIAL and name != "ndtri") else "float"
    assert re.search(rf"call <\d+ x {inner}> @llvm\.fmuladd", code), "no vector loop"
    body = code[code.index("define") : code.index("\n}", code.index("define"))]
    called = set(re.findall(r"call [^@\n]*@([\w.]+)", body))
    assert all(callee.startswith("llvm.") for callee in called), called


@EVERY
def test_instructions_keep_their_own_flags(name):
    evaluate(KERNELS[name], np.ones(1))
    code = "\n".join(KERNELS[name].inspect_llvm().values())
    loose = [line for line in code.splitlines() if "reassoc" in line]
    assert not loose, loose[:3]


def test_exp_and_log1p_cost_little_to_compile():
    exp, log1p = vector_math.exp, vector_math.log1p

    def without(x, out):
        for i in range(x.size):
            out[i] = x[i] * x[i] + 1.5

    def with_both(x, out):
        for i in range(x.size):
            out[i] = log1p(exp(x[i] * x[i])) + 1.5

    def seconds(function):
        best = INF
        for _ in range(4):
            start = time.perf_counter()
            njit("(f8[::1], f8[::1])", fastmath=FASTMATH, error_model="numpy")(function)
            best = min(best, time.perf_counter() - start)
        return best

    assert seconds(with_both) - seconds(without) < 0.1  # 0.01 when nothing else runs


# --- use elsewhere --------------------------------------------------------------------------------------------------


def run(*arguments, **environment):
    environment = {**os.environ, "PYTHONPATH": f"{BACKENDS.parent}{os.pathsep}{BACKENDS}", **environment}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kernels_can_be_cached(tmp_path):
    (tmp_path / "user.py").write_text(
        "import numpy as np\n"
        "from numba import njit\n"
        "from scg_numba.special import lgamma\n"
        "from scg_numba.vector_math import exp\n"
        "@njit(cache=True, nogil=True)\n"
        "def f(x, out):\n"
        "    for i in range(x.size):\n"
        "        out[i] = exp(x[i]) + lgamma(x[i])\n"
        "out = np.empty(9)\n"
        "f(np.ones(9), out)\n"
        "print(out.sum(), sum(f.stats.cache_hits.values()))\n"
    )
    cold, warm = (run(str(tmp_path / "user.py"), NUMBA_CACHE_DIR=str(tmp_path)).split() for _ in range(2))
    assert cold[0] == warm[0] and (cold[1], warm[1]) == ("0", "1")


def test_the_text_of_the_modules_stands_alone(tmp_path):
    texts = [(BACKENDS / "scg_numba" / name).read_text() for name in ("vector_math.py", "special.py")]
    texts[1] = re.sub(r"from scg_numba\.vector_math import \(.*?\)", "", texts[1], flags=re.DOTALL)
    assert not re.search(r"^\s*(import|from) scg", "\n".join(texts), flags=re.MULTILINE)
    (tmp_path / "alone.py").write_text(
        "\n".join(texts)
        + "\nfrom numba import njit\n\n@njit\ndef f(x):\n    return exp(x) + lgamma(x)\n\nprint(f(3.0))\n"
    )
    value = float(run(str(tmp_path / "alone.py"), PYTHONPATH=""))
    assert abs(value - (np.exp(3.0) + np.log(2.0))) < 1e-14


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
@pytest.mark.parametrize("processor", ["x86-64", pytest.param("haswell", marks=pytest.mark.full)])
def test_accuracy_on_other_processors(processor):
    """The plain one has no fused multiply-add and 128-bit registers, the other has both at 256 bit."""
    if processor == "haswell" and not llvm.get_host_cpu_features().get("avx2"):
        pytest.skip("this machine has no AVX2")
    names = ["exp", "expm1", "log1p", "sin", "ndtr", "lgamma"]
    test = f"{HERE}::test_against_mpmath"
    selected = [f"{test}[{name}-{kind}]" for name in names for kind in ("f64", "f32")]
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", *selected, NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES="")

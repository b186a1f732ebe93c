"""Φ, log Φ, the error function and the quantile: against mpmath in both tails, and in graphs that hold them."""

import importlib.util
import math

import mpmath
import numpy as np
import pytest
from scipy import special

import scg
from scg.ir.node import apply, constant
from scg.laws.derivatives import leaf, value
from tests.laws.checks.sampling import within
from tests.laws.test_ops import gradient_of

FAR = np.array([-1e4, -4321.0, -300.0, -39.5, -37.1, -20.0, -8.3, -5.0, -3.1, -2.9, -1.0, -0.3, -1e-9, 0.0, 1e-9, 0.4,
                1.0, 2.9, 5.0, 8.3, 12.0, 20.0, 37.1])


def _cumulative(x):
    return 0.5 * mpmath.erfc(-x / mpmath.sqrt(2))


def _log_cumulative(x):
    return mpmath.log(_cumulative(x)) if x < 0 else mpmath.log1p(-_cumulative(-x))


def _ratio(x):
    return mpmath.npdf(x) / _cumulative(x)


# Value, slope and second derivative, in 60 digits
EXACT = {
    "erf": (mpmath.erf, lambda x: 2 * mpmath.exp(-x * x) / mpmath.sqrt(mpmath.pi),
            lambda x: -4 * x * mpmath.exp(-x * x) / mpmath.sqrt(mpmath.pi)),
    "ndtr": (_cumulative, mpmath.npdf, lambda x: -x * mpmath.npdf(x)),
    "log_ndtr": (_log_cumulative, _ratio, lambda x: -_ratio(x) * (x + _ratio(x)))}


def _exact(function, x):
    with mpmath.workdps(60):
        return np.array([float(function(mpmath.mpf(float(a)))) for a in x])


@pytest.mark.parametrize("name", EXACT)
def test_values_and_two_derivatives_in_both_tails(name):
    """To 1e-14 of themselves; what is made of exp(−x²) by plain rounding to x² units in the last place."""
    node = leaf("x", FAR.shape)
    found = getattr(scg, name)(node)
    slope = gradient_of(found, node)
    rounding = 1e-15 * FAR**2 if name != "log_ndtr" else 0.0
    for got, exact, looser in zip((found, slope, gradient_of(slope, node)), EXACT[name], (0.0, rounding, rounding)):
        known = _exact(exact, FAR)
        error = np.abs(value(got, {"x": FAR}) - known)
        assert (error <= (1e-14 + looser) * np.abs(known) + 1e-300).all(), (name, FAR[error.argmax()])


def test_the_third_derivative_of_the_logarithm_is_right_to_digits_after_the_point():
    x = FAR[np.abs(FAR) < 100.0]
    node = leaf("x", x.shape)
    third = gradient_of(gradient_of(gradient_of(scg.log_ndtr(node), node), node), node)
    known = _exact(lambda a: _ratio(a) * ((a + _ratio(a)) * (a + 2 * _ratio(a)) - 1), x)
    np.testing.assert_allclose(value(third, {"x": x}), known, atol=1e-12)


def test_the_quantile_is_the_inverse():
    p = np.array([1e-300, 1e-12, 0.02, 0.5, 0.9, 1.0 - 1e-12])
    np.testing.assert_allclose(value(scg.ndtr(scg.ndtri(constant(p))), {}), p, rtol=1e-12)


def tobit():
    """Observations that are cut off at 0 from below, with a slope that a guide knows up to a normal error."""
    g = scg.Graph("tobit")
    m, log_s = g.param("m"), g.param("log s")
    x, y = g.data("x"), g.data("y")
    w = g.sample("w", scg.Normal(m, 0.2))
    mean, s = w * x, np.exp(log_s)
    seen = -0.5 * ((y - mean) / s) ** 2 - log_s
    g.cost("loss", -scg.where(y > 0.0, seen, scg.log_ndtr(-mean / s)) + 0.1 * scg.erf(w) + 0.1 * scg.ndtr(w))
    return g


def tobit_by_quadrature(m, log_s, x, y):
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    w = (m + 0.2 * nodes)[:, None]
    s = np.exp(log_s)
    likely = np.where(y > 0.0, -0.5 * ((y - w * x) / s) ** 2 - log_s, special.log_ndtr(-w * x / s))
    cost = -likely.mean(1) + 0.1 * (special.erf(w) + special.ndtr(w))[:, 0]
    return float(weights @ cost / weights.sum())


AT = {"m": 0.7, "log s": -3.0}
DATA = {"x": np.array([1.0, -2.0, 60.0, 0.5]), "y": np.array([0.8, 0.0, 0.0, 0.0])}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_censored_likelihood_in_kernels(dtype):
    """Far beyond where Φ underflows: one row lies over 800 scales from what would be likely."""
    h = 1e-4
    slopes = {name: (tobit_by_quadrature(*{**AT, name: AT[name] + h}.values(), **DATA)
                     - tobit_by_quadrature(*{**AT, name: AT[name] - h}.values(), **DATA)) / (2 * h) for name in AT}
    f = scg.compile(tobit(), strategy=scg.Pathwise(), dtype=dtype)
    r = f({**AT, **DATA}, samples=4000, rng=0)
    within(r.cost, r.cost_stderr, tobit_by_quadrature(**{"m": AT["m"], "log_s": AT["log s"]}, **DATA), "cost")
    for name, slope in slopes.items():
        within(r.grad[name], r.stderr[name], slope, name)
    if dtype == np.float64:
        plain = scg.compile(tobit(), strategy=scg.Pathwise(), backend="numpy")({**AT, **DATA}, samples=4000, rng=0)
        np.testing.assert_allclose([plain.cost, *plain.grad.values()], [r.cost, *r.grad.values()], rtol=1e-12)


def test_a_module_that_holds_them_runs_by_itself(tmp_path):
    f = scg.compile(tobit(), strategy=scg.Pathwise())
    f.export(tmp_path / "tobit.py")
    spec = importlib.util.spec_from_file_location("tobit", tmp_path / "tobit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {"log_ndtr", "inverse_mills"} <= vars(module).keys()


def test_a_draw_that_is_mapped_by_it():
    """A normal draw is uniform, then: of other parameters its density is the quotient of two normal ones."""
    g = scg.Graph("mapped")
    m = g.param("m")
    u = g.sample("u", scg.Transformed(scg.Normal(m, 1.0), scg.ndtr))
    g.cost("mean", u)
    g.cost("log p", 0.0 * scg.Transformed(scg.Normal(m, 1.0), scg.ndtr).log_prob(0.3))
    slope = float(np.exp(-0.25 * 0.4**2) / np.sqrt(4.0 * np.pi))  # of Φ(m / √2)
    for strategy in (scg.Pathwise(), scg.ScoreFunction()):
        r = scg.compile(g, strategy=strategy, backend="numpy")({"m": 0.4}, samples=4000, rng=0)
        within(r.cost, r.cost_stderr, special.ndtr(0.4 / np.sqrt(2.0)), "cost")
        within(r.grad["m"], r.stderr["m"], slope, "m")


def test_what_others_call_these_is_told():
    x = scg.Graph("words").param("x")
    for name in ("erf", "ndtr", "log_ndtr", "ndtri"):
        with pytest.raises(scg.NodeUseError, match=rf"Use scg\.{name}\."):
            getattr(special, name)(x)
    with pytest.raises(scg.NodeUseError, match=r"scg\.erf"):
        math.erf(x)
    for name, known in (("erfc", special.erfc), ("erfinv", special.erfinv), ("erfcinv", special.erfcinv),
                        ("erfcx", special.erfcx)):
        with pytest.raises(scg.NodeUseError) as caught:
            getattr(special, name)(x)
        formula = caught.value.problems[0].fix.removeprefix("Use ").removesuffix(".")
        for at in (0.3, 0.9):
            assert value(eval(formula, {"np": np, "scg": scg, "x": constant(at)}), {}) == pytest.approx(known(at))


def test_a_formula_of_it_is_the_error_function_of_sympy():
    sympy = pytest.importorskip("sympy")
    assert apply("ndtr", 0.3).op.sympy(sympy, sympy.Float(0.3)).evalf() == pytest.approx(special.ndtr(0.3))

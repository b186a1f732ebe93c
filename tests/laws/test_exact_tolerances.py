"""The reference and the proof are held to the size of what each of their numbers sums up, not to other numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

import scg

SCALES = [1e-30, 1e-9, 1.0, 1e12]


def of_sample(family, cost):
    g = scg.Graph("of a sample")
    t = g.param("t")
    g.cost("c", cost(g.sample("x", family(t))))
    return g


def normal(t):
    return scg.Normal(loc=t, scale=1.0)


# --- counts whose probabilities are negligible, and whose costs are not ----------------------------------------------
@pytest.mark.parametrize("rate, base", [(10.0, 8.0), (10.0, math.e**2), (0.3, 100.0), (3.0, 0.1), (2.0, -4.0)])
def test_powers_of_a_count(rate, base):
    """E aᵏ = exp(λ (a − 1)); powers of a number below 0 are as exact as what is left of their sum allows."""
    e = scg.exact(of_sample(lambda t: scg.Poisson(rate=t), lambda k: base**k if base > 0 else
                            scg.where(k % 2.0 == 0.0, 1.0, -1.0) * abs(base) ** k), {"t": rate})
    right, absolute = math.exp(rate * (base - 1.0)), math.exp(rate * (abs(base) - 1.0))
    rtol = max(1e-9, 4.0 * np.finfo(float).eps * absolute / right)
    np.testing.assert_allclose([e.cost, e.grad["t"]], [right, (base - 1.0) * right], rtol=rtol)


@pytest.mark.parametrize("cost", [lambda k: np.exp(scg.lgamma(k + 1.0)), lambda k: np.exp(0.1 * k * k)])
@pytest.mark.parametrize("scale", SCALES)
def test_an_infinite_expectation_of_counts_is_none(cost, scale):
    with pytest.raises(scg.SCGError, match=r"disagree|not finite"):
        scg.exact(of_sample(lambda t: scg.Poisson(rate=t), lambda k: scale * cost(k)), {"t": 2.0})


def test_a_factorial_of_counts():
    """E k! = Σ λᵏ e^−λ is finite below λ = 1."""
    found = scg.exact(of_sample(lambda t: scg.Poisson(rate=t), lambda k: np.exp(scg.lgamma(k + 1.0))), {"t": 0.25})
    assert found.cost == pytest.approx(math.exp(-0.25) / 0.75, rel=1e-9)


@pytest.mark.parametrize("rate", [1e9, 1e15, 1e300])
def test_more_counts_than_paths(rate):
    with pytest.raises(scg.ExactError, match="paths"):
        scg.exact(of_sample(lambda t: scg.Poisson(rate=t), lambda k: k), {"t": rate})


@pytest.mark.parametrize("size", [40, 1100, 5000])
def test_more_paths_than_floats_can_count(size):
    g = scg.Graph("many")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=g.param("t")), shape=size).sum() ** 2)
    with pytest.raises(scg.ExactError, match="paths"):
        scg.exact(g, {"t": 0.1})
    assert scg.verify(scg.compile(g, backend="numpy"), {"t": 0.1}).passed is None


# --- rules that disagree ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("cost", [scg.relu, lambda x: np.exp(0.6 * x**2), lambda x: np.exp(0.49 * x**2)])
def test_what_quadrature_cannot_do_in_any_unit(cost, scale):
    with pytest.raises(scg.ExactError, match="disagree"):
        scg.exact(of_sample(normal, lambda x: scale * cost(x)), {"t": 0.0})


@pytest.mark.parametrize("scale", SCALES)
def test_what_it_can_do_in_any_unit(scale):
    """Also where a sum is 0, its summands cancelling: E sin x at mean 0, and the slope of E cos x."""
    e = scg.exact(of_sample(normal, lambda x: scale * np.sin(x)), {"t": 0.0})
    assert abs(e.cost) < 1e-14 * scale and e.grad["t"] == pytest.approx(scale * math.exp(-0.5), rel=1e-12)
    e = scg.exact(of_sample(normal, lambda x: scale * np.cos(x)), {"t": 0.0})
    assert e.cost == pytest.approx(scale * math.exp(-0.5), rel=1e-12) and abs(e.grad["t"]) < 1e-14 * scale


def test_a_small_cost_beside_a_large_one():
    g = scg.Graph("beside")
    x = g.sample("x", normal(g.param("t")))
    g.cost("large", 1e8 * g.param("w") ** 2)
    g.cost("small", 10.0 * scg.relu(x))
    with pytest.raises(scg.ExactError, match="disagree"):
        scg.exact(g, {"t": 0.0, "w": 1.0})


def test_a_small_element_beside_a_large_one():
    """Of one gradient."""
    g = scg.Graph("elements")
    x = g.sample("x", normal(g.param("t")))
    g.cost("c", (g.param("w", 2) * scg.stack([scg.relu(x), 1e9])).sum())
    with pytest.raises(scg.ExactError, match="disagree"):
        scg.exact(g, {"t": 0.0, "w": [1.0, 0.0]})


@pytest.mark.parametrize("scale", [1e-8, 1e-12, 1e-16, 1e-20, 1e-30])
def test_values_that_rounding_mixes_up(scale):
    """x = 1 + scale · ε: E x = t has the slope 1, which the scores of rounded values do not give."""
    with pytest.raises(scg.ExactError, match=r"rounding|disagree"):
        scg.exact(of_sample(lambda t: scg.Normal(loc=t, scale=scale), lambda x: x), {"t": 1.0})
    assert scg.exact(of_sample(lambda t: scg.Normal(loc=t, scale=scale), lambda x: x / scale),
                     {"t": 0.0}).grad["t"] == pytest.approx(1.0 / scale, rel=1e-12)


# --- the proof -------------------------------------------------------------------------------------------------------
def straight_through(scale, beside):
    """Biased, by a factor 2.9 here."""
    g = scg.Graph("straight through")
    t = g.param("t")
    b, p = g.sample("b", scg.Bernoulli(logits=scg.stop_gradient(t))), scg.sigmoid(t)
    s = p + scg.stop_gradient(b - p)
    g.cost("c", scale * (s - 0.45) ** 2 * (1.0 + s))
    if beside:
        g.cost("beside", beside * g.param("u") ** 2)
    return g


@pytest.mark.parametrize("beside", [0.0, 1e9, 1e15])
@pytest.mark.parametrize("scale, dtype", [*((s, "float64") for s in SCALES), (1e-4, "float32"), (1.0, "float32")])
def test_a_biased_gradient_does_not_pass_in_any_unit(scale, dtype, beside):
    values = {"t": 0.3, "u": 1.0} if beside else {"t": 0.3}
    f = scg.compile(straight_through(scale, beside), backend="numpy", dtype=dtype)
    assert scg.verify(f, values).passed is False


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), None, scg.Enumerate(), scg.WeakDerivative()], ids=repr)
@pytest.mark.parametrize("scale, dtype", [*((s, "float64") for s in SCALES), (1e-9, "float32"), (1e6, "float32")])
def test_an_unbiased_one_passes_in_any_unit(strategy, scale, dtype):
    """Its parts are of several sizes, some are 0, and the summands of some cancel."""
    g = scg.Graph("units")
    w, u = g.param("w", 3), g.param("u")
    b = g.sample("b", scg.Bernoulli(logits=w))
    g.cost("c", scale * (b[0] - 0.45) ** 2 + 1e-6 * scale * b[1] * b[0] + scale * (b[2] - 0.5) ** 2)
    g.cost("beside", 1e3 * scale * u**2)
    f = scg.compile(g, strategy=strategy, backend="numpy", dtype=dtype)
    assert scg.verify(f, {"w": np.array([0.3, -0.2, 0.0]), "u": 1.0}).passed


# --- gammas whose concentration moves ---------------------------------------------------------------------------------
@pytest.mark.parametrize("a", [0.6, 1.0, 1.35, 7.0, 300.0])
@pytest.mark.parametrize("cost, right", [
    (lambda z: z, lambda a: (a, 1.0)), (lambda z: np.log(z), lambda a: (special.digamma(a), special.polygamma(1, a))),
    (lambda z: z * z, lambda a: (a * (a + 1.0), 2.0 * a + 1.0)),
    (lambda z: np.exp(-z), lambda a: (2.0**-a, -np.log(2.0) * 2.0**-a))], ids=["mean", "log", "square", "exponential"])
def test_the_concentration_of_a_gamma(cost, right, a):
    """Its score is log z, which no polynomial resembles."""
    g = scg.Graph("gamma")
    g.cost("c", cost(g.sample("z", scg.Gamma(concentration=g.param("a"), rate=1.0))))
    found = scg.exact(g, {"a": a})
    assert (found.cost, float(found.grad["a"])) == pytest.approx(tuple(map(float, right(a))), rel=1e-9)


@pytest.mark.parametrize("cost", [lambda z: np.exp(0.999 * z), lambda z: np.exp(1.01 * z), lambda z: z**-1.34,
                                  lambda z: z**-1.36, lambda z: scg.relu(z - 1.0)])
def test_heavy_tails_of_a_gamma_are_refused_still(cost):
    """At concentration 1.35; of e^1.01z and z^−1.36 there is no expectation."""
    g = scg.Graph("gamma")
    g.cost("c", cost(g.sample("z", scg.Gamma(concentration=g.param("a"), rate=1.0))))
    with pytest.raises(scg.ExactError, match="disagree"):
        scg.exact(g, {"a": 1.35})

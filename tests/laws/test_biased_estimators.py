"""Estimators that differentiate costs at draws or at means, held to their formulas, and to where they are right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.exact_law import TOLERANCE, worst

U = np.array([0.4, -0.9])
V = np.array([[1.1, -0.6], [0.3, 0.8]])
AT = {"u": U, "v": V}
SIGMOID_SLOPE = lambda a: expit(a) * expit(-a)


def layers() -> scg.Graph:
    """Two layers of two binary draws, and a cost that is not linear in the last."""
    g = scg.Graph("layers")
    h = g.sample("h", scg.Bernoulli(logits=g.param("u", 2)))
    k = g.sample("k", scg.Bernoulli(logits=g.param("v", (2, 2)) @ h))
    g.cost("loss", np.exp(k @ np.array([0.7, -0.4])) + h[0])
    return g


def cost_slope(k: np.ndarray) -> np.ndarray:
    return np.exp(k @ np.array([0.7, -0.4])) * np.array([0.7, -0.4])


def through(h: np.ndarray, k: np.ndarray, slope) -> dict[str, np.ndarray]:
    """Backpropagation from the cost, where `slope(x, a)` stands for the derivative of a draw in its log-odds."""
    at_k = cost_slope(k) * slope(k, V @ h)
    return {"v": np.outer(at_k, h), "u": (V.T @ at_k + np.array([1.0, 0.0])) * slope(h, U)}


RULES = {scg.StraightThrough(): lambda x, a: SIGMOID_SLOPE(a),
         scg.StraightThrough(derivative=False): lambda x, a: np.ones_like(a),
         scg.Half(): lambda x, a: SIGMOID_SLOPE(a) / (2.0 * expit((2.0 * x - 1.0) * a))}


@pytest.mark.parametrize("estimator", RULES, ids=str)
def test_each_replicate_is_backpropagation_with_the_slopes_of_the_rule(estimator):
    f = scg.compile(layers(), strategy=estimator, backend="numpy")
    assert not f.verdict.unbiased
    for seed in range(10):
        r = f(AT, samples=1, rng=seed, record=("h", "k"))
        assert worst(r.grad, through(r.record["h"][0, 0], r.record["k"][0, 0], RULES[estimator])) < 1e-12


@pytest.mark.by_python
@pytest.mark.parametrize("estimator", RULES, ids=str)
def test_formulas_kernels_and_expectations_agree(estimator):
    g = scg.Graph("one")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("loss", np.exp(b) + b**3)
    f, d = scg.compile(g, strategy=estimator), derive(g, estimator)
    e, r = f.surrogate.evaluate({"t": 0.4}, samples=5, rng=3), f({"t": 0.4}, samples=5, rng=3)
    assert np.mean(e.gradient("t")) == pytest.approx(r.grad["t"], rel=1e-12)
    found = [by(d, {"t": 0.4}).grad for by in (expected_gradient, expected_by_kernel)]
    assert worst(*found) < TOLERANCE


# --- where they are right --------------------------------------------------------------------------------------------
def of_one(power: int) -> scg.Graph:
    """A cost of one draw, a polynomial of that degree."""
    g = scg.Graph(f"degree {power}")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("loss", sum((k + 0.3) * (b - 0.2) ** k for k in range(1, power + 1)))
    return g


@pytest.mark.parametrize("estimator, right", [(scg.StraightThrough(), 1), (scg.Half(), 2), (scg.MeanPropagation(), 1)],
                         ids=str)
def test_right_up_to_a_degree_and_wrong_beyond(estimator, right):
    for power in (1, 2, 3):
        g, at = of_one(power), {"t": 0.7}
        exact = integrate(g, at)
        off = worst(expected_gradient(derive(g, estimator), at).grad, exact.grad)
        assert off < TOLERANCE if power <= right else off > 1e-3, (power, off)


def test_half_of_a_category():
    """(f′(x) · (x − 1/K)) ∂ log p(x): Gu et al. 2016, of one-hot draws."""
    g = scg.Graph("categories")
    x = g.sample("x", scg.OneHotCategorical(logits=g.param("t", 3)))
    g.cost("loss", np.exp(x @ np.array([0.7, -0.4, 0.2])))
    f, t = scg.compile(g, strategy=scg.Half(), backend="numpy"), np.array([0.3, -0.2, 0.8])
    for seed in range(6):
        r = f({"t": t}, samples=1, rng=seed, record="x")
        drawn = r.record["x"][0, 0]
        slope = np.exp(drawn @ np.array([0.7, -0.4, 0.2])) * np.array([0.7, -0.4, 0.2])
        np.testing.assert_allclose(r.grad["t"], slope @ (drawn - 1.0 / 3.0) * (drawn - softmax(t)), atol=1e-13)


# --- mean propagation ------------------------------------------------------------------------------------------------
def test_mean_propagation_is_the_net_of_means():
    """Costs and gradients are those of means given means, in every replicate."""
    def cost(u, v):
        h = expit(u)
        return np.exp(expit(v @ h) @ np.array([0.7, -0.4])) + h[0]

    r = scg.compile(layers(), strategy=scg.MeanPropagation(), backend="numpy")(AT, samples=3, rng=0)
    assert r.cost == pytest.approx(cost(U, V), rel=1e-12)
    h = expit(U)
    k = expit(V @ h)
    expected = through(h, k, lambda x, a: x * (1.0 - x))
    assert worst(r.grad, expected) < 1e-12
    assert all(np.all(e < 1e-12) for e in r.stderr.values())


def test_mean_propagation_in_a_loop_is_its_unrolled_graph():
    looped = scg.Graph("loop")
    t = looped.param("t")

    def body(carry, _):
        b = looped.sample("b", scg.Bernoulli(logits=t + carry))
        looped.cost("loss", np.exp(b) * carry)
        return 0.5 * carry + b, None

    looped.scan(body, 0.3, length=3)
    flat = scg.Graph("flat")
    t, carry = flat.param("t"), 0.3
    for k in range(3):
        b = flat.sample(f"b{k}", scg.Bernoulli(logits=t + carry))
        flat.cost(f"loss{k}", np.exp(b) * carry)
        carry = 0.5 * carry + b
    a, b = (scg.compile(g, strategy=scg.MeanPropagation(), backend="numpy")({"t": 0.4}, samples=2, rng=0)
            for g in (looped, flat))
    assert a.cost == pytest.approx(b.cost, rel=1e-12) and a.grad["t"] == pytest.approx(b.grad["t"], rel=1e-12)


def test_it_is_exact_where_everything_is_linear():
    g = scg.Graph("linear")
    u = g.param("u", 2)
    h = g.sample("h", scg.Bernoulli(logits=u))
    n = g.sample("n", scg.Normal(h @ np.array([0.5, -1.0]), 1.0))
    g.cost("loss", 3.0 * n + h[1])
    r = scg.compile(g, strategy=scg.MeanPropagation(), backend="numpy")({"u": U}, samples=2, rng=0)
    np.testing.assert_allclose(r.grad["u"], SIGMOID_SLOPE(U) * np.array([1.5, -2.0]), rtol=1e-12)


# --- what is refused -------------------------------------------------------------------------------------------------
def test_what_they_cannot_do_is_refused():
    g = scg.Graph("jump")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("loss", np.where(b > 0.5, 1.0, 0.0))
    for estimator in (*RULES, scg.MeanPropagation()):
        with pytest.raises((scg.EstimatorError, scg.ConditionError), match="comparison"):
            scg.compile(g, strategy=estimator)
    g = scg.Graph("normal")
    g.cost("loss", g.sample("x", scg.Normal(g.param("m"), 1.0)) ** 2)
    with pytest.raises(scg.EstimatorError, match=r"Normal has no log-odds.*takes the derivative of the mean"):
        scg.compile(g, strategy=scg.StraightThrough(derivative=False))
    with pytest.raises(scg.EstimatorError, match="Normal has no finite support"):
        scg.compile(g, strategy=scg.Half())
    with pytest.raises(scg.EstimatorError, match="derivative=1"):
        scg.StraightThrough(derivative=1)

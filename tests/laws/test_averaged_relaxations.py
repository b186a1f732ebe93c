"""Gumbel–Rao and ReinMax: what they have in common with straight-through relaxations, and where they are right."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law, worst
from tests.laws.checks.sampling import within

RNG = np.random.default_rng(20_260_102)
TABLES = RNG.normal(size=(6, 3, 3))
LOGITS = RNG.normal(size=(6, 3))


def one_hot(table: np.ndarray, cubic: float = 0.0, shape=None) -> scg.Graph:
    """xᵀ A x + c (Σ x₁)³ of one draw, or of two, whose sum x is."""
    g = scg.Graph("one hot")
    theta = g.param("theta", 3)
    x = g.sample("x", scg.OneHotCategorical(logits=theta), shape=shape)
    x = x if shape is None else x[0] + 0.5 * x[1]
    g.cost("loss", x @ table @ x + cubic * x[1] ** 3)
    return g


def binary(theta_form: str = "logits") -> scg.Graph:
    g = scg.Graph("binary")
    b = g.sample("b", scg.Bernoulli(**{theta_form: g.param("theta", 2)}))
    g.cost("loss", (b - 0.45) @ np.array([[1.0, 0.4], [-0.2, 0.5]]) @ b)
    return g


# --- ReinMax ---------------------------------------------------------------------------------------------------------
@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_reinmax_is_right_for_quadratic_costs(by):
    """Also where two draws meet in one product; the first-order rule is not."""
    compiled = by is expected_by_kernel
    for table, theta in zip(TABLES[:1 if compiled else None], LOGITS):
        for shape in (2,) if compiled else (None, 2):
            g = one_hot(table, shape=shape)
            exact = integrate(g, {"theta": theta})
            check_exact_law(g, {"theta": theta}, scg.ReinMax(), exact=exact, by=by)
            plain = by(derive(g, scg.StraightThrough()), {"theta": theta})
            assert worst(plain.grad, exact.grad) > 1e-3
    for form, values in () if compiled else (("logits", [0.4, -1.3]), ("probs", [0.2, 0.7])):
        check_exact_law(binary(form), {"theta": values}, scg.ReinMax(), by=by)


def test_reinmax_is_biased_elsewhere_and_says_so():
    g, values = one_hot(TABLES[0], cubic=2.0, shape=2), {"theta": LOGITS[0]}
    for estimator in (scg.ReinMax(), scg.ReinMax(temperature=0.5)):
        d = derive(g, estimator)
        assert d.verdicts["x"].status == "biased"
        assert worst(expected_gradient(d, values).grad, integrate(g, values).grad) > 1e-3


def test_reinmax_against_the_formula_of_the_paper():
    """2 J(π_D) f′ − ½ J(π) f′ with J(π) = diag π − π πᵀ, draw by draw, at a temperature."""
    table, theta, heat = TABLES[1], LOGITS[1], 1.7
    p, q = (np.exp(t - np.max(t)) / np.sum(np.exp(t - np.max(t))) for t in (theta, theta / heat))

    def moved(m):
        return np.diag(m) - np.outer(m, m)

    expected = sum(p[k] * (2.0 * moved(0.5 * (q + np.eye(3)[k])) - 0.5 * moved(p)) @ (table + table.T)[k]
                   for k in range(3))
    found = expected_gradient(derive(one_hot(table), scg.ReinMax(heat)), {"theta": theta}).grad["theta"]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


# --- Gumbel–Rao ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("form, value", [("logits", 0.8), ("probs", 0.3)])
def test_the_mean_is_that_of_straight_through(form, value, k):
    """By quadrature over the uniforms, of one binary draw."""
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(**{form: g.param("theta")}))
    g.cost("loss", np.exp(0.7 * b) * (b - 0.45) ** 2)
    one, other = (expected_gradient(derive(g, e), {"theta": value}).grad["theta"]
                  for e in (scg.GumbelRao(1.0, k), scg.GumbelSoftmax(1.0, straight_through=True)))
    assert one == pytest.approx(other, abs=1e-9)
    assert derive(g, scg.GumbelRao(1.0, k)).verdicts["b"].status == "biased"


@pytest.mark.parametrize("problem", range(len(TABLES)))
def test_the_variance_is_no_larger(problem):
    """Var of the mean of k is E Var given the draw, over k, and that of its mean: so it falls with k."""
    g, values = one_hot(TABLES[problem], cubic=1.0, shape=2 if problem % 2 else None), {"theta": LOGITS[problem]}
    plain, *averaged = (scg.compile(g, strategy=e, backend="numpy")(values, samples=8000, rng=problem)
                        for e in (scg.GumbelSoftmax(0.5, straight_through=True), *(scg.GumbelRao(0.5, k)
                                                                                  for k in (1, 4, 16))))
    variances = [np.sum(r.stderr["theta"] ** 2) for r in averaged]
    assert variances[2] < variances[1] < variances[0]
    assert variances[0] == pytest.approx(np.sum(plain.stderr["theta"] ** 2), rel=0.2)
    inside = (variances[0] - variances[1]) / (1.0 - 1.0 / 4.0)  # E Var given the draw
    assert variances[2] == pytest.approx(variances[0] - inside * (1.0 - 1.0 / 16.0), rel=0.1)
    for r in averaged:
        within(r.grad["theta"], np.hypot(r.stderr["theta"], plain.stderr["theta"]), plain.grad["theta"], "theta")


def test_costs_are_those_of_the_draws():
    g, values = one_hot(TABLES[2]), {"theta": LOGITS[2]}
    for e in (scg.GumbelRao(), scg.ReinMax()):
        r = scg.compile(g, strategy=e, backend="numpy")(values, samples=4000, rng=0)
        within(r.cost, r.cost_stderr, integrate(g, values).cost, "cost")


@pytest.mark.by_python
def test_both_backends():
    g, values = one_hot(TABLES[3]), {"theta": LOGITS[3]}
    one, two = (scg.compile(g, strategy=scg.GumbelRao(0.7, 3), backend=b)(values, samples=100, rng=1).grad["theta"]
                for b in ("numpy", "numba"))
    np.testing.assert_allclose(one, two, rtol=1e-10)


@pytest.mark.parametrize("estimator", [scg.GumbelRao(), scg.ReinMax()], ids=str)
def test_what_is_refused(estimator):
    g = scg.Graph("masked")
    m = g.input("mask", 3)
    x = g.sample("x", scg.OneHotCategorical(logits=g.param("theta", 3) + scg.where(m > 0.0, 0.0, -np.inf)))
    g.cost("loss", x @ LOGITS[0])
    with pytest.raises(scg.EstimatorError, match="may exclude a value"):
        derive(g, estimator)
    g = scg.Graph("jump")
    x = g.sample("x", scg.OneHotCategorical(logits=g.param("theta", 3)))
    g.cost("loss", 1.0 * (x[0] > 0.5))
    with pytest.raises(scg.EstimatorError, match="which jumps"):
        derive(g, estimator)

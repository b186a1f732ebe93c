"""Estimators that move draws: stochastic triples, and weak derivatives of normal and gamma draws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import polygamma

import scg
from scg.derive import derive
from scg.expectation.law import expected_by_kernel
from tests.laws.checks.exact_law import check_exact_law
from tests.laws.checks.exact_variance import numeric_variance
from tests.problems import PROBLEMS


# --- stochastic triples ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_variance_of_one_binary_draw(p):
    """The more probable value, of probability M, is left with the weight 1/M: with m = 1 − M and Δ = f(1) − f(0) the
    contribution is ±mΔ where it was drawn, and so the variance (mΔ)² M m."""
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", (b - 0.45) ** 2)
    m = min(p, 1.0 - p)
    found = numeric_variance(derive(g, scg.StochasticTriple()), {"theta": np.log(p / (1.0 - p))})["theta"]
    assert found == pytest.approx((0.1 * m) ** 2 * m * (1.0 - m), rel=1e-8)


@pytest.mark.by_python
def test_one_draw_of_many_is_moved():
    """Two runs do, whatever the number of draws, and the exact law holds in the kernel too."""
    g = scg.Graph("layer")
    b = g.sample("b", scg.Bernoulli(logits=g.param("w", 5)))
    g.cost("loss", np.exp(0.3 * b.sum()) * b[0])
    values = {"w": [0.4, -1.2, 2.0, 0.1, -0.3]}
    f = scg.compile(g, strategy=scg.StochasticTriple(), backend="numpy")
    assert "2: the replicate itself, and 1 replay" in f.explain()
    check_exact_law(g, values, scg.StochasticTriple(), by=expected_by_kernel)


def test_groups_of_some_dimensions():
    g = scg.Graph("groups")
    w = g.param("w", (2, 2))
    x = g.sample("x", scg.OneHotCategorical(logits=scg.stack([w, -w, 0.5 * w], axis=2)))
    g.cost("loss", np.exp((x @ np.array([0.3, -1.0, 0.6])).sum(axis=0)))
    check_exact_law(g, {"w": [[0.3, -0.4], [1.0, 0.2]]}, scg.StochasticTriple())


def test_counts_move_by_one():
    """∂E f(X) = ∂λ E[f(X + 1) − f(X)]: the closed forms of Poisson draws."""
    for name in ("poisson_cosine", "poisson_square"):
        p = PROBLEMS[name]()
        r = scg.compile(p.graph, strategy=scg.StochasticTriple(), backend="numpy")(p.values, samples=20_000, rng=5)
        assert abs(r.grad["rate"] - p.grad["rate"]) < 4.0 * r.stderr["rate"]


TABLE = np.array([1.0, 5.0, -2.0, 0.5])


def chosen(family, weights, given):
    """One draw with these weights of its values, and a cost that is a table of these."""
    g = scg.Graph("choice")
    k = g.sample("k", family(probs=weights(g.param("a", len(given)))))
    table = TABLE[: len(given)]
    g.cost("loss", k @ table if family is scg.OneHotCategorical else scg.take(table, k))
    return g


@pytest.mark.parametrize("family", [scg.Categorical, scg.OneHotCategorical])
@pytest.mark.parametrize("m", [0.0, 1e-9, 1e-300])
def test_the_variance_of_a_choice_with_a_rare_value_between_common_ones(family, m):
    """Mass is moved past it, from the last to the first: in the first logit p₀ Δ where the last is drawn, Δ the first
    cost less the last. So the variance is (p₀ Δ)² p₂ (1 − p₂), and the draws of the first do nothing by then."""
    a = np.array([0.3, 1.0, -0.4])
    g = chosen(family, lambda a: scg.softmax(a) * [1.0, m, 1.0], a)
    p = np.exp(a[[0, 2]]) / np.exp(a[[0, 2]]).sum()
    found = numeric_variance(derive(g, scg.StochasticTriple()), {"a": a})["a"]
    right = (p[0] * (TABLE[0] - TABLE[2])) ** 2 * p[1] * (1.0 - p[1])
    assert found[0] == pytest.approx(right, rel=1e-6) and found[1] < 1e-8


@pytest.mark.parametrize("p", [0.1, 0.02, 0.5, 0.98])
def test_a_choice_of_two_is_as_a_binary_draw(p):
    """The more probable value moves: the variance is that of `test_variance_of_one_binary_draw`."""
    a = np.array([0.0, np.log(p / (1.0 - p))])
    found = numeric_variance(derive(chosen(scg.Categorical, scg.softmax, a), scg.StochasticTriple()), {"a": a})["a"]
    m = min(p, 1.0 - p)
    np.testing.assert_allclose(found, (m * (TABLE[1] - TABLE[0])) ** 2 * m * (1.0 - m), rtol=1e-8)


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1e-3, 1, 1e-4, 1), (1, 1e-3, 1e-5, 1), (1e-3, 1e-2, 1, 1e-4),
                                     (0, 1, 0, 1), (0, 0, 1, 0), (0, 1, 1e-3, 1)], ids=str)
def test_values_of_all_chances_are_moved_rightly(weights):
    """Also where some are excluded."""
    a = np.array([0.3, -0.2, 0.5, 0.1])
    check_exact_law(chosen(scg.Categorical, lambda a: np.exp(a) * np.array(weights, float), a), {"a": a},
                    scg.StochasticTriple())


@pytest.mark.parametrize("p", [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]])
@pytest.mark.parametrize("family", [scg.Categorical, scg.OneHotCategorical])
def test_nothing_is_moved_from_what_is_never_drawn(family, p):
    """Mass that a value of probability 0 would hand on is missing, so such a call is refused."""
    g = scg.Graph("never")
    k = g.sample("k", family(probs=g.param("p", 3)))
    table = np.array([1.0, 5.0, -2.0])
    g.cost("loss", k @ table if family is scg.OneHotCategorical else scg.take(table, k))
    f = scg.compile(g, strategy=scg.StochasticTriple(), backend="numpy")
    with pytest.raises(scg.CallError, match=r"probs is 0: a value of probability 0 is never drawn.*LocalExpectation"):
        f({"p": p}, samples=4, rng=0)


@pytest.mark.parametrize("rate", [lambda r: 2.0 * r, lambda r: r * np.array([1.0, 0.5]), lambda r: r * 0.0 + r],
                         ids=["twice", "by element", "and 0"])
def test_rates_that_do_not_stay_are_no_masks(rate):
    """A count is moved upwards, which its rate of 0 does not hinder."""
    g = scg.Graph("rates")
    n = g.sample("n", scg.Poisson(rate(g.param("r"))))
    g.cost("loss", (n**2).sum())
    f = scg.compile(g, strategy=scg.StochasticTriple(), backend="numpy")
    total = float(np.sum(rate(1.0)))
    for r, right in ((0.0, total), (0.7, total + 1.4 * float(np.sum(np.asarray(rate(1.0)) ** 2)))):  # E n² = λ + λ²
        found = f({"r": r}, samples=4_000, rng=3)
        assert abs(found.grad["r"] - right) <= 5.0 * found.stderr["r"] + 1e-12


# --- weak derivatives -----------------------------------------------------------------------------------------------
COSTS = {  # of N(1, 1): variances in mean and scale, coupled and independent (by quadrature)
    "square from -3": (lambda x: (x + 3.0) ** 2, (17.487, 68.0), (10.017, 264.0)),
    "square": (lambda x: x**2, (1.093, 8.0), (1.820, 24.0)),
    "square from 3": (lambda x: (x - 3.0) ** 2, (4.372, 20.0), (3.459, 72.0)),
    "bell": (lambda x: np.exp(-x * x), (0.012568, 0.070665), (0.012647, 0.27692)),
    "cosine": (lambda x: np.cos(0.5 * x), (0.0082755, 0.065266), (0.015163, 0.22668)),
}


@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("name", COSTS)
def test_variances_of_normal_weak_derivatives(name, coupled):
    """Figures 2 and 3 of Mohamed et al. 2020, in numbers."""
    cost, *found = COSTS[name]
    g = scg.Graph("normal")
    x = g.sample("x", scg.Normal(loc=g.param("mu"), scale=g.param("sigma")))
    g.cost("loss", cost(x))
    n = 100_000
    f = scg.compile(g, strategy=scg.WeakDerivative(coupled), backend="numpy")
    r = f({"mu": 1.0, "sigma": 1.0}, samples=n, rng=11)
    for parameter, expected in zip(("mu", "sigma"), found[0 if coupled else 1]):
        assert n * r.stderr[parameter] ** 2 == pytest.approx(expected, rel=0.05), parameter


@pytest.mark.parametrize("a", [0.02, 0.3, 7.0, 1e3, 1e6])
def test_concentrations_of_all_sizes(a):
    """E log x = ψ(α), whose derivative is ψ′(α)."""
    g = scg.Graph("gamma")
    x = g.sample("x", scg.Gamma(g.param("a"), 1.0))
    g.cost("loss", scg.log(x))
    r = scg.compile(g, strategy=scg.WeakDerivative(), backend="numpy")({"a": a}, samples=20_000, rng=2)
    assert abs(r.grad["a"] - polygamma(1, a)) < 4.0 * r.stderr["a"]
    assert r.stderr["a"] < 0.01 * polygamma(1, a)

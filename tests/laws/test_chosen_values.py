"""Estimators that look at several values of a site: drawn without replacement, or summed but for one."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law, worst
from tests.laws.checks.exact_variance import numeric_variance
from tests.problems import PROBLEMS

UNORDERED = {2: 0.0061125, 3: 0.0022625, 4: 0.00113083, 5: 6.105e-4, 6: 3.165e-4, 7: 1.2917e-4}
PLAIN = {1: 0.43842, 2: 0.187894, 4: 0.0626315, 6: 0.0208772}


def toy(estimator):
    """Three units that share a logit, whose eight values are one group."""
    p = PROBLEMS["shared_logit"]()
    return derive(p.graph, estimator), p.values


def by_size(table):
    """The larger sets, of many orders, behind --full."""
    return [pytest.param(k, v, marks=[pytest.mark.full] if k > 4 else []) for k, v in table.items()]


@pytest.mark.parametrize("k, variance", by_size(UNORDERED))
def test_variances_of_unordered_sets(k, variance):
    """The toy of Kool, van Hoof & Welling 2020, with its built-in baseline."""
    d, values = toy(scg.WithoutReplacement(k, credit="steps"))
    assert numeric_variance(d, values)["eta"] == pytest.approx(variance, rel=1e-4)


@pytest.mark.parametrize("k, variance", by_size(PLAIN))
def test_variances_without_a_baseline(k, variance):
    d, values = toy(scg.WithoutReplacement(k, baseline=False, credit="steps"))
    assert numeric_variance(d, values)["eta"] == pytest.approx(variance, rel=1e-4)


def test_one_value_is_the_score_function():
    score, values = toy(scg.ScoreFunction(credit="steps"))
    for kind in (scg.WithoutReplacement, scg.SumAndSample):
        d, _ = toy(kind(1, credit="steps"))
        assert numeric_variance(d, values)["eta"] == pytest.approx(numeric_variance(score, values)["eta"], rel=1e-9)


@pytest.mark.parametrize("estimator", [scg.WithoutReplacement(4), scg.WithoutReplacement(5, baseline=False),
                                       scg.SumAndSample(64)], ids=str)
def test_all_values_are_exact(estimator):
    """Also where more are asked for than there are."""
    p = PROBLEMS["categorical_table"]()
    check_exact_law(p.graph, p.values, estimator)
    assert numeric_variance(derive(p.graph, estimator), p.values)["logits"] == pytest.approx(np.zeros(4), abs=1e-15)


def summed_and_drawn(logits, f, k):
    """The variance in each logit, by hand: only the value that is drawn from the rest varies."""
    p = np.exp(logits) / np.exp(logits).sum()
    rest = np.argsort(-p)[k - 1:]
    mass = p[rest].sum()
    each = np.array([mass * f[v] * (np.eye(len(p))[v] - p) for v in rest])
    weights = p[rest] / mass
    return weights @ (each - weights @ each) ** 2


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_variances_of_sum_and_sample(k):
    logits, table = np.array([0.2, -0.5, 0.9, 0.1]), np.array([1.0, -2.0, 0.5, 3.0])
    g = scg.Graph("table")
    x = g.sample("x", scg.Categorical(logits=g.param("logits", 4)))
    g.cost("loss", scg.take(table, x))
    d = derive(g, scg.SumAndSample(k))
    np.testing.assert_allclose(numeric_variance(d, {"logits": logits})["logits"],
                               summed_and_drawn(logits, table, k), atol=1e-14)


MORE = [scg.WithoutReplacement(3), scg.WithoutReplacement(3, baseline=False), scg.SumAndSample(3)]


@pytest.mark.parametrize("estimator", MORE, ids=str)
@pytest.mark.parametrize("name", ["scan_masked", "one_hot_pair", "per_row_site"])
def test_exact_law_of_three_values(name, estimator):
    p = PROBLEMS[name]()
    check_exact_law(p.graph, p.values, estimator)


@pytest.mark.by_python
@pytest.mark.parametrize("estimator", [scg.WithoutReplacement(), scg.SumAndSample()], ids=str)
def test_kernels(estimator):
    p = PROBLEMS["bernoulli_to_categorical"]()
    check_exact_law(p.graph, p.values, estimator, by=expected_by_kernel)


def test_groups_of_some_dimensions():
    """Along one dimension draws have costs of their own; those along the other are a group."""
    g = scg.Graph("groups")
    w = g.param("w", (2, 3))
    b = g.sample("b", scg.Bernoulli(logits=w))
    g.cost("loss", np.exp(b.sum(axis=0)) @ np.array([0.3, -1.0, 0.6]))
    values = {"w": [[0.3, -0.4, 0.8], [1.0, 0.2, -0.7]]}
    for estimator in (scg.WithoutReplacement(2), scg.SumAndSample(3)):
        check_exact_law(g, values, estimator)
    d = derive(g, scg.WithoutReplacement(4))
    assert worst(numeric_variance(d, values), {"w": np.zeros((2, 3))}) < 1e-12


def test_probabilities_at_their_edge_are_refused():
    g = scg.Graph("edge")
    b = g.sample("b", scg.Bernoulli(probs=g.param("p")))
    g.cost("loss", (b - 0.45) ** 2)
    for estimator in (scg.WithoutReplacement(), scg.SumAndSample()):
        f = scg.compile(g, strategy=estimator, backend="numpy")
        assert expected_gradient(derive(g, estimator), {"p": 0.3}).grad["p"] == pytest.approx(0.1, abs=TOLERANCE)
        with pytest.raises(scg.CallError, match="probs = p"):
            f({"p": 0.0}, samples=10, rng=0)


def test_what_is_refused():
    g = scg.Graph("many")
    b = g.sample("b", scg.Bernoulli(logits=g.param("w", 50)))
    g.cost("loss", b.sum() ** 2)
    for kind in (scg.WithoutReplacement, scg.SumAndSample):
        with pytest.raises(scg.EstimatorError, match=r"test_chosen.*1e\+15 values.*at most 4096.*LocalExpectation"):
            derive(g, kind())
        with pytest.raises(scg.EstimatorError, match=r"test_chosen.*k=0\).*whole number from 1"):
            kind(0)
    with pytest.raises(scg.EstimatorError, match=r"baseline=2\).*True or False"):
        scg.WithoutReplacement(2, baseline=2)


def test_formulas_show_what_is_chosen_as_a_symbol():
    """What the algorithm computes has a name, and `evaluate` knows its numbers."""
    g = scg.Graph("shown")
    b = g.sample("b", scg.Bernoulli(logits=g.param("w", 2)))
    g.cost("loss", b.sum() ** 2)
    s = g.surrogate(scg.WithoutReplacement(3))
    assert "p(b = b* | w) * ⊥(R(b*))" in str(s) and "b*: each of 3 different values of b" in str(s)
    assert "R_{b" in s.latex() and "chosen_b" in str(s.sympy())
    chosen = s.evaluate({"w": [0.3, -0.4]}, samples=6, rng=3).values["chosen_b"]
    assert chosen.shape == (1, 6, 3, 2)
    assert all(len(np.unique(values, axis=0)) == 3 for values in chosen[0])


@pytest.mark.parametrize("strategy", [scg.SumAndSample(), scg.WithoutReplacement()], ids=repr)
def test_of_sites_that_are_named_together_each_has_its_own(strategy):
    """Also where one moves the other: the rule takes one site at a time."""
    g = scg.Graph("chain")
    theta = g.param("theta")
    a = g.sample("a", scg.Bernoulli(logits=theta))
    b = g.sample("b", scg.Bernoulli(logits=theta * (a - 0.3)))
    g.cost("c", (a + 2.0 * b - 0.7) ** 2)
    drafts = [derive(g, s).draft for s in ({("a", "b"): strategy}, {"a": strategy, "b": strategy})]
    assert drafts[0].terms == drafts[1].terms and len(drafts[0].terms) == 2

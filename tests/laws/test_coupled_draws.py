"""ARMS and CARMS: several draws of a site that keep apart, compared with each other."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.law import expected_by_kernel
from tests.laws.checks.exact_law import check_exact_law
from tests.laws.checks.exact_variance import numeric_variance
from tests.problems import PROBLEMS, scan_values, scanned


def toy(t: float = 0.49) -> scg.Graph:
    """(b − t)²."""
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", (b - t) ** 2)
    return g


def logit(p: float) -> dict:
    return {"theta": np.log(p / (1.0 - p))}


def variance(estimator, p: float) -> float:
    return numeric_variance(derive(toy(), estimator), logit(p))["theta"]


# --- variances ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n, p, expected", [(4, 0.1, 4.86e-6), (4, 0.5, 6.08e-7), (6, 0.1, 2.39e-6),
                                            (6, 0.5, 3.32e-7)])
def test_variances_of_the_toy(n, p, expected):
    """The toy of the ARMS paper with the Dirichlet copula; for one binary draw CARMS is the same."""
    found = variance(scg.ARMS(n), p)
    assert found == pytest.approx(expected, rel=5e-3)
    if n < 6:
        assert variance(scg.CARMS(n), p) == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("p", [0.03, 0.3, 0.5, 0.8])
def test_two_draws_are_those_of_disarm(p):
    assert variance(scg.ARMS(2), p) == pytest.approx(variance(scg.DisARM(), p), rel=1e-9, abs=1e-18)


def test_two_draws_of_a_layer_are_those_of_disarm():
    """Of several units too: the second and third moments of what a replicate contributes agree."""
    g = scg.Graph("layer")
    b = g.sample("b", scg.Bernoulli(logits=g.param("w", 3)))
    g.cost("loss", np.exp(b @ np.array([0.5, -1.0, 0.8])))
    values = {"w": [0.4, -1.2, 2.0]}
    one, two = (numeric_variance(derive(g, e), values)["w"] for e in (scg.ARMS(2), scg.DisARM()))
    np.testing.assert_allclose(one, two, rtol=1e-9)


@pytest.mark.parametrize("p", [0.1, 0.4, 0.5, 0.85])
def test_averaging_over_the_noise_lowers_the_variance(p):
    """DisARM is the mean of ARM given its two draws, so its variance is never above ARM's."""
    n, found = 100_000, {}
    for estimator in (scg.ARM(), scg.DisARM()):
        r = scg.compile(toy(), strategy=estimator, backend="numpy")(logit(p), samples=n, rng=4)
        found[str(estimator)] = n * r.stderr["theta"] ** 2
    assert found["DisARM()"] <= found["ARM()"]
    assert variance(scg.DisARM(), p) <= found["ARM()"]


# --- the exact law --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, estimator", [
    ("two_layer_net", scg.ARMS(3)), ("shared_logit", scg.ARMS(4)), ("bernoulli_toy", scg.ARMS(6)),
    ("rows", scg.CARMS(3)), ("categorical_table", scg.CARMS(4)), ("categorical_weights", scg.CARMS(3)),
    ("bernoulli_to_categorical", scg.CARMS(3)), ("one_hot_pair", scg.CARMS(2))], ids=str)
def test_exact_law(name, estimator):
    p = PROBLEMS[name]()
    check_exact_law(p.graph, p.values, estimator)


@pytest.mark.by_python
@pytest.mark.parametrize("estimator", [scg.ARMS(3), scg.CARMS(3)], ids=str)
def test_in_a_loop(estimator):
    check_exact_law(scanned(2, 1), scan_values(1), estimator, by=expected_by_kernel)


@pytest.mark.parametrize("estimator", [scg.ARMS(3), scg.CARMS(2)], ids=str)
def test_together(estimator):
    g = scg.Graph("two sites")
    w = g.param("w", 3)
    a = g.sample("a", scg.Bernoulli(logits=w[0]))
    b = g.sample("b", scg.Bernoulli(logits=w[1] - 0.3))
    c = g.sample("c", scg.Bernoulli(logits=w[2] * a - b))
    g.cost("all", (a * b - 0.45 + c) ** 2)
    g.cost("one", np.exp(b * w[1]))
    check_exact_law(g, {"w": [0.4, -0.7, 0.9]}, {("a", "b"): estimator, "c": scg.ScoreFunction()})


# --- bounds of several samples --------------------------------------------------------------------------------------
def bound(count: int) -> scg.Graph:
    """−log of a mean of weights."""
    g = scg.Graph("bound")
    w = g.param("w", 2)
    h = g.sample("h", scg.Bernoulli(logits=w), shape=(count, 2))
    g.cost("bound", -scg.logmeanexp((h @ np.array([0.7, -1.1])) ** 2 + h.sum(axis=1) * w[0], axis=0))
    return g


@pytest.mark.parametrize("estimator", [scg.DisARM(), scg.DisARM(axis=0), scg.DisARM(axis=-1)], ids=str)
def test_disarm_of_bounds(estimator):
    """Of all samples at once, and sample by sample; the latter varies less than the former here, and than VIMCO."""
    values = {"w": [0.3, -0.4]}
    check_exact_law(bound(2), values, estimator)
    if estimator.axis == 0:
        found = numeric_variance(derive(bound(2), estimator), values)["w"]
        for other in (scg.DisARM(), scg.ScoreFunction(scg.VIMCO())):
            assert np.all(found < numeric_variance(derive(bound(2), other), values)["w"])


def test_disarm_of_bounds_in_a_loop():
    g = scg.Graph("steps")
    w = g.param("w")

    def step(carry, _):
        h = g.sample("h", scg.Bernoulli(logits=w + carry), shape=2)
        b = -scg.logmeanexp(h * w + carry, axis=0)
        g.cost("bound", b)
        return 0.3 * b, None

    g.scan(step, 0.1, length=2)
    check_exact_law(g, {"w": 0.3}, scg.DisARM(axis=0))


def test_leave_one_out_of_the_toy():
    """RLOO of two samples on the toy of Kool et al. 2020."""
    p = PROBLEMS["shared_logit"]()
    d = derive(p.graph, scg.ScoreFunction(scg.LeaveOneOut(group=2), credit="steps"))
    assert numeric_variance(d, p.values)["eta"] == pytest.approx(0.007275, rel=1e-6)


# --- the Gaussian copula --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("p", [0.12, 0.7])
def test_gaussian_copula(n, p):
    """Its draws have the site's distribution and differ as often as it says: else the gradient were biased."""
    f = scg.compile(toy(), strategy=scg.ARMS(n, copula="gaussian"), backend="numpy")
    r = f(logit(p), samples=60_000, rng=7)
    assert abs(r.grad["theta"] - 0.02 * p * (1.0 - p)) < 4.0 * r.stderr["theta"]
    if n == 2:
        assert 60_000 * r.stderr["theta"] ** 2 == pytest.approx(variance(scg.DisARM(), p), rel=0.03)


def test_gaussian_copula_cannot_be_verified():
    f = scg.compile(toy(), strategy=scg.ARMS(3, copula="gaussian"), backend="numpy")
    assert scg.verify(f, logit(0.3)).passed is None


def test_axes_that_are_refused():
    with pytest.raises(scg.EstimatorError, match=r"shape \(2, 2\): there is no axis 5.*shape=\(K, D\)"):
        derive(bound(2), scg.DisARM(axis=5))
    with pytest.raises(scg.EstimatorError, match=r"axis=0\.5\).*whole number"):
        scg.DisARM(axis=0.5)
    with pytest.raises(scg.EstimatorError, match="Leave credit= out"):
        scg.DisARM(axis=0, credit="steps")


# --- what is refused ------------------------------------------------------------------------------------------------
def test_what_is_refused():
    for wrong in (1, 11, 2.5, True):
        for kind in (scg.ARMS, scg.CARMS):
            with pytest.raises(scg.EstimatorError, match=r"test_coupled_draws.*whole number from 2 to 10"):
                kind(wrong)
    with pytest.raises(scg.EstimatorError, match='Use "dirichlet" or "gaussian"'):
        scg.ARMS(copula="frank")
    g = scg.Graph("edge")
    b = g.sample("b", scg.Bernoulli(probs=g.param("p")))
    g.cost("loss", (b - 0.45) ** 2)
    for estimator in (scg.ARMS(), scg.CARMS()):
        with pytest.raises(scg.CallError, match="probs = p"):
            scg.compile(g, strategy=estimator, backend="numpy")({"p": 1.0}, samples=10, rng=0)

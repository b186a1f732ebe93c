"""Closed forms of the literature: gradients of Schulman et al. 2015, Fig. 1; gradients and variances of two surveys.

Per-sample variances are read off the standard errors of a long run, and must lie within 3 % of the exact ones.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest

import scg
from tests.problems import PROBLEMS

pytestmark = pytest.mark.optimised  # long runs

SAMPLES = 1_000_000
MANY = 4_000_000


# --- Schulman, Heess, Weber & Abbeel 2015, Fig. 1, with closed-form instances ----------------------------------------
@pytest.mark.parametrize("number, backend", [
    *((number, "numpy") for number in range(1, 6)), (2, "numba"),
    *(pytest.param(number, "numba", marks=pytest.mark.full) for number in (1, 3, 4, 5))])
def test_gradients_of_the_five_graphs(number, backend):
    p = PROBLEMS[f"figure_1_graph_{number}"]()
    r = scg.compile(p.graph, strategy=scg.ScoreFunction(), backend=backend)(p.values, samples=SAMPLES, rng=1)
    assert abs(r.cost - p.cost) < 5 * r.cost_stderr
    assert abs(r.grad["theta"] - p.grad["theta"]) < 5 * r.stderr["theta"]
    assert r.stderr["theta"] < 0.05


# --- the Bernoulli toy E[(b − t)²] -----------------------------------------------------------------------------------
def _toy():
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("phi")))
    g.cost("loss", (b - g.input("t")) ** 2)
    return g


def _logit(p):
    return math.log(p / (1 - p))


def _check(found, exact):
    assert found == pytest.approx(exact, rel=0.03, abs=1e-12)


@pytest.mark.parametrize("t, score, pairs", [(0.45, 0.0159391, 6.25e-4), (0.49, 0.0156375, 2.5e-5),
                                             (0.499, 0.0156251, 2.5e-7)])
def test_variances_of_the_bernoulli_toy(t, score, pairs):
    gradient = (1 - 2 * t) * 0.25
    mean_cost = 0.5 * (1 - t) ** 2 + 0.5 * t**2  # f(1) q + f(0) p at p = 1/2
    cases = ((None, score, 1), (scg.Constant(mean_cost), 0.0, 1), (scg.LeaveOneOut(group=2), pairs, 2))
    for baseline, exact, unit in cases:
        f = scg.compile(_toy(), strategy=scg.ScoreFunction(baseline=baseline))
        r = f({"phi": 0.0, "t": t}, samples=MANY, rng=2)
        assert abs(r.grad["phi"] - gradient) < 5 * r.stderr["phi"] + 1e-12
        _check(r.stderr["phi"] ** 2 * MANY / unit, exact)


@pytest.mark.parametrize("size, p, exact", [(4, 0.1, 6.300e-6), (4, 0.5, 4.1667e-6), (6, 0.1, 4.056e-6),
                                            (6, 0.5, 1.6667e-6), (10, 0.1, 2.376e-6), (10, 0.5, 5.556e-7)])
def test_variances_of_leave_one_out_groups(size, p, exact):
    f = scg.compile(_toy(), strategy=scg.ScoreFunction(baseline=scg.LeaveOneOut(group=size)))
    samples = MANY // size * size
    r = f({"phi": _logit(p), "t": 0.49}, samples=samples, rng=3)
    assert abs(r.grad["phi"] - 0.02 * p * (1 - p)) < 5 * r.stderr["phi"]
    _check(r.stderr["phi"] ** 2 * samples / size, exact)


# --- Mohamed et al. 2020, Figs. 2 and 3: costs of x ~ N(1, 1) --------------------------------------------------------
COSTS = {"quadratic": lambda x, k: (x - k) ** 2, "exp": lambda x, c: np.exp(-c * x**2),
         "cos": lambda x, c: np.cos(c * x)}
# cost, its number, parameter, gradient, score function, score function with the optimal constant baseline, pathwise
TABLE = [
    ("quadratic", -3.0, "loc", 8, 495, 134, 4),
    ("quadratic", -3.0, "scale", 2, 1546, 664, 72),
    ("quadratic", 0.0, "loc", 2, 30, 14, 4),
    ("quadratic", 0.0, "scale", 2, 136, 64, 12),
    ("quadratic", 3.0, "loc", -4, 87, 38, 4),
    ("quadratic", 3.0, "scale", 2, 346, 184, 24),
    ("exp", 0.1, "loc", -0.13998, 0.56353, 0.040468, 0.01629),
    ("exp", 0.1, "scale", -0.11665, 0.93538, 0.14099, 0.02777),
    ("exp", 1.0, "loc", -0.275793, 0.17575, 0.072222, 0.21172),
    ("exp", 1.0, "scale", -0.091931, 0.17669, 0.11278, 0.17573),
    ("cos", 0.5, "loc", -0.211546, 0.45525, 0.11786, 0.039285),
    ("cos", 0.5, "scale", -0.193616, 0.79866, 0.4601, 0.087513),
    ("cos", 1.0, "loc", -0.510378, 0.32399, 0.32399, 0.26767),
    ("cos", 1.0, "scale", -0.32771, 0.83629, 0.78259, 0.30813)]


@functools.cache
def _runs(cost, number):
    """Estimates by score function, without a baseline and with each parameter's optimal constant, and pathwise."""
    g = scg.Graph("normal")
    x = g.sample("x", scg.Normal(loc=g.param("loc"), scale=g.param("scale")))
    best = g.input("best")
    g.cost("f", COSTS[cost](x, g.input("number")))
    constants = {name: _optimal_constant(cost, number, name) for name in ("loc", "scale")}

    def run(strategy, best):
        return scg.compile(g, strategy=strategy)(
            {"loc": 1.0, "scale": 1.0, "number": number, "best": best}, samples=MANY, rng=4)

    known = scg.ScoreFunction(baseline=scg.Expression(best))
    return (run(scg.ScoreFunction(), 0.0), {name: run(known, c) for name, c in constants.items()},
            run(scg.Pathwise(), 0.0))


def _optimal_constant(cost, number, name):
    """E[s² f] / E[s²] by Gauss–Hermite quadrature, s the score at N(1, 1)."""
    z, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()
    s = z if name == "loc" else z**2 - 1.0
    return float((w * s**2 * COSTS[cost](1.0 + z, number)).sum() / (w * s**2).sum())


@pytest.mark.parametrize("cost, number, name, gradient, score, optimal, pathwise", TABLE)
def test_variances_of_the_normal_costs(cost, number, name, gradient, score, optimal, pathwise):
    plain, best, path = _runs(cost, number)
    for r, exact in ((plain, score), (best[name], optimal), (path, pathwise)):
        assert abs(r.grad[name] - gradient) < 5 * r.stderr[name] + 5e-6 * abs(gradient)
        _check(r.stderr[name] ** 2 * MANY, exact)

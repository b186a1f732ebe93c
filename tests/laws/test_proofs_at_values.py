"""The law of certificates: they pass where the exact law does, at jumps and kinks too; variances are the kernel's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import sympy

import scg
from tests.laws.checks.exact_variance import numeric_variance

SCORE, ENUMERATE = scg.ScoreFunction(), scg.Enumerate()


class Case(NamedTuple):
    """A graph, values in several places, and estimators of it."""

    declare: Callable[[scg.Graph], Any]
    values: tuple[Mapping[str, Any], ...]
    strategies: tuple[Any, ...] = (SCORE, ENUMERATE)


def of_data(cost: Callable, *rows) -> Case:
    """A cost of one draw and of data."""
    def declare(g):
        w, x = g.param("w"), g.data("x")
        g.cost("c", cost(g.sample("b", scg.Bernoulli(logits=w), per_row=True), x))

    return Case(declare, tuple({"w": 0.3, "x": list(row)} for row in rows))


def of_param(dist: Callable, cost: Callable, *places: float, strategies=(SCORE, ENUMERATE)) -> Case:
    """A site and a cost, both of one parameter."""
    def declare(g):
        t = g.param("t")
        g.cost("c", cost(g.sample("b", dist(t)), t))

    return Case(declare, tuple({"t": t} for t in places), strategies)


def beside(dist: scg.Distribution) -> Case:
    """A site of literal probabilities beside one of a parameter."""
    def declare(g):
        b, s = g.sample("b", scg.Bernoulli(logits=g.param("t"))), g.sample("s", dist)
        g.cost("c", (s + 1) * (b + 0.1 * s))

    return Case(declare, ({"t": 0.3},), (SCORE, scg.Enumerate(), scg.LocalExpectation()))


def labels(g):
    w, y = g.param("w", 3), g.data("y")
    g.cost("c", 1.0 * (g.sample("k", scg.Categorical(logits=w), per_row=True) != y))


def transitions(g):
    table = np.random.default_rng(3).dirichlet(np.ones(3), (3, 2))
    s = g.sample("s", scg.Categorical(probs=[1 / 3, 1 / 3, 1 / 3]))
    a = g.sample("a", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", (g.sample("next", scg.Categorical(probs=scg.take(scg.take(table, s), a))) - 0.7) ** 2)


def two_units(g):
    w, x = g.param("w", 2), g.data("x", 2)
    h = g.sample("h", scg.Bernoulli(logits=w), per_row=True)
    g.cost("nll", -scg.Bernoulli(logits=h - 0.5).log_prob(x).sum())


def honest_ratio(g):
    w = g.param("w", 3)
    k = g.sample("k", scg.Categorical(logits=scg.stop_gradient(w)))
    log_p = scg.Categorical(logits=w).log_prob(k)
    g.cost("c", np.exp(log_p - scg.stop_gradient(log_p)) * scg.take(np.array([1.0, 3.0, -2.0]), k))


def logit(t):
    return scg.Bernoulli(logits=t)


CASES = {
    "equal": of_data(lambda b, x: 1.0 * (x == b), [0.0], [1.0], [2.0], [1.0, 0.0, 0.5]),
    "at least": of_data(lambda b, x: np.where(x >= b, b, 2 * b), [0.0], [1.0], [0.5]),
    "more": of_data(lambda b, x: np.where(b < x, b, 2 * b), [0.0], [1.0], [1.5]),
    "floor": of_data(lambda b, x: np.floor(b * x), [-1.0], [1.0], [2.0, 0.3]),
    "sign": of_data(lambda b, x: scg.sign(b - x) * (1 + b), [0.0], [1.0]),
    "largest": of_data(lambda b, x: np.maximum(b, x) + abs(b - x), [0.0], [1.0]),
    "labels": Case(labels, ({"w": [0.1, 0.2, -0.3], "y": [0.0, 2.0]}, {"w": [0.0] * 3, "y": [7.0]})),
    "density of data": of_data(lambda b, x: -logit(b - 0.5).log_prob(x), [0.0, 1.0, 1.0]),
    "category of data": of_data(lambda b, x: -scg.Categorical(logits=np.arange(3.0) * b).log_prob(x), [0.0, 2.0]),
    "units": Case(two_units, ({"w": [0.3, -0.2], "x": [[0.0, 1.0], [1.0, 1.0]]},), (SCORE,)),
    "kink of a probability": of_param(lambda t: scg.Bernoulli(probs=0.3 + 0.2 * scg.relu(t)), lambda b, t: b,
                                      0.0, 0.5, -0.5),
    "kink of a cost": of_param(logit, lambda b, t: b * np.maximum(t, 0.2), 0.2, 0.1, 0.3,
                               strategies=(SCORE, scg.DisARM(), scg.Enumerate())),
    "far kink": of_param(logit, lambda b, t: b * np.maximum(t, 7.0), 7.5, 7.0, 0.3),
    "kink of a third": of_param(logit, lambda b, t: b * abs(t - 1 / 3), 1 / 3, 0.3),
    "beside an edge": of_param(lambda t: scg.Bernoulli(probs=np.minimum(0.3 + 0.2 * t, 1.0)), lambda b, t: b * t, 0.0,
                               1.0),
    "at an edge": of_param(lambda t: scg.Bernoulli(probs=np.minimum(0.3 + 0.2 * t, 1.0)), lambda b, t: b * t, 3.5, 4.0,
                           strategies=(ENUMERATE, scg.WeakDerivative())),
    "two kinks": of_param(logit, lambda b, t: np.minimum(b, np.maximum(b, t) + b * t), 0.0, 0.5, 1.0,
                          strategies=(SCORE, scg.ScoreFunction(scg.LeaveOneOut(group=2)))),
    "half": of_param(logit, lambda b, t: (b - 0.45) ** 2, 0.0, strategies=(scg.DisARM(), SCORE)),
    "thirds": beside(scg.Categorical(probs=[1 / 3, 1 / 3, 1 / 3])),
    "sevenths": beside(scg.Categorical(probs=[1 / 7, 2 / 7, 4 / 7])),
    "weights": beside(scg.Categorical(probs=np.random.default_rng(0).dirichlet(np.ones(4)))),
    "transitions": Case(transitions, ({"t": 0.3},), (SCORE,)),
    "softplus": of_param(logit, lambda b, t: scg.softplus(b - 0.5), 0.3),
    "entropy of a half": of_param(logit, lambda b, t: logit(b - 0.5).entropy() * b, 0.3),
    "honest ratio": Case(honest_ratio, ({"w": [0.1, 0.2, 0.3]},), (SCORE,)),
    "straight through": of_param(logit, lambda b, t: (b - 0.45) ** 3, 0.3, strategies=(scg.StraightThrough(),)),
    "stopped": of_param(lambda t: logit(scg.stop_gradient(t)), lambda b, t: b * t, 0.3),
}  # fmt: skip
QUICK = {"equal", "at least", "density of data", "kink of a probability", "far kink", "thirds", "softplus",
         "straight through"}


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.full) for n in CASES])
def test_certificates_and_variances_at_values(name):
    case = CASES[name]
    for strategy in case.strategies[:1] if name in QUICK else case.strategies:
        g = scg.Graph(name.replace(" ", "_"))
        case.declare(g)
        f = scg.compile(g, strategy=strategy, backend="numpy")
        for values in case.values:
            proof, numbers = scg.verify(f, values, symbolic=True), scg.verify(f, values)
            assert proof.passed is numbers.passed is not None, (values, str(proof))
            assert "the formulas give its expectation" in proof.method, (values, str(proof))
            assert (proof.certificate.proved is True) is numbers.passed, (values, str(proof))
            for param, exact in numeric_variance(f.surrogate.derivation, values).items():
                v = f.surrogate.variance(param)
                for found in (v.evaluate(values, group=2), v.by_formula(values, 2)):
                    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-13, err_msg=f"{strategy} {values}")


def test_a_formula_has_no_value_where_its_case_is_not_known():
    """Steps have no end: those that are shown say where they hold."""
    g = scg.Graph("floor")
    t, x = g.param("t"), g.input("x")
    g.cost("c", g.sample("b", scg.Bernoulli(logits=0.0)) * np.floor(x) * t)
    formula = g.surrogate(SCORE).variance("t").formula
    assert formula.subs("x", 1.5) == formula.subs("x", 1) == sympy.Rational(1, 4)
    assert formula.subs("x", 100.5).has(sympy.nan)


def test_e_is_no_expectation():
    """What is printed under E[estimator] has exp(1)."""
    g = scg.Graph("softplus")
    g.cost("c", scg.softplus(g.sample("b", scg.Bernoulli(logits=g.param("t"))) + g.input("x")))
    f = scg.compile(g, strategy=SCORE, backend="numpy")
    proof = str(scg.verify(f, {"t": 0.3, "x": 1.0}, symbolic=True).certificate)
    assert "exp(1)" in proof + str(f.surrogate.variance("t")) and "*E" not in proof


def test_values_that_were_asked_for_leave_no_trace():
    """At 3.5 a probability reaches 1, where scores miss what is never drawn; elsewhere that is no matter."""
    g = scg.Graph("edge")
    CASES["beside an edge"].declare(g)
    f = scg.compile(g, strategy=SCORE, backend="numpy")
    assert scg.verify(f, {"t": 3.5}, symbolic=True).passed is None
    found = scg.verify(f, {"t": 1.0}, symbolic=True)
    assert found.passed and found.certificate.proved is True and not found.certificate.everywhere

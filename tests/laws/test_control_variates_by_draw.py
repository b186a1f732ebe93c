"""Optimal(), GradientCritic() and MuProp() with baselines: unbiased whatever they have learned, and what they learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import expit

import scg
from scg.derive import derive
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from tests.laws.checks.exact_law import check_exact_law

AT = {"t": np.array([0.4, -0.9, 1.3]), "w": np.array(0.7)}
M = np.array([[1.0, 0.4, -0.3], [0.2, 0.5, 0.8], [-1.1, 0.6, 0.1]])


def units() -> scg.Graph:
    """Three binary draws that a quadratic cost joins, and a later one."""
    g = scg.Graph("units")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t", 3)))
    c = g.sample("c", scg.Bernoulli(logits=g.param("w") * b.sum() - 0.5))
    g.cost("loss", (b - 0.45) @ M @ b + 2.0 + c * b[0])
    return g


def best() -> np.ndarray:
    """E[(b − p)² L] / E[(b − p)²] of each of the three, by enumeration."""
    p = expit(AT["t"])
    above, below = np.zeros(3), np.zeros(3)
    for bits in itertools.product((0.0, 1.0), repeat=4):
        b, c = np.array(bits[:3]), bits[3]
        q = expit(AT["w"] * b.sum() - 0.5)
        chance = np.prod(np.where(b == 1.0, p, 1.0 - p)) * (q if c else 1.0 - q)
        above += chance * (b - p) ** 2 * ((b - 0.45) @ M @ b + 2.0 + c * b[0])
        below += chance * (b - p) ** 2
    return above / below


STATES = ("b squared score times costs", "b squared score")


@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
@pytest.mark.parametrize("estimator", [scg.ScoreFunction(scg.Optimal()), scg.MuProp(baseline=scg.Optimal())], ids=str)
def test_optimal_is_unbiased_after_any_history(estimator, by):
    state = {STATES[0]: np.array([1.0, -2.0, 0.3]), STATES[1]: np.array([0.2, 0.0, 0.7])}
    check_exact_law(units(), AT, {"b": estimator, "c": scg.LocalExpectation()}, state=state, by=by)


def test_optimal_becomes_the_constant_of_least_variance_of_each_draw():
    f = scg.compile(units(), strategy={"b": scg.ScoreFunction(scg.Optimal(decay=0.0))}, backend="numpy")
    r = f(AT, samples=200_000, rng=0)
    found = r.state[STATES[0]] / r.state[STATES[1]]
    np.testing.assert_allclose(found, best(), rtol=0.01)
    errors = []
    for moved in (0.0, -0.4, 0.4):
        state = {STATES[0]: (best() + moved) * r.state[STATES[1]], STATES[1]: r.state[STATES[1]]}
        errors.append(f(AT, samples=20_000, rng=1, state=state).stderr["t"])
    assert np.all(errors[0] < errors[1]) and np.all(errors[0] < errors[2])


def test_optimal_in_a_loop_and_of_vectors():
    g = scg.Graph("loop")
    t = g.param("t", 2)

    def step(carry, _):
        b = g.sample("b", scg.Bernoulli(logits=t + carry))
        k = g.sample("k", scg.OneHotCategorical(logits=t * carry))
        g.cost("loss", (b.sum() - 0.4 + k[0]) ** 2)
        return 0.5 * carry + b[0], None

    g.scan(step, 0.5, length=2)
    d = derive(g, scg.ScoreFunction(scg.Optimal()))
    shapes = {s.name: s.leaf.shape for s in d.draft.states}
    assert shapes["b squared score"] == (2, 2) and shapes["k squared score"] == (2,)
    state = {s.name: 0.3 + 0.2 * np.arange(np.prod(s.leaf.shape)).reshape(s.leaf.shape) for s in d.draft.states}
    check_exact_law(g, {"t": [0.3, -0.2]}, scg.ScoreFunction(scg.Optimal()), state=state)


def test_what_optimal_cannot_do_is_refused():
    with pytest.raises(scg.BaselineError, match="decay"):
        scg.Optimal(decay=2.0)
    with pytest.raises(scg.BaselineError, match="not a baseline"):
        scg.MuProp(baseline=0.5)


# --- MuProp with the paper's baselines -------------------------------------------------------------------------------
@pytest.mark.parametrize("rollout", [False, True])
def test_muprop_takes_any_baseline(rollout):
    for baseline in (scg.MovingAverage(), scg.LeaveOneOut(), scg.Constant(0.7), scg.Optimal()):
        check_exact_law(units(), AT, scg.MuProp(rollout, baseline=baseline))
    assert str(scg.MuProp(baseline=scg.MovingAverage())) == "MuProp(baseline=MovingAverage(decay=0.9))"
    scaled = scg.MuProp(baseline=scg.Learned(0.0, centre=True, scale=True))
    verdict = derive(units(), scaled).verdicts["b"]
    assert verdict.status == "biased" and "√v" in verdict.reason


def test_muprops_average_is_that_of_what_the_expansion_leaves():
    f = scg.compile(units(), strategy={"b": scg.MuProp(baseline=scg.MovingAverage(decay=0.0))}, backend="numpy")
    plain = scg.compile(units(), strategy={"b": scg.MuProp()}, backend="numpy")
    (level,) = f(AT, samples=20_000, rng=0).state.values()
    errors = [f(AT, samples=20_000, rng=1, state={"b moving average": level + by}).stderr["t"] for by in (0.0, 1.0)]
    assert np.sum(errors[0] ** 2) < np.sum(plain(AT, samples=20_000, rng=1).stderr["t"] ** 2)
    assert np.sum(errors[0] ** 2) < np.sum(errors[1] ** 2)


# --- critics for gradients -------------------------------------------------------------------------------------------
@pytest.mark.by_python(by=expected_by_kernel)
@pytest.mark.parametrize("by", [expected_gradient, expected_by_kernel])
def test_a_critic_is_unbiased_whatever_it_has_learned(by):
    learned = {"b weight": np.array([0.3, -1.2, 2.0]), "b offset": np.array([0.8, 0.1, -0.9]), "b level": np.array(0.6)}
    check_exact_law(units(), {**AT, **learned}, {"b": scg.GradientCritic(), "c": scg.Enumerate()},
                    exact=integrate(units(), AT), by=by)


def test_a_critic_begins_as_muprop_and_learns_to_vary_less():
    strategy = {"b": scg.GradientCritic(), "c": scg.Enumerate()}
    f = scg.compile(units(), strategy=strategy, backend="numpy")
    muprop = scg.compile(units(), strategy={**strategy, "b": scg.MuProp()}, backend="numpy")
    start = {**AT, **f.init(0)}
    a, b = f(start, samples=4000, rng=2), muprop(AT, samples=4000, rng=2)
    np.testing.assert_allclose(a.grad["t"], b.grad["t"], rtol=1e-12)
    own = [name for name in start if name.startswith("b ")]
    values = dict(start)
    for step in range(150):
        r = f(values, samples=64, rng=step)
        values |= {name: values[name] - 0.1 * r.grad[name] for name in own}
    after = f({name: np.asarray(v) for name, v in values.items()}, samples=4000, rng=2)
    assert np.sum(after.stderr["t"] ** 2) < 0.8 * np.sum(b.stderr["t"] ** 2)

"""Tabular decision processes: gradients equal dynamic programming's, with discounts, termination and baselines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import scg
from scg.ir.node import constant as table
from tests.laws.checks.sampling import within

STATES, ACTIONS, STEPS, GAMMA = 3, 2, 3, 0.8
P = np.random.default_rng(5).dirichlet(np.ones(STATES), size=(STATES, ACTIONS))
COSTS = np.random.default_rng(6).normal(size=(STATES, ACTIONS))
END = STATES - 1  # where an episode ends
THETA = 0.3 * np.random.default_rng(7).normal(size=(STATES, ACTIONS))


def expected(theta, ends: bool) -> float:
    """The expected discounted cost from state 0, backwards from the last step; complex tables give its slopes."""
    policy = np.exp(theta) / np.exp(theta).sum(axis=1, keepdims=True)
    value = np.arange(STATES) * 0.5 + 0j  # of the state after the last step
    for t in reversed(range(STEPS)):
        through = P @ value  # (states, actions)
        before = (policy * (GAMMA**t * COSTS + through)).sum(axis=1)
        value = np.array([value[s] if ends and s == END else before[s] for s in range(STATES)])
    return value[0]


def gradient(ends: bool) -> np.ndarray:
    """By complex steps."""
    found = np.zeros_like(THETA)
    for index in np.ndindex(THETA.shape):
        moved = THETA.astype(complex)
        moved[index] += 1e-30j
        found[index] = expected(moved, ends).imag / 1e-30
    return found


def process(until=None, baseline=None, by_hand: bool = False, checkpoint=None):
    """A policy's logits by state; costs are discounted, and the last state costs half its number."""
    g = scg.Graph("process")
    theta = g.param("theta", (STATES, ACTIONS))

    def step(carry, t):
        s, over = carry if by_hand else (carry, None)
        logits = theta[s]
        if by_hand:
            logits = scg.where(over > 0.0, scg.stop_gradient(logits), logits)
        estimator = scg.ScoreFunction(scg.Expression(baseline(s, t))) if baseline else None
        a = g.sample("action", scg.Categorical(logits=logits), estimator=estimator)
        cost = GAMMA**t * table(COSTS)[s, a]
        new = g.sample("state", scg.Categorical(probs=table(P)[s, a]))
        if by_hand:
            g.cost("cost", scg.where(over > 0.0, 0.0, cost))
            new = scg.where(over > 0.0, s, new)
            return (new, scg.where(over > 0.0, 1.0, 1.0 * (new == END))), None
        g.cost("cost", cost)
        return new, s

    init = (0.0, 0.0) if by_hand else 0.0
    last, _ = g.scan(step, init, xs=np.arange(STEPS), until=until, checkpoint=checkpoint)
    g.cost("last", 0.5 * (last[0] if by_hand else last))
    return g


def at_the_end(s):
    return s == END


def by_state(s, t):
    """A baseline by state and step."""
    return table(np.array([0.4, -0.2, 0.9]))[s] * (STEPS - t)


@pytest.mark.parametrize("baseline", [None, by_state])
@pytest.mark.parametrize("until", [None, at_the_end])
def test_dynamic_programming_and_enumeration_agree(until, baseline):
    found = scg.exact(process(until, baseline), {"theta": THETA})
    right = gradient(until is not None)
    assert found.cost == pytest.approx(expected(THETA, until is not None).real, rel=1e-12)
    assert np.allclose(found.grad["theta"], right, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.WeakDerivative(), scg.LocalExpectation()], ids=str)
@pytest.mark.parametrize("until", [None, at_the_end])
def test_estimates_are_those_of_dynamic_programming(until, strategy):
    g = process(until, by_state if isinstance(strategy, scg.ScoreFunction) else None)
    given = {"action": strategy} if not isinstance(strategy, scg.ScoreFunction) else None
    r = scg.compile(g, strategy=given, backend="numpy")({"theta": THETA}, samples=4_000, rng=1)
    right = gradient(until is not None)
    assert np.all(np.abs(r.grad["theta"] - right) < 5 * r.stderr["theta"] + 1e-12)
    if until is not None:  # what is done there comes to nothing
        assert np.all(r.grad["theta"][END] == 0.0)


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.WeakDerivative()], ids=str)
def test_an_early_end_is_a_mask_written_by_hand(strategy):
    found = [scg.compile(g, strategy={"action": strategy}, backend="numpy")({"theta": THETA}, samples=300, rng=2)
             for g in (process(at_the_end), process(by_hand=True))]
    for r in found[1:]:
        assert r.cost == found[0].cost
        assert np.allclose(r.grad["theta"], found[0].grad["theta"], rtol=1e-12, atol=1e-14)
        assert np.allclose(r.stderr["theta"], found[0].stderr["theta"], rtol=1e-10, atol=1e-14)


def test_nothing_of_an_early_end_is_biased():
    """Its masks are no stopped gradients of the user's, and verdicts say so."""
    f = scg.compile(process(at_the_end), strategy=scg.ScoreFunction(), backend="numpy")
    assert all(v.status == "unbiased" for v in f.verdict.values()) and "biased, by" not in f.explain()


def walk(until=None, checkpoint=None, length: int = 12, pulled: bool = True):
    """A path of normal steps pulled back by a gain; what is put out, costs in the steps and one after them."""
    g = scg.Graph("walk")
    gain = g.param("gain")

    def step(x, push):
        x = x - gain * np.tanh(x) if pulled else x
        x = x + push + 0.3 * g.sample("w", scg.Normal(loc=gain, scale=1.0))
        g.cost("inside", 0.1 * x**2)
        return x, x * 2.0

    last, ys = g.scan(step, 0.2, xs=np.linspace(0.0, 0.5, length), until=until, checkpoint=checkpoint)
    g.cost("after", last**2)
    g.cost("outside", (ys * np.linspace(0.0, 0.1, length)).sum())
    return g


@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction()], ids=str)
def test_segments_give_the_same_numbers(strategy):
    found = [scg.compile(walk(checkpoint=k), strategy=strategy, backend="numpy")({"gain": 0.4}, samples=50, rng=0)
             for k in (None, 3)]
    for r in found[1:]:
        assert r.cost == pytest.approx(found[0].cost, rel=1e-12)
        assert r.grad["gain"] == pytest.approx(found[0].grad["gain"], rel=1e-11)
        assert r.stderr["gain"] == pytest.approx(found[0].stderr["gain"], rel=1e-9)


def test_segments_of_a_process_that_ends():
    """Both together, and the exact law of it."""
    def step(s, _):
        s = s + g.sample("b", scg.Bernoulli(logits=t - 0.3 * s))
        g.cost("c", (s - 0.6) ** 2)
        return s, None

    exact = []
    for checkpoint in (None, 2):
        g = scg.Graph("ends")
        t = g.param("t")
        g.scan(step, 0.0, length=4, until=lambda s: s >= 2.0, checkpoint=checkpoint)
        exact.append(scg.exact(g, {"t": 0.2}).grad["t"])
        assert scg.verify(scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy"), {"t": 0.2}).passed
    assert exact[0] == pytest.approx(exact[1], rel=1e-12)


def test_a_path_through_the_test_is_refused():
    """As the params move, the step at which the loop ends jumps."""
    for pulled in (False, True):
        with pytest.raises((scg.EstimatorError, scg.ConditionError), match=r"misses part of the gradient"):
            scg.compile(walk(until=lambda x: x > 1.0, pulled=pulled), strategy=scg.Pathwise(), backend="numpy")
    by_draws = walk(until=lambda x: x > 1.0, pulled=False)  # the params move it by what is drawn alone
    assert scg.compile(by_draws, strategy=scg.ScoreFunction(), backend="numpy").verdict["w"].status == "unbiased"


def barrier(kind: str) -> scg.Graph:
    """A price that begins at a param; what it pays jumps at a barrier, which ends the loop or is seen at the end."""
    g = scg.Graph("barrier")
    start, until = g.param("start"), (lambda x: x < -0.1) if kind == "until" else None

    def step(x, _):
        price, alive = x if kind == "flag" else (x, None)
        new = g.sample("x", scg.Normal(price, 0.1))
        return ((new, scg.where(new < -0.1, 0.0, alive)) if kind == "flag" else new), None

    last, _ = g.scan(step, (start, 1.0) if kind == "flag" else start, length=3, until=until)
    if kind == "flag":
        g.cost("pay", np.exp(last[0]) * last[1])
    else:
        g.cost("pay", np.exp(last) * (last >= -0.1))
    return g


@pytest.mark.parametrize(("kind", "like"), [("until", "flag"), ("end", None)])
def test_a_loop_may_begin_with_what_is_differentiated(kind, like):
    """What is tested is what a step drew, and never where the loop began: no jump is on the way of the param."""
    f, at = scg.compile(barrier(kind), strategy=scg.ScoreFunction(), backend="numpy"), {"start": 0.05}
    assert f.verdict["x"].status == "unbiased"
    r = f(at, samples=2000, rng=3)
    if like is not None:
        same = scg.compile(barrier(like), strategy=scg.ScoreFunction(), backend="numpy")(at, samples=2000, rng=3)
        assert r.grad["start"] == pytest.approx(same.grad["start"], rel=1e-9)
        return
    v, z = 0.03, 0.15  # exp(x) 1[x ≥ −0.1] of x ~ N(0.05, v): E = e^(0.05 + v/2) Φ((z + v)/√v)
    top = (z + v) / np.sqrt(v)
    exact = np.exp(0.05 + v / 2.0) * (stats.norm.cdf(top) + stats.norm.pdf(top) / np.sqrt(v))
    within(r.grad["start"], r.stderr["start"], exact, "start")


def test_what_a_loop_keeps_of_its_beginning_jumps():
    """A carry that a step may hand on as it was is where the loop began, for all that is known."""
    g = scg.Graph("kept")
    coin = scg.Bernoulli(probs=0.5)
    last, _ = g.scan(lambda x, _: (scg.where(g.sample("b", coin) > 0.5, x, 1.0), None), g.param("start"), length=3)
    g.cost("c", last > 0.0)
    with pytest.raises(scg.ConditionError, match="comparison"):
        scg.compile(g, backend="numpy")


@pytest.mark.parametrize(("options", "words"), [
    ({"until": 3.0}, "function of the carry"), ({"until": lambda x: x * 2.0}, "one truth value"),
    ({"until": lambda x: scg.stack([x, x]) > 0.0}, "one truth value"), ({"checkpoint": 5}, "divisor of 12"),
    ({"checkpoint": 0}, "divisor of 12"), ({"checkpoint": True}, "divisor of 12")])
def test_what_a_scan_is_not_given(options, words):
    with pytest.raises((scg.DeclarationError, scg.ShapeError), match=words):
        walk(**options)


def test_a_carry_keeps_its_shape():
    g = scg.Graph("wider")
    t = g.param("t")
    for options in ({}, {"until": lambda x: x[0] > 1.0}, {"checkpoint": 2}):
        with pytest.raises(scg.ShapeError, match="must keep its shape"):
            g.scan(lambda x, _: (scg.stack([x[0], x[0], t]), None), np.zeros(2), length=4, **options)

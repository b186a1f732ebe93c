"""The exact stationary mean of a chain and its derivative, against matrices written by hand."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.laws.test_stationary import B, W, _stationary, derivative, little, stationary_mean

RNG = np.random.default_rng(7)
REWARDS, AT = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2))
MOVES = RNG.dirichlet(np.ones(4), size=(4, 2))
MOVES[0] = [[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]  # some moves never happen
MOVES[1, :, 3] = 0.0
MOVES /= MOVES.sum(axis=-1, keepdims=True)


def decisions():
    """A decision process: in each state an action, whose logits are params, then the next state."""
    g = scg.Graph("decisions")
    logits = g.param("logits", (4, 2))

    def step(s):
        a = g.sample("a", scg.Categorical(logits=logits[s]))
        g.cost("reward", scg.take(REWARDS, s)[a])
        return g.sample("next", scg.Categorical(probs=scg.take(MOVES, s)[a]))

    g.chain(step, init=0, burn_in=30, horizon=155)
    return g


def mean_reward(logits):
    policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return _stationary(np.einsum("sa,sat->st", policy, MOVES)) @ (policy * REWARDS).sum(axis=1)


def held(exact, mean, at):
    np.testing.assert_allclose(exact.cost, mean(*at.values()), rtol=1e-12)
    for (name, _), slope in zip(at.items(), derivative(mean, *at.values())):
        np.testing.assert_allclose(exact.grad[name], slope, atol=1e-8)


def test_networks_and_decisions():
    held(scg.exact(little(burn_in=0, horizon=1), {"W": W, "b": B}), stationary_mean, {"W": W, "b": B})
    found = scg.exact(decisions(), {"logits": AT})
    held(found, mean_reward, {"logits": AT})
    assert "Exact values under the stationary law, of 4 states" in repr(found)


def test_rows_have_laws_of_their_own():
    found = scg.exact(little(clamped=True), {"W": W, "b": B, "x": [0.5, -1.0]})
    held(found, lambda w, b: (stationary_mean(w, b + 0.5) + stationary_mean(w, b - 1.0)) / 2.0, {"W": W, "b": B})


def test_what_is_transient_periodic_or_costs_by_itself():
    """Two states by turns after a start of three, a cost of a param's own, and two costs."""
    g = scg.Graph("turns")
    p, c = g.param("p"), g.param("c")

    def step(state):
        place, left = state
        z = g.sample("z", scg.Bernoulli(probs=p))
        g.cost("first", c**2 * (1.0 - place) * z)
        g.cost("second", scg.where(left > 0.0, 100.0, 3.0 * place))
        return 1.0 - place, scg.maximum(left - 1.0, 0.0)

    g.chain(step, init=(0.0, 3.0), burn_in=0, horizon=2)
    found = scg.exact(g, {"p": 0.3, "c": 2.0})
    assert found.costs["first"] == pytest.approx(0.5 * 4.0 * 0.3) and found.costs["second"] == pytest.approx(1.5)
    assert found.grad["p"] == pytest.approx(2.0) and found.grad["c"] == pytest.approx(0.6)


def test_a_move_that_never_happens_and_may():
    """At p = 0 the state 1 is not reached, and what it would cost is the derivative: one step in two, after p."""
    g = scg.Graph("edge")
    p = g.param("p")

    def step(y):
        g.cost("level", 5.0 * y)
        return g.sample("y", scg.Bernoulli(probs=p * (1.0 - y)))

    g.chain(step, init=0.0)
    found = scg.exact(g, {"p": 0.0})  # the mean is 5 p / (1 + p)
    assert found.cost == 0.0 and found.grad["p"] == pytest.approx(5.0)


def drawn_from(family):
    def build(g, a):
        def step(x):
            g.cost("e", x)
            return g.sample("x", family(a, x))

        g.chain(step, init=0.0)

    return build


def path_through_the_state(g, a):
    def step(x):
        new = 0.5 * x + a * g.sample("z", scg.Bernoulli(probs=0.5))
        g.cost("e", new)
        return new

    g.chain(step, init=0.0)


def with_two_ends(g, a):
    """From 0 to 1 or to 2, and there it stays: E[e] = 1 + σ(a)."""
    def step(x):
        new = scg.where(x == 0.0, 1.0 + g.sample("z", scg.Bernoulli(logits=a)), x)
        g.cost("e", new)
        return new

    g.chain(step, init=0.0, burn_in=2, horizon=64)


def test_of_several_laws_it_is_said_what_rules_leave_out():
    """The rules' gradient is 0, and that is not what the mean of long runs does."""
    g = scg.Graph("chain")
    with_two_ends(g, g.param("a"))
    f = scg.compile(g, strategy=scg.SPWD(), backend="numpy")
    assert f({"a": 0.25}, samples=20, rng=0).grad["a"] == 0.0
    with pytest.raises(scg.ExactError, match=r"sets of states that it never leaves.*which one is reached"):
        scg.exact(g, {"a": 0.25})


def without_end(g, a):
    def step(x):
        g.cost("e", x)
        return 0.5 * x + g.sample("z", scg.Bernoulli(logits=a))

    g.chain(step, init=0.0)


@pytest.mark.parametrize(("build", "words"), [
    (drawn_from(lambda a, x: scg.Normal(a + 0.5 * x, 1.0)), "Normal, which takes infinitely many values"),
    (drawn_from(lambda a, x: scg.Bernoulli(probs=scg.where(x > 0.5, 1.0, scg.where(x < 0.5, a, 0.0)))), None),
    (path_through_the_state, "moves with a besides through its draws"),
    (without_end, "reaches more than 4,096 states")], ids=["continuous", "absorbing", "moving", "without end"])
def test_what_has_no_exact_law(build, words):
    g = scg.Graph("chain")
    build(g, g.param("a"))
    if words is None:  # one absorbing state is a law: that of the state
        found = scg.exact(g, {"a": 0.25})
        assert found.cost == 1.0 and found.grad["a"] == 0.0
        return
    with pytest.raises(scg.ExactError, match=words):
        scg.exact(g, {"a": 0.25})


def test_several_laws():
    g = scg.Graph("fork")
    a = g.param("a")

    def step(x):  # from 0 to 1 or 2, and there for ever
        z = g.sample("z", scg.Bernoulli(logits=a))
        g.cost("e", x)
        return scg.where(x > 0.0, x, 1.0 + z)

    g.chain(step, init=0.0)
    with pytest.raises(scg.ExactError, match="several sets of states that it never leaves"):
        scg.exact(g, {"a": 0.0})


def test_comparisons_are_with_the_stationary_gradient():
    """What a window leaves out, and what a start tells, are biases of the mean: 2 here, of p = s + p/2."""
    g = scg.Graph("bit")
    s = g.param("s")

    def step(y):
        g.cost("level", y)
        return g.sample("y", scg.Bernoulli(probs=s + 0.5 * y))

    g.chain(step, init=0.0, burn_in=20, horizon=63)
    found = scg.compare(g, {"cut": scg.LikelihoodRatio(window=1), "long": scg.Phantoms(truncation=20)},
                        {"s": 0.1}, samples=200, backend="numpy")
    assert found["cut"].bias["s"] == pytest.approx(1.0, abs=5.0 * found["cut"].bias_stderr["s"])  # 2 - 1
    assert found["long"].bias["s"] < 5.0 * found["long"].bias_stderr["s"]
    assert not found["cut"].fair and found.best == "long"

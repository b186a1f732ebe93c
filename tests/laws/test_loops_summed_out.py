"""Loops whose sites are summed out step by step: several in a step, loops that end, values that are excluded."""

from __future__ import annotations

import numpy as np
import pytest

import scg

MOVES = np.array([[[0.7, 0.3, 0.0], [0.1, 0.5, 0.4]], [[0.5, 0.5, 0.0], [0.0, 0.3, 0.7]], [[0.0, 0.0, 1.0]] * 2])
COSTS = np.array([[1.0, 1.4], [0.8, 1.1], [0.3, 0.2]])
VALUES = {"theta": np.array([[0.3, -0.5], [0.8, 0.4], [-0.2, 0.6]])}


def bernoulli(g, name, logits):
    return g.sample(name, scg.Bernoulli(logits=logits))


def decision_process(g, theta, xs):
    """An episode that ends in a state: moves of probability 0, a discount, and costs of its end."""
    moves, costs = g.node("P", MOVES), g.node("C", COSTS)

    def step(state, x):
        action = g.sample("action", scg.Categorical(logits=theta[state]))
        g.cost("cost", x * costs[state, action])
        new = g.sample("state", scg.Categorical(probs=moves[state, action]))
        return new, np.log(1.0 + x * new + action)

    last, ys = g.scan(step, 0.0, xs=xs, until=lambda state: state == 2)
    g.cost("last", np.exp(last * theta[0, 1]))
    g.cost("put out", np.cos(ys) @ np.linspace(0.5, 1.5, len(xs)))


def ends_by_its_draw(g, theta, xs):
    """What is handed on changes with the step at which the loop ends; a count goes on, and a sum adds up."""
    def step(carry, x):
        before, scaled, count, added = carry
        k = bernoulli(g, "k", theta[0, 0] - before * x + 0.1 * count)
        g.cost("cost", k * scaled + theta[1, 1] * x)
        return (k, np.sin(theta[0, 1] * x + k), count + 1.0, added + k * theta[2, 0] * x), None

    (k, scaled, count, added), _ = g.scan(step, (0.0, theta[1, 0], 0.0, theta[0, 0]), xs=xs,
                                          until=lambda carry: (carry[0] == 1.0) & (carry[2] > 1.5))
    g.cost("last", np.exp(scaled * (1.0 + k)) + count**2 * theta[0, 0])
    g.cost("added", 0.5 * added)


def factorial_chains(g, theta, xs):
    """Two chains that meet in a cost and in a third draw, which is handed on with one of them."""
    def step(carry, x):
        a, mixed = carry
        one = bernoulli(g, "a", theta[0, 0] * a - x)
        two = g.sample("b", scg.Categorical(logits=theta[:, 0] * (mixed + x)))
        seen = bernoulli(g, "seen", one - two * theta[1, 1])
        g.cost("cost", (one - theta[2, 1] * two) ** 2 * seen + a * mixed)
        return (one, two - 0.5 * seen), None

    last, _ = g.scan(step, (1.0, 0.5), xs=xs)
    g.cost("last", np.exp(last[0] * last[1] * theta[0, 1]))


def driven(g, theta, xs):
    """A chain drives another, and is not driven by it."""
    def step(carry, x):
        inp = bernoulli(g, "input", theta[0, 0] * carry[0] + x)
        out = bernoulli(g, "output", theta[1, 0] * carry[1] - theta[1, 1] * inp)
        g.cost("cost", np.exp(0.3 * out * inp - carry[1] * theta[0, 1]))
        return (inp, out), None

    g.scan(step, (0.0, 1.0), xs=xs)


LOOPS = (decision_process, ends_by_its_draw, factorial_chains, driven)


def summed(declare, length, backend="numpy"):
    g = scg.Graph(declare.__name__)
    declare(g, g.param("theta", (3, 2)), np.linspace(0.5, 1.5, length))
    return g, scg.compile(g, strategy=scg.Enumerate(), backend=backend)


@pytest.mark.parametrize("backend, declare", [*(("numpy", d) for d in LOOPS), ("numba", decision_process)])
def test_all_paths_of_a_loop(backend, declare):
    """`scg.exact` walks all of them, where they are few."""
    g, f = summed(declare, 3, backend)
    r, exact = f(VALUES), scg.exact(g, VALUES)
    np.testing.assert_allclose(r.grad["theta"], exact.grad["theta"], rtol=1e-11, atol=1e-13)
    assert np.max(np.abs(exact.grad["theta"])) > 0.01 and r.stderr["theta"].max() == 0.0
    for name, cost in exact.costs.items():
        np.testing.assert_allclose(r.costs[name], cost, rtol=1e-12)
    assert all(v.status == "unbiased" and "whole support" in v.reason for v in f.verdict.values())


@pytest.mark.parametrize("declare", LOOPS)
def test_a_loop_grows_in_no_way_with_its_length(declare):
    (_, short), (_, long) = summed(declare, 8), summed(declare, 30)
    assert long.source.count("\n") == short.source.count("\n")
    assert np.all(np.isfinite(long(VALUES).grad["theta"]))


def test_the_mean_of_an_episode_is_that_of_its_table():
    """And `scg.exact` sums the sites out likewise, where there are too many paths."""
    g, f = summed(decision_process, 30)
    r, exact = f(VALUES), scg.exact(g, VALUES)
    policy = np.exp(VALUES["theta"])
    policy /= policy.sum(axis=1, keepdims=True)
    at, cost = np.array([1.0, 0.0, 0.0]), 0.0
    for x in np.linspace(0.5, 1.5, 30):
        at[2] = 0.0
        cost += x * np.sum(at[:, None] * policy * COSTS)
        at = np.einsum("s,sa,sat->t", at, policy, MOVES)
    np.testing.assert_allclose([r.costs["cost"], exact.costs["cost"]], cost, rtol=1e-12)
    np.testing.assert_allclose(r.grad["theta"], exact.grad["theta"], rtol=1e-11)


def test_the_next_state_may_be_a_site_that_is_to_be_summed_out_too():
    """Of a decision process whose action alone is summed out the error says what would do, and it does."""
    moves = np.random.default_rng(2).dirichlet(np.ones(3), size=(3, 2))
    g = scg.Graph("walk")
    theta, table = g.param("theta", (3, 2)), g.node("moves", moves)

    def step(s, _):
        a = g.sample("a", scg.Categorical(logits=theta[s]))
        g.cost("c", 1.0 + 0.1 * a)
        return g.sample("s", scg.Categorical(probs=table[s, a])), None

    g.scan(step, 0.0, length=20, until=lambda s: s == 2)
    with pytest.raises(scg.EstimatorError, match=r"give Enumerate\(\) to the sites that draw the next state, too"):
        scg.compile(g, strategy={"a": scg.Enumerate()}, backend="numpy")
    f = scg.compile(g, strategy={"a": scg.Enumerate(), "s": scg.Enumerate()}, backend="numpy")
    assert np.all(f({"theta": np.zeros((3, 2))}, samples=2, rng=0).stderr["theta"] < 1e-12)

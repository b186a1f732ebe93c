"""Exact values of graphs with too many paths to walk: site after site summed out, which is held to all paths."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.expectation import paths
from scg.expectation.exact import integrate
from tests.problems import PROBLEMS, finite_problems

PROBLEMS_WITH_SITES = [name for name in finite_problems() if PROBLEMS[name]().graph.sites]


@pytest.mark.parametrize("name", PROBLEMS_WITH_SITES)
def test_it_is_the_sum_over_all_paths(name, monkeypatch):
    p = PROBLEMS[name]()
    by_paths = integrate(p.graph, p.values)
    monkeypatch.setattr(paths, "MOST_PATHS", 1)
    found = integrate(p.graph, p.values)
    assert found.eliminated and not by_paths.eliminated
    for cost, value in by_paths.costs.items():
        np.testing.assert_allclose(found.costs[cost], value, rtol=1e-12, atol=1e-14)
    for param, grad in by_paths.grad.items():
        np.testing.assert_allclose(found.grad[param], grad, rtol=1e-11, atol=1e-13 * found.cost_size)


def hidden_chain(steps):
    g = scg.Graph("hidden chain")
    moves, seen, before, likelihood = g.param("moves", (3, 3)), g.param("seen", (steps, 3)), None, 1.0
    for t in range(steps):
        logits = np.zeros(3) if before is None else moves[before]
        before = g.sample(f"z{t}", scg.Categorical(logits=logits))
        likelihood = likelihood * scg.exp(seen[t][before])
    g.cost("likelihood", likelihood)
    return g


def test_fifty_steps_of_a_hidden_chain():
    g, rng = hidden_chain(50), np.random.default_rng(0)
    moves, seen = rng.normal(size=(3, 3)), rng.normal(size=(50, 3)) * 0.3
    r, table = scg.exact(g, {"moves": moves, "seen": seen}), np.exp(moves)
    table, alpha = table / table.sum(axis=1, keepdims=True), np.exp(seen[0]) / 3.0
    for t in range(1, 50):
        alpha = alpha @ table * np.exp(seen[t])
    np.testing.assert_allclose(r.cost, alpha.sum(), rtol=1e-12)
    np.testing.assert_allclose(r.grad["seen"].sum(axis=1), alpha.sum(), rtol=1e-11)  # one of three is the value
    np.testing.assert_allclose(r.grad["moves"].sum(axis=1), 0.0, atol=1e-12 * abs(alpha.sum()) * 50)


def test_thirty_draws_that_do_not_meet():
    g, t = scg.Graph("wide"), np.linspace(-1.0, 1.0, 30)
    x = g.sample("x", scg.Bernoulli(logits=g.param("t", 30)))
    g.cost("loss", (np.exp(x) * np.arange(30)).sum())
    p = 1.0 / (1.0 + np.exp(-t))
    np.testing.assert_allclose(scg.exact(g, {"t": t}).grad["t"], p * (1.0 - p) * (np.e - 1.0) * np.arange(30),
                               rtol=1e-12, atol=1e-14)


def coins_in_a_row(length):
    g = scg.Graph("row")
    theta = g.param("theta", 3)
    z = g.sample("z0", scg.Bernoulli(logits=theta[0]))
    for i in range(1, length):
        before, z = z, g.sample(f"z{i}", scg.Bernoulli(logits=theta[0] + theta[1] * z))
        g.cost(f"loss {i}", theta[2] * (z - 0.45) ** 2 + z * before)
    return g


@pytest.mark.parametrize("rule, passed", [
    (scg.ScoreFunction(), True), (scg.LocalExpectation(), True), (scg.StraightThrough(), False)])
def test_one_site_that_is_sampled_in_a_long_chain_is_verified(rule, passed):
    strategy = {f"z{i}": scg.Enumerate() for i in range(30)} | {"z29": rule}
    f = scg.compile(coins_in_a_row(30), strategy=strategy, backend="numpy")
    r = scg.verify(f, {"theta": [0.3, -0.8, 1.2]})
    assert r.passed is passed and "summed out by elimination" in r.method


def test_what_cannot_be_summed_out_is_said():
    g = scg.Graph("joined")
    x = g.sample("x", scg.Bernoulli(logits=g.param("t", 30)))
    g.cost("loss", np.exp(x.sum()))
    with pytest.raises(scg.ExactError, match=r'sample "x".*too many paths.*the sum joins 30 of its draws'):
        scg.exact(g, {"t": np.zeros(30)})

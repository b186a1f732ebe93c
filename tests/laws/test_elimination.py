"""Sites that are summed out together: equal to the sum over all paths, at a cost that grows as the graph does."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import scg


def logistic(x):
    return 1.0 / (1.0 + np.exp(-x))


def bernoulli(g, name, logits):
    return g.sample(name, scg.Bernoulli(logits=logits))


# --- small graphs, against the sum over all paths --------------------------------------------------------------------
def chain(g, theta):
    z = [bernoulli(g, "z0", theta[0])]
    for t in range(1, 5):
        z.append(bernoulli(g, f"z{t}", theta[1] * z[-1] - theta[t % 3]))
    g.cost("loss", sum(theta[2] * (a - 0.4) ** 2 + a * b for a, b in pairwise(z)))
    for t, a in enumerate(z):
        g.cost(f"alone {t}", np.exp(theta[0] * a))


def tree(g, theta):
    root = bernoulli(g, "root", theta[0])
    mid = [bernoulli(g, f"mid{i}", theta[1] * root + 0.3 * i) for i in range(2)]
    leaves = [bernoulli(g, f"leaf{i}", theta[2] * mid[i // 2] - 0.2 * i) for i in range(4)]
    g.cost("pairs", sum((a - b * theta[0]) ** 2 for a, b in pairwise(leaves)))
    g.cost("of the root", np.cos(root * theta[1]))


def into_one(g, theta):
    z = [bernoulli(g, f"z{i}", theta[i % 3]) for i in range(4)]
    h = [bernoulli(g, f"h{i}", theta[0] * z[2 * i] + theta[1] * z[2 * i + 1] - 0.5) for i in range(2)]
    top = bernoulli(g, "top", theta[2] * (h[0] - h[1]))
    g.cost("loss", (top - 0.3) ** 2 + z[0] * h[1])


def loop(g, theta):
    a = bernoulli(g, "a", theta[0])
    b, c = bernoulli(g, "b", theta[1] * a), bernoulli(g, "c", theta[2] * a - 0.4)
    d = bernoulli(g, "d", theta[0] * b - theta[1] * c)
    g.cost("loss", np.sin(a + 2.0 * d) + np.exp(b * c))


def product(g, theta):
    z = [g.sample("z0", scg.Categorical(logits=theta))]
    for t in range(1, 4):
        z.append(g.sample(f"z{t}", scg.Categorical(logits=np.eye(3)[t - 1] * theta[0] + theta * (z[-1] - 1.0))))
    g.cost("likelihood", -math.prod(theta[k] for k in z))


def sampled_below(g, theta):
    z = [bernoulli(g, "z0", theta[0])]
    z.append(bernoulli(g, "z1", theta[1] * z[0]))
    z.append(bernoulli(g, "z2", theta[2] * z[1] + z[0]))
    b = bernoulli(g, "b", theta[0] * z[1] - z[2])
    g.cost("loss", (b - 0.45) ** 2 + z[2] * z[1])
    g.cost("other", b * z[0])


def masked(g, theta):
    z = g.sample("z", scg.Categorical(probs=scg.stack([scg.sigmoid(theta[0]), scg.sigmoid(-theta[0]), 0.0 * theta[0]])))
    y = g.sample("y", scg.Categorical(logits=scg.stack([theta[1], theta[2] * z, scg.where(z > 0.5, -np.inf, 0.3)])))
    g.cost("loss", np.log(1.0 + y + z) + y * theta[0])


VALUES = {"theta": [0.3, -0.8, 1.2]}
GRAPHS = (chain, tree, into_one, loop, product, masked)


def declared(declare):
    g = scg.Graph(declare.__name__)
    declare(g, g.param("theta", (3,)))
    return g


@pytest.mark.parametrize("declare", GRAPHS)
def test_the_sum_over_all_paths(declare):
    g = declared(declare)
    f = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")
    r, exact = f(VALUES), scg.exact(g, VALUES)
    np.testing.assert_allclose(r.grad["theta"], exact.grad["theta"], rtol=1e-12, atol=1e-13)
    for name, cost in exact.costs.items():
        np.testing.assert_allclose(r.costs[name], cost, rtol=1e-12)
    assert {v.status for v in f.verdict.values()} == {"unbiased"}


@pytest.mark.parametrize("summed", [("z0", "z1", "z2"), ("z0", "z2"), ("z1", "z2"), ("z1",)])
@pytest.mark.parametrize("other", [scg.ScoreFunction(), scg.LocalExpectation()])
def test_beside_sites_that_are_sampled(summed, other):
    g = declared(sampled_below)
    strategy = {name: scg.Enumerate() if name in summed else other for name in ("z0", "z1", "z2", "b")}
    assert scg.verify(scg.compile(g, strategy=strategy, backend="numpy"), VALUES).passed


# --- long ones, against recursions -----------------------------------------------------------------------------------
def test_forward_and_backward():
    """The derivative of log E Πₜ eₜ(zₜ) in log eₜ(k) is the probability that zₜ is k, given what was seen."""
    steps, rng = 50, np.random.default_rng(0)
    seen, moves = rng.uniform(0.2, 1.5, (steps, 3)), rng.dirichlet(np.ones(3), 3)
    g = scg.Graph("hmm")
    log_e = g.param("log_e", (steps, 3))
    e, before, likelihood = np.exp(log_e), None, 1.0
    for t in range(steps):
        given = np.full(3, 1 / 3) if before is None else scg.take(moves, before)
        before = g.sample(f"z{t}", scg.Categorical(probs=given))
        likelihood = likelihood * e[t][before]
    g.cost("likelihood", likelihood)
    r = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")({"log_e": np.log(seen)})
    ahead, behind = [np.full(3, 1 / 3) * seen[0]], [np.ones(3)]
    for t in range(1, steps):
        ahead.append(ahead[-1] @ moves * seen[t])
        behind.insert(0, moves @ (behind[0] * seen[steps - t]))
    np.testing.assert_allclose(r.cost, ahead[-1].sum(), rtol=1e-12)
    np.testing.assert_allclose(r.grad["log_e"], np.array(ahead) * np.array(behind), rtol=1e-10)


def test_a_tree_of_40_sites():
    parents, theta = [None, *((i - 1) // 2 for i in range(1, 40))], np.array([0.3, -0.8])
    g = scg.Graph("tree")
    p, sites = g.param("theta", (2,)), []
    for i, above in enumerate(parents):
        sites.append(bernoulli(g, f"z{i}", p[0] if above is None else p[0] + p[1] * sites[above]))
    g.cost("loss", sum((sites[i] - sites[above]) ** 2 * (i + 1.0) for i, above in enumerate(parents) if i))
    f = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")

    def cost(theta):
        chances, total = [logistic(theta[0])], 0.0
        for i, above in enumerate(parents[1:], 1):
            given = logistic(theta[0] + theta[1] * np.arange(2.0))
            other = (1.0 - chances[above]) * given[0] + chances[above] * (1.0 - given[1])
            chances.append((1.0 - chances[above]) * given[0] + chances[above] * given[1])
            total += (i + 1.0) * other
        return total

    r, h = f({"theta": theta}), 1e-5
    slopes = [(cost(theta + h * e) - cost(theta - h * e)) / (2 * h) for e in np.eye(2)]
    np.testing.assert_allclose(r.cost, cost(theta), rtol=1e-12)
    np.testing.assert_allclose(r.grad["theta"], slopes, rtol=1e-7)


def long_chain(length, together):
    g = scg.Graph("chain")
    theta = g.param("theta", (3,))
    z, loss = bernoulli(g, "z0", theta[0]), 0.0
    for t in range(1, length):
        before, z = z, bernoulli(g, f"z{t}", theta[0] + theta[1] * z)
        cost = theta[2] * (z - 0.45) ** 2 + z * before
        if together:
            loss = loss + cost
        else:
            g.cost(f"cost {t}", cost)
    if together:
        g.cost("loss", loss)
    return g


@pytest.mark.parametrize("together", [True, False])
def test_graphs_grow_as_the_chain_does(together):
    """Costs share the messages of the sites before them, whether they are one sum or many costs."""
    counts = []
    for length in (8, 16, 24):
        f = scg.compile(long_chain(length, together), strategy=scg.Enumerate(), backend="numpy")
        counts.append(f.source.count("\n"))
    assert counts[2] - counts[1] == pytest.approx(counts[1] - counts[0], rel=0.1)


def test_what_is_said_of_it():
    f = scg.compile(long_chain(6, True), strategy=scg.Enumerate(), backend="numpy")
    text = f.explain()
    assert "summed out by elimination, one after another: z0, z1, z2, z3" in text
    assert "largest table    4 values, of z" in text


def test_tables_that_are_too_large():
    g = scg.Graph("joint")
    theta = g.param("theta")
    z = [bernoulli(g, f"z{i}", theta * i) for i in range(30)]
    g.cost("loss", np.exp(sum(z) * theta))
    with pytest.raises(scg.EstimatorError, match=r"z0.*z29.*2\^30 values.*LocalExpectation\(\)"):
        scg.compile(g, strategy=scg.Enumerate(), backend="numpy")


# --- in loops --------------------------------------------------------------------------------------------------------
def handed_on(g, theta, length):
    def step(before, x):
        z = bernoulli(g, "z", theta[0] + theta[1] * before + 0.1 * x)
        g.cost("loss", theta[2] * x * (z - 0.45) ** 2 + z * before)
        return z, (z - theta[0]) * before

    last, products = g.scan(step, 1.0, xs=np.linspace(0.5, 1.5, length))
    g.cost("last", np.exp(last * theta[2]))
    g.cost("products", theta[1] * products.sum() + np.cos(products) @ np.linspace(0.0, 1.0, length))


def rows_of_moves(g, theta, length):
    def step(carry, x):
        z = g.sample("z", scg.Categorical(logits=carry[1]))
        return (z, moves[z], carry[2] + np.sin(z * theta[1] * x) + carry[0]), None

    moves = scg.stack([theta, theta[::-1], theta * theta])
    (last, _, total), _ = g.scan(step, (2.0, theta, theta[1]), xs=np.linspace(0.5, 1.5, length))
    g.cost("added up", theta[0] * total)
    g.cost("last", last ** 2)


def nothing_handed_on(g, theta, length):
    def step(level, x):
        z = bernoulli(g, "z", theta * x * level)
        y = bernoulli(g, "y", theta[0] * z.sum() - 0.3)
        g.cost("loss", (z.sum() - y * theta[2]) ** 2 * level)
        return level * 0.9, None

    g.scan(step, 1.0, xs=np.linspace(0.5, 1.5, length))


def two_draws(g, theta, length):
    def step(before, x):
        z = bernoulli(g, "z", theta[:2] + theta[2] * before[::-1] * x)
        g.cost("loss", np.exp(theta[0] * z[0] * before[1]) + (z[1] - 0.4) ** 2)
        return z, None

    g.scan(step, np.zeros(2), xs=np.linspace(0.5, 1.5, length))


def in_a_loop(declare, length):
    g = scg.Graph(declare.__name__)
    declare(g, g.param("theta", (3,)), length)
    return g


LOOPS = (handed_on, rows_of_moves, nothing_handed_on, two_draws)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("declare", LOOPS)
def test_all_paths_of_a_loop(declare, backend):
    g = in_a_loop(declare, 4)
    r, exact = scg.compile(g, strategy=scg.Enumerate(), backend=backend)(VALUES), scg.exact(g, VALUES)
    np.testing.assert_allclose(r.grad["theta"], exact.grad["theta"], rtol=1e-11, atol=1e-13)
    for name, cost in exact.costs.items():
        np.testing.assert_allclose(r.costs[name], cost, rtol=1e-12)


@pytest.mark.parametrize("cost", [
    lambda ys, c: np.sin(0.5 * ys.sum() - 0.3), lambda ys, c: ys.sum() ** 2, lambda ys, c: 1.0 - ys.sum() * 0.5,
    lambda ys, c: np.tanh(ys.sum() + c), lambda ys, c: (c * np.ones(2) * ys.sum()).sum(),
    lambda ys, c: np.exp(0.3 - ys[0] * ys[1])])
def test_costs_of_all_steps_at_once(cost):
    """Where the recursion does not know them, all paths are summed over."""
    g = scg.Graph("all")
    theta = g.param("theta", 3)

    def step(c, y):
        s = g.sample("s", scg.Bernoulli(logits=theta[0] * c - y))
        return s, s

    c, ys = g.scan(step, 0.3, xs=np.array([1.0, 2.0, 3.0]))
    g.cost("c", cost(ys, c))
    r, exact = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")(VALUES), scg.exact(g, VALUES)
    np.testing.assert_allclose(r.grad["theta"], exact.grad["theta"], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("declare", LOOPS)
def test_a_loop_grows_in_no_way_with_its_length(declare):
    """Of 50 steps there are more paths than could be summed over."""
    short, long = (scg.compile(in_a_loop(declare, length), strategy=scg.Enumerate(), backend="numpy")
                   for length in (8, 50))
    assert long.source.count("\n") == short.source.count("\n")
    assert np.all(np.isfinite(long(VALUES).grad["theta"]))


def test_a_loop_is_the_chain_of_its_steps():
    length, theta = 40, np.array(VALUES["theta"])
    g = in_a_loop(handed_on, length)
    r = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")({"theta": theta})
    x, chances, loss = np.linspace(0.5, 1.5, length), np.array([0.0, 1.0]), 0.0
    for t in range(length):
        up = logistic(theta[0] + theta[1] * np.arange(2.0) + 0.1 * x[t])
        joint = chances[:, None] * np.stack([1.0 - up, up], axis=1)
        before, z = np.indices((2, 2))
        loss += np.sum(joint * (theta[2] * x[t] * (z - 0.45) ** 2 + z * before))
        chances = joint.sum(axis=0)
    np.testing.assert_allclose(r.costs["loss"], loss, rtol=1e-12)
    np.testing.assert_allclose(r.costs["last"], chances @ np.exp(theta[2] * np.arange(2.0)), rtol=1e-12)


def test_what_is_no_chain_is_said():
    g = scg.Graph("counted")
    theta = g.param("theta")

    def step(count, _):
        z = bernoulli(g, "z", theta * count)
        return count + theta * z, None

    count, _ = g.scan(step, 0.0, length=30)
    g.cost("loss", count ** 2)
    with pytest.raises(scg.EstimatorError, match=r"2\^?\d+ values.*summed over together: what a step hands on"):
        scg.compile(g, strategy=scg.Enumerate(), backend="numpy")

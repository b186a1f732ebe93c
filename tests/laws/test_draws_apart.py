"""Arrays of draws that are summed out each by itself: equal to the sum over all values, which is never formed."""

from __future__ import annotations

import numpy as np
import pytest

import scg

RNG = np.random.default_rng(3)


def logistic(x):
    return 1.0 / (1.0 + np.exp(-x))


# --- few draws, against the sum over all values ----------------------------------------------------------------------
def alone(g, n):
    t = g.param("t", n)
    x = g.sample("x", scg.Bernoulli(logits=t))
    g.cost("loss", ((x - 0.4) ** 2 * np.arange(1.0, n + 1.0)).sum() + np.exp(t[0] * x[0]))


def neighbours(g, n):
    t = g.param("t", n)
    x = g.sample("x", scg.Categorical(logits=scg.stack([t, -t, t * t], axis=-1)))
    g.cost("loss", np.sin((x[1:] - x[:-1] * t[0]) * np.arange(1.0, n)).sum() + np.exp(x[0] * t[1]))


def on_a_grid(g, n):
    t = g.param("t", (2, n))
    x = g.sample("x", scg.Bernoulli(logits=t))
    g.cost("rungs", np.exp(x[0] * x[1] * t[0]).sum())
    g.cost("end", (x[:, 0] - 0.3).sum() ** 2)


def two_layers(g, n):
    t = g.param("t", (n, 3))
    x = g.sample("x", scg.Categorical(logits=t))
    y = g.sample("y", scg.Bernoulli(logits=x * t[:, 0]))
    g.cost("loss", (np.exp(-x * y) + t[:, 1] * y).sum())


def around_single_draws(g, n):
    t = g.param("t", n)
    z = g.sample("z", scg.Bernoulli(logits=t[0]))
    x = g.sample("x", scg.Bernoulli(logits=t * z))
    w = g.sample("w", scg.Bernoulli(logits=x[1] * t[2] - z))
    g.cost("loss", (x * np.arange(n)).sum() * (z - 0.3) + w * x[2])


def vectors(g, n):
    t = g.param("t", (n, 3))
    x = g.sample("x", scg.OneHotCategorical(logits=t))
    g.cost("loss", np.exp((x * t).sum(axis=-1)).sum())


def excluded(g, n):
    t = g.param("t", n)
    weights = scg.stack([scg.sigmoid(t), scg.sigmoid(-t), 0.0 * t], axis=-1)
    x = g.sample("x", scg.Categorical(probs=weights))
    g.cost("loss", (np.log(2.0 - x) * t).sum())


def looked_up(g, n):
    t = g.param("t", n)
    x = g.sample("x", scg.Categorical(logits=scg.stack([t, -t, t * t], axis=-1)))
    g.cost("loss", np.exp(t[x]).sum())


CASES = (alone, neighbours, on_a_grid, two_layers, around_single_draws, vectors, excluded, looked_up)


def made(declare, n):
    g = scg.Graph(declare.__name__)
    declare(g, n)
    return g, {"t": RNG.normal(size=g.params["t"].shape)}


@pytest.mark.parametrize("declare", CASES)
def test_the_sum_over_all_values(declare):
    g, values = made(declare, 4)
    f = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")
    r, exact = f(values), scg.exact(g, values)
    np.testing.assert_allclose(r.grad["t"], exact.grad["t"], rtol=1e-12, atol=1e-13)
    for name, cost in exact.costs.items():
        np.testing.assert_allclose(r.costs[name], cost, rtol=1e-12)
    assert {v.status for v in f.verdict.values()} == {"unbiased"}


@pytest.mark.parametrize("declare", CASES)
def test_kernels_do_not_grow_with_the_draws(declare):
    short, long = (scg.compile(made(declare, n)[0], strategy=scg.Enumerate(), backend="numpy") for n in (5, 60))
    assert long.source.count("\n") == short.source.count("\n")
    assert np.all(np.isfinite(long(made(declare, 60)[1]).grad["t"]))


# --- many draws, against what they are -------------------------------------------------------------------------------
def test_twenty_draws():
    g, values = made(alone, 20)
    r = scg.compile(g, strategy=scg.Enumerate())(values)
    t, k, p = values["t"], np.arange(1.0, 21.0), logistic(values["t"])
    cost = np.sum(k * (0.16 + 0.2 * p)) + 1.0 - p[0] + p[0] * np.exp(t[0])
    grad = k * 0.2 * p * (1.0 - p)
    grad[0] += p[0] * (1.0 - p[0]) * (np.exp(t[0]) - 1.0) + p[0] * np.exp(t[0])
    np.testing.assert_allclose(r.cost, cost, rtol=1e-12)
    np.testing.assert_allclose(r.grad["t"], grad, rtol=1e-12)
    assert np.all(r.stderr["t"] == 0.0)


def test_rows_and_counts():
    """What is left out above `upto` is left out of every draw by itself."""
    g = scg.Graph("counts")
    t, a = g.param("t", 30), g.data("a")
    x = g.sample("x", scg.Poisson(rate=np.exp(t * a)), per_row=True)
    g.cost("loss", (x * x).sum())
    a, t = np.array([0.3, -0.8]), RNG.normal(size=30) * 0.3
    r = scg.compile(g, strategy=scg.Enumerate(upto=40), backend="numpy")({"t": t, "a": a})
    rate = np.exp(np.multiply.outer(a, t))
    np.testing.assert_allclose(r.cost, np.mean(np.sum(rate + rate**2, axis=1)), rtol=1e-12)
    np.testing.assert_allclose(r.grad["t"], np.mean((rate + 2 * rate**2) * a[:, None], axis=0), rtol=1e-10)


@pytest.mark.parametrize("other", [scg.ScoreFunction(credit="elements"), scg.LocalExpectation(), scg.MuProp()])
def test_beside_draws_that_are_sampled(other):
    g = scg.Graph("beside")
    t = g.param("t", 2)
    x = g.sample("x", scg.Bernoulli(logits=t))
    b = g.sample("b", scg.Bernoulli(logits=x * t[1] - 0.2))
    g.cost("loss", ((b - 0.3) ** 2 * x + x * t[0]).sum())
    values = {"t": [0.3, -0.7]}
    for strategy in ({"x": scg.Enumerate(), "b": other}, {"x": other, "b": scg.Enumerate()}):
        assert scg.verify(scg.compile(g, strategy=strategy, backend="numpy"), values).passed


def test_draws_that_meet_are_named():
    g = scg.Graph("joined")
    x = g.sample("x", scg.Bernoulli(logits=g.param("t", 20)))
    g.cost("loss", (x.sum() - 0.3) ** 2)
    said = r'test_draws_apart.py:.*sample "x".*1048576 values.*the sum joins 20 of its draws.*LocalExpectation'
    with pytest.raises(scg.EstimatorError, match=said):
        scg.compile(g, strategy=scg.Enumerate(), backend="numpy")


def test_few_draws_that_all_meet_are_summed_out_together():
    g = scg.Graph("few")
    x = g.sample("x", scg.Bernoulli(logits=g.param("t", 3)))
    g.cost("loss", (x.sum() - 0.3) ** 2)
    values = {"t": [0.3, -0.7, 1.0]}
    r = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")(values)
    np.testing.assert_allclose(r.grad["t"], scg.exact(g, values).grad["t"], rtol=1e-12)


# --- arrays in the steps of a loop -----------------------------------------------------------------------------------
def layer(g, t, steps):
    def step(level, x):
        z = g.sample("z", scg.Bernoulli(logits=t[:, 0] * x * level))
        g.cost("loss", ((z - 0.4) ** 2 * t[:, 1]).sum() * level + np.exp(z[0] * x))
        return level * 0.9, None

    g.scan(step, 1.0, xs=np.linspace(0.5, 1.5, steps))


def chains(g, t, steps):
    def step(before, x):
        z = g.sample("z", scg.Bernoulli(logits=t[:, 0] * before * x - 0.3))
        g.cost("loss", np.exp(t[:, 1] * z * before).sum() + z[0] * x)
        return z, z * before

    last, products = g.scan(step, np.zeros(t.shape[0]), xs=np.linspace(0.5, 1.5, steps))
    g.cost("last", np.exp(last * t[:, 2]).sum())
    g.cost("products", np.cos(products).sum())


def added_up(g, t, steps):
    def step(carry, x):
        z = g.sample("z", scg.Categorical(logits=t * carry[0][:, None] + x))
        y = g.sample("y", scg.Bernoulli(logits=z * x - t[:, 0]))
        return (np.sin(z * t[:, 1]), carry[1] + (y * z).sum()), None

    (last, total), _ = g.scan(step, (np.ones(t.shape[0]), 0.0), xs=np.linspace(0.5, 1.5, steps))
    g.cost("total", total)
    g.cost("last", (last * t[:, 0]).sum())


def chains_of_vectors(g, t, steps):
    def step(before, x):
        z = g.sample("z", scg.OneHotCategorical(logits=t * before * x - 0.3))
        g.cost("loss", np.exp((t * z * before).sum(axis=-1)).sum())
        return z, None

    last, _ = g.scan(step, np.zeros(t.shape), xs=np.linspace(0.5, 1.5, steps))
    g.cost("last", np.exp((last * t).sum(axis=-1)).sum())


LOOPS = (layer, chains, added_up, chains_of_vectors)


def looped(declare, draws, steps):
    g = scg.Graph(declare.__name__)
    declare(g, g.param("t", (draws, 3)), steps)
    return g, {"t": np.random.default_rng(5).normal(size=(draws, 3))}


@pytest.mark.parametrize("declare", LOOPS)
@pytest.mark.parametrize("steps", [1, 3])
def test_the_sum_over_all_paths(declare, steps):
    g, values = looped(declare, 2, steps)
    r, exact = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")(values), scg.exact(g, values)
    np.testing.assert_allclose(r.grad["t"], exact.grad["t"], rtol=1e-11, atol=1e-13)
    for name, cost in exact.costs.items():
        np.testing.assert_allclose(r.costs[name], cost, rtol=1e-12)


@pytest.mark.parametrize("declare", LOOPS)
def test_loops_do_not_grow_with_draws_or_steps(declare):
    kernels = []
    for draws, steps in ((5, 8), (30, 40)):
        g, values = looped(declare, draws, steps)
        f = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")
        assert np.all(np.isfinite(f(values).grad["t"]))
        kernels.append(f.source.count("\n"))
    assert kernels[0] == kernels[1]


@pytest.mark.by_python
def test_a_compiled_loop_of_arrays():
    g, values = looped(chains, 5, 4)
    r, by_numpy = (scg.compile(g, strategy=scg.Enumerate(), backend=b)(values) for b in ("numba", "numpy"))
    np.testing.assert_allclose(r.grad["t"], by_numpy.grad["t"], rtol=1e-11, atol=1e-13)


def test_draws_that_meet_in_the_next_step_are_named():
    g = scg.Graph("joined")
    t = g.param("t", 20)

    def step(before, _):
        z = g.sample("z", scg.Bernoulli(logits=t * before.sum()))
        g.cost("loss", (z * t).sum())
        return z, None

    g.scan(step, np.zeros(20), length=30)
    with pytest.raises(scg.EstimatorError, match=r"2\^600 values in all its steps.*the sum joins 20 of its draws"):
        scg.compile(g, strategy=scg.Enumerate(), backend="numpy")

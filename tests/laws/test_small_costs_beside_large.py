"""In float32 a small cost beside a large one is not lost in what weighs a score."""

from __future__ import annotations

import numpy as np
import pytest

import scg

BIG = 1e6  # of which the last bit in float32 is 1/16


def one_cost(g, b):
    g.cost("both", BIG + 0.1 * b)


def two_costs(g, b):
    g.cost("big", BIG + 0 * b)
    g.cost("small", 0.1 * b)


def subtracted(g, b):
    g.cost("all", 0.1 * b - (BIG - 0.2 * b) - 0.2 * b)


def graph(costs):
    g = scg.Graph("small beside large")
    costs(g, g.sample("b", scg.Bernoulli(logits=g.param("a"))))
    return g


@pytest.mark.parametrize("strategy", [None, scg.DisARM()], ids=str)
@pytest.mark.parametrize("costs", [one_cost, two_costs, subtracted])
def test_a_small_cost_is_not_lost(costs, strategy):
    f = scg.compile(graph(costs), strategy=strategy, dtype="float32", backend="numpy")
    r = f({"a": 0.3}, samples=10_000, rng=0)
    p = 1.0 / (1.0 + np.exp(-0.3))
    assert abs(r.grad["a"] - 0.1 * p * (1.0 - p)) < 4.0 * r.stderr["a"] < 1e-3


EVERY = [scg.ARM(), scg.ARMS(3), scg.CARMS(3), scg.Delta(), scg.DoubleCV(), scg.Enumerate(), scg.GradientCritic(),
         scg.LocalExpectation(), scg.MuProp(), scg.PSA(), scg.REBAR(), scg.RELAX(), scg.RODEO(), scg.StochasticTriple(),
         scg.SumAndSample(2), scg.WeakDerivative(), scg.WithoutReplacement(2)]


@pytest.mark.parametrize("strategy", EVERY, ids=str)
def test_no_estimator_loses_it(strategy):
    """Those that the default policy does not take, at starting values of what they learn."""
    f = scg.compile(graph(subtracted), strategy=strategy, dtype="float32", backend="numpy")
    r = f({**f.init(0), "a": 0.3}, samples=4_000, rng=0)
    p = 1.0 / (1.0 + np.exp(-0.3))
    assert abs(r.grad["a"] - 0.1 * p * (1.0 - p)) < 4.0 * r.stderr["a"] + 1e-6
    assert r.stderr["a"] < 2e-3


def categories(g):
    """Two sites; the large part is made of another draw, and of neither of them."""
    a = g.param("a")
    k = g.sample("k", scg.Categorical(logits=np.arange(3.0) * a))
    h = g.sample("h", scg.Bernoulli(logits=np.array([1.0, 2.0, -1.0]) * a * (k - 1.0)))
    x = g.sample("x", scg.Normal(0.0, 1.0))
    g.cost("both", BIG + 3e5 * x + 0.1 * k * h.sum())


@pytest.mark.parametrize("strategy", [scg.CARMS(3), scg.Enumerate(), scg.LocalExpectation(), scg.WeakDerivative(),
                                      scg.WithoutReplacement(2)], ids=str)
def test_of_several_values_neither(strategy):
    g = scg.Graph("categories beside large")
    categories(g)
    f = scg.compile(g, strategy={"k": strategy, "h": scg.Enumerate()}, dtype="float32", backend="numpy")
    r = f({"a": 0.3}, samples=4_000, rng=0)
    summed = {"k": scg.Enumerate(), "h": scg.Enumerate()}
    right = scg.compile(g, strategy=summed, backend="numpy")({"a": 0.3}, samples=2)
    assert abs(r.grad["a"] - right.grad["a"]) < 4.0 * r.stderr["a"] + 1e-6
    assert r.stderr["a"] < 2e-3


def costs_of_steps(g, a):
    def step(c, _):
        g.cost("r", BIG + 0.1 * g.sample("b", scg.Bernoulli(logits=a)))
        return c, None

    g.scan(step, 0.0, length=5)


def carried(g, a):
    total, _ = g.scan(lambda c, _: (c + (BIG + 0.1 * g.sample("b", scg.Bernoulli(logits=a))), None), 0.0, length=5)
    g.cost("R", total)


def carried_last(g, a):
    """The carry stands behind what is added to it."""
    total, _ = g.scan(lambda c, _: (0.1 * g.sample("b", scg.Bernoulli(logits=a)) + BIG + c, None), 0.0, length=5)
    g.cost("R", total)


def put_out(g, a):
    _, rewards = g.scan(lambda c, _: (c, BIG + 0.1 * g.sample("b", scg.Bernoulli(logits=a))), 0.0, length=5)
    g.cost("R", rewards.sum())


def beside_given(g, a):
    """What is large varies from call to call."""
    big = g.input("big")
    total, _ = g.scan(lambda c, _: (c + 0.1 * g.sample("b", scg.Bernoulli(logits=a)) + big, None), 0.0, length=5)
    g.cost("R", total)


def discounted(g, a):
    def step(state, _):
        total, weight = state
        return (total + weight * (BIG + 0.1 * g.sample("b", scg.Bernoulli(logits=a))), 0.9 * weight), None

    (total, _), _ = g.scan(step, (0.0, 1.0), length=5)
    g.cost("R", total)


LOOPS = [(model, strategy) for model in (costs_of_steps, carried, carried_last, put_out, beside_given, discounted)
         for strategy in (None, scg.DisARM(), scg.LocalExpectation())
         if model not in (carried_last, discounted) or strategy is None]


@pytest.mark.parametrize("model, strategy", LOOPS, ids=lambda x: getattr(x, "__name__", str(x)))
def test_nor_is_it_where_a_loop_adds_up(model, strategy):
    """Step by step, in a carry, or behind the loop; discounted, if that is compared with the other replicates."""
    g = scg.Graph("return")
    model(g, g.param("a"))
    f = scg.compile(g, strategy=strategy, dtype="float32", backend="numpy")
    r = f({"a": 0.3, **({"big": BIG} if model is beside_given else {})}, samples=4_000, rng=0)
    p = 1.0 / (1.0 + np.exp(-0.3))
    steps = 0.9 ** np.arange(5.0) if model is discounted else np.ones(5)
    assert abs(r.grad["a"] - 0.1 * p * (1.0 - p) * steps.sum()) < 4.0 * r.stderr["a"] + 1e-6
    assert r.stderr["a"] < 3e-3


def test_kernels_do_the_same():
    r = scg.compile(graph(two_costs), dtype="float32")({"a": 0.3}, samples=10_000, rng=0)
    known = scg.compile(graph(two_costs), backend="numpy")({"a": 0.3}, samples=10_000, rng=0)
    np.testing.assert_allclose(r.grad["a"], known.grad["a"], rtol=1e-5)


def test_of_one_replicate_nothing_is_subtracted():
    """There is no other whose costs could be."""
    f = scg.compile(graph(two_costs), dtype="float32", backend="numpy")
    for seed in (0, 1):
        found = f.surrogate.evaluate({"a": 0.3}, samples=1, rng=seed).gradient("a")
        np.testing.assert_allclose(f({"a": 0.3}, samples=1, rng=seed).grad["a"], np.mean(found), rtol=1e-6)

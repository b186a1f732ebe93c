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

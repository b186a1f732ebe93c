"""Lanes that differ in one draw of two values are counted: the same numbers as if each were looked at."""

import functools

import numpy as np
import pytest

import scg

COSTS = {
    "square": lambda b: (b - 0.45) ** 2,
    "infinite where it is 0": lambda b: scg.log(b),
    "too large where it is 1": lambda b: (1e200 * b) ** 2,
    "not a number where it is 0": lambda b: scg.sqrt(b - 1e-3) * b,
}
STRATEGIES = {"leave one out": None, "none": scg.ScoreFunction()}


def graph_of(cost):
    g = scg.Graph("counted")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", cost(b))
    return g


@functools.cache
def function(cost, strategy, dtype, backend):
    return scg.compile(graph_of(COSTS[cost]), strategy=STRATEGIES[strategy], dtype=dtype, backend=backend)


def numbers(f, theta, samples):
    """Means and standard errors; None if they are not finite, as the call says."""
    try:
        r = f({"theta": theta}, samples=samples, rng=3)
    except scg.NonFiniteError:
        return None
    return np.array([r.cost, r.grad["theta"], r.cost_stderr, r.stderr["theta"]], float)


@pytest.mark.parametrize(("cost", "strategy"), [
    ("square", "leave one out"), ("too large where it is 1", "leave one out"), ("square", "none"),
    ("infinite where it is 0", "none"), ("not a number where it is 0", "none")])
def test_a_value_that_is_not_drawn_is_not_seen(cost, strategy):
    assert "counted(" in function(cost, strategy, "float64", "numba").source.split("def chunk")[1]
    for theta in (0.3, 800.0, -800.0):  # at log-odds of ±800 only one of the values is drawn
        for samples in (64, 4096, 4099):
            kernel, reference = (numbers(function(cost, strategy, "float64", b), theta, samples)
                                 for b in ("numba", "numpy"))
            assert (kernel is None) == (reference is None), (theta, samples)
            if kernel is not None:
                np.testing.assert_allclose(kernel, reference, rtol=1e-9, atol=1e-13)


def test_numbers_of_single_precision():
    kernel, reference = (numbers(function("square", "none", "float32", b), 0.3, 100_000) for b in ("numba", "numpy"))
    np.testing.assert_allclose(kernel, reference, rtol=1e-5)


def test_two_draws_are_not_counted():
    g = scg.Graph("two")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")), shape=2)
    g.cost("loss", (b[0] - b[1] + 0.3) ** 2)
    assert "counted(" not in scg.compile(g).source.split("def chunk")[1]

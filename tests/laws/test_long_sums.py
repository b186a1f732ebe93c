"""Long sums in float32 are added up in float64: right to its last bits, however many terms there are."""

from __future__ import annotations

import numpy as np
import pytest

import scg

MANY = 300_000  # of 0.7: one after another in float32, the sum is off by 1e-3
RIGHT = float(np.float32(0.7))


def _noise(g):
    return 0.0 * g.sample("b", scg.Bernoulli(probs=0.5))


def rows():
    """Means over rows of a graph with a shared site: sums and products."""
    g = scg.Graph("rows")
    w, x = g.param("w"), g.data("x")
    g.cost("c", w * x + _noise(g))
    return g, {"w": 1.0, "x": np.full(MANY, 0.7)}, RIGHT, {"w": RIGHT}


def rows_of_a_product():
    g = scg.Graph("products")
    w, x = g.param("w", (3,)), g.data("x", (3,))
    g.cost("c", x @ w + _noise(g))
    return g, {"w": np.ones(3), "x": np.full((MANY, 3), 0.7)}, 3 * RIGHT, {"w": np.full(3, RIGHT)}


def event_sum():
    """A sum inside an event, once per call, and a contraction whose second argument is drawn."""
    g = scg.Graph("event")
    w, x = g.param("w"), g.input("x", (MANY,))
    g.cost("c", w * x.sum() / MANY + (x @ x) / MANY + _noise(g))
    return g, {"w": 1.0, "x": np.full(MANY, 0.7)}, RIGHT + RIGHT**2, {"w": RIGHT}


def running_sum():
    """The costs of a long loop, credited from each step on."""
    g = scg.Graph("running")
    w = g.param("w")
    _, ys = g.scan(lambda c, _: (c, w * 0.7), 0.0, length=MANY)
    g.cost("c", ys.sum() / MANY + _noise(g))
    return g, {"w": 1.0}, RIGHT, {"w": RIGHT}


def taken_away():
    """A carry that steps take from."""
    g = scg.Graph("taken away")
    w = g.param("w")
    last, _ = g.scan(lambda c, _: (c - w * 0.7, None), 0.0, length=MANY)
    g.cost("c", last / MANY + _noise(g))
    return g, {"w": 1.0}, -RIGHT, {"w": -RIGHT}


@pytest.mark.parametrize("build, backend", [
    (taken_away, "numba"), (rows, "numpy"), (rows, "numba"), (rows_of_a_product, "numpy"), (rows_of_a_product, "numba"),
    (event_sum, "numpy"), (event_sum, "numba"), (running_sum, "numba")], ids=lambda f: getattr(f, "__name__", f))
def test_a_sum_of_many_terms(build, backend):
    graph, values, cost, grad = build()
    r = scg.compile(graph, dtype="float32", backend=backend, stderr=False)(values, samples=2, rng=0)
    np.testing.assert_allclose(r.cost, cost, rtol=3e-7)
    for name, right in grad.items():
        np.testing.assert_allclose(r.grad[name], right, rtol=3e-7)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_running_sums_and_sums_over_lanes(backend):
    """Prefix sums, and sums of what varies by replicate, of 20,000 terms."""
    n = 20_000
    g = scg.Graph("prefix")
    b = g.sample("b", scg.Bernoulli(probs=1.0))
    x = g.input("x", (n,)) * b
    g.cost("last", np.cumsum(x)[-1])
    g.cost("sum", x.sum())
    g.cost("dot", x @ g.input("x2", (n,)))
    values = {"x": np.full(n, 0.7), "x2": np.full(n, 0.7)}
    r = scg.compile(g, dtype="float32", backend=backend, stderr=False)(values, samples=2, rng=0)
    for name, right in (("last", n * RIGHT), ("sum", n * RIGHT), ("dot", n * RIGHT**2)):
        np.testing.assert_allclose(r.costs[name], right, rtol=2e-7)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_whole_cost_is_the_sum_of_the_costs(backend):
    """float32 does not hold 1e8 + 1/3: the mean is right all the same, and the standard error is said to be unknown."""
    for offset, known in ((0.0, True), (100.0, True), (1e4, True), (1e6, False), (1e8, False)):
        g = scg.Graph("two costs")
        b = g.sample("b", scg.Bernoulli(logits=g.param("p")))
        fixed = g.input("offset")
        g.cost("fixed", fixed)
        g.cost("varies", b / 3.0)
        g.cost("back", -fixed)
        f = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend, dtype="float32")
        r = f({"p": 0.0, "offset": offset}, samples=4096, rng=3)
        assert np.isclose(r.cost, r.costs["varies"], rtol=1e-12, atol=1e-7)
        assert abs(r.cost - 1.0 / 6.0) < 5.0 * (1.0 / 6.0) / np.sqrt(4096.0)
        if known:
            right = np.sqrt(r.costs["varies"] * (1.0 / 3.0 - r.costs["varies"]) / 4095.0)
            assert np.isclose(r.cost_stderr, right, rtol=0.02)
        else:
            assert np.isnan(r.cost_stderr) and any("the whole cost" in note for note in r.notes)

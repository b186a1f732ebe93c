"""Counts: right, or refused where the working type does not tell whole numbers apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import scg

BACKENDS = ["numpy", "numba"]


def poisson():
    g = scg.Graph("counts")
    k = g.sample("k", scg.Poisson(rate=g.param("rate")))
    g.cost("c", 1.0 * k)
    return g


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_poisson_draws_are_those_of_the_distribution_at_every_rate(dtype):
    """Acceptance is decided in float64, by a log-probability in which large terms do not cancel."""
    rates = [3.0, 9.9, 10.0, 30.0, 1e3, 1e6, *([1e9, 1e12, 1e15, 4e15] if dtype == "float64" else [4e6])]
    f = scg.compile(poisson(), dtype=dtype, stderr=False)
    slow = scg.compile(poisson(), dtype=dtype, stderr=False, backend="numpy")
    n = 20_000
    for rate in rates:
        k = f({"rate": rate}, samples=n, rng=1, record=("k",)).record["k"].ravel()
        assert np.array_equal(k, np.floor(k))
        z = (k - rate) / np.sqrt(rate)
        assert abs(z.mean()) < 5 / np.sqrt(n) and abs(z.var() - 1.0) < 5 * np.sqrt((2.0 + 1.0 / rate) / n)
        edges = np.quantile(stats.poisson(min(rate, 1e9)).ppf(np.linspace(0.05, 0.95, 10)), np.linspace(0, 1, 10)) \
            if rate <= 1e9 else rate + np.sqrt(rate) * stats.norm.ppf(np.linspace(0.05, 0.95, 10))
        exact = stats.poisson(rate).cdf(edges) if rate <= 1e9 else np.linspace(0.05, 0.95, 10)
        found = np.array([(k <= e).mean() for e in edges])
        assert np.all(np.abs(found - exact) < 5 * np.sqrt(exact * (1 - exact) / n) + 1e-9), rate
        same = slow({"rate": rate}, samples=300, rng=1, record=("k",)).record["k"].ravel()
        assert np.mean(same != k[:300]) < 0.01


def test_float32_draws_are_those_of_float64():
    """A loop decides in float64; also where the uniform is the smallest there is."""
    for rate in (4.0, 30.0, 1e6):
        draws = [scg.compile(poisson(), dtype=dtype, stderr=False, backend="numpy")(
            {"rate": rate}, samples=5000, rng=5, record=("k",)).record["k"] for dtype in ("float32", "float64")]
        assert np.array_equal(*draws) and np.isfinite(draws[0]).all()


@pytest.mark.parametrize("dtype, rate", [("float32", 1.7e7), ("float32", 1e30), ("float64", 1e16), ("float64", 1e300)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_counts_beyond_the_mantissa_are_refused(dtype, rate, backend):
    if backend == "numba" and (dtype == "float64" or rate == 1e30):
        rate = {"float32": 1.7e7, "float64": 1e16}[dtype]
    with pytest.raises(scg.CallError, match="tell whole numbers apart") as error:
        scg.compile(poisson(), dtype=dtype, backend=backend)({"rate": rate}, samples=64, rng=0)
    assert '"k"' in str(error.value)


def test_counts_in_a_loop_are_checked_too():
    g = scg.Graph("chain")
    r = g.param("r")
    last, _ = g.scan(lambda c, _: (c + g.sample("k", scg.Poisson(rate=r)), None), 0.0, length=3)
    g.cost("c", last)
    f = scg.compile(g, dtype="float32", backend="numpy")
    assert f({"r": 20.0}, samples=64, rng=0).cost > 50
    with pytest.raises(scg.CallError, match="tell whole numbers apart"):
        f({"r": 1.7e7}, samples=64, rng=0)


@pytest.mark.parametrize("value, dtype, refused", [
    (np.array([2**24 + 1]), "float32", True), (np.array([2.0**24 + 1]), "float32", "counted"),
    (np.array([-(2.0**24) - 1]), "float32", "counted"), (np.array([1e13]), "float32", "counted"),
    (np.array([2.0**24]), "float32", False),
    (np.array([1e9]), "float32", False), (np.array([1.7e7 + 0.3]), "float32", False),
    (np.array([1.23456789e20]), "float32", False), (np.array([2**53 + 1]), "float64", True),
    (np.array([-(2**63)]), "float64", True), (np.array([2**53]), "float64", False),
    (np.array([2.0**60]), "float64", False)])
@pytest.mark.parametrize("counted", [False, True])
def test_counts_that_are_given(value, dtype, refused, counted):
    """Integers are; floats are if something is decided by them."""
    g = scg.Graph("given")
    x = g.data("x")
    g.cost("c", g.param("w") * (np.where(x > 16777216.0, 1.0, 0.0) if counted else x)
           + 0.0 * g.sample("b", scg.Bernoulli(probs=0.5)))
    f = scg.compile(g, dtype=dtype, backend="numpy")
    if dtype == "float64" and refused:
        with pytest.raises(scg.CallError, match="cannot tell apart"):
            scg.exact(g, {"w": 1.0, "x": value})
    if refused is True or (counted and refused):
        with pytest.raises(scg.CallError, match="cannot tell apart"):
            f({"w": 1.0, "x": value})
    else:
        f({"w": 1.0, "x": value})


@pytest.mark.parametrize("use", [
    lambda g, y: scg.Poisson(rate=3.0 * g.param("w")).log_prob(y), lambda g, y: g.param("w") * np.floor(y / 2.0),
    lambda g, y: g.scan(lambda c, t: (c + g.param("w") * (y == t), None), 0.0, xs=np.arange(2.0))[0]])
def test_whole_floats_by_which_something_is_decided(use):
    g = scg.Graph("decided")
    g.cost("c", use(g, g.data("y")))
    with pytest.raises(scg.CallError, match="cannot tell apart"):
        scg.compile(g, dtype="float32", backend="numpy")({"w": 1.0, "y": [2.0**24 + 1]})


@pytest.mark.parametrize("value", [2e7, 16777217.0, 16777217, 1e13, -1e13, np.array(1e15)])
def test_a_param_is_a_real_number_and_rounded(value):
    """An optimiser may land on a whole number."""
    g = scg.Graph("real")
    x = g.param("x")
    g.cost("c", x * 1.0)
    r = scg.compile(g, dtype="float32", backend="numpy")({"x": value})
    assert r.cost == np.float32(value) and r.grad["x"] == 1.0


@pytest.mark.by_python(dtype="float64")
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.full)])
def test_a_rate_that_is_drawn(dtype):
    """y ~ Poisson(m (z + 1)), z ~ Poisson(m): E y = m (m + 1), drawn alike by both backends."""
    g = scg.Graph("branching")
    m = g.param("m")
    z = g.sample("z", scg.Poisson(rate=m))
    y = g.sample("y", scg.Poisson(rate=m * (z + 1.0)))
    g.cost("c", 1.0 * y)
    runs = [scg.compile(g, dtype=dtype, backend=b)({"m": 0.9}, samples=20_000, rng=0, record=("y",)) for b in BACKENDS]
    assert np.mean(runs[0].record["y"] != runs[1].record["y"]) < 1e-3
    for r in runs:
        assert abs(r.cost - 0.9 * 1.9) < 5 * r.cost_stderr and abs(r.grad["m"] - 2.8) < 5 * r.stderr["m"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.int8, np.uint64])
def test_small_types_of_numbers_are_taken_without_a_warning(kind):
    g = scg.Graph("small")
    g.cost("c", g.data("a") * g.param("p"))
    for dtype in ("float64", "float32"):
        r = scg.compile(g, backend="numpy", dtype=dtype)({"a": np.array([1, 2], dtype=kind), "p": 1.0})
        assert r.cost == 1.5

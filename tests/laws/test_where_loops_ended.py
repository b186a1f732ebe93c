"""Where a loop ended nothing is looked at: its last state may lie outside of a table, or of what a function takes."""

from __future__ import annotations

import numpy as np
import pytest

import scg

XS, VALUES = np.array([0.5, 1.0, 1.4]), {"a": 0.7}
WAYS = {"table": lambda g, s: g.node("T", np.array([0.3]))[s], "log": lambda g, s: scg.log(1.0 - s) + 0.3,
        "pole": lambda g, s: 0.3 / (1.0 - s), "root": lambda g, s: scg.sqrt(0.5 - s) + 0.3 - np.sqrt(0.5)}
OF_VALUES = ("DoubleCV", "RELAX", "RODEO", "ScoreFunction")  # what they look at is of all kinds
OTHERS = ("ARM", "ARMS", "CARMS", "DisARM", "LocalExpectation", "StochasticTriple", "SumAndSample", "WeakDerivative",
          "WithoutReplacement")


def walk(ways, xs, **options):
    """A state that stays 0 until it is 1, where what the step is made of has no value."""
    g = scg.Graph("walk")
    a = g.param("a")

    def step(s, x):
        level = sum(way(g, s) for way in ways) / len(ways)
        b = g.sample("b", scg.Bernoulli(logits=a * level * x))
        g.cost("cost", x * (1.0 + level * b + a * level))
        return b, level * b

    last, ys = g.scan(step, 0.0, xs=xs, until=lambda s: s == 1)
    g.cost("last", 1.0 / (last - 2.0) + ys.sum())
    return g, scg.compile(g, **options)


def expected(a, xs):
    """The cost, by recursion from the last step."""
    value = -0.5
    for x in xs[::-1]:
        p = 1.0 / (1.0 + np.exp(-0.3 * a * x))
        value = x * (1.0 + 0.3 * p + 0.3 * a) + p * (0.3 - 1.0) + (1.0 - p) * value
    return value


def is_exact(found, xs):
    np.testing.assert_allclose(found.cost, expected(VALUES["a"], xs), rtol=1e-13)
    np.testing.assert_allclose(found.grad["a"], np.imag(expected(VALUES["a"] + 1e-30j, xs)) / 1e-30, rtol=1e-12)


@pytest.mark.parametrize("way, backend", [*((way, "numpy") for way in WAYS), ("table", "numba")])
def test_all_paths(way, backend):
    """Walked one by one, and summed step by step."""
    g, f = walk([WAYS[way]], XS, strategy=scg.Enumerate(), backend=backend)
    is_exact(scg.exact(g, VALUES), XS)
    is_exact(f(VALUES), XS)
    assert "no more than" not in f.verdict["b"].reason


@pytest.mark.parametrize("name", [*OF_VALUES, *(pytest.param(name, marks=pytest.mark.full) for name in OTHERS)])
def test_every_estimator(name):
    """Of two steps, of which the second is held where the first ended the loop."""
    g, f = walk(WAYS.values(), XS[:2], strategy=getattr(scg, name)(), backend="numpy")
    values = f.init(0) | VALUES
    is_exact(scg.exact(g, VALUES), XS[:2])
    assert scg.verify(f, values).passed and f.verdict["b"].status == "unbiased"
    r = f(values, samples=50, rng=0)
    assert np.isfinite([r.cost, r.grad["a"], r.stderr["a"]]).all()

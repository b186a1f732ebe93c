"""Poles that paths are kept from by a tiny number: said where no sample would meet the derivative, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive

NARROW = {
    "x/(|x| + ε)": lambda x: x / (abs(x) + 1e-8),
    "ε first": lambda x: x / (1e-8 + abs(x - 0.3)),
    "max(|x|, ε)": lambda x: x / np.maximum(abs(x), 1e-8),
    "clip": lambda x: x / np.clip(abs(x), 1e-6, None),
    "relu": lambda x: scg.relu(x) / (scg.relu(x) + 1e-8),
    "√(x² + ε)": lambda x: x / np.sqrt(x**2 + 1e-16),
    "power": lambda x: x * (x * x + 1e-12) ** -0.5,
    "shares of relus": lambda x: (scg.relu(x - np.arange(3.0)) / (scg.relu(x - np.arange(3.0)).sum() + 1e-8))[0],
}
WIDE = {
    "never 0": lambda x: x / (scg.sigmoid(x) + 1e-8) + np.log(np.exp(x) + 1e-8) + x / (scg.softplus(x) + 1e-8),
    "a margin that is met": lambda x: x / (abs(x) + 1e-3),
    "beside another": lambda x: x / (1.0 + abs(x) + 1e-8),
    "a small factor": lambda x: x / (1e-6 * np.exp(x)),
    "no pole": lambda x: np.sqrt(x * x + 1e-12) + (x + 1e-8) ** 2,
}
OF_SEVERAL = {
    "norm": lambda x: (x / np.sqrt((x**2).sum() + 1e-12)).sum(),
    "dot": lambda x: (x / np.sqrt(x @ x + 1e-12)).sum(),
    "pair": lambda x: x[0] / np.sqrt(x[0] ** 2 + x[1] ** 2 + 1e-12),
    "layer norm": lambda x: ((x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5))[0],
    "largest": lambda x: (x / (np.max(abs(x)) + 1e-8)).sum(),
}


def graph(cost, shape=()):
    g = scg.Graph("margins")
    g.cost("c", cost(g.sample("x", scg.Normal(g.param("t"), 1.0), shape=shape)))
    return g


@pytest.mark.parametrize("name", NARROW)
def test_a_narrow_margin_is_named(name):
    """With its line, its width and what does not depend on it; where no path passes, nothing is said."""
    g = graph(NARROW[name])
    (said,) = derive(g, scg.Pathwise()).narrow
    assert said.startswith("test_margins.py:") and "e-" in said and 'ScoreFunction() at "x" does not' in said
    assert not derive(g, scg.ScoreFunction()).narrow


def test_a_margin_in_a_loop():
    """Of what a step draws, and of what it is handed."""
    g = scg.Graph("walk")
    t = g.param("t")

    def step(s, _):
        x = s + g.sample("x", scg.Normal(t, 1.0))
        return x, x / (abs(x) + 1e-8)

    g.cost("c", g.scan(step, 0.0, length=3)[1].sum())
    (said,) = derive(g, scg.Pathwise()).narrow
    assert said.startswith("test_margins.py:") and "1e-08" in said


@pytest.mark.parametrize("name", WIDE)
def test_a_margin_that_hides_nothing(name):
    assert not derive(graph(WIDE[name]), scg.Pathwise()).narrow


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_what_is_small_where_several_numbers_are(name):
    """Draws come near there as seldom as the derivative is large: nothing of it is missed."""
    assert not derive(graph(OF_SEVERAL[name], 4), scg.Pathwise()).narrow


def test_where_it_is_said():
    """With every estimate, on the page, and with the estimate of what is not missed beside it."""
    f = scg.compile(graph(NARROW["x/(|x| + ε)"]), backend="numpy")
    r = f({"t": 0.3}, samples=1000, rng=0)
    assert float(r.grad["t"]) == pytest.approx(0.0, abs=1e-3)  # the derivative of a mean that is 2 Φ(0.3) − 1
    (note,) = f.verdict.notes
    assert note in r.notes and note in f.explain()
    right = scg.compile(graph(NARROW["x/(|x| + ε)"]), strategy=scg.ScoreFunction(), backend="numpy")
    r = right({"t": 0.3}, samples=20_000, rng=0)
    assert abs(r.grad["t"] - 2.0 * np.exp(-0.045) / np.sqrt(2.0 * np.pi)) < 4.0 * r.stderr["t"] and not r.notes

"""Loops whose next state is a formula of the state and of what is drawn: summed out step by step, over the states."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.laws.test_loops_summed_out import VALUES, bernoulli

SHIFTS = np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 2.0]])


def ruin(g, theta, xs):
    """A walk that ends at 0, where a step would make no number, or at 4."""
    def step(s, x):
        b = bernoulli(g, "b", theta[0, 0] - x * np.log(s) * theta[0, 1])
        g.cost("time", x + 0.0 * b)
        g.cost("cost", np.exp(theta[1, 0] * s) * b / s)
        return s + 2 * b - 1, s * theta[1, 1] * b

    last, ys = g.scan(step, 2.0, xs=xs, until=lambda s: (s == 0) | (s == 4))
    g.cost("last", np.sin(last * theta[2, 0]))
    g.cost("put out", (ys**2).sum())


def stock(g, theta, xs):
    """Orders and demands, of which neither moves the other but through a stock, of random size when it begins."""
    def step(s, x):
        order = bernoulli(g, "order", theta[:, 0][np.minimum(s, 2.0)] * x)
        demand = g.sample("demand", scg.Categorical(logits=theta[:, 1] * (1.0 + s)))
        g.cost("cost", (s + 2 * order - demand) ** 2 * x + order * theta[0, 1])
        return np.maximum(np.minimum(s + 2 * order, 4.0) - demand, 0.0), None

    begun = 2.0 * bernoulli(g, "begun", theta[2, 1])
    last, _ = g.scan(step, begun, xs=xs)
    g.cost("last", np.exp(0.2 * last * theta[0, 0]))


def turtle(g, theta, xs):
    """Where it stands and where it looks, by a number and a table of shifts; and a clock of two hours."""
    shifts = g.node("shifts", SHIFTS)

    def step(carry, x):
        at, look, clock = carry
        k = g.sample("turn", scg.Categorical(logits=theta[:, 0] * at[0] - theta[:, 1] * look))
        g.cost("cost", np.cos(at @ theta[0] + x * k) * (1.0 + clock))
        new = np.where(clock > 0, np.clip(at + scg.stack([shifts[look, k], 1.0 - k]), -1.0, 1.0), at)
        return (new, (look + k) % 2, 1.0 - clock), k * at[1]

    (at, look, _), ys = g.scan(step, (np.zeros(2), 1.0, 1.0), xs=xs)
    g.cost("last", np.exp(theta[1] @ at - theta[2, 0] * look))
    g.cost("put out", ys.sum())


def counted(g, theta, xs):
    """A cost that is not linear in a sum, beside one that is, and draws by twos."""
    def step(carry, x):
        many, added = carry
        b = g.sample("b", scg.Bernoulli(logits=theta[0] * x))
        return (many + b.sum(), added + b[0] * theta[1, 1] * x), None

    (many, added), _ = g.scan(step, (0.0, theta[2, 0]), xs=xs)
    g.cost("last", (many - 2.0 * theta[1, 0]) ** 2)
    g.cost("added", 0.5 * added)


def driven(g, theta, xs):
    """Each step shifts by what is given for it, in a circle."""
    def step(s, x):
        b = bernoulli(g, "b", theta[0, 0] + np.cos(s))
        g.cost("cost", theta[1, 0] * s * b)
        return (s + b * np.floor(3.0 * x)) % 5, None

    last, _ = g.scan(step, 2.0, xs=xs)
    g.cost("last", last**2 * theta[2, 1])


LOOPS = (ruin, stock, turtle, counted, driven)


def summed(declare, length, backend="numpy"):
    g = scg.Graph(declare.__name__)
    declare(g, g.param("theta", (3, 2)), np.linspace(0.5, 1.5, length))
    return g, scg.compile(g, strategy=scg.Enumerate(), backend=backend)


@pytest.mark.parametrize("declare", LOOPS)
def test_all_paths_of_a_loop(declare):
    """`scg.exact` walks all of them, where they are few; what is compiled is as long for any number of steps."""
    g, f = summed(declare, 4)
    r, exact = f(VALUES), scg.exact(g, VALUES)
    np.testing.assert_allclose(r.grad["theta"], exact.grad["theta"], rtol=1e-11, atol=1e-13)
    assert np.max(np.abs(exact.grad["theta"])) > 0.01 and r.stderr["theta"].max() == 0.0
    for name, cost in exact.costs.items():
        np.testing.assert_allclose(r.costs[name], cost, rtol=1e-12)
    assert summed(declare, 30)[1].source.count("\n") == f.source.count("\n")


def ruined(t, steps):
    """How likely a walk that began in 3 of 0 … 6 has come to 6, after so many steps."""
    p, at = 1.0 / (1.0 + np.exp(-t)), np.eye(7)[3]
    for _ in range(steps):
        inner = np.where((np.arange(7) > 0) & (np.arange(7) < 6), at, 0.0)
        at = at - inner + np.roll(inner * p, 1) + np.roll(inner * (1.0 - p), -1)
    return at[6]


@pytest.mark.parametrize("until, backend", [(True, "numba"), (False, "numpy")])
def test_a_gambler_is_ruined(until, backend):
    """Two hundred steps; the walk ends at the edges, or stays there."""
    g = scg.Graph("ruin")
    t = g.param("t")

    def step(s, _):
        new = s + 2 * bernoulli(g, "b", t) - 1
        return new if until else np.where((s > 0) & (s < 6), new, s), None

    last, _ = g.scan(step, 3.0, length=200, until=(lambda s: (s == 0) | (s == 6)) if until else None)
    g.cost("won", (last == 6) * 1.0)
    f, exact = scg.compile(g, strategy=scg.Enumerate(), backend=backend), scg.exact(g, {"t": 0.2})
    slope = (ruined(0.2 + 1e-5, 200) - ruined(0.2 - 1e-5, 200)) / 2e-5
    for found in (f({"t": 0.2}), exact):
        np.testing.assert_allclose(found.cost, ruined(0.2, 200), rtol=1e-12)
        np.testing.assert_allclose(found.grad["t"], slope, rtol=1e-8)


def test_what_is_no_state_of_few_values_is_refused():
    """It is known at a call only, or takes too many values; or what is drawn is not summed out."""
    def refused(words, strategy=None, begun=0.0, step=lambda s, b, t, k: s + b, length=30):
        g = scg.Graph("refused")
        t, n = g.param("t"), g.input("n")

        def body(s, _):
            k = g.sample("k", scg.Bernoulli(logits=t))
            return step(s, g.sample("b", scg.Bernoulli(logits=t * s)), t, k), None

        last, _ = g.scan(body, n if begun is None else begun, length=length)
        g.cost("last", np.cos(last))
        with pytest.raises(scg.EstimatorError, match=words):
            scg.compile(g, strategy=strategy or scg.Enumerate(), backend="numpy")

    refused("state that the loop begins in is known at a call only.*zeros and ones", begun=None)
    refused("hands on is made of what is known at a call only", step=lambda s, b, t, k: s + b * t)
    refused("takes more than 4,096 values", step=lambda s, b, t, k: 2.0 * s + b)
    refused("takes 2,001 values, to which 4,002 ways lead", step=lambda s, b, t, k: s + b, length=2000)
    refused('made of draws of site "k"', {"b": scg.Enumerate(), "k": scg.ScoreFunction()},
            step=lambda s, b, t, k: s + b * k)

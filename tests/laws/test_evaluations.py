"""What explain() says of evaluations is how often a function is called that the costs are made of."""

from __future__ import annotations

from collections import Counter
from math import prod

import numpy as np
import pytest

import scg
from scg.estimators.estimator import ESTIMATORS
from scg.evaluations import evaluations

SAMPLES, STEPS = 8, 2
UNCALLED = {"UpperBound"}  # its costs are never positive


calls: Counter = Counter()  # one for all graphs: two functions of the same code are one


def called(x):
    """A function of a site's draws."""
    calls["cost"] += 1
    return float((np.sum(x) - 0.45) ** 2 + np.sum(x * np.arange(np.size(x))))


def slope(d, x):
    return (d * (2.0 * (np.sum(x) - 0.45) + np.arange(float(np.size(x))).reshape(np.shape(x))),)


def cost(g, x):
    return g.call(called, x, vjp=slope, shape=())


def one(g):
    g.cost("c", cost(g, g.sample("b", scg.Bernoulli(logits=g.param("theta", init=0.3)))))


def array(g):
    g.cost("c", cost(g, g.sample("b", scg.Bernoulli(logits=g.param("theta", init=0.3) + np.array([0.1, -0.2, 0.3])))))


def continuous(g):
    g.cost("c", cost(g, g.sample("x", scg.Normal(g.param("theta", init=0.3), 0.5))))


def categories(g):
    g.cost("c", cost(g, g.sample("k", scg.Categorical(logits=g.param("theta", init=0.3) * np.arange(3.0)))))


def two(g):
    theta = g.param("theta", init=0.3)
    a = g.sample("a", scg.Bernoulli(logits=theta))
    b = g.sample("b", scg.Bernoulli(logits=theta * (a - 0.3)))
    g.cost("c", cost(g, a + 2.0 * b))


def loop(g):
    theta = g.param("theta", init=0.3)

    def step(carry, _):
        found = 0.1 * cost(g, g.sample("b", scg.Bernoulli(logits=theta + carry)) + carry)
        return found, found

    g.cost("c", g.scan(step, 0.0, length=STEPS)[1].sum())


def applied(name):
    """An estimator by its name, with a temperature, or a size, of 2 where it needs a number."""
    try:
        return ESTIMATORS[name]()
    except TypeError:
        return ESTIMATORS[name](2)


def said(found, samples):
    """How many evaluations of all costs that comes to in a call."""
    values = prod(e.values for e in found.values() if e.values)  # all of them meet in the function
    replays = sum((samples * e.replays + e.once) / (1 + len(e.common)) for e in found.values())
    own = next(iter(found.values()))
    return replays + values * (samples if own.random else 1)


@pytest.mark.parametrize("graph", [one, array, continuous, categories, two, loop])
def test_evaluations_are_those_that_are_made(graph):
    tried = 0
    for name in (n for n, cls in ESTIMATORS.items() if not cls.stationary and n not in UNCALLED):
        g = scg.Graph(graph.__name__)
        graph(g)
        try:
            f = scg.compile(g, strategy=applied(name), backend="numpy")
        except scg.SCGError:
            continue  # it cannot be used there, or not with a function of which so little is known
        calls.clear()
        f(f.init(0), samples=SAMPLES, rng=0)
        derived = f._everything("evaluations")
        found = evaluations(derived.derivation, f._options)
        assert calls["cost"] == said(found, SAMPLES) * (STEPS if graph is loop else 1), (name, found)
        tried += 1
    assert tried > 8


def test_shared_flips_are_counted_once():
    """Two worlds of a binary draw are one change of 64 log-probabilities, in each replicate and for each draw."""
    g = scg.Graph("head")
    theta, w = g.param("theta", (3,)), np.linspace(-1.0, 1.0, 192).reshape(3, 64)
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("c", -scg.Bernoulli(logits=b @ w).log_prob(np.ones(64)).sum())
    f = scg.compile(g, strategy=scg.LocalExpectation(), backend="numpy")
    assert "  evaluations  4: the replicate itself, and 3 replays\n" in f.explain()

"""Graphs whose formulas are held against their numbers: all estimators, loops, rows, mixtures, worlds, names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import scg


class Case(NamedTuple):
    """A graph, its values, and a strategy."""

    graph: scg.Graph
    values: dict[str, Any]
    strategy: Any = None


CASES: dict[str, Callable[[], Case]] = {}

SCORE, GROUPS = scg.ScoreFunction(), scg.ScoreFunction(scg.LeaveOneOut())
AVERAGE = scg.ScoreFunction(scg.MovingAverage())


def _site(family: Callable, cost: Callable, strategy, *names: tuple[str, Any], shape=None) -> Callable[[], Case]:
    """One site of a family at params, and a cost of its draw."""
    def case() -> Case:
        g = scg.Graph()
        params = [g.param(name, np.shape(value)) for name, value in names]
        x = g.sample("x", family(*params), shape=shape)
        g.cost("loss", cost(x, *params))
        return Case(g, dict(names), strategy)

    return case


def _square(x, *params):
    return np.sum((x - 0.45) ** 2) * (1.0 + 0.3 * np.sum(params[0] ** 2))


T, S = ("theta", 0.4), ("sigma", 0.8)
FAMILIES = {
    "bernoulli score": (lambda t: scg.Bernoulli(logits=t), SCORE, T),
    "bernoulli probs": (lambda p: scg.Bernoulli(probs=p), SCORE, ("p", [0.4, 0.3])),
    "bernoulli groups": (lambda t: scg.Bernoulli(probs=scg.sigmoid(t)), GROUPS, T),
    "bernoulli average": (lambda t: scg.Bernoulli(logits=t), AVERAGE, T),
    "bernoulli arm": (lambda t: scg.Bernoulli(logits=t), scg.ARM(), T),
    "bernoulli disarm": (lambda t: scg.Bernoulli(logits=t), scg.DisARM(), ("w", [0.4, -0.3])),
    "bernoulli muprop": (lambda t: scg.Bernoulli(logits=t), scg.MuProp(), T),
    "bernoulli rebar": (lambda t: scg.Bernoulli(logits=t), scg.REBAR(), T),
    "bernoulli straight through": (lambda t: scg.Bernoulli(logits=t), scg.StraightThrough(), T),
    "bernoulli gumbel softmax": (lambda t: scg.Bernoulli(logits=t), scg.GumbelSoftmax(), T),
    "bernoulli gumbel rao": (lambda t: scg.Bernoulli(logits=t), scg.GumbelRao(k=3), T),
    "bernoulli reinmax": (lambda t: scg.Bernoulli(logits=t), scg.ReinMax(), ("w", [0.4, -0.3])),
    "one hot reinmax": (lambda w: scg.OneHotCategorical(logits=w), scg.ReinMax(0.8), ("w", [0.4, -0.3, 0.2])),
    "bernoulli spsa": (lambda t: scg.Bernoulli(logits=t), scg.SPSA(), T),
    "bernoulli weak": (lambda t: scg.Bernoulli(logits=t), scg.WeakDerivative(), ("w", [0.4, -0.3])),
    "bernoulli local": (lambda t: scg.Bernoulli(logits=t), scg.LocalExpectation(), ("w", [0.4, -0.3, 0.2])),
    "bernoulli enumerate": (lambda t: scg.Bernoulli(logits=t), scg.Enumerate(), ("w", [0.4, -0.3])),
    "bernoulli triple": (lambda t: scg.Bernoulli(logits=t), scg.StochasticTriple(), ("w", [0.4, -0.3])),
    "bernoulli arms": (lambda t: scg.Bernoulli(logits=t), scg.ARMS(3), ("w", [0.4, -0.3])),
    "categorical carms": (lambda w: scg.Categorical(logits=w), scg.CARMS(3), ("w", [0.4, -0.3, 0.2])),
    "bernoulli without replacement": (
        lambda t: scg.Bernoulli(logits=t), scg.WithoutReplacement(3, credit="steps"), ("w", [0.4, -0.3])),
    "one hot sum and sample": (lambda w: scg.OneHotCategorical(logits=w), scg.SumAndSample(2), ("w", [0.4, -0.3, 0.2])),
    "normal pathwise": (lambda t, s: scg.Normal(t, s), scg.Pathwise(), T, S),
    "normal score": (lambda t, s: scg.Normal(t, s), SCORE, T, S),
    "bernoulli relax": (lambda t: scg.Bernoulli(logits=t), scg.RELAX(), T),
    "normal lax": (lambda t, s: scg.Normal(t, s), scg.LAX(eta=None), T, S),
    "bernoulli double": (lambda t: scg.Bernoulli(logits=t), scg.DoubleCV(), ("w", [0.4, -0.3])),
    "bernoulli rodeo": (lambda t: scg.Bernoulli(logits=t), scg.RODEO(), ("w", [0.4, -0.3])),
    "normal delta": (lambda t, s: scg.Normal(t, s), scg.Delta(), T, S),
    "normal delta path": (lambda t, s: scg.Normal(t, s), scg.Delta(pathwise=True), T, S),
    "normal weak": (lambda t, s: scg.Normal(t, s), scg.WeakDerivative(), T, S),
    "categorical groups": (lambda w: scg.Categorical(logits=w), GROUPS, ("w", [0.4, -0.3, 0.2])),
    "one hot": (lambda w: scg.OneHotCategorical(logits=w), SCORE, ("w", [0.4, -0.3, 0.2])),
    "poisson": (lambda t: scg.Poisson(np.exp(t)), SCORE, T),
    "poisson weak": (lambda t: scg.Poisson(np.exp(t)), scg.WeakDerivative(), T),
    "poisson cut": (lambda t: scg.Poisson(np.exp(t)), scg.Enumerate(upto=6), T),
    "exponential": (lambda t: scg.Exponential(np.exp(t)), scg.Pathwise(), T),
    "gamma": (lambda t, s: scg.Gamma(np.exp(t), s), SCORE, T, S),
    "gamma pathwise": (lambda t, s: scg.Gamma(np.exp(t), s), scg.Pathwise(), T, S),
    "beta": (lambda t, s: scg.Beta(np.exp(t), s), SCORE, T, S),
    "student": (lambda t, s: scg.StudentT(5.0, t, s), SCORE, T, S),
    "uniform": (lambda t: scg.Uniform(t, t + 2.0), scg.Pathwise(), T),
    "dirichlet": (lambda w: scg.Dirichlet(np.exp(w)), SCORE, ("w", [0.4, -0.3, 0.2])),
}
for _name, (_family, _strategy, *_params) in FAMILIES.items():
    CASES[_name] = _site(_family, _square, _strategy, *_params)


def case(make: Callable[[], Case]) -> Callable[[], Case]:
    """Register a graph under its function's name."""
    CASES[make.__name__.replace("_", " ")] = make
    return make


def steps(length: int) -> Case:
    """A loop of so many steps."""
    g = scg.Graph()
    t, start = g.param("t"), g.param("start")

    def step(x, _):
        h = g.sample("h", scg.Bernoulli(logits=x * t))
        x = np.tanh(x * t + 0.3 * h + x * x)
        g.cost("c", (x - 0.3) ** 2)
        return x, None

    g.scan(step, start, length=length)
    return Case(g, {"t": 0.3, "start": 0.2}, GROUPS)


@case
def loop():
    return steps(4)


@case
def loop_with_noise():
    g = scg.Graph()
    t = g.param("t")

    def step(x, _):
        x = g.sample("x", scg.Normal(0.5 * x + t, 0.4), estimator=scg.Pathwise())
        return x, x * x

    last, each = g.scan(step, 0.1, length=3)
    g.cost("c", np.sum(each) + last * t)
    return Case(g, {"t": 0.3})


@case
def loop_replayed():
    return loop()._replace(strategy=scg.WeakDerivative())


@case
def loop_in_a_loop():
    g = scg.Graph()
    theta, w = g.param("theta"), g.param("w", 2)

    def outer(s, _):
        h = g.sample("h", scg.Bernoulli(logits=s * theta))

        def inner(q, _):
            q = np.tanh(q * theta + h)
            g.cost("inside", q * w.sum())
            return q, None

        s, _ = g.scan(inner, s * w[0], length=2)
        return s * 1.1, None

    last, _ = g.scan(outer, 0.7, length=3)
    g.cost("last", last**2)
    return Case(g, {"theta": 0.3, "w": [0.4, 0.6]}, SCORE)


@case
def backwards():
    g = scg.Graph()
    t, xs = g.param("t"), g.input("xs", 3)

    def step(s, x):
        b = g.sample("b", scg.Bernoulli(logits=t * x))
        return s * t + b, None

    last, _ = g.scan(step, t, xs=xs[::-1])
    g.cost("c", last**2)
    return Case(g, {"t": 0.3, "xs": [0.2, 0.5, -0.4]}, SCORE)


@case
def cases_in_conditions():
    g = scg.Graph("cases")
    a = g.param("a")
    z, w = g.sample("z", scg.Normal(a, 1.0)), g.sample("w", scg.Normal(a, 1.0))
    x, y = np.where(z > w, z, w * 0.5), np.where(w > 0.3 * z, w, z)
    g.cost("c", np.where((x > y) & (z > 0), x, y))
    return Case(g, {"a": 0.2}, SCORE)


@case
def rows():
    g = scg.Graph()
    w, x, y = g.param("w", 2), g.data("x", 2), g.data("y")
    z = g.sample("z", scg.Bernoulli(logits=x * w))
    g.cost("c", (y - np.sum(z * w)) ** 2)
    return Case(g, {"w": [0.4, -0.2], "x": [[0.1, 0.4], [0.3, -1.0], [2.0, 0.5]], "y": [0.3, 1.0, -0.4]}, GROUPS)


@case
def shared_by_rows():
    g = scg.Graph()
    m, y = g.param("m"), g.data("y")
    w = g.sample("w", scg.Normal(m, 0.5))
    z = g.sample("z", scg.Bernoulli(logits=w * y))
    g.cost("c", (y - z * w) ** 2)
    return Case(g, {"m": 0.4, "y": [0.3, 1.0]}, {"w": scg.ScoreFunction(), "z": scg.ScoreFunction()})


@case
def mixture():
    g = scg.Graph()
    w, m = g.param("w", 2), g.param("m", 2)
    x = g.sample("x", scg.Mixture([scg.Normal(m[0], 0.7), scg.Normal(m[1], 0.4)], logits=w))
    g.cost("c", (x - 0.3) ** 2)
    return Case(g, {"w": [0.4, -0.2], "m": [-0.5, 0.8]}, SCORE)


@case
def finite_mixture():
    g = scg.Graph()
    t = g.param("t", 2)
    x = g.sample("x", scg.Mixture([scg.Bernoulli(logits=t), scg.Bernoulli(probs=0.3)], logits=[0.0, 1.0]))
    g.cost("c", np.sum((x - 0.3) ** 2))
    return Case(g, {"t": [0.4, -0.2]}, SCORE)


@case
def likelihood_of_vectors():
    g = scg.Graph()
    z = g.sample("z", scg.Normal(g.param("m"), 1.0))
    g.cost("c", -scg.Bernoulli(probs=scg.sigmoid(z + np.array([0.1, 0.2, 0.3]))).log_prob([1.0, 0.0, 1.0]).sum())
    return Case(g, {"m": 0.4}, SCORE)


@case
def worlds():
    g = scg.Graph()
    t = g.param("t", 2)
    k = g.sample("k", scg.Bernoulli(logits=t))
    z = g.sample("z", scg.Bernoulli(logits=k * 0.7 + t))
    g.cost("c", np.sum((z - k * 0.3) ** 2))
    return Case(g, {"t": [0.3, 0.4]}, {"k": scg.WeakDerivative(noise="fresh"), "z": scg.ScoreFunction()})


@case
def worlds_of_all_values():
    return worlds()._replace(strategy={"k": scg.Enumerate(), "z": scg.ScoreFunction()})


@case
def worlds_of_one_value():
    return worlds()._replace(strategy={"k": scg.LocalExpectation(), "z": scg.ScoreFunction()})


@case
def names_that_collide():
    g = scg.Graph()
    names = {"a b": 0.3, "a_b": -0.4, "E": 0.7, "e": 0.2, "log sigma": -0.3, "epsilon_z": 0.5, "pi": 0.6}
    a, b, large, small, log_sigma, eps, pi = (g.param(name) for name in names)
    z = g.sample("z", scg.Normal(a + large * eps, np.exp(log_sigma)), estimator=scg.Pathwise())
    y = g.sample("my y", scg.Normal(pi * b, 1.0), estimator=scg.ScoreFunction())
    k = g.sample("my_y", scg.Bernoulli(logits=small * z + b))
    g.cost("the loss", (z * b - k) ** 2 + small * y)
    return Case(g, names, {"my_y": scg.ScoreFunction()})


@case
def twelve_times():
    g = scg.Graph()
    t, x = g.param("t"), g.param("x0")
    b = g.sample("b", scg.Bernoulli(logits=t))
    for _ in range(12):
        x = np.tanh(x * x * t + x + 0.1)
    g.cost("c", x * b)
    return Case(g, {"t": 0.3, "x0": 0.2}, SCORE)


@case
def belief_net():
    g = scg.Graph()
    w1, w2 = g.param("W1", (2, 3)), g.param("W2", 2)
    h1 = g.sample("h1", scg.Bernoulli(logits=w1 @ np.array([1.0, -0.5, 0.3])))
    h2 = g.sample("h2", scg.Bernoulli(logits=np.sum(w2 * h1)))
    g.cost("c", (h2 - 0.3) ** 2 + abs(np.sum(h1) - 1.2))
    return Case(g, {"W1": [[0.1, 0.2, 0.3], [-0.2, 0.4, 0.1]], "W2": [0.3, -0.5]},
                {"h1": scg.ScoreFunction(), "h2": scg.LocalExpectation()})

"""Graphs as users build them, whose formulas are held against their numbers: nets, bounds, mixtures, loops, worlds."""

from __future__ import annotations

import numpy as np
from formula_graphs import AVERAGE, GROUPS, SCORE, Case, case

import scg


def _params(g: scg.Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: 0.4 * rng.normal(size=node.shape) for name, node in g.params.items()}


def _bound(strategy, family) -> Case:
    """A bound of three samples, between nets."""
    g = scg.Graph()
    x = g.data("x", 3)
    q, prior = family(g, x)
    h = g.sample("h", q, shape=(3, 2))
    likelihood = scg.Bernoulli(logits=scg.nn.dense(g, "down", h, 3)).log_prob(x)
    log_w = likelihood.sum(axis=1) + (prior.log_prob(h) - q.log_prob(h)).sum(axis=1)
    g.cost("bound", -scg.logmeanexp(log_w, axis=0))
    return Case(g, {"x": [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], **_params(g)}, strategy)


def _binary(g, x):
    return scg.Bernoulli(logits=scg.nn.dense(g, "up", x, 2)), scg.Bernoulli(logits=g.param("prior", 2, init=0.0))


def _continuous(g, x):
    q = scg.Normal(scg.nn.dense(g, "loc", x, 2), scg.exp(scg.nn.dense(g, "scale", x, 2)))
    return q, scg.Normal(0.0, 1.0)


@case
def bound_of_samples():
    return _bound(scg.ScoreFunction(scg.VIMCO()), _binary)


@case
def bound_by_arithmetic_means():
    return _bound(scg.ScoreFunction(scg.VIMCO(mean="arithmetic")), _binary)


@case
def bound_along_paths():
    return _bound(scg.DReG(), _continuous)


@case
def autoencoder():
    g = scg.Graph()
    x = g.data("x", 3)
    h = np.tanh(scg.nn.dense(g, "enc", x, 3))
    q = scg.Normal(scg.nn.dense(g, "loc", h, 2), scg.exp(scg.nn.dense(g, "scale", h, 2)))
    z = g.sample("z", q, estimator=scg.Pathwise())
    g.cost("nll", -scg.Normal(scg.nn.dense(g, "dec", z, 3), 0.5).log_prob(x).sum())
    g.cost("kl", scg.kl_divergence(q, scg.Normal(np.zeros(2), 1.0)).sum())
    return Case(g, {"x": [[0.1, 0.5, -0.3], [1.0, 0.2, 0.4]], **_params(g)})


@case
def guide_and_model():
    g = scg.Graph()
    x = g.data("x", 2)

    def guide(q):
        q.sample("h", scg.Bernoulli(logits=scg.nn.dense(g, "up", x, 2)))

    def model(p):
        h = p.sample("h", scg.Bernoulli(logits=g.param("prior", 2, init=0.0)))
        p.observe("x", scg.Bernoulli(logits=scg.nn.dense(g, "down", h, 2)), x)

    scg.elbo(g, model, guide)
    return Case(g, {"x": [[0.0, 1.0], [1.0, 1.0]], **_params(g)}, GROUPS)


@case
def draws_compared_along_an_axis():
    g = scg.Graph()
    t = g.param("t", 2)
    b = g.sample("b", scg.Bernoulli(logits=t), shape=(3, 2))
    g.cost("c", np.mean((b.sum(axis=1) - 0.4) ** 2))
    return Case(g, {"t": [0.3, -0.2]}, scg.ScoreFunction(scg.LeaveOneOut(axis=0)))


@case
def aligned_credit():
    g = scg.Graph()
    w, y = g.param("w", 4), g.input("y", 4)
    b = g.sample("b", scg.Bernoulli(logits=w))
    g.cost("c", ((b - y) ** 2).sum())
    g.cost("d", (b[::-1] * y)[1:].sum())
    return Case(g, {"w": [0.3, -0.2, 0.1, 0.5], "y": [0.1, 0.4, -0.2, 0.7]}, SCORE)


@case
def mixture_of_mixtures():
    g = scg.Graph()
    a, w = g.param("a"), g.param("w", 2)
    inner = scg.Mixture([scg.Normal(a, 0.5), scg.Normal(-a, 1.2)], logits=scg.stack([0.0 * a, a]))
    x = g.sample("x", scg.Mixture([inner, scg.Normal(1.0, 0.7)], logits=w))
    k = g.sample("k", scg.Bernoulli(logits=x * a))
    g.cost("c", (x - k * a) ** 2)
    return Case(g, {"a": 0.4, "w": [0.2, -0.1]}, SCORE)


def _loops(strategy) -> Case:
    g = scg.Graph()
    theta = g.param("theta")

    def outer(s, _):
        b = g.sample("b", scg.Bernoulli(logits=s * theta))

        def inner(q, _):
            q = 0.5 * q + np.maximum(b * theta, q)
            g.cost("inside", q * q)
            return q, None

        s, _ = g.scan(inner, s, length=2)
        return s - 0.1, None

    last, _ = g.scan(outer, 0.3, length=2)
    g.cost("last", last * theta)
    return Case(g, {"theta": 0.4}, strategy)


@case
def loops_replayed():
    return _loops(scg.WeakDerivative())


@case
def loops_of_averages():
    return _loops(AVERAGE)


@case
def shared_and_by_row():
    g = scg.Graph()
    m, y = g.param("m", 2), g.data("y", 2)
    w = g.sample("w", scg.Bernoulli(logits=m))
    z = g.sample("z", scg.Normal(w * m + y, 0.6), estimator=scg.Pathwise())
    k = g.sample("k", scg.Categorical(logits=z))
    g.cost("c", (z.sum() - k) ** 2 + np.max(z * m))
    return Case(g, {"m": [0.3, 0.5], "y": [[0.1, 0.2], [0.4, -0.3], [1.0, 0.0]]},
                {"w": scg.LocalExpectation(), "k": GROUPS})


@case
def names_of_ours():
    """Names that formulas have for other things."""
    g = scg.Graph()
    names = {"x y": 0.3, "x_y": 0.2, "i": 0.4, "t": -0.2, "v0": 0.6, "LOO": 0.1, "I": 0.5, "S": 0.2}
    p = [g.param(n) for n in names]
    b = g.sample("Q", scg.Bernoulli(logits=p[0] * p[1] + p[2]))
    c = g.sample("u_Q", scg.Bernoulli(logits=b * p[3] + p[5]))

    def step(s, _):
        h = g.sample("stop_gradient", scg.Bernoulli(logits=s * p[4]))
        s = s * p[6] + h * c
        g.cost("carry_0", s**2)
        return s, None

    g.scan(step, p[7], length=3)
    g.cost("E", (b - c) ** 2 * p[3])
    return Case(g, names, {"Q": scg.DisARM(), "u_Q": scg.WeakDerivative(), "stop_gradient": AVERAGE})


@case
def indices_by_data():
    """Of a label that is none nothing is read, and nothing is said of it."""
    g = scg.Graph()
    w, t = g.param("w", (3, 2)), g.param("t")
    y, label = g.data("y"), g.data("label")
    k = g.sample("k", scg.Bernoulli(logits=t))
    g.cost("table", w[y, k] ** 2 - scg.log_softmax(w[:, 0])[y])
    g.cost("labelled", np.where(label >= 0.0, np.exp(w[label, 1]) * k, 0.3 * t))

    def step(s, x):
        h = g.sample("h", scg.Bernoulli(logits=w[x, 1] * s))
        g.cost("step", h * w[y, 0])
        return s + h, None

    g.scan(step, t, xs=np.array([2.0, 0.0]))
    values = {"w": np.array([[0.3, -0.2], [0.5, 0.1], [-0.4, 0.7]]), "t": 0.4, "y": np.array([1.0, 0.0, 2.0]),
              "label": np.array([2.0, -1.0, 1.0])}
    return Case(g, values, SCORE)


@case
def worlds_in_worlds():
    g = scg.Graph()
    t = g.param("t", 2)
    a = g.sample("a", scg.Bernoulli(logits=t))
    b = g.sample("b", scg.Categorical(logits=scg.stack([a.sum(), t[0], t[1]])))
    c = g.sample("c", scg.Bernoulli(logits=b - a[0] + t[1]))
    g.cost("l", np.maximum(a.sum() - c, b * t[0]) + abs(c - t[1]))
    return Case(g, {"t": [0.3, -0.4]},
                {"a": scg.WeakDerivative(noise="fresh"), "b": scg.Enumerate(), "c": scg.LocalExpectation()})


@case
def arrays_of_one_hot_draws():
    g = scg.Graph()
    w = g.param("w", (2, 3))
    x = g.sample("x", scg.OneHotCategorical(logits=w))
    g.cost("c", np.sum((x @ np.arange(3.0) - 0.3) ** 2) + np.sum(x * x) ** 2)
    return Case(g, {"w": [[0.3, 0.1, -0.2], [0.2, 0.2, 0.1]]}, scg.REBAR())


@case
def layers_of_antithetic_draws():
    g = scg.Graph()
    w1, w2 = g.param("w1", (2, 2)), g.param("w2", 2)
    h = g.sample("h", scg.Bernoulli(logits=w1 @ np.array([1.0, -0.5])))
    k = g.sample("k", scg.Bernoulli(logits=h * w2))
    g.cost("c", (k.sum() - 1.1) ** 2 + np.clip(h.sum() * w2[0], 0.0, 0.3))
    return Case(g, {"w1": [[0.1, 0.2], [0.3, -0.4]], "w2": [0.5, -0.2]}, {"h": scg.DisARM(), "k": scg.ARM()})

"""Whole models, whose first calls are timed by `compile_times.py`: how they are declared, compiled and called.

Each is a function that gives a graph, the options it is compiled with, and a number of samples; its values are what
params start from, and zeros for data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import scg


class Model(NamedTuple):
    """A model: its graph, how it is compiled and called."""

    graph: scg.Graph
    options: dict[str, Any]
    data: dict[str, np.ndarray]
    samples: int = 64


def toy(shift: float = 0.45) -> Model:
    """One Bernoulli draw."""
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta", init=0.3)))
    g.cost("loss", (b - shift) ** 2)
    return Model(g, {}, {})


def autoencoder(pixels: int, hidden: int, latent: int) -> Model:
    """The negative evidence bound of a Gaussian variational autoencoder, by the path of the sample."""
    g = scg.Graph("autoencoder")
    x = g.data("x", pixels)
    h = scg.tanh(scg.nn.dense(g, "encoder", x, hidden))
    q = scg.Normal(scg.nn.dense(g, "loc", h, latent), scg.exp(scg.nn.dense(g, "scale", h, latent)))
    z = g.sample("z", q)
    logits = scg.nn.mlp(g, "decoder", z, (hidden, pixels))
    g.cost("reconstruction", -scg.Bernoulli(logits=logits).log_prob(x))
    g.cost("divergence", scg.kl_divergence(q, scg.Normal(0.0, 1.0)))
    return Model(g, {"dtype": "float32"}, {"x": np.zeros((8, pixels))}, 4)


def hidden_markov(length: int) -> Model:
    """The negative evidence bound of a hidden Markov model of three states, its steps written in Python."""
    g = scg.Graph("unrolled")
    x = g.data("x", length)
    first, moves = g.param("first", 3, init=0.0), g.param("moves", (3, 3), init=0.1)
    means, spread = g.param("means", 3, init=[-1.0, 0.0, 1.0]), scg.softplus(g.param("spread", init=1.0))
    slope, before = g.param("slope", 3, init=0.1), g.param("before", (3, 3), init=0.0)
    z = None
    for t in range(length):
        q = scg.Categorical(logits=slope * x[t] + (0.0 if z is None else before[z]))
        p = scg.Categorical(logits=first if z is None else moves[z])
        z = g.sample(f"z{t}", q)
        g.cost(f"bound{t}", q.log_prob(z) - p.log_prob(z) - scg.Normal(means, spread).log_prob(x[t])[z])
    return Model(g, {}, {"x": np.zeros((4, length))}, 16)


def scanned_markov(length: int) -> Model:
    """The same in a loop."""
    g = scg.Graph("scanned")
    x = g.data("x", length)
    first, moves = g.param("first", 3, init=0.0), g.param("moves", (3, 3), init=0.1)
    means, spread = g.param("means", 3, init=[-1.0, 0.0, 1.0]), scg.softplus(g.param("spread", init=1.0))
    slope, before = g.param("slope", 3, init=0.1), g.param("before", (4, 3), init=0.0)

    def step(carry, x_t):
        last, logits = carry
        q = scg.Categorical(logits=slope * x_t + before[last])
        z = g.sample("z", q)
        g.cost("bound", q.log_prob(z) - scg.Categorical(logits=logits).log_prob(z)
               - scg.Normal(means, spread).log_prob(x_t)[z])
        return (z, moves[z]), None

    g.scan(step, (3.0, first), xs=x)
    return Model(g, {}, {"x": np.zeros((4, length))}, 16)


def chain(length: int) -> Model:
    """A chain of two states, each of its draws averaged over given the rest."""
    g = scg.Graph("chain")
    w, v = g.param("w", init=0.1), g.param("v", init=0.2)
    b = g.sample("b0", scg.Bernoulli(logits=w))
    for t in range(1, length):
        b = g.sample(f"b{t}", scg.Bernoulli(logits=w + v * b))
        g.cost(f"c{t}", (b - 0.1 * t) ** 2)
    return Model(g, {"strategy": scg.LocalExpectation()}, {})


def cart_pole(length: int) -> Model:
    """Balancing a pole on a cart: a linear policy pushes left or right, rewards end when the pole falls."""
    g = scg.Graph("cart and pole")
    weights, bias = g.param("weights", 4, init=0.1), g.param("bias", init=0.0)

    def step(carry, _):
        x, v, angle, turn, alive = carry
        push = g.sample("push", scg.Bernoulli(logits=weights @ scg.stack([x, v, angle, turn]) + bias))
        force = 20.0 * push - 10.0
        sine, cosine = scg.sin(angle), scg.cos(angle)
        along = (force + 0.05 * turn**2 * sine) / 1.1
        twist = (9.8 * sine - cosine * along) / (0.5 * (4.0 / 3.0 - 0.1 * cosine**2 / 1.1))
        new = (x + 0.02 * v, v + 0.02 * (along - 0.05 * twist * cosine / 1.1), angle + 0.02 * turn, turn + 0.02 * twist)
        alive = alive * (abs(new[0]) < 2.4) * (abs(new[2]) < 0.2095)
        g.cost("reward", -alive)
        return (*new, alive), None

    g.scan(step, (0.01, -0.02, 0.03, 0.01, 1.0), length=length)
    return Model(g, {}, {})


def net(layers: int, width: int = 8) -> Model:
    """A net of so many layers that moves a Gaussian draw, whose square distance from the data is the cost."""
    g = scg.Graph("net")
    x = g.data("x", width)
    mean = scg.nn.mlp(g, "net", x, (width,) * layers)
    z = g.sample("z", scg.Normal(mean, 1.0))
    g.cost("loss", ((z - x) ** 2).sum())
    return Model(g, {}, {"x": np.zeros((4, width))}, 16)


def belief_net(layers: int, width: int = 8) -> Model:
    """A net of so many layers of random bits."""
    g = scg.Graph("belief net")
    x = g.data("x", width)
    h = x
    for i in range(layers):
        q = scg.Bernoulli(logits=scg.nn.dense(g, f"up_{i}", h, width))
        h = g.sample(f"h{i}", q)
        g.cost(f"c{i}", ((h - 0.3) ** 2).sum())
    return Model(g, {}, {"x": np.zeros((4, width))}, 16)


def random_nodes(nodes: int) -> Model:
    """A graph of so many nodes, each an operation on earlier ones at random; every hundredth is drawn."""
    g, rng = scg.Graph("random nodes"), np.random.default_rng(0)
    known = [g.param(f"p{i}", init=0.1 * i) for i in range(10)]
    operations = (lambda a, b: scg.tanh(a + b), lambda a, b: scg.sin(a) * b, lambda a, b: 0.5 * (a - b),
                  lambda a, b: scg.sigmoid(a * b))
    made = 0
    while made < nodes:
        a, b = (known[-1 - int(i)] for i in rng.integers(0, min(len(known), 50), 2))
        if made % 400 == 200:
            known.append(g.sample(f"z{made}", scg.Normal(scg.tanh(a), 1.0)))
        else:
            known.append(operations[int(rng.integers(len(operations)))](a, b))
        made += 2
    g.cost("cost", sum(known[-5:], start=0.0))
    return Model(g, {}, {})


MODELS: dict[str, tuple[Callable[[], Model], str]] = {
    "toy": (toy, "1.4"),
    "autoencoder 784-200-20": (lambda: autoencoder(784, 200, 20), "4"),
    "autoencoder 16-200-20": (lambda: autoencoder(16, 200, 20), "4"),
    "autoencoder 16-8-2": (lambda: autoencoder(16, 8, 2), "4"),
    "hidden Markov, 10 steps unrolled": (lambda: hidden_markov(10), "4"),
    "hidden Markov, 20 steps unrolled": (lambda: hidden_markov(20), "1.5 × 10 steps"),
    "hidden Markov in a loop": (lambda: scanned_markov(40), "4"),
    "chain of 16, LocalExpectation": (lambda: chain(16), "4"),
    "cart and pole, 200 steps": (lambda: cart_pole(200), "4"),
    "net of 2 layers": (lambda: net(2), ""),
    "net of 20 layers": (lambda: net(20), "1.5 × 2 layers"),
    "belief net of 2 layers": (lambda: belief_net(2), ""),
    "belief net of 20 layers": (lambda: belief_net(20), "1.5 × 2 layers"),
    "1,000 random nodes": (lambda: random_nodes(1_000), ""),
    "10,000 random nodes": (lambda: random_nodes(10_000), "60"),
}

"""Graphs that are drawn: the paper's, a belief net, loops, a mixture, a site shared by rows, one of 30 nodes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from problems import PROBLEMS

import scg

DRAWN: dict[str, Callable[[], scg.Graph]] = {
    **{f"paper_{i}": lambda i=i: PROBLEMS[f"figure_1_graph_{i}"]().graph for i in range(1, 6)},
    "recurrent_net": lambda: PROBLEMS["scan_3_steps"]().graph,
    "nested_loops": lambda: _nested(),
}


SMALL: dict[str, Callable[[], scg.Graph]] = {
    "toy": lambda: _toy(), "pair": lambda: _pair(), "choice": lambda: _choice(), "layers": lambda: belief_net(2, 2)}


def drawn(build: Callable[[], scg.Graph]) -> Callable[[], scg.Graph]:
    """Register a graph under the function's name."""
    DRAWN[build.__name__] = build
    return build


@drawn
def belief_net(layers: int = 3, width: int = 4) -> scg.Graph:
    """Layers of units on top of data."""
    g = scg.Graph("belief net")
    h = x = g.data("x", width)
    for i in range(1, layers + 1):
        h = g.sample(f"h{i}", scg.Bernoulli(logits=g.param(f"W{i}", (width, width)) @ h + g.param(f"b{i}", width)))
    recon = g.node("recon", scg.sigmoid(g.param("U", (width, width)) @ h))
    g.cost("nll", (x - recon) ** 2)
    g.cost("sparsity", h.sum(), scale=0.1)
    return g


@drawn
def loop() -> scg.Graph:
    """A walk with a memory along data: a loop inside the rows."""
    g = scg.Graph("walk")
    drift, x = g.param("drift"), g.data("x", 10)

    def step(carry, xt):
        position, memory = carry
        g.cost("effort", 0.1 * position**2)
        move = g.sample("move", scg.Bernoulli(logits=drift - 0.1 * position + memory))
        memory = g.node("memory", np.tanh(0.5 * memory + move + xt))
        return (position + 2.0 * move - 1.0, memory), None

    (last, _), _ = g.scan(step, (0.0, 0.0), xs=x)
    g.cost("distance", last**2)
    return g


@drawn
def loop_around_rows() -> scg.Graph:
    """A loop of which only a part varies by row."""
    g = scg.Graph("partly")
    theta, x = g.param("theta"), g.data("x")

    def step(state, _):
        shared = g.sample("shared", scg.Bernoulli(logits=theta))
        own = g.sample("own", scg.Bernoulli(logits=theta * x + shared))
        g.cost("fit", (own - x) ** 2)
        return shared, None

    last, _ = g.scan(step, 0.0, length=4)
    g.cost("end", last)
    return g


@drawn
def mixture() -> scg.Graph:
    """A draw from one of two distributions."""
    g = scg.Graph("mixture")
    weights, mu = g.param("weights", 2), g.param("mu", 2)
    z = g.sample("z", scg.Mixture([scg.Normal(mu[0], 1.0), scg.Normal(mu[1], 0.5)], logits=weights))
    g.cost("energy", z**4 - z**2)
    return g


@drawn
def shared_site() -> scg.Graph:
    """Weights that all rows share."""
    g = scg.Graph("shared")
    loc, log_scale = g.param("loc", 3), g.param("log_scale", 3)
    x, y = g.data("x", 3), g.data("y")
    q = scg.Normal(loc, np.exp(log_scale))
    logit = g.node("logit", x @ g.sample("w", q))
    b = g.sample("b", scg.Bernoulli(logits=logit))
    g.cost("nll", scg.softplus(logit) - y * logit + 0.1 * b)
    g.cost("kl", scg.kl_divergence(q, scg.Normal(0.0, 1.0)))
    return g


@drawn
def thirty_nodes() -> scg.Graph:
    """A model with a code, a policy and a value, and six costs."""
    g = scg.Graph("thirty")
    x, label, temperature = g.data("x", 4), g.data("label"), g.input("temperature")
    hidden = g.node("hidden", np.tanh(g.param("encoder_w", (4, 4)) @ x + g.param("encoder_b", 4)))
    mu, sigma = g.node("mu", hidden * 2.0), g.node("sigma", np.exp(g.param("log_sigma", 4)))
    z = g.sample("z", scg.Normal(mu, sigma))
    gate = g.sample("gate", scg.Bernoulli(logits=g.param("gate_logit") * temperature))
    mixed = g.node("mixed", z * gate + hidden * (1 - gate))
    logits = g.node("logits", g.param("policy_w", (3, 4)) @ mixed)
    action = g.sample("action", scg.Categorical(logits=logits))
    value = g.node("value", (g.param("value_w", 4) * mixed).sum())
    recon = g.node("recon", g.param("decoder_w", (4, 4)) @ z)
    reward = g.node("reward", np.cos(action) + 0.1 * g.sample("noise", scg.Normal(0.0, temperature)))
    advantage = g.node("advantage", reward - value)
    entropy = g.node("entropy", (scg.softmax(logits) * logits).sum())
    second = g.sample("second", scg.Bernoulli(logits=value))
    outcome = g.sample("outcome", scg.Normal(second + action, 1.0))
    g.cost("recon_loss", (recon - x) ** 2)
    g.cost("kl", scg.kl_divergence(scg.Normal(mu, sigma), scg.Normal(g.param("prior_loc", 4), 1.0)))
    g.cost("policy_cost", -reward)
    g.cost("value_cost", advantage**2)
    g.cost("entropy_cost", entropy, scale=0.01)
    g.cost("label_cost", (outcome - label) ** 2)
    return g


def _toy() -> scg.Graph:
    """One switch."""
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")))
    g.cost("loss", (b - 0.45) ** 2)
    return g


def _pair() -> scg.Graph:
    """Two switches, which a cost brings together."""
    g = scg.Graph("pair")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta", 2)))
    g.cost("loss", ((b - 0.45) ** 2).sum() + b[0] * b[1])
    return g


def _choice() -> scg.Graph:
    """One of four values."""
    g = scg.Graph("choice")
    k = g.sample("k", scg.Categorical(logits=g.param("w", 4)))
    g.cost("loss", (k - 1.3) ** 2)
    return g


def _nested() -> scg.Graph:
    g = scg.Graph("nested")
    theta = g.param("theta")

    def inner(s, _):
        b = g.sample("b", scg.Bernoulli(logits=theta + s))
        g.cost("hit", b * theta)
        return s + b, None

    def outer(s, _):
        return g.scan(inner, s, length=2)[0], None

    last, _ = g.scan(outer, np.zeros(()), length=3)
    g.cost("end", last)
    return g

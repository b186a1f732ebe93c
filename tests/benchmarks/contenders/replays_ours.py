"""scg on a net of two layers of 200 binary units below 784 outputs, float32. Variants are estimators of the second
layer, or of both where they end in ``" both"``; the first layer is weighed by its score else."""

import math

import nets
import nets_ours
import numpy as np

import scg

setup = nets_ours.setup
SIZES = {"a": (nets.PIXELS, nets.HIDDEN), "b": (nets.HIDDEN, nets.TOP), "c": (nets.TOP, nets.PIXELS)}
ROWS = 100


def net() -> scg.Graph:
    """Pixels are predicted from others, by way of binary units."""
    g = scg.Graph("layers")
    h1 = g.sample("h1", scg.Bernoulli(logits=scg.nn.dense(g, "a", g.data("x", nets.PIXELS), nets.HIDDEN)))
    h2 = g.sample("h2", scg.Bernoulli(logits=scg.nn.dense(g, "b", h1, nets.TOP)))
    out = scg.Bernoulli(logits=scg.nn.dense(g, "c", h2, nets.PIXELS))
    g.cost("loss", -out.log_prob(g.data("y", nets.PIXELS)))
    return g


def values() -> dict[str, np.ndarray]:
    """Weights, biases and pixels."""
    rng, out = np.random.default_rng(0), {}
    for name, (inputs, outputs) in SIZES.items():
        out[f"W_{name}"] = 0.05 * rng.standard_normal((inputs, outputs))
        out[f"b_{name}"] = 0.05 * rng.standard_normal(outputs)
    out |= {name: (rng.random((ROWS, nets.PIXELS)) < 0.3) * 1.0 for name in "xy"}
    return {name: value.astype(np.float32) for name, value in out.items()}


def make(variant: str, model: str, samples: int, threads: int):
    """A step: one call."""
    name, _, both = variant.partition(" ")
    estimator = getattr(scg, name)()
    strategy = {"h1": estimator if both else scg.ScoreFunction(), "h2": estimator}
    f, given = scg.compile(net(), strategy=strategy, dtype="float32", stderr=False), values()

    def step(seed):
        r = f(given, samples=samples, rng=seed)
        return r.cost, math.nan, math.nan

    return step

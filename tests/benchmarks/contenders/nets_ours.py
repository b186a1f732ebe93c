"""scg on nets, as a user calls it. Variants: ``"plain"`` (``stderr=False``), ``"stderr"``, ``"checked"``, which also
returns the gradient's projection, and ``"products"``: nothing but the matrix products of a step, by NumPy."""

import math

import nets
import numba
import numpy as np

import scg


def setup(threads: int) -> dict:
    """Versions and threads."""
    return {"versions": f"scg {scg.__version__}, numba {numba.__version__}, numpy {np.__version__}",
            "threads": "the default pool" if threads > 1 else "inline", "dtype": "float32"}


def belief_net() -> scg.Graph:
    """The negative evidence bound of a belief net with two layers."""
    g = scg.Graph("belief net")
    x = g.data("x", nets.PIXELS)
    q1 = scg.Bernoulli(logits=scg.nn.dense(g, "up_1", x, nets.HIDDEN))
    h1 = g.sample("h1", q1)
    q2 = scg.Bernoulli(logits=scg.nn.dense(g, "up_2", h1, nets.TOP))
    h2 = g.sample("h2", q2)
    g.cost("log q1", q1.log_prob(h1))
    g.cost("log q2", q2.log_prob(h2))
    g.cost("log p0", -scg.Bernoulli(logits=scg.nn.dense(g, "down_0", h1, nets.PIXELS)).log_prob(x))
    g.cost("log p1", -scg.Bernoulli(logits=scg.nn.dense(g, "down_1", h2, nets.HIDDEN)).log_prob(h1))
    g.cost("log p2", -scg.Bernoulli(logits=g.param("prior", nets.TOP)).log_prob(h2))
    return g


def autoencoder() -> scg.Graph:
    """The negative evidence bound of a Gaussian variational autoencoder."""
    g = scg.Graph("autoencoder")
    x = g.data("x", nets.PIXELS)
    h = scg.tanh(scg.nn.dense(g, "encoder", x, nets.HIDDEN))
    q = scg.Normal(scg.nn.dense(g, "loc", h, nets.LATENT), scg.exp(scg.nn.dense(g, "scale", h, nets.LATENT)))
    z = g.sample("z", q)
    logits = scg.nn.dense(g, "image", scg.tanh(scg.nn.dense(g, "decoder", z, nets.HIDDEN)), nets.PIXELS)
    g.cost("reconstruction", -scg.Bernoulli(logits=logits).log_prob(x))
    g.cost("divergence", scg.kl_divergence(q, scg.Normal(0.0, 1.0)))
    return g


GRAPHS = {"belief net": belief_net, "autoencoder": autoencoder}


def matrix_products(model: str):
    """A step that multiplies and does nothing else."""
    rng = np.random.default_rng(0)
    made = [(rng.standard_normal((m, k), dtype=np.float32), rng.standard_normal((k, n), dtype=np.float32),
             np.empty((m, n), np.float32)) for m, k, n in nets.products(model)]

    def step(seed):
        for a, b, out in made:
            np.matmul(a, b, out=out)
        return math.nan, math.nan, math.nan

    return step


def make(variant: str, model: str, samples: int, threads: int):
    """A step: one call."""
    if variant == "products":
        return matrix_products(model)
    f = scg.compile(GRAPHS[model](), dtype="float32", stderr=variant == "stderr")
    values = {**nets.params(model), "x": nets.data(model)}

    def step(seed):
        r = f(values, samples=samples, rng=seed)
        grads = r.grad
        return r.cost, nets.along(model, grads) if variant == "checked" else math.nan, math.nan

    return step

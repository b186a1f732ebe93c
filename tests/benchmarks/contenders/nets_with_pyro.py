"""Nets in Pyro, float32: `TraceGraph_ELBO` with its moving-average baselines for the belief net, `Trace_ELBO` for the
autoencoder; particles are vectorised. Variants: ``"eager"``, and ``"checked"``, which also returns the gradient's
projection."""

import math

import nets
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO, TraceGraph_ELBO


def setup(threads: int) -> dict:
    """Versions and threads."""
    torch.set_num_threads(threads)
    pyro.set_rng_seed(0)
    pyro.enable_validation(False)
    return {"versions": f"pyro {pyro.__version__}, torch {torch.__version__}",
            "threads": f"torch.set_num_threads({threads})", "dtype": "float32"}


def belief_net(p, x):
    """Model and guide."""
    dense = lambda name, h: h @ p[f"W_{name}"] + p[f"b_{name}"]
    units = lambda logits: dist.Bernoulli(logits=logits).to_event(1)
    averaged = {"baseline": {"use_decaying_avg_baseline": True}}

    def model(x):
        with pyro.plate("rows", len(x)):
            h2 = pyro.sample("h2", units(p["prior"]))
            h1 = pyro.sample("h1", units(dense("down_1", h2)))
            pyro.sample("x", units(dense("down_0", h1)), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            h1 = pyro.sample("h1", units(dense("up_1", x)), infer=averaged)
            pyro.sample("h2", units(dense("up_2", h1)), infer=averaged)

    return model, guide


def autoencoder(p, x):
    """Model and guide."""
    dense = lambda name, h: h @ p[f"W_{name}"] + p[f"b_{name}"]

    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(nets.LATENT), 1.0).to_event(1))
            logits = dense("image", torch.tanh(dense("decoder", z)))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("rows", len(x)):
            h = torch.tanh(dense("encoder", x))
            pyro.sample("z", dist.Normal(dense("loc", h), torch.exp(dense("scale", h))).to_event(1))

    return model, guide


MAKERS = {"belief net": (belief_net, TraceGraph_ELBO), "autoencoder": (autoencoder, Trace_ELBO)}


def make(variant: str, model: str, samples: int, threads: int):
    """A step: a trace of the guide, one of the model, and the backward pass."""
    p = {name: torch.tensor(value, requires_grad=True) for name, value in nets.params(model).items()}
    x = torch.tensor(nets.data(model))
    maker, bound = MAKERS[model]
    programs = maker(p, x)
    loss = bound(num_particles=samples, vectorize_particles=True, max_plate_nesting=1)

    def step(seed):
        for value in p.values():
            value.grad = None
        if bound is TraceGraph_ELBO:
            cost = loss.loss_and_grads(*programs, x) / len(x)  # of the sum over rows
        else:  # that would differentiate what Pyro calls params alone
            surrogate = loss.differentiable_loss(*programs, x)
            surrogate.backward()
            cost = surrogate.item() / len(x)
        grad = math.nan
        if variant == "checked":
            grad = nets.along(model, {name: value.grad.numpy() / len(x) for name, value in p.items()})
        return float(cost), grad, math.nan

    return step

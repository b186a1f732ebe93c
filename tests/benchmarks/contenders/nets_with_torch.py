"""Nets by hand in PyTorch, float32. Variants: ``"eager"``, and ``"checked"``, which also returns the gradient's
projection."""

import math

import nets
import torch
import torch.nn.functional as F


def setup(threads: int) -> dict:
    """Versions and threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return {"versions": f"torch {torch.__version__}", "threads": f"torch.set_num_threads({threads})",
            "dtype": "float32"}


def log_p(z, logits):
    """Of Bernoulli variables, summed over the last dimension."""
    return (z * logits - F.softplus(logits)).sum(-1)


def others_less(signal):
    """Less the mean of the other samples."""
    return signal - (signal.sum(0, keepdim=True) - signal) / (signal.shape[0] - 1)


def belief_net(p, x, samples: int):
    """The surrogate, and the bound."""
    dense = lambda name, h: h @ p[f"W_{name}"] + p[f"b_{name}"]
    a1 = dense("up_1", x)
    h1 = torch.bernoulli(torch.sigmoid(a1.detach()).expand(samples, -1, -1))
    a2 = dense("up_2", h1)
    h2 = torch.bernoulli(torch.sigmoid(a2.detach()))
    q1, q2 = log_p(h1, a1), log_p(h2, a2)
    p0, p1, p2 = log_p(x, dense("down_0", h1)), log_p(h1, dense("down_1", h2)), log_p(h2, p["prior"])
    above = q2 - p1 - p2
    whole = q1 - p0 + above
    weighed = others_less(whole.detach()) * q1 + others_less(above.detach()) * q2
    return (whole + weighed).mean(), whole.detach().mean()


def autoencoder(p, x, samples: int):
    """The bound, twice."""
    dense = lambda name, h: h @ p[f"W_{name}"] + p[f"b_{name}"]
    h = torch.tanh(dense("encoder", x))
    loc, log_scale = dense("loc", h), dense("scale", h)
    scale = torch.exp(log_scale)
    z = loc + scale * torch.randn(samples, *loc.shape)
    logits = dense("image", torch.tanh(dense("decoder", z)))
    divergence = (0.5 * (loc * loc + scale * scale) - log_scale - 0.5).sum(-1).mean()
    bound = divergence - log_p(x, logits).mean()
    return bound, bound.detach()


BOUNDS = {"belief net": belief_net, "autoencoder": autoencoder}


def make(variant: str, model: str, samples: int, threads: int):
    """A step: forward and backward."""
    p = {name: torch.tensor(value, requires_grad=True) for name, value in nets.params(model).items()}
    x = torch.tensor(nets.data(model))

    def step(seed):
        for value in p.values():
            value.grad = None
        surrogate, bound = BOUNDS[model](p, x, samples)
        surrogate.backward()
        grad = nets.along(model, {n: v.grad.numpy() for n, v in p.items()}) if variant == "checked" else math.nan
        return bound.item(), grad, math.nan

    return step

"""PyTorch, float32. Variants: ``"eager"`` and ``"compiled"`` (`torch.compile`, which needs a C++ compiler)."""

import math

import torch
import torch.nn.functional as F
import toy


def setup(threads: int) -> dict:
    """Versions and threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return {"versions": f"torch {torch.__version__}", "threads": f"torch.set_num_threads({threads})",
            "dtype": "float32"}


def surrogate(theta, samples: int, baseline: str):
    """The surrogate loss, and the mean cost beside it."""
    with torch.no_grad():
        b = (torch.rand(samples // toy.GROUP, toy.GROUP) < torch.sigmoid(theta)).to(torch.float32)
        cost = (b - toy.TARGET) ** 2
        signal = cost
        if baseline == "loo":
            signal = cost - (cost.sum(1, keepdim=True) - cost) / (toy.GROUP - 1)
    log_prob = b * theta - F.softplus(theta)
    return (signal * log_prob).mean(), cost.mean()


def make(variant: str, baseline: str, samples: int, threads: int):
    """A step: forward and backward."""
    theta = torch.tensor(toy.THETA, requires_grad=True)
    function = torch.compile(surrogate) if variant == "compiled" else surrogate

    def step(seed):
        theta.grad = None
        loss, cost = function(theta, samples, baseline)
        loss.backward()
        return cost.item(), theta.grad.item(), math.nan

    return step

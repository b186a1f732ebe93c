"""Storchastic, float32: groups are an independent dimension, the samples of a group its plate."""

import math

import storch
import torch
import toy
from storch.method import ScoreFunction
from torch.distributions import Bernoulli


def setup(threads: int) -> dict:
    """Versions and threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return {"versions": f"storchastic 0.3.7, torch {torch.__version__}", "threads": f"torch.set_num_threads({threads})",
            "dtype": "float32"}


def make(variant: str, baseline: str, samples: int, threads: int):
    """A step: a fresh graph, and its backward pass."""
    theta = torch.tensor(toy.THETA, requires_grad=True)
    name = "batch_average" if baseline == "loo" else "none"

    def step(seed):
        theta.grad = None
        method = ScoreFunction("b", n_samples=toy.GROUP, baseline_factory=name)
        logits = theta
        if samples > toy.GROUP:
            logits = storch.denote_independent(theta.expand(samples // toy.GROUP), 0, "group")
        b = method(Bernoulli(logits=logits))
        storch.add_cost((b - toy.TARGET) ** 2, "loss")
        cost = storch.backward()
        return cost.item(), theta.grad.item(), math.nan

    return step

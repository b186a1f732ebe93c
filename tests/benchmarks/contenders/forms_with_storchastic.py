"""Storchastic's own methods of the estimators of `forms.py`, on the toy, float32. Variants are the estimators; those
that end in ``" checked"`` return the gradient's projection too, for REBAR and RELAX on θ alone, whose control variates
have params of Storchastic's own."""

import math

import forms
import storch
import torch
import toy
import with_storchastic
from storch.method import ARM, REBAR, RELAX, DisARM
from torch.distributions import Bernoulli

setup = with_storchastic.setup


def method(estimator: str, samples: int):
    """The estimator; REBAR and RELAX take one sample of each of so many equal problems."""
    if estimator in ("ARM", "DisARM"):
        return {"ARM": ARM, "DisARM": DisARM}[estimator]("b", n_samples=samples)
    return REBAR("b") if estimator == "REBAR" else RELAX("b", in_dim=1)


def make(variant: str, model: str, samples: int, threads: int):
    """A step: a fresh graph, and its backward pass."""
    estimator, _, what = variant.partition(" ")
    theta = torch.tensor(toy.THETA, requires_grad=True)
    chosen = method(estimator, samples)

    def step(seed):
        theta.grad = None
        storch.reset()  # what an error left behind
        each = theta if estimator in ("ARM", "DisARM") else storch.denote_independent(theta.expand(samples), 0, "each")
        b = chosen(Bernoulli(logits=each))
        storch.add_cost((b - toy.TARGET) ** 2, "loss")
        cost = storch.backward()
        grads = {"theta": theta.grad.numpy()}
        return cost.item(), forms.along(model, "ARM", grads) if what == "checked" else math.nan, math.nan

    return step

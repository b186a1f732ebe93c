"""scg by the estimators of `forms.py`, as a user calls it, float32. Variants are the estimators; those that end in
``" checked"`` return the gradient's projection too, and those in ``" stderr"`` compute standard errors."""

import math

import forms
import nets
import nets_ours
import ours
import toy

import scg

setup = nets_ours.setup
FIXED = {"eta": forms.ETA, "temperature": forms.TEMPERATURE}


def strategy(model: str, estimator: str):
    """The estimator for all sites."""
    fixed = FIXED if model != "toy" and estimator in ("REBAR", "RELAX") else {}
    return getattr(scg, estimator)(**fixed)


def make(variant: str, model: str, samples: int, threads: int):
    """A step: one call."""
    estimator, _, what = variant.partition(" ")
    graph = ours.graph() if model == "toy" else nets_ours.GRAPHS[model]()
    f = scg.compile(graph, strategy=strategy(model, estimator), dtype="float32", stderr=what == "stderr")
    values = forms.params(model, estimator)
    if model == "toy":
        values["theta"] = toy.THETA
    else:
        values["x"] = nets.data(model)

    def step(seed):
        r = f(values, samples=samples, rng=seed)
        grads = r.grad
        return r.cost, forms.along(model, estimator, grads) if what == "checked" else math.nan, math.nan

    return step

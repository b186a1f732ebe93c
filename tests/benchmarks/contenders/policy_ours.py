"""scg on the policy, as a user calls it. Variants: ``"plain"`` (``stderr=False``), ``"stderr"``."""

import math

import numba
import numpy as np
import policy

import scg


def setup(threads: int) -> dict:
    """Versions and threads."""
    return {"versions": f"scg {scg.__version__}, numba {numba.__version__}, numpy {np.__version__}",
            "threads": "the default pool" if threads > 1 else "inline", "dtype": "float32"}


def graph() -> scg.Graph:
    """The problem."""
    g = scg.Graph("policy")
    weight, bias = g.param("weight"), g.param("bias")

    def step(x, _):
        push = g.sample("push", scg.Bernoulli(logits=weight * x + bias))
        x = 0.95 * x + 0.2 * push - 0.1
        g.cost("cost", x * x)
        return x, None

    g.scan(step, policy.START, length=policy.STEPS)
    return g


def make(variant: str, problem: str, samples: int, threads: int):
    """A step: one call, and its numbers as floats."""
    f = scg.compile(graph(), dtype="float32", stderr=variant == "stderr")
    values = {"weight": policy.WEIGHT, "bias": policy.BIAS}
    a, b = policy.DIRECTION

    def step(seed):
        r = f(values, samples=samples, rng=seed)
        grad = r.grad
        return r.cost, a * float(grad["weight"]) + b * float(grad["bias"]), math.nan

    return step

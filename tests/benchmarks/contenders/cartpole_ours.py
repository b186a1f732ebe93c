"""scg on CartPole, as a user calls it. Variants: ``"nodes"`` has the dynamics as nodes, ``"njit"`` the function of the
example, which Numba compiled; with ``" stderr"`` behind it, standard errors too."""

import importlib.util
import math
from pathlib import Path

import cartpole
import numpy as np
from policy_ours import setup  # noqa: F401

import scg


def simulator():
    """The physics of `examples/cartpole.py`."""
    path = Path(__file__).parents[3] / "examples" / "cartpole.py"
    spec = importlib.util.spec_from_file_location("cartpole_example", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.physics


def over(state):
    """Is the episode?"""
    return (abs(state[0]) > cartpole.TRACK) | (abs(state[2]) > cartpole.LEAN)


def graph(dynamics: str, ends: bool) -> scg.Graph:
    """The problem."""
    g = scg.Graph("cartpole")
    weights, bias = g.param("weights", 4), g.param("bias")
    start = g.sample("start", scg.Uniform(-cartpole.START, cartpole.START), shape=4)
    physics = simulator() if dynamics == "njit" else None

    def moved(state):
        push = g.sample("push", scg.Bernoulli(logits=weights @ state + bias))
        if physics is not None:
            return g.call(physics, *state, push, shape=4)
        return scg.stack(cartpole.moved(state, push, np.cos, np.sin))

    def ending(state, _):
        g.cost("steps", -1.0)
        return moved(state), None

    def going_on(carry, _):
        state, standing = carry
        g.cost("steps", -standing)
        state = moved(state)
        return (state, standing * (abs(state[0]) <= cartpole.TRACK) * (abs(state[2]) <= cartpole.LEAN)), None

    if ends:
        g.scan(ending, start, length=cartpole.STEPS, until=over)
    else:
        g.scan(going_on, (start, 1.0), length=cartpole.STEPS)
    return g


def make(variant: str, problem: str, samples: int, threads: int):
    """A step: one call, and its numbers as floats."""
    policy, ends = cartpole.PROBLEMS[problem]
    dynamics, _, more = variant.partition(" ")
    f = scg.compile(graph(dynamics, ends), dtype="float32", stderr=more == "stderr")
    values = {"weights": np.array(policy[:4]), "bias": policy[4]}

    def step(seed):
        r = f(values, samples=samples, rng=seed)
        grad = r.grad
        return r.cost, cartpole.along([*grad["weights"], grad["bias"]]), math.nan

    return step

"""Sums without an end: discounted costs of a loop that ends at random have the mean, and the gradient, of all steps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import scg
from tests.laws.checks.sampling import within

DISCOUNT, AT = 0.6, np.array([0.3, -0.5])


def endless(stay: float, steps: int) -> scg.Graph:
    """A chain of two states; where it goes on with another chance than the discount, costs are weighed."""
    g = scg.Graph("endless")
    theta = g.param("theta", 2)

    def step(carry, _):
        state, _, weight = carry
        g.cost("cost", weight * (state + 0.2 * scg.sigmoid(theta[state])))
        state = g.sample("state", scg.Bernoulli(logits=theta[state]))
        on = g.sample("on", scg.Bernoulli(probs=stay))
        return (state, on, weight * DISCOUNT / stay), None

    g.scan(step, (0.0, 1.0, 1.0), length=steps, until=lambda carry: carry[1] == 0.0)
    return g


def exact(theta: np.ndarray) -> float:
    """v = c + d P v, at the first state."""
    p = special.expit(theta)
    moves = np.stack([1.0 - p, p], axis=1)
    return float(np.linalg.solve(np.eye(2) - DISCOUNT * moves, np.array([0.0, 1.0]) + 0.2 * p)[0])


@pytest.mark.parametrize("stay", [DISCOUNT, 0.75], ids=["geometric horizon", "roulette"])
def test_a_random_horizon_is_that_of_all_steps(stay):
    f = scg.compile(endless(stay, steps=70), backend="numpy")
    r = f({"theta": AT}, samples=4000, rng=1)
    assert f.verdict.unbiased
    within(r.cost, r.cost_stderr, exact(AT), "cost")
    for i, unit in enumerate(1e-5 * np.eye(2)):
        within(r.grad["theta"][i], r.stderr["theta"][i], (exact(AT + unit) - exact(AT - unit)) / 2e-5, f"in {i}")

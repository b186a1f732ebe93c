"""A triangular factor is what stands on its diagonal and below: no gradient reaches what stands above."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.differentiate.reverse_mode import gradients
from scg.ir.node import constant
from scg.laws.families import STREAM, compute
from scg.ops.leaves import feed

FACTOR = np.array([[0.7, 0.0], [0.9, 0.3]])
STANDARD = scg.MultivariateNormal(np.zeros(2), scale_diag=np.ones(2))
QUANTITIES = {
    "sample": lambda d: d.sample(STREAM),
    "reparameterise": lambda d: d.reparameterise(STREAM),
    "log_prob": lambda d: d.log_prob(np.array([0.2, -1.0])),
    "entropy": lambda d: d.entropy(),
    "mean and variance": lambda d: d.mean + d.variance,
    "divergence": lambda d: scg.kl_divergence(d, STANDARD),
    "divergence from another": lambda d: scg.kl_divergence(STANDARD, d)}


@pytest.mark.parametrize("name", QUANTITIES)
def test_nothing_above_the_diagonal_moves(name):
    factor = feed("L", (2, 2), ())
    quantity = QUANTITIES[name](scg.MultivariateNormal([0.2, -0.4], scale_tril=factor)).sum()
    slope = gradients({quantity: constant(1.0)}, [factor])[0]
    found = compute([slope], L=FACTOR)[0]
    assert np.all(found[..., 0, 1] == 0.0) and np.any(found[..., 1, 1] != 0.0)


@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 2)], ids=str)
@pytest.mark.parametrize("strategy", [None, scg.Pathwise(), scg.ScoreFunction(), scg.MuProp()], ids=str)
def test_a_step_along_a_gradient_stays_triangular(strategy, shape):
    """One factor, and one for each draw."""
    g = scg.Graph("factors")
    factor = g.param("L", shape)
    x = g.sample("x", scg.MultivariateNormal([0.2, -0.4], scale_tril=factor))
    g.cost("c", ((x[..., 0] + 2.0 * x[..., 1]) ** 2 + x[..., 0] * x[..., 1]).sum())
    f = scg.compile(g, strategy=strategy, backend="numpy")
    at = np.broadcast_to(FACTOR, shape)
    r = f({"L": at}, samples=100, rng=0)
    assert np.all(r.grad["L"][..., 0, 1] == 0.0) and np.all(r.grad["L"][..., 1, 1] != 0.0)
    f({"L": at - 1e-3 * r.grad["L"]}, samples=10, rng=0)


@pytest.mark.parametrize("loc, scale", [(1, {"scale_diag": np.ones(3)}), (3, {"scale_diag": np.ones(1)}),
                                        (1, {"scale_tril": np.eye(3)}), ((2, 1), {"scale_diag": np.ones(3)})])
def test_one_number_for_all_elements(loc, scale):
    """Moments have the shape of the draws, and estimators that need them take the site."""
    d = scg.MultivariateNormal(np.full(loc, 0.3), **scale)
    assert d.mean.shape == d.variance.shape == (*d.batch_shape, 3)
    g = scg.Graph("one for all")
    x = g.sample("x", scg.MultivariateNormal(g.param("m", loc), **scale))
    g.cost("c", (x**2).sum())
    r = scg.compile(g, strategy=scg.MuProp(), backend="numpy")({"m": np.full(loc, 0.3)}, samples=2000, rng=0)
    exact = np.full(loc, 0.6 * (3 if np.ravel(loc)[-1] == 1 else 1))
    assert np.all(abs(r.grad["m"] - exact) <= 5.0 * r.stderr["m"] + 1e-12)

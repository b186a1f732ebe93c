"""Parameters that leave their ranges where a distribution is no site: never a number that looks right."""

from __future__ import annotations

import numpy as np
import pytest

import scg

STANDARD = scg.MultivariateNormal(np.zeros(2), scale_diag=np.ones(2))
QUANTITIES = {
    "Bernoulli probs": (lambda p: scg.Bernoulli(probs=p).log_prob(1.0), 1.2),
    "Gamma concentration": (lambda p: scg.Gamma(p, 1.0).log_prob(1.0), -0.5),
    "Beta concentration1": (lambda p: scg.Beta(p, 2.0).log_prob(0.3), -0.5),
    "Dirichlet concentration": (lambda p: scg.Dirichlet(p).log_prob(np.array([0.4, 0.6])), [-0.5, 2.0]),
    "Categorical probs": (lambda p: scg.Categorical(probs=p).log_prob(1.0), [-1.0, 2.0]),
    "Mixture probs": (lambda p: scg.Mixture([scg.Normal(0.0, 1.0), scg.Normal(1.0, 1.0)], probs=p).log_prob(1.0),
                      [-1.0, 3.0]),
    "Normal scale": (lambda p: scg.Normal(0.0, p).log_prob(1.0), -1.0),
    "MultivariateNormal scale_tril": (lambda p: scg.MultivariateNormal(np.zeros(2), scale_tril=p).log_prob(
        np.array([0.3, 0.2])), [[1.0, 0.9], [0.5, 0.8]]),
    "divergence from Gamma concentration": (lambda p: scg.kl_divergence(scg.Gamma(p, 1.0), scg.Gamma(1.0, 1.0)), -0.5),
    "divergence to MultivariateNormal scale_tril": (lambda p: scg.kl_divergence(
        STANDARD, scg.MultivariateNormal(np.zeros(2), scale_tril=p)), [[1.0, 0.9], [0.5, 0.8]]),
    "entropy Gamma concentration": (lambda p: scg.Gamma(p, 1.0).entropy(), -0.5)}


@pytest.mark.parametrize("what", QUANTITIES)
def test_out_of_range(what):
    """The error names the family and its parameter."""
    quantity, value = QUANTITIES[what]
    g = scg.Graph("likelihood")
    p = g.param("p", np.shape(value))
    g.cost("c", quantity(p))
    f = scg.compile(g, backend="numpy")
    family, name = what.split()[-2:]
    with pytest.raises(scg.NonFiniteError, match=f"{name} of {family} must be"):
        f({"p": value})


def test_what_is_masked_may_be_out_of_range():
    g = scg.Graph("masked")
    p, keep = g.param("p", 2), np.array([True, False])
    g.cost("c", scg.where(keep, scg.Gamma(p, 1.0).log_prob(1.0), 0.0).sum())
    for backend in ("numpy", "numba"):
        r = scg.compile(g, backend=backend)({"p": [2.0, -0.5]})
        assert r.cost == pytest.approx(-1.0) and r.grad["p"][1] == 0.0

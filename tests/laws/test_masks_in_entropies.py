"""A probability that is 0 by a mask, and stays it, has no say in an entropy or a divergence, nor in their gradients."""

from __future__ import annotations

import numpy as np
import pytest

import scg

P, MASK, Q = np.array([0.3, 0.4, 0.6]), np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.3, 0.5])
MASKS = {
    "where": lambda p, g: scg.where(MASK > 0.0, p, 0.0), "literal": lambda p, g: p * MASK,
    "data": lambda p, g: p * g.data("m", 3), "twice": lambda p, g: (p * g.data("m", 3)) * MASK,
    "shares": lambda p, g: p * MASK / (p * MASK).sum(), "parts": lambda p, g: scg.stack([0.0 * p[0], p[1], p[2]])}
FAMILIES = [scg.Categorical, scg.OneHotCategorical]


def run(cost, values):
    g = scg.Graph("masks")
    p = g.param("p", len(values))
    g.cost("c", cost(p, g))
    f = scg.compile(g, backend="numpy")
    return f({"p": values, "m": [MASK]} if "m" in g.rows else {"p": values})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_of_a_categorical(name, family):
    entropy = run(lambda p, g: family(probs=MASKS[name](p, g)).entropy(), P)
    divergence = run(lambda p, g: scg.kl_divergence(family(probs=MASKS[name](p, g)), family(probs=Q)), P)
    w = P[1:]
    s, n = w / w.sum(), w.sum()
    h = -(s @ np.log(s))
    assert entropy.cost == pytest.approx(h)
    np.testing.assert_allclose(entropy.grad["p"], [0.0, *(-np.log(s) - h) / n], rtol=1e-10)
    logs = np.log(s) - np.log(Q[1:])
    assert divergence.cost == pytest.approx(s @ logs)
    np.testing.assert_allclose(divergence.grad["p"], [0.0, *(logs - s @ logs) / n], rtol=1e-10)


@pytest.mark.parametrize("mask, p", [(lambda p: p * np.array([0.0, 1.0]), [0.0, 0.4]),
                                     (lambda p: 1.0 - p * np.array([0.0, 1.0]), [1.0, 0.6])])
def test_a_mask_of_a_bernoulli(mask, p):
    r = run(lambda q, g: scg.Bernoulli(probs=mask(q)).entropy().sum(), np.array([0.3, 0.4]))
    d = run(lambda q, g: scg.kl_divergence(scg.Bernoulli(probs=mask(q)), scg.Bernoulli(probs=0.7)).sum(), [0.3, 0.4])
    t = p[1]
    slope = np.log((1.0 - t) / t) * (1.0 if t == 0.4 else -1.0)
    assert r.cost == pytest.approx(-t * np.log(t) - (1.0 - t) * np.log1p(-t))
    np.testing.assert_allclose(r.grad["p"], [0.0, slope], rtol=1e-10)
    assert d.grad["p"][0] == 0.0 and np.isfinite(d.cost)


@pytest.mark.parametrize("cost", [lambda p, g: scg.Categorical(probs=p).entropy(),
                                  lambda p, g: scg.Categorical(probs=p * p).entropy() / p[1],
                                  lambda p, g: scg.Bernoulli(probs=p).entropy().sum()])
def test_a_0_that_moves_is_no_mask(cost):
    """Its derivative is infinite, or not known by that of a logarithm."""
    with pytest.raises(scg.NonFiniteError):
        run(cost, np.array([0.0, 0.4, 0.6]))

"""`scg.exact` of arrays of continuous draws, and of counts: closed forms, and the draws one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit

import scg

A = np.array([0.7, 1.3, 2.1])


def moments(build, cost, **params):
    """A graph of one site of an array of draws."""
    g = scg.Graph("array")
    given = {name: g.param(name, np.shape(value)) for name, value in params.items()}
    dist, shape = build(**given)
    g.cost("c", cost(g.sample("x", dist, shape=shape)))
    return scg.exact(g, params)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_normal_draws(n):
    """E Σ x² + Π x with x_i from N(a_i, s)."""
    a, s = A[:n], 0.6
    found = moments(lambda a, s: (scg.Normal(a, s), None),
                    lambda x: (x * x).sum() + math.prod(x[i] for i in range(n)), a=a, s=s)
    assert found.cost == pytest.approx((a * a + s * s).sum() + a.prod(), rel=1e-12)
    np.testing.assert_allclose(found.grad["a"], 2.0 * a + a.prod() / a, rtol=1e-11)
    assert found.grad["s"] == pytest.approx(2.0 * n * s, rel=1e-11)


@pytest.mark.full
def test_gamma_draws_of_one_rate():
    """E x₀ x₁² = a₀ a₁ (a₁ + 1) / r³."""
    a, r = A[1:], 1.7
    found = moments(lambda a, r: (scg.Gamma(a, r), None), lambda x: x[0] * x[1] ** 2, a=a, r=r)
    mean = a[0] * a[1] * (a[1] + 1.0) / r**3
    assert found.cost == pytest.approx(mean, rel=1e-9)
    np.testing.assert_allclose(found.grad["a"], [mean / a[0], a[0] * (2.0 * a[1] + 1.0) / r**3], rtol=1e-7)
    assert found.grad["r"] == pytest.approx(-3.0 * mean / r, rel=1e-7)


def test_uniform_draws_whose_ends_move():
    """E x₀ x₁² = h₀/2 · h₁²/3, of an array of shape (1, 2)."""
    found = moments(lambda h: (scg.Uniform(0.0, h), (1, 2)), lambda x: x[0, 0] * x[0, 1] ** 2, h=A[:2])
    assert found.cost == pytest.approx(A[0] * A[1] ** 2 / 6.0, rel=1e-12)
    np.testing.assert_allclose(found.grad["h"], [A[1] ** 2 / 6.0, A[0] * A[1] / 3.0], rtol=1e-11)


def test_counts():
    """E k₀ k₁ + k₀² of Poisson counts."""
    m = A[:2]
    found = moments(lambda m: (scg.Poisson(m), None), lambda k: k[0] * k[1] + k[0] ** 2, m=m)
    assert found.cost == pytest.approx(m[0] * m[1] + m[0] ** 2 + m[0], rel=1e-12)
    np.testing.assert_allclose(found.grad["m"], [m[1] + 2.0 * m[0] + 1.0, m[0]], rtol=1e-11)


def test_vectors():
    """E (x₀ y₀)² + x₀ of two draws of a normal vector with one element, at locations of their own."""
    loc = A[:2, None]
    found = moments(lambda a: (scg.MultivariateNormal(a, scale_diag=[0.5]), None),
                    lambda x: (x[0, 0] * x[1, 0]) ** 2 + x[0, 0], a=loc)
    a, b = A[0], A[1]
    assert found.cost == pytest.approx((a * a + 0.25) * (b * b + 0.25) + a, rel=1e-12)
    np.testing.assert_allclose(found.grad["a"][:, 0], [2 * a * (b * b + 0.25) + 1, 2 * b * (a * a + 0.25)], rtol=1e-11)


@pytest.mark.full
@pytest.mark.parametrize("apart", [False, True])
def test_draws_below_a_discrete_site_and_beside_another(apart):
    """Locations that a site above moves, and a third draw given both: as three sites or as an array and one."""
    g = scg.Graph("below")
    t = g.param("t")
    b = g.sample("b", scg.Bernoulli(logits=t))
    if apart:
        x = scg.stack([g.sample("x0", scg.Normal(b, 0.5)), g.sample("x1", scg.Normal(2.0 * b, 0.5))])
    else:
        x = g.sample("x", scg.Normal(b * np.array([1.0, 2.0]), 0.5))
    y = g.sample("y", scg.Normal(x[0] * x[1], 1.0))
    g.cost("c", y * y)
    found, p = scg.exact(g, {"t": 0.4}), expit(0.4)
    slope = (1.25 * 4.25) - 0.25 * 0.25  # E x₀² x₁² given b = 1, and given b = 0
    assert found.cost == pytest.approx(1.0 + 0.0625 + p * slope, rel=1e-10)
    assert found.grad["t"] == pytest.approx(p * (1.0 - p) * slope, rel=1e-9)


@pytest.mark.parametrize("cost, words", [
    (lambda x: (x[1] > 0.3) * 1.0, "jumps"),
    (lambda x: abs(x[1] - 0.3), r"disagree by .*: the abs at test_exact_arrays\.py:\d+ has a kink"),
    (lambda x: scg.exp(-0.5 * ((x[1] - 0.31) / 1e-3) ** 2), "disagree by .* or has a narrow peak")])
def test_every_draw_is_looked_at(cost, words):
    with pytest.raises(scg.ExactError, match=words):
        moments(lambda a: (scg.Normal(a, 1.0), None), cost, a=A[:2])


def test_four_draws_are_too_many():
    with pytest.raises(scg.ExactError, match="4 continuous draws"):
        moments(lambda a: (scg.Normal(a, 1.0), (2, 2)), lambda x: x.sum(), a=0.3)

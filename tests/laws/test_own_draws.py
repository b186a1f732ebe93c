"""What a family knows of its own draw: densities and scores do not lose the digits that the draw itself has lost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import scg

BACKENDS = ["numpy", "numba"]
SAMPLES = 4000
FAR = [("float64", 1e8, 1e-3), ("float32", 1e4, 1e-3), ("float32", -3e7, 0.5)]


def near(found, like, tolerance):
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(like, float), rtol=tolerance, atol=tolerance)


def alone(loc, scale, draw):
    return draw(scg.Normal(loc=loc, scale=scale))


def stopped(loc, scale, draw):
    return draw(scg.Normal(loc=loc, scale=scale), scg.stop_gradient)


def several(loc, scale, draw):
    return draw(scg.Normal(loc=loc * np.ones(2), scale=scale), shape=(3, 2)) / 6.0


def by_hand(loc, scale, draw):
    return draw(scg.Normal(loc=loc, scale=scale), lambda z: z, by_hand=(loc, scale))


def in_a_loop(loc, scale, draw):
    _, ys = draw.graph.scan(lambda c, _: (c, draw(scg.Normal(loc=loc, scale=scale))), 0.0, length=3)
    return ys / 3.0


class Draw:
    """Draws a site of a distribution, and gives the log-probability of what is drawn."""

    def __init__(self, graph):
        self.graph = graph

    def __call__(self, dist, mark=lambda z: z, shape=None, by_hand=None):
        z = mark(self.graph.sample("z", dist, shape=shape))
        if by_hand is None:
            return dist.log_prob(z)
        loc, scale = by_hand
        return -0.5 * ((z - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)


@pytest.mark.by_python
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", [alone, stopped, several, by_hand, in_a_loop], ids=lambda f: f.__name__)
def test_a_normal_draw_far_from_zero_has_the_density_and_score_of_one_about_zero(model, backend):
    """Costs, gradients and their errors are those at loc 0 and scale 1, up to the scale, under the same noise."""
    for strategy in (scg.ScoreFunction(), scg.Pathwise()):
        if model is stopped and isinstance(strategy, scg.Pathwise):
            continue  # a stopped draw is refused there

        def found(dtype, loc, scale, strategy=strategy):
            g = scg.Graph("far")
            density = model(g.param("loc"), g.param("scale"), Draw(g))
            g.cost("c", (density + g.input("log scale") / max(density.size, 1)).sum())
            f = scg.compile(g, strategy=strategy, dtype=dtype, backend=backend)
            return f({"loc": loc, "scale": scale, "log scale": np.log(scale)}, samples=SAMPLES, rng=3)

        cases = FAR if backend == "numpy" else FAR[:2] if model in (alone, in_a_loop) else FAR[:1]
        for dtype, loc, scale in cases:
            one, far = found(dtype, 0.0, 1.0), found(dtype, loc, scale)
            tolerance = 1e-9 if dtype == "float64" else 2e-4
            near(far.cost, one.cost, tolerance)
            for name in ("loc", "scale"):
                near(far.grad[name] * scale, one.grad[name], 30 * tolerance)
                near(far.stderr[name] * scale, one.stderr[name], 30 * tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_density_of_the_draw_is_that_of_its_value(backend):
    """Only the very distribution that was drawn from is known by its noise: others see the value."""
    g = scg.Graph("others")
    loc = g.param("loc")
    z = g.sample("z", scg.Normal(loc=loc, scale=1.0))
    g.cost("c", -scg.Normal(loc=loc + 1.0, scale=1.0).log_prob(z) - scg.Normal(loc=loc, scale=2.0).log_prob(z))
    r = scg.compile(g, backend=backend)({"loc": 0.7}, samples=200_000, rng=0)
    exact = np.log(2 * np.pi) + np.log(2.0) + 0.5 * 2.0 + 0.5 * 0.25  # E (z − loc − 1)² = 2, E (z − loc)² / 4 = ¼
    assert abs(r.cost - exact) < 5 * r.cost_stderr and r.cost_stderr > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gamma_of_small_concentration(dtype, backend):
    """Its score has log x, which the sampler carries: draws below the smallest number are no reason to fail."""
    g = scg.Graph("small")
    a, b = g.param("a"), g.param("b")
    dist = scg.Gamma(concentration=a, rate=b)
    x = g.sample("x", dist)
    g.cost("draw", x)
    g.cost("log x", 1e-3 * np.log(x))
    f = scg.compile(g, strategy=scg.ScoreFunction(), dtype=dtype, backend=backend)
    for shape, rate in ((0.01, 1.0), (1e-3, 2.0), (0.5, 3.0), (2.0, 0.5)):
        r = f({"a": shape, "b": rate}, samples=100_000, rng=0)
        log_x = 1e-3 * (special.digamma(shape) - np.log(rate))
        error = 1e-3 * np.sqrt(special.polygamma(1, shape) / 100_000)
        assert abs(r.costs["log x"] - log_x) < 5 * error + 1e-5 * abs(log_x)
        right = {"a": 1.0 / rate + 1e-3 * special.polygamma(1, shape), "b": -shape / rate**2 - 1e-3 / rate}
        for name, exact in right.items():
            assert abs(r.grad[name] - exact) < 5 * r.stderr[name] + 1e-4 * abs(exact), (shape, name)

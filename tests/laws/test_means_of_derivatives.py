"""Whether a derivative has a mean is a question of its own: the cost may have one where the derivative has none."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.laws.checks.sampling import within


def normal(g, at):
    return g.sample("y", scg.Normal(at, 1.0))


# what grows so fast over y that E of its slope is infinite, while its sine is bounded
TOO_FAST = {
    "square": (normal, lambda y: scg.exp(y**2)),
    "product": (normal, lambda y: scg.exp(y * y)),
    "cube": (normal, lambda y: scg.exp(abs(y) ** 3)),
    "twice": (normal, lambda y: scg.exp(scg.exp(y))),
    "sum": (normal, lambda y: scg.exp(y**2 + 3.0 * y) + y),
    "exponential": (lambda g, at: g.sample("y", scg.Exponential(scg.exp(at))), lambda y: scg.exp(3.0 * y)),
    "Student's": (lambda g, at: g.sample("y", scg.StudentT(3.0, at, 1.0)), lambda y: scg.exp(y)),
}
# what has a slope with a mean
SLOW = {
    "log-normal": (normal, lambda y: scg.exp(y)),
    "falling": (normal, lambda y: scg.exp(-(y**2))),
    "power": (normal, lambda y: y**4),
    "root": (normal, lambda y: scg.exp(np.sqrt(1.0 + y**2))),
    "bounded": (normal, lambda y: scg.exp(np.tanh(y) ** 2)),
    "share": (lambda g, at: g.sample("y", scg.Beta(scg.exp(at), 2.0)), lambda y: scg.exp(y**2)),
    "logarithm": (normal, lambda y: scg.log(1.0 + scg.exp(y**2))),
}


def build(name, of, outer):
    g = scg.Graph("means")
    draw, inner = of[name]
    y, x = draw(g, g.param("m")), g.sample("x", scg.Normal(0.0, 1.0))
    g.cost("c", outer(x, inner(y)))
    return g


@pytest.mark.parametrize("outer", [lambda x, v: np.sin(v), lambda x, v: np.cos(x * v), lambda x, v: np.sin(v - x) ** 2])
@pytest.mark.parametrize("name", TOO_FAST)
def test_what_oscillates_ever_faster_hides_a_derivative_without_mean(name, outer):
    with pytest.raises(scg.SCGError, match="oscillates"):
        scg.compile(build(name, TOO_FAST, outer), strategy={"y": scg.Pathwise()}, backend="numpy")
    verdict = scg.compile(build(name, TOO_FAST, outer), backend="numpy").verdict
    assert isinstance(verdict["y"].estimator, scg.ScoreFunction) and verdict.unbiased


@pytest.mark.parametrize("outer", [lambda x, v: np.sin(v), lambda x, v: np.cos(x * v)])
@pytest.mark.parametrize("name", SLOW)
def test_a_slope_with_a_mean_is_differentiated(name, outer):
    scg.compile(build(name, SLOW, outer), strategy={"y": scg.Pathwise()}, backend="numpy")


@pytest.mark.parametrize("name", TOO_FAST)
def test_what_does_not_oscillate_hides_nothing(name):
    """The slope of tanh falls faster than its argument grows."""
    scg.compile(build(name, TOO_FAST, lambda x, v: np.tanh(v)), strategy={"y": scg.Pathwise()}, backend="numpy")


# --- a factor that does not move has no say in the slope of a logarithm -----------------------------------------------
FACTORS = [lambda s, z: s * z**2, lambda s, z: scg.exp(s) * abs(z), lambda s, z: z**2 / s, lambda s, z: s * (z * z) * s]
SLOPES = [1 / 1.5, 1.0, -1 / 1.5, 2 / 1.5]


@pytest.mark.parametrize("strategy", [None, scg.Pathwise(), scg.ScoreFunction()], ids=repr)
@pytest.mark.parametrize("factors, slope", list(zip(FACTORS, SLOPES)))
def test_the_logarithm_of_a_product_is_differentiated_in_a_factor(factors, slope, strategy):
    g = scg.Graph("logs")
    s, z = g.param("s"), g.sample("z", scg.Normal(0.0, 1.0))
    g.cost("c", scg.log(factors(s, z)))
    r = scg.compile(g, strategy=strategy, backend="numpy")({"s": 1.5}, samples=500, rng=0)
    within(r.grad["s"], r.stderr["s"], slope, "the gradient")


@pytest.mark.parametrize("sums", [
    lambda s, z: (s + z) ** 2, lambda s, z: s * z**2 + s - 1.5, lambda s, z: s * abs(z + s)])
def test_that_of_a_sum_is_not(sums):
    g = scg.Graph("logs")
    s, z = g.param("s"), g.sample("z", scg.Normal(0.0, 1.0))
    g.cost("c", scg.log(sums(s, z)))
    with pytest.raises(scg.SCGError, match="touches 0"):
        scg.compile(g, backend="numpy")

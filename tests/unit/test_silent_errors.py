"""Gradients that would be wrong without a word: what cannot be right is refused, what can be is right."""

import numpy as np
import pytest

import scg
from scg.derivation import derive
from tests.laws.checks.exact_law import check_exact_law


def graph(dist, loss=lambda x: x * x, shape=()) -> scg.Graph:
    """One site "x" of the family that `dist` makes of a param, and a cost of it."""
    g = scg.Graph("one")
    x = g.sample("x", dist(g.param("m", shape)))
    g.cost("loss", loss(x))
    return g


# --- a weak derivative for every parameter that is differentiated ------------------------------------------------------
@pytest.mark.parametrize("dist", [
    lambda m: scg.Gamma(concentration=m, rate=m), lambda m: scg.Gamma(concentration=m, rate=2.0 * m),
    lambda m: scg.Gamma(concentration=m * m, rate=m), lambda m: scg.Gamma(concentration=m, rate=1.0)])
def test_a_parameter_without_a_weak_derivative_may_be_an_ancestor_of_one_that_has_one(dist):
    with pytest.raises(scg.EstimatorError, match="in concentration is known"):
        derive(graph(dist), scg.WeakDerivative())


@pytest.mark.parametrize("dist", [
    lambda m: scg.Normal(loc=m, scale=m), lambda m: scg.Uniform(low=-m, high=m),
    lambda m: scg.Gamma(concentration=2.0, rate=m)])
def test_weak_derivatives_of_parameters_given_by_one_node_are_summed(dist):
    g = graph(dist)
    r = scg.compile(g, strategy=scg.WeakDerivative(), backend="numpy")({"m": 1.5}, samples=20_000, rng=0)
    exact = scg.exact(g, {"m": 1.5}).grad["m"]
    assert abs(r.grad["m"] - exact) < 5 * r.stderr["m"]

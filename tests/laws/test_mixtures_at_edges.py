"""Mixtures at values that some components cannot take, and that none can."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import scg

EDGES = {
    "Gamma": (lambda a: scg.Gamma(a, 1.0), 0.0, lambda x, a: stats.gamma.pdf(x, a)),
    "Gamma, in its rate": (lambda a: scg.Gamma(2.0, a), 0.0, lambda x, a: stats.gamma.pdf(x, 2.0, scale=1 / a)),
    "Beta": (lambda a: scg.Beta(a, 2.0), 0.0, lambda x, a: stats.beta.pdf(x, a, 2.0)),
    "Beta, above": (lambda a: scg.Beta(1.5, a), 1.0, lambda x, a: stats.beta.pdf(x, 1.5, a)),
}


@pytest.mark.parametrize("weights", [{"probs": [0.4, 0.6]}, {"logits": [np.log(0.4), np.log(0.6)]}])
@pytest.mark.parametrize("name", EDGES)
def test_an_edge_of_one_component_that_another_covers(name, weights):
    """A density that is 0 there, and stays it, has no say, whatever its logarithm's derivative is."""
    family, edge, density = EDGES[name]
    g = scg.Graph("edge")
    a, m = g.param("a"), g.param("m")
    g.cost("c", scg.Mixture([scg.Normal(m, 1.0), family(a)], **weights).log_prob(g.data("x")))
    x = np.array([edge, 0.4])
    r = scg.compile(g, backend="numpy")({"a": 2.0, "m": 0.3, "x": x})

    def value(a, m):
        return np.log(0.4 * stats.norm.pdf(x, m) + 0.6 * density(x, a)).mean()

    h = 1e-5
    assert r.cost == pytest.approx(value(2.0, 0.3))
    assert r.grad["a"] == pytest.approx((value(2.0 + h, 0.3) - value(2.0 - h, 0.3)) / (2 * h), rel=1e-6)
    assert r.grad["m"] == pytest.approx((value(2.0, 0.3 + h) - value(2.0, 0.3 - h)) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("component", [lambda p: scg.Bernoulli(probs=p), lambda p: scg.Poisson(p)])
@pytest.mark.parametrize("weights", [{"probs": [0.4, 0.6]}, {"logits": [np.log(0.4), np.log(0.6)]}])
def test_a_probability_that_leaves_0_is_not_hidden(component, weights):
    """At p = 0 the chance of 1 is 0, and its slope 1."""
    g = scg.Graph("leaves")
    g.cost("c", scg.Mixture([scg.Poisson(2.0), component(g.param("p"))], **weights).log_prob(g.data("x")))
    r = scg.compile(g, backend="numpy")({"p": 0.0, "x": [1.0, 0.0]})
    one, none = stats.poisson.pmf([1, 0], 2.0)
    assert r.cost == pytest.approx(np.mean([np.log(0.4 * one), np.log(0.4 * none + 0.6)]))
    assert r.grad["p"] == pytest.approx(np.mean([0.6 / (0.4 * one), -0.6 / (0.4 * none + 0.6)]))


def test_nor_is_it_where_its_logarithm_is_taken_back():
    """exp(log p) has the slope 1 at 0, and not 0; a computer that has only the logarithm says that it is not finite."""
    g = scg.Graph("back")
    g.cost("c", np.exp(scg.Bernoulli(probs=g.param("p")).log_prob(g.data("x"))))
    with pytest.raises(scg.NonFiniteError):
        scg.compile(g, backend="numpy")({"p": 0.0, "x": [1.0]})


@pytest.mark.parametrize("components, x, values", [
    ([scg.Uniform(0.0, 1.0), scg.Uniform(2.0, 3.0)], 1.5, "Uniform|numbers|interval"),
    ([scg.Exponential(1.0), scg.Gamma(2.0, 1.0)], -2.0, "the positive numbers"),
    ([scg.Poisson(2.0), scg.Poisson(1.0)], 1.5, "the integers from 0"),
    ([scg.Poisson(2.0), scg.Bernoulli(probs=0.5)], -2.0, "the integers from 0 or 0 and 1")])
@pytest.mark.parametrize("weights", [{"probs": [0.4, 0.6]}, {"logits": [0.2, -0.3]}])
def test_what_no_component_can_take_is_named(components, x, values, weights):
    g = scg.Graph("likelihood")
    a = g.param("a")
    g.cost("c", a * scg.Mixture(components, **weights).log_prob(g.data("x")))
    f = scg.compile(g, backend="numpy")
    said = rf"(?s)x = {x:g} \(row 1\) .* Mixture: the values of Mixture are .*({values})"
    with pytest.raises(scg.SCGError, match=said):
        f({"a": 1.0, "x": [1.0, x]})

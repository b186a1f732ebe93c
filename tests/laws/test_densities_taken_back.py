"""exp(log p) where p is 0: its slope is right, or the call is refused; the closed form `probability` has the right one.

An adjoint that is 0 since a number vanished, exp(−∞), is no mask: of λ e^(−λ) at λ = 0 the slope is 1. The right slopes
are differences of the same costs nearby.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg import extend
from scg.distributions.distribution import FAMILIES
from tests.laws.checks import parametric

H = 1e-6


class Density:
    """A cost of params and of a value, compiled once."""

    def __init__(self, cost, like, backend="numpy", value=None, mask=False):
        g = scg.Graph("density")
        p = {name: g.param(name, np.shape(v)) for name, v in like.items()}
        x = g.data("x", np.shape(value)) if value is not None else None
        found = cost(p) if x is None else cost(p, x)
        g.cost("density", scg.where(g.input("taken") > 0.0, found, 0.0) if mask else found)
        self.function = scg.compile(g, backend=backend)

    def __call__(self, values, x=None, **given):
        numbers = {k: np.array(v, float) for k, v in values.items()}
        return self.function({**numbers, **given, **({} if x is None else {"x": [x]})}, rng=0)

    def is_right(self, values, x=None):
        """Whether the gradient is that of one side or the other; None if the call is refused."""
        try:
            r = self(values, x)
        except scg.NonFiniteError:
            return None
        return all(any(abs(r.grad[name][at] - s) < 1e-3 * (1 + abs(s)) for s in self.slopes(values, x, name, at))
                   for name, v in values.items() for at in np.ndindex(np.shape(v)))

    def slopes(self, values, x, name, at):
        """Differences of the cost in an element, on the sides where it has a value."""
        for h in (H, -H):
            moved = {**values, name: np.array(values[name], float)}
            moved[name][at] += h
            try:
                yield (self(moved, x).cost - self(values, x).cost) / h
            except scg.SCGError:
                continue


EDGES = [pytest.param(family, name, edge, id=f"{family.__name__} {name}={edge}")
         for family in parametric(FAMILIES).values() for name, edges in family.edges.items() for edge in edges]


@pytest.mark.parametrize("family, name, edge", EDGES)
def test_parameters_at_their_edges(family, name, edge):
    values = dict(next(case for case in family.cases if name in case))
    values[name] = np.array(values[name], float)
    values[name][(0,) * values[name].ndim] = edge
    support = family(**values).support_values()
    support = np.arange(4.0) if support is None else support
    forms = [lambda p, x, k=k: np.exp(k * family(**p).log_prob(x)) for k in (1.0, 2.0)]
    for form in forms:
        density = Density(form, values, value=support[0])
        assert all(density.is_right(values, x) is not False for x in support)
    density = Density(lambda p, x: family(**p).probability(x), values, value=support[0])
    assert all(density.is_right(values, x) for x in support)


ENDS = {
    "Gamma": lambda k: scg.Gamma(k, 3.0), "Beta": lambda k: scg.Beta(k, 2.0),
    "Gammas, by logits": lambda k: scg.Mixture([scg.Gamma(k, 1.0), scg.Gamma(3.0, 1.0)], logits=[0.3, 0.0]),
    "Gammas, by probs": lambda k: scg.Mixture([scg.Gamma(k, 1.0), scg.Gamma(3.0, 1.0)], probs=[0.4, 0.6]),
    "beside another": lambda k: scg.Mixture([scg.Gamma(k, 1.0), scg.Normal(0.5, 1.0)], probs=[0.4, 0.6]),
}


@pytest.mark.parametrize("name", ENDS)
def test_values_at_the_end_of_the_support(name):
    """Above it the density of a Gamma of concentration 2 has the slope β² in the value, below it 0; in the parameters
    it stays 0."""
    density = Density(lambda p: scg.assume_continuous(np.exp(ENDS[name](p["k"]).log_prob(p["x"]))),
                      {"k": 2.0, "x": 0.0})
    assert all(density.is_right({"k": k, "x": 0.0}) is not False for k in (2.0, 3.0))
    if name == "beside another":
        assert Density(lambda p: np.exp(ENDS[name](p["k"]).log_prob(0.0)), {"k": 2.0}).is_right({"k": 2.0})


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_rate_of_0(backend):
    """The slopes of λˣ e^(−λ) / x! are −1, 1, 0, from the probability; by its logarithm those above 0 are unknown."""
    closed = Density(lambda p, x: scg.Poisson(p["r"]).probability(x), {"r": 0.0}, backend, value=0.0)
    for x, right in ((0.0, -1.0), (1.0, 1.0), (2.0, 0.0), (20.0, 0.0)):
        assert closed({"r": 0.0}, x).grad["r"] == right
    back = Density(lambda p, x: np.exp(scg.Poisson(p["r"]).log_prob(x)), {"r": 0.0}, backend, value=0.0, mask=True)
    assert back({"r": 0.0}, 0.0, taken=1.0).grad["r"] == -1.0
    with pytest.raises(scg.NonFiniteError, match="weighed"):
        back({"r": 0.0}, 1.0, taken=1.0)
    assert back({"r": 0.0}, 1.0, taken=0.0).grad["r"] == 0.0, "a choice masks it"


@pytest.mark.parametrize("taken", [
    lambda t: scg.logsumexp(np.log(scg.stack([t, t]))), lambda t: np.logaddexp(np.log(t), np.log(t)),
    lambda t: -scg.logsumexp(-np.log(scg.stack([t, t])))])
def test_sums_of_nothing_in_log_space(taken):
    """2t, and t/2, by way of logarithms: the slope at 0 is 2, or ½, and not 0."""
    density = Density(lambda p: np.exp(taken(p["t"])), {"t": 0.0})
    assert density.is_right({"t": 0.3}) and density.is_right({"t": 0.0}) is None


@pytest.mark.parametrize("left_out", [False, True])
def test_slopes_of_draws(left_out):
    """x = √m has the square m, also at 0, where its slope is infinite; a choice that leaves x out masks that."""
    g = scg.Graph("draws")
    m = g.param("m")
    x = g.sample("x", scg.Custom({"m": m}, sample=lambda n, m: np.sqrt(m) + 0.0 * extend.uniform(n),
                                 draw_derivative=lambda x, m: {"m": 0.5 / np.sqrt(m)}))
    g.cost("c", scg.where(g.input("taken") > 0.0, x**2, 3.0))
    f = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")
    assert f({"m": 4.0, "taken": 1.0}, samples=2, rng=0).grad["m"] == 1.0
    if left_out:
        assert f({"m": 0.0, "taken": 0.0}, samples=2, rng=0).grad["m"] == 0.0
    else:
        with pytest.raises(scg.NonFiniteError):
            f({"m": 0.0, "taken": 1.0}, samples=2, rng=0)

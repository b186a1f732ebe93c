"""Log-probabilities of data, of every family, under parameters that are random and move: a regression with effects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import scg

POINTS, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WIDTH = 0.3
Y = {"Beta": 0.3, "Dirichlet": np.array([0.15, 0.15, 0.7]), "Bernoulli": 1.0}


def _shares(r, m=np):
    return m.stack([r, r * 0.0 + 1.5, 2.0 * r])


# by what the family is given: the distribution, and its log-probability by SciPy
FAMILIES = {
    "Poisson rate": (lambda r: scg.Poisson(r), lambda y, r: stats.poisson.logpmf(y, r)),
    "Gamma rate": (lambda r: scg.Gamma(2.0, r), lambda y, r: stats.gamma.logpdf(y, 2.0, scale=1.0 / r)),
    "Gamma concentration": (lambda r: scg.Gamma(r, 1.5), lambda y, r: stats.gamma.logpdf(y, r, scale=1.0 / 1.5)),
    "StudentT df": (lambda r: scg.StudentT(r), lambda y, r: stats.t.logpdf(y, r)),
    "StudentT loc": (lambda r: scg.StudentT(4.0, r, 1.0), lambda y, r: stats.t.logpdf(y, 4.0, r)),
    "StudentT scale": (lambda r: scg.StudentT(4.0, 0.0, r), lambda y, r: stats.t.logpdf(y, 4.0, 0.0, r)),
    "Exponential rate": (lambda r: scg.Exponential(r), lambda y, r: stats.expon.logpdf(y, scale=1.0 / r)),
    "Normal scale": (lambda r: scg.Normal(0.0, r), lambda y, r: stats.norm.logpdf(y, 0.0, r)),
    "Beta 1": (lambda r: scg.Beta(r, 2.0), lambda y, r: stats.beta.logpdf(y, r, 2.0)),
    "Beta 0": (lambda r: scg.Beta(2.0, r), lambda y, r: stats.beta.logpdf(y, 2.0, r)),
    "Dirichlet concentration": (lambda r: scg.Dirichlet(_shares(r, scg)),
                                lambda y, r: np.array([stats.dirichlet.logpdf(y, _shares(x)) for x in r])),
    "Bernoulli logits": (lambda r: scg.Bernoulli(logits=r),
                         lambda y, r: stats.bernoulli.logpmf(y, 1.0 / (1.0 + np.exp(-r)))),
}
RATES = {"exp": lambda x, m: m.exp(x), "softplus": lambda x, m: m.log(1.0 + m.exp(x)) + 0.05}


def _right(log_p, rate, y, u: float, mean: float) -> float:
    """The expected cost, by quadrature over the effect."""
    z = mean + WIDTH * POINTS
    return float(-(WEIGHTS / WEIGHTS.sum()) @ log_p(y, rate(z + u, np)))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients(family, rate):
    make, log_p = FAMILIES[family]
    y, at = Y.get(family.split()[0], 3.0), {"u": 0.2, "mean": 0.1}
    g = scg.Graph("regression")
    u, mean, given = g.param("u"), g.param("mean"), g.data("y", np.shape(y))
    z = g.sample("z", scg.Normal(mean, WIDTH))
    g.cost("nll", -make(RATES[rate](z + u, scg)).log_prob(given))
    for strategy in (None, scg.ScoreFunction(baseline=scg.LeaveOneOut())):
        r = scg.compile(g, strategy=strategy, backend="numpy")({**at, "y": np.asarray(y)[None]}, samples=2000, rng=1)
        for name in at:
            up, down = ({**at, name: at[name] + d} for d in (1e-5, -1e-5))
            exact = (_right(log_p, RATES[rate], y, **up) - _right(log_p, RATES[rate], y, **down)) / 2e-5
            assert abs(r.grad[name] - exact) < 5.0 * r.stderr[name] + 1e-8


def test_a_draw_of_one_family_is_data_of_another():
    """A count whose rate is a gamma draw plus what moves, beside a prior of that draw."""
    g = scg.Graph("counts")
    a, u = g.param("a"), g.param("u")
    z = g.sample("z", scg.Gamma(scg.softplus(a) + 0.1, 1.0))
    g.cost("nll", -scg.Poisson(scg.softplus(z * u) + 0.05).log_prob(g.data("y")))
    values, x = {"a": 0.5, "u": 0.7}, np.linspace(1e-6, 40.0, 400_001)

    def cost(a, u):
        p = stats.gamma.pdf(x, np.log1p(np.exp(a)) + 0.1)
        return np.trapezoid(p * -stats.poisson.logpmf(3.0, np.log1p(np.exp(x * u)) + 0.05), x)

    r = scg.compile(g, backend="numpy")({**values, "y": [3.0]}, samples=4000, rng=0)
    for name in values:
        up, down = ({**values, name: values[name] + d} for d in (1e-4, -1e-4))
        assert abs(r.grad[name] - (cost(**up) - cost(**down)) / 2e-4) < 5.0 * r.stderr[name] + 1e-5

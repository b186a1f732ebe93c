"""Logarithms of parts of draws that are too near an end to be written are those of the parts all the same."""

from __future__ import annotations

import pytest
from scipy.special import digamma, polygamma

import scg
from tests.laws.checks.sampling import within

A, B = 0.02, 0.5  # many shares are smaller than the smallest number


def dirichlet(p):
    return scg.Dirichlet(scg.stack([p, B + 0.0 * p]))


LOW, HIGH = digamma(A) - digamma(A + B), digamma(B) - digamma(A + B)
DLOW, DHIGH = polygamma(1, A) - polygamma(1, A + B), -polygamma(1, A + B)
CASES = {
    "share": (dirichlet, lambda x: scg.log(x[0]), LOW, DLOW),
    "all shares": (dirichlet, lambda x: sum(scg.log(share) for share in x), LOW + HIGH, DLOW + DHIGH),
    "reshaped": (dirichlet, lambda x: scg.log(x.reshape((2, 1)))[0, 0], LOW, DLOW),
    "log(1 - x)": (lambda p: scg.Beta(B, p), lambda x: scg.log(1.0 - x), LOW, DLOW),
    "log1p(-x)": (lambda p: scg.Beta(B, p), lambda x: scg.log1p(-x), LOW, DLOW),
    "log-odds": (lambda p: scg.Beta(p, B), lambda x: scg.log(x / (1.0 - x)), LOW - HIGH, DLOW - DHIGH),
    "one of several": (lambda p: scg.Gamma(scg.stack([p, 1.0 + 0.0 * p]), 1.0), lambda x: scg.log(x[0]),
                       digamma(A), polygamma(1, A)),
}


@pytest.mark.parametrize("strategy", [scg.Pathwise(), scg.ScoreFunction()], ids=repr)
@pytest.mark.parametrize("name", CASES)
def test_the_logarithm_of_a_part(name, strategy):
    family, cost, mean, slope = CASES[name]
    g = scg.Graph("parts")
    x = g.sample("x", family(g.param("p")))
    g.cost("c", cost(x))
    r = scg.compile(g, strategy=strategy, backend="numpy")({"p": A}, samples=4000, rng=1)
    within(r.cost, r.cost_stderr, mean, "the cost")
    within(r.grad["p"], r.stderr["p"], slope, "the gradient")


def test_in_a_step_of_a_loop():
    g = scg.Graph("steps")
    p = g.param("p")

    def step(s, _):
        x = g.sample("x", dirichlet(p))
        return s + scg.log(x[0]), s

    g.cost("c", g.scan(step, 0.0, length=2)[0])
    r = scg.compile(g, backend="numpy")({"p": A}, samples=2000, rng=1)
    within(r.cost, r.cost_stderr, 2 * LOW, "the cost")


def test_what_is_no_draw_keeps_its_domain():
    g = scg.Graph("others")
    x = g.sample("x", scg.Normal(g.param("p"), 1.0))
    g.cost("c", scg.log(1.0 - x) * 0.0 + x)
    with pytest.raises(scg.SCGError):
        scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")({"p": 0.0}, samples=100, rng=0)

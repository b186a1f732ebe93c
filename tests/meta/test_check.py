"""`scg.extend.check`: the laws for parts of one's own; what is right passes, and each kind of mistake is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import scg
from scg.distributions.distribution import FAMILIES
from scg.extend import (
    JUMP,
    Baseline,
    Distribution,
    Interval,
    Subtracted,
    Support,
    Triple,
    apply,
    check,
    elementwise,
    positive,
    positive_numbers,
    real,
    unit_interval_values,
)
from scg.extend import uniform as word
from scg.ir.op import OPS
from tests.laws.checks import parametric


def _family(**own):
    """An exponential family of one's own, with what is given in the place of its parts."""
    right = {"parameters": {"rate": positive}, "support": positive_numbers, "cases": [{"rate": 0.7}],
             "log_prob": lambda self, x: scg.log(self.rate) - self.rate * x,
             "sample": lambda self, noise: -scg.log(word(noise)) / self.rate,
             "mean": property(lambda self: 1.0 / self.rate)}
    return type("Waiting", (Distribution,), right | own)


def test_a_right_family(registry):
    found = check(_family())
    assert {"the density sums or integrates to 1", "draws are in the support, and follow the density"} <= {*found.held}
    assert found.false_alarm < 1e-6 and not found.left
    assert "holds: mean" in repr(found)


@pytest.mark.parametrize("own, words", [
    ({"log_prob": lambda self, x: scg.log(self.rate) - 2.0 * self.rate * x}, "integrates to 1.*total probability: 0.5"),
    ({"sample": lambda self, noise: -2.0 * scg.log(word(noise)) / self.rate}, "draws are in the support"),
    ({"sample": lambda self, noise: scg.log(word(noise)) / self.rate}, "a draw lies outside the support"),
    ({"mean": property(lambda self: self.rate)}, "mean, variance and entropy.*instead of 1.4"),
    ({"variance": property(lambda self: 1.0 / self.rate)}, "variance.*instead of 2.04"),
    ({"reparameterise": lambda self, noise: -scg.log(word(noise)) / scg.stop_gradient(self.rate)},
     "derivative of the path"),
    ({"draw_derivative": lambda self, x: {"rate": x / self.rate}}, "derivative of the path"),
    ({"support": unit_interval_values, "cases": [{"rate": 0.7}]}, "integrates to 1"),
    ({"score_form": lambda self, x: 1.5 * self.log_prob(x)}, "score's form.*in rate"),
    ({"quadrature": lambda self, count, rate: _exponential_rule(count, rate),
      "fine_quadrature": lambda self, count, rate: _exponential_rule(count, 2.0 * rate)}, "fine quadrature"),
])
def test_a_wrong_family(own, words, registry):
    with pytest.raises(scg.LawError, match=words) as refused:
        check(_family(**own))
    assert all(vars(refused.value.problems[0]).values())


def _exponential_rule(count, rate):
    x, w = np.polynomial.laguerre.laggauss(min(count, 60))
    return x / rate[:, None], np.broadcast_to(w, (len(rate), len(w)))


def _coin(**own):
    """A coin of one's own, with what is given beside its parts."""
    right = {"parameters": {"a": real}, "support": Support("0 or 1", integral=True, low=0, high=1),
             "cases": [{"a": 0.3}, {"a": -1.2}], "log_prob": lambda self, x: x * self.a - scg.softplus(self.a),
             "sample": lambda self, noise: scg.where(word(noise) < scg.sigmoid(self.a), 1.0, 0.0),
             "support_values": lambda self: np.array([0.0, 1.0])}
    return type("Coin", (Distribution,), right | own)


def _logistic(self, x, noise):
    u = word(noise)
    return self.a - scg.log(u) + scg.log(1.0 - u)


RELAXED = {"latent": _logistic, "relaxed": lambda self, latent, t: scg.sigmoid(latent / t),
           "latent_given": lambda self, x, noise: (2.0 * x - 1.0) * word(noise)}


@pytest.mark.parametrize("own, words", [
    ({"score_form": lambda self, x: 2.0 * self.log_prob(x)}, "score's form"),
    ({"probability": lambda self, x: 0.5 + 0.0 * x + 0.0 * self.a}, "probability is that of log_prob"),
    ({"log_odds": property(lambda self: 2.0 * self.a)}, "log_odds are those of log_prob"),
    ({"support_values": lambda self: np.array([0.0, 1.0, 2.0])}, "support's values lie in it"),
    (RELAXED, "latent_given.*does not follow"),
    (RELAXED | {"latent": lambda self, x, noise: -_logistic(self, x, noise)}, "it is its draw in"),
    ({"weak_derivative": lambda self: [Triple(0.9 * scg.sigmoid(self.a), 1.0, plus=lambda x, noise: 1.0,
                                              minus=lambda x, noise: 0.0)]}, "weak derivative"),
])
def test_a_wrong_coin(own, words, registry):
    with pytest.raises(scg.LawError, match=words):
        check(_coin(**own))


def test_a_right_coin(registry):
    found = check(_coin(log_odds=property(lambda self: self.a), tail=2.0))
    assert {"gradients under DisARM() are those of an expectation", "log_odds are those of log_prob"} <= {*found.held}
    assert found.left[0] == "what the class says of tail"


@pytest.mark.full
@pytest.mark.parametrize("family", parametric(FAMILIES).values(), ids=lambda family: family.__name__)
def test_every_family_of_the_package(family):
    assert len(check(family).held) > 6


def test_a_distribution_at_literals():
    assert len(check(scg.Exponential(1.7)).held) > 6
    sure = [scg.Normal(0.0, 1.0), scg.Normal(2.0, 0.5)]
    assert "the score is the derivative of log_prob, and has mean 0" in check(scg.Mixture(sure, probs=[0.3, 0.7])).held
    left = check(scg.MultivariateNormal(np.zeros(3), scale_diag=np.ones(3))).left
    assert any("no rule integrates" in text for text in left)


# --- ops -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def declared():
    """Ops that are declared are forgotten."""
    before = dict(OPS)
    yield elementwise
    for name in [name for name in OPS if name not in before]:
        del OPS[name]


def test_ops(declared):
    fields = {"samples": ((0.7,), (-1.3,))}
    right = declared("cube", lambda x: x**3, "({0} * {0} * {0})", derivative=lambda g, y, x: (3.0 * g * x * x,),
                     sympy=lambda m, x: x**3, **fields)
    assert check(right).held
    wrong = declared("cubed", lambda x: x**3, "({0} * {0} * {0})", derivative=lambda g, y, x: (3.0 * g * x * x,),
                     sympy=lambda m, x: x**2, **fields)
    with pytest.raises(scg.LawError, match="value of cubed"):
        check(wrong)
    flows = declared("stair", np.floor, "np.floor({0})", derivative=lambda g, y, x: (g,), smoothness=JUMP,
                     sympy=lambda m, x: m.floor(x), **fields)
    with pytest.raises(scg.LawError, match="a derivative flows"):
        check(flows)
    assert apply("cube", 2.0) is not None


@pytest.mark.parametrize("fields, words", [
    ({"bounds": lambda n, x: Interval(0.5, 1.0)}, "bounds"), ({"integral": "always"}, "no integer"),
    ({"linear": True}, r"f\(x \+ 2y\)"), ({"transparent": True}, "picks"),
    ({"source": "(sin({0}) if {0} < 10.0 else 0.0)"}, "source of wave"),
])
def test_records(fields, words, declared):
    record = {"source": "sin({0})", "derivative": lambda g, y, x: (g * scg.cos(x),), "oscillates": True,
              "sympy": lambda m, x: m.sin(x), "samples": ((0.7,), (-1.3,), (4.0,))}
    op = declared("wave", np.sin, **record)
    assert check(op).left == ("what its record says of oscillates",)
    del OPS["wave"]
    with pytest.raises(scg.LawError, match=words):
        check(declared("wave", np.sin, **record | fields))


def test_a_derivative_in_the_wrong_argument(declared):
    swapped = declared("by", lambda x, y: x * y, "({0} * {1})", derivative=lambda g, z, x, y: (g * y, g * y),
                       sympy=lambda m, x, y: x * y, samples=((2.0, 2.0), (1.0, 1.0)))
    with pytest.raises(scg.LawError, match="derivative"):
        check(swapped)


# --- estimators and baselines ----------------------------------------------------------------------------------------
def _rule(factor, **options):
    """The score function, multiplied."""
    @dataclass(frozen=True)
    class Weighed(scg.Estimator):
        """factor · log p ⊥Q̂."""

        requires = ("log_prob",)

        def rewrite(self, site):
            return site.draft.with_term(site.name, (site.score * scg.stop_gradient(factor * site.cost)).sum())

    for name, value in options.items():
        setattr(Weighed, name, value)
    return Weighed()


def test_estimators(registry):
    found = check(_rule(1.0))
    assert len(found.held) == 10 and all("other families" in text or "more than" in text for text in found.left)
    with pytest.raises(scg.LawError, match=r"one Bernoulli site.*off by"):
        check(_rule(2.0))
    with pytest.raises(scg.DeclarationError, match="biased"):
        check(_rule(2.0, unbiased=False))
    path = check(scg.Pathwise())
    assert path.held == ("gradients of a normal site, by sampling", "gradients of a Gamma site, by sampling")
    assert len(path.left) == 10


def test_baselines(registry):
    class Fixed(Baseline):
        """0.3, or what the site draws."""

        def __init__(self, peeks):
            self.peeks = peeks

        def value(self, site, signal):
            return Subtracted(site.node if self.peeks and not site.steps else scg.exp(0.3))

    assert len(check(Fixed(False)).held) == 10
    peeking = check(Fixed(True))
    assert any("own sample" in text for text in peeking.left)


def test_what_has_no_laws_is_refused():
    for part in (3, scg.Normal(scg.Graph("g").param("m"), 1.0), scg.SPSA(), Distribution):
        with pytest.raises(scg.DeclarationError, match="check"):
            check(part)

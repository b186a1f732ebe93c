"""`scg.extend.check`: the laws for parts of one's own; what is right passes, and each kind of mistake is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import scg
from scg.extend import (
    JUMP,
    Baseline,
    Distribution,
    Subtracted,
    apply,
    check,
    elementwise,
    positive,
    positive_numbers,
    unit_interval_values,
)
from scg.extend import uniform as word
from scg.ir.op import OPS


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
])
def test_a_wrong_family(own, words, registry):
    with pytest.raises(scg.LawError, match=words) as refused:
        check(_family(**own))
    assert all(vars(refused.value.problems[0]).values())


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
    assert len(found.held) == 7 and not found.left
    with pytest.raises(scg.LawError, match=r"one Bernoulli site.*off by"):
        check(_rule(2.0))
    with pytest.raises(scg.DeclarationError, match="biased"):
        check(_rule(2.0, unbiased=False))
    path = check(scg.Pathwise())
    assert path.held == ("gradients of a normal site, by sampling",) and len(path.left) == 6


def test_baselines(registry):
    class Fixed(Baseline):
        """0.3, or what the site draws."""

        def __init__(self, peeks):
            self.peeks = peeks

        def value(self, site, signal):
            return Subtracted(site.node if self.peeks and not site.steps else scg.exp(0.3))

    assert len(check(Fixed(False)).held) == 7
    peeking = check(Fixed(True))
    assert peeking.left and "own sample" in peeking.left[0]


def test_what_has_no_laws_is_refused():
    for part in (3, scg.Normal(scg.Graph("g").param("m"), 1.0), scg.SPSA(), Distribution):
        with pytest.raises(scg.DeclarationError, match="check"):
            check(part)

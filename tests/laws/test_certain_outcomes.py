"""Bernoulli outcomes that are all but certain: log p and its derivatives to their last digits, against mpmath.

log p of such an outcome is about minus the probability of the other one. As a difference of large terms, 1 and p, or l
and log(1 + eˡ), nothing would be left of it.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import scg

PROBS = {"float64": (1e-300, 1e-40, 1e-20, 1e-15, 3e-8, 1e-6, 0.1, 0.5, 0.9, 1 - 1e-6, 1 - 1e-12, 1 - 2.0**-53),
         "float32": (1e-30, 1e-20, 1e-10, 3e-8, 1e-6, 1e-3, 0.1, 0.5, 0.9, 1 - 1e-3, 1 - 1e-6, 1 - 2.0**-24)}
LOGITS = {"float64": (0.0, 1e-3, 5.0, 12.0, 25.0, 36.5, 40.0, 80.0, 700.0),
          "float32": (0.0, 1e-3, 5.0, 12.0, 16.0, 17.0, 25.0, 80.0)}
PARAMS = [(form, dtype) for form in ("probs", "logits") for dtype in ("float64", "float32")]


def log_p(form, parameter, x):
    """log p of an outcome, and its derivative."""
    a = mpmath.mpf(float(parameter))
    if form == "probs":
        return (mpmath.log(a), 1 / a) if x else (mpmath.log1p(-a), -1 / (1 - a))
    sign = -1 if x else 1
    return -mpmath.log1p(mpmath.exp(sign * a)), -sign / (1 + mpmath.exp(-sign * a))


def close(found, right, dtype):
    np.testing.assert_allclose(np.asarray(found, dtype=float), [float(r) for r in right],
                               rtol=8 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("form, dtype", PARAMS)
@pytest.mark.parametrize("given", ["literal", "data", "drawn"])
def test_log_prob(form, dtype, given):
    """Of outcomes that are given, and of draws of the very distribution in a cost that does not score them."""
    at = np.array(PROBS[dtype] if form == "probs" else (*LOGITS[dtype], *(-at for at in LOGITS[dtype])), dtype=dtype)
    outcomes = np.array([0.0, 1.0]) if given != "drawn" else (at > (0.5 if form == "probs" else 0.0)) * 1.0
    for x in np.unique(outcomes):
        here = at if given != "drawn" else at[outcomes == x]
        g = scg.Graph("outcomes")
        p = g.param("p", len(here))
        drawn = scg.Bernoulli(**{form: scg.stop_gradient(p)})
        value = x if given == "literal" else g.data("y") if given == "data" else g.sample("b", drawn)
        g.cost("c", g.node("log p", scg.Bernoulli(**{form: p}).log_prob(value)))
        values = {"p": here, **({"y": [x]} if given == "data" else {})}
        r = scg.compile(g, dtype=dtype, backend="numpy")(values, samples=1, rng=0, record=("log p",))
        with mpmath.workdps(350), np.errstate(all="ignore"):
            exact = [log_p(form, v, x) for v in here]
            if given == "drawn":  # what comes is what is likelier, but for even chances
                even = np.array([v in (0.0, 0.5, 1e-3, 0.1, 0.9) or abs(v) in (1e-3, 5.0) for v in here.tolist()])
                keep = ~even
            else:
                keep = np.ones(len(here), dtype=bool)
            close(r.record["log p"].reshape(-1)[keep], [e[0] for e, k in zip(exact, keep) if k], dtype)
            close(r.grad["p"][keep], [e[1] for e, k in zip(exact, keep) if k], dtype)


@pytest.mark.parametrize("dtype, logit", [("float64", 25.0), ("float64", 40.0), ("float32", 17.0), ("float32", 40.0)])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("strategy", [scg.Enumerate(), scg.LocalExpectation(), scg.WeakDerivative()], ids=str)
def test_the_gradient_of_what_is_all_but_certain(strategy, dtype, logit, sign):
    """d/dl E[b] is e^−|l| / (1 + e^−|l|)²; and E[log p(b)], whose gradient is l times that."""
    g = scg.Graph("certain")
    p = scg.Bernoulli(logits=g.param("l"))
    g.cost("c", g.sample("b", p))
    right = np.exp(-logit) / (1 + np.exp(-logit)) ** 2
    r = scg.compile(g, strategy=strategy, dtype=dtype, backend="numpy")({"l": sign * logit}, samples=2, rng=0)
    assert r.grad["l"] == pytest.approx(right, rel=8 * float(np.finfo(dtype).eps))
    assert scg.exact(g, {"l": sign * logit}).grad["l"] == pytest.approx(right, rel=1e-14)


def test_the_entropy_by_summation():
    """E[log p(b)] of a bit with log-odds 40, where the derivative of log p of the certain outcome counts."""
    for logit in (40.0, -40.0, 3.0):
        g = scg.Graph("entropy")
        p = scg.Bernoulli(logits=g.param("l"))
        g.cost("c", p.log_prob(g.sample("b", p)))
        r = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")({"l": logit}, samples=1)
        chance = np.exp(-abs(logit)) / (1 + np.exp(-abs(logit)))
        assert r.grad["l"] == pytest.approx(logit * chance * (1 - chance), rel=1e-13)
        right = chance * np.log(chance) + (1 - chance) * np.log1p(-chance)
        assert r.cost == pytest.approx(right, rel=1e-13)


@pytest.mark.parametrize("form", ["probs", "logits"])
@pytest.mark.parametrize("dtype, rates", [("float32", (1e-6, 1.04e-6)), ("float64", (1e-15, 1.05e-15))])
def test_a_choice_between_two_small_rates(form, dtype, rates):
    """The gradient p(1 − p)(nll₁ − nll₀) of the chance ½ of the choice; from a compiled kernel."""
    logit = [np.log(r / (1 - r)) for r in rates]
    g = scg.Graph("two rates")
    z = g.sample("z", scg.Bernoulli(logits=g.param("t")))
    # the certain outcome is 0 at the rate, and 1 at minus its logit
    r0, r1 = (rates, [-x for x in logit])[form == "logits"]
    d = scg.Bernoulli(**{form: np.where(z > 0, r1, r0)})
    g.cost("nll", -d.log_prob(g.data("y")) / rates[0])
    r = scg.compile(g, strategy=scg.Enumerate(), dtype=dtype)({"t": 0.0, "y": [0.0 if form == "probs" else 1.0]})
    nll = [float(-mpmath.log1p(-mpmath.mpf(rate))) / rates[0] for rate in rates]
    eps = 40 * float(np.finfo(dtype).eps)  # a logit of −14 is given to half an ulp, which e^ multiplies by 14
    assert r.cost == pytest.approx(np.mean(nll), rel=eps)
    assert r.grad["t"] == pytest.approx((nll[1] - nll[0]) / 4, rel=eps / 0.02)


@pytest.mark.parametrize("form", ["probs", "logits"])
def test_a_ratio_of_a_stopped_site_is_seen_to_be_its_score(form):
    """Two forms of one log-probability are one formula."""
    g = scg.Graph("ratio")
    p = g.param("p")
    b = g.sample("b", scg.Bernoulli(**{form: scg.stop_gradient(p)}))
    lp = scg.Bernoulli(**{form: p}).log_prob(b)
    g.cost("c", np.exp(lp - scg.stop_gradient(lp)) * (b - 0.45) ** 2)
    assert scg.compile(g, backend="numpy").verdict.unbiased

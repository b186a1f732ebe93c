"""Proofs and variances as formulas: the Bernoulli toy has its closed forms, others agree with the exact law."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import scg
from scg.export.proofs.certificate import certify
from scg.export.sympy.named import Named
from scg.run.values import bind
from tests.laws.checks.exact_variance import numeric_variance
from tests.problems import PROBLEMS, finite_problems

P, N = sympy.symbols("p n")
Q, HALF = 1 - P, sympy.Rational(1, 2)


def toy(t, **fields) -> scg.Graph:
    """(b − t)² with a logit."""
    g = scg.Graph("toy")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")), **fields)
    g.cost("loss", (b - t) ** 2)
    return g


def mean_baseline():
    """With the constant that is best, f(1) q + f(0) p, as a node."""
    g = scg.Graph("toy")
    theta, t = g.param("theta"), g.input("t")
    p = scg.sigmoid(theta)
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", (b - t) ** 2)
    return g.surrogate(scg.ScoreFunction(scg.Expression(p * t**2 + (1.0 - p) * (1.0 - t) ** 2)))


def in_p(formula):
    """A formula with a plain symbol for p."""
    return formula.xreplace({named: named.head for named in formula.atoms(Named)})


def arm(t, m):
    return 2 * (1 - 2 * t) ** 2 * (sympy.Rational(1, 8) - (HALF - m) ** 3) / 3 - ((1 - 2 * t) * P * Q) ** 2


def disarm(t, m):
    return (1 - 2 * t) ** 2 * (1 - m) ** 2 * 2 * m / 4 - ((1 - 2 * t) * P * Q) ** 2


# --- the toy: closed forms of Dong et al. 2020, Yin & Zhou 2019, and by hand -----------------------------------------
def test_variances_of_the_toy():
    number, t = 0.499, sympy.Rational("0.499")
    gap, f1, f0 = 1 - 2 * t, (1 - t) ** 2, t**2
    expected = {
        scg.ScoreFunction(): P * Q * (f1 * Q + f0 * P) ** 2,
        scg.ScoreFunction(scg.LeaveOneOut(group=2)): gap**2 * 2 * P * Q * (1 - 2 * P * Q) / 4,
        scg.Enumerate(): 0,
    }  # fmt: skip
    for strategy, formula in expected.items():
        found = toy(number).surrogate(strategy).variance("theta").formula
        assert sympy.cancel(in_p(found) - formula) == 0, (strategy, found)


def test_the_best_constant_leaves_no_variance():
    assert mean_baseline().variance("theta").formula == 0


@pytest.mark.parametrize("strategy, formula", [(scg.ARM(), arm), (scg.DisARM(), disarm)], ids=["ARM", "DisARM"])
def test_variances_of_antithetic_draws(strategy, formula):
    """By cases: p is the larger probability, or 1 − p is."""
    v = toy(0.45).surrogate(strategy).variance("theta")
    cases = in_p(v.formula).args
    assert len(cases) == 2
    for case, condition in cases:
        large = condition.subs(P, sympy.Rational(3, 4)) == sympy.true if condition != sympy.true else (
            cases[0][1].subs(P, sympy.Rational(3, 4)) == sympy.false)
        assert sympy.cancel(case - formula(sympy.Rational("0.45"), Q if large else P)) == 0
    for theta in (-2.0, 0.0, 0.7):
        p = 1 / (1 + np.exp(-theta))
        exact = float(formula(sympy.Rational("0.45"), sympy.Min(P, Q)).subs(P, sympy.Float(p, 30)))
        assert v.evaluate({"theta": theta}) == pytest.approx(exact, rel=1e-12, abs=1e-18)


def test_numbers_of_the_toy():
    """The table of the toy at p = ½, and leave-one-out groups of n in closed form in n too."""
    for strategy, number in [(scg.ScoreFunction(), 0.0156375025), (scg.ARM(), 8.333333333e-6)]:
        v = toy(0.49).surrogate(strategy).variance("theta")
        assert v.evaluate({"theta": 0.0}) == pytest.approx(number, rel=1e-9)
    v = toy(0.49).surrogate(scg.ScoreFunction(scg.LeaveOneOut())).variance("theta")
    assert v.group == N and N in v.formula.free_symbols
    assert v.evaluate({"theta": 0.0}, group=2) == pytest.approx(2.5e-5, rel=1e-9)
    tenth = float(np.log(0.1 / 0.9))
    for n, at_tenth, at_half in [(4, 6.300e-6, 4.1667e-6), (6, 4.056e-6, 1.6667e-6), (10, 2.376e-6, 5.556e-7)]:
        assert v.evaluate({"theta": tenth}, group=n) == pytest.approx(at_tenth, rel=2e-4)
        assert v.evaluate({"theta": 0.0}, group=n) == pytest.approx(at_half, rel=2e-4)
    with pytest.raises(scg.ExactError, match="group=None"):
        v.evaluate({"theta": 0.0})


def test_numbers_of_what_has_no_formula():
    """REBAR with its weight at 1, by quadrature of its uniforms; as calls have it, too."""
    s = toy(0.45).surrogate(scg.REBAR())
    v = s.variance("theta")
    for temperature, number in [(0.1, 0.08725), (0.5, 0.02265), (1.0, 0.01849)]:
        values = {"theta": 0.0, "b eta": 1.0, "b log temperature": np.log(temperature)}
        assert v.evaluate(values) == pytest.approx(number, rel=5e-4)
    r = scg.compile(toy(0.45), strategy=scg.REBAR(), backend="numpy")(values, samples=40_000, rng=0)
    assert r.stderr["theta"] ** 2 * 40_000 == pytest.approx(v.evaluate(values), rel=0.05)
    assert "numbers only" in str(v)


def test_a_formula_is_differentiated_as_its_definition():
    v = toy(0.45).surrogate(scg.ScoreFunction()).variance("theta")
    slope = sympy.diff(v.formula, "theta").subs("theta", 0.3)
    step = 1e-5
    about = [v.evaluate({"theta": 0.3 + h}) for h in (step, -step)]
    assert float(slope) == pytest.approx((about[0] - about[1]) / (2 * step), rel=1e-6)


# --- certificates ----------------------------------------------------------------------------------------------------
def test_an_unbiased_estimator():
    f = scg.compile(toy(0.45), strategy=scg.DisARM(), backend="numpy")
    found = scg.verify(f, {"theta": 0.3}, symbolic=True)
    (line,) = found.certificate.lines["theta"]
    assert found.passed and found.certificate.proved is True and found.certificate.everywhere
    assert sympy.expand(in_p(line.gradient) - P * Q / 10) == 0 and line.difference == 0
    assert sympy.expand(in_p(line.estimator) - P * Q / 10) == 0
    assert "difference    0" in str(found) and "p = 1/(1 + exp(-theta))" in str(found)
    assert "the formulas give its expectation" in str(found)


def test_the_bias_is_shown():
    f = scg.compile(toy(0.45), strategy=scg.StraightThrough(), backend="numpy")
    found = scg.verify(f, {"theta": 0.3}, symbolic=True)
    assert found.passed is False and found.certificate.proved is False
    assert "bias          p*(1 - p)*(2*p - 1)" in str(found)


def test_a_certificate_is_of_the_kernel():
    """Its expectation is compared with the kernel's, which another one does not have."""
    d = toy(0.45).surrogate(scg.ScoreFunction()).derivation
    rows = list(bind(d.leaves, {"theta": 0.0}).by_row())
    assert certify(d).off({"theta": np.array(0.025)}, rows, {}) < 1e-15
    assert certify(d).off({"theta": np.array(0.026)}, rows, {}) > 1e-4


QUICK = {"call_level_cost", "categorical_weights"}
LONG = {"two_layer_net", "chain", "bernoulli_to_categorical", "shared_weights", "scan_3_steps", "scan_4_steps",
        "unrolled_2_steps", "scan_along_data"}  # refused, after a while
TOO_LONG = {"one_hot_pair"}  # proved, but not its variance
REPLAYS = scg.WeakDerivative(noise="common")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.full)
                                  for n in finite_problems() if n not in LONG])
@pytest.mark.parametrize("strategy", [None, REPLAYS], ids=["policy", "replays"])
def test_variances_are_those_of_the_kernel(name, strategy):
    p = PROBLEMS[name]()
    s = p.graph.surrogate(strategy)
    assert certify(s.derivation).proved is True
    if name in TOO_LONG:
        with pytest.raises(scg.ExactError, match="summands are too long"):
            s.variance(next(iter(p.values)))
        return
    for n, number in numeric_variance(s.derivation, p.values).items():
        assert s.variance(n).by_formula(p.values, 2) == pytest.approx(number, rel=1e-9, abs=1e-14)


# --- what is refused -----------------------------------------------------------------------------------------------
def test_what_is_not_finite_or_too_large_is_refused():
    g = scg.Graph("continuous")
    z = g.sample("z", scg.Normal(loc=g.param("m"), scale=1.0))
    g.cost("c", z**2)
    with pytest.raises(scg.ExactError, match='"z" does not take finitely many values'):
        scg.verify(scg.compile(g, backend="numpy"), {"m": 0.3}, symbolic=True)
    with pytest.raises(scg.ExactError, match='"z" is Normal, which does not take finitely many values'):
        g.surrogate(scg.ScoreFunction()).variance("m")
    g = scg.Graph("large")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta")), shape=13)
    g.cost("c", b.sum())
    with pytest.raises(scg.ExactError, match="more than 4096 paths"):
        g.surrogate(scg.ScoreFunction()).variance("theta")
    with pytest.raises(scg.ExactError, match="no polynomial"):
        _ = toy(0.45).surrogate(scg.REBAR()).variance("theta").formula


def test_probabilities_of_the_mean_field():
    """Exponentials of what is made of other exponentials, at fractions of a parameter."""
    g = scg.Graph("mean field")
    a, w = g.param("a"), g.param("w")
    h = g.sample("h", scg.Bernoulli(logits=0.7 * a))
    y = g.sample("y", scg.Bernoulli(logits=w * h))
    g.cost("c", (y - 0.3 + 0.2 * h) ** 2)
    s, values = g.surrogate(scg.MuProp()), {"a": 0.4, "w": -0.8}
    exact = numeric_variance(s.derivation, values)
    assert certify(s.derivation).proved is True
    assert {n: s.variance(n).by_formula(values) for n in exact} == pytest.approx(exact, rel=1e-9)


def test_points_at_which_nothing_is_defined_are_passed_by():
    """Of p = θ no point is negative, of log θ none either; and there are two orders of p and 1 − p."""
    g = scg.Graph("probs")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(probs=theta))
    g.cost("c", (b - 0.45) ** 2 + b * scg.log(theta))
    found = certify(g.surrogate(scg.DisARM()).derivation)
    assert found.proved is True
    v = g.surrogate(scg.ScoreFunction()).variance("theta")
    assert v.by_formula({"theta": 0.3}) == pytest.approx(
        numeric_variance(g.surrogate(scg.ScoreFunction()).derivation, {"theta": 0.3})["theta"], rel=1e-9)

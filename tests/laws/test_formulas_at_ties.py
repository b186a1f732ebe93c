"""Formulas on ties: where several kinks meet they share derivatives out as the kernel does, and proofs hold there.

At numbers they decide as floats do, whatever decimals are on paper.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import scg

SCORE = scg.ScoreFunction()
KINKS = {
    "largest of largest": lambda b, t, w: np.maximum(np.maximum(t, 0.0), b * t),
    "smallest of smallest": lambda b, t, w: np.minimum(np.minimum(w[0] * b, w[1]), w[2]),
    "largest of smallest": lambda b, t, w: np.maximum(0.0, np.minimum(0.0, t)) * (1.0 + b),
    "clipped": lambda b, t, w: np.clip(t, 0.0, b),
    "largest of an array": lambda b, t, w: np.max(w) * b,
    "smallest of an array": lambda b, t, w: np.min(w * b),
    "value of a value": lambda b, t, w: abs(abs(t) - b * t) + abs(w[0] - abs(w[1])),
}
PLACES = [{"t": 0.0, "w": [1.0, 1.0, 0.0]}, {"t": 1.0, "w": [1.0, 1.0, 1.0]}, {"t": 0.0, "w": [0.0, 0.0, 0.0]}]


def of(cost) -> scg.Graph:
    g = scg.Graph("kinks")
    t, w = g.param("t"), g.param("w", 3)
    g.cost("c", cost(g.sample("b", scg.Bernoulli(logits=t)), t, w) + w.sum())
    return g


@pytest.mark.parametrize("name", KINKS)
def test_derivatives_where_kinks_meet(name):
    s = of(KINKS[name]).surrogate(SCORE)
    f = scg.compile(of(KINKS[name]), strategy=SCORE, backend="numpy", stderr=False)
    for values in PLACES:
        e, r = s.evaluate(values, samples=16, rng=0), f(values, samples=16, rng=0)
        for param, grad in r.grad.items():
            np.testing.assert_allclose(e.gradient(param).mean(axis=(0, 1)), grad, rtol=1e-12, atol=1e-14)
        for expand in (False, True):
            found = [e.of(sympy.diff(s.sympy(expand), s.symbols["w"][i])).mean() for i in range(3)]
            np.testing.assert_allclose(found, r.grad["w"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name, strategy", [
    ("largest of largest", SCORE), ("largest of largest", scg.Enumerate()), ("clipped", scg.Enumerate()),
    *(pytest.param(name, strategy, marks=pytest.mark.full) for name in KINKS for strategy in (
        SCORE, scg.Enumerate(), scg.WeakDerivative(noise="common"), scg.LocalExpectation()))])
def test_proofs_where_kinks_meet(name, strategy):
    f = scg.compile(of(KINKS[name]), strategy=strategy, backend="numpy")
    for values in PLACES:
        found = scg.verify(f, values, symbolic=True)
        assert found.passed and found.certificate.proved is not False, (values, str(found))
        assert "the formulas give its expectation" in found.method, (values, str(found))


def test_kinks_stand_in_code_as_they_do_in_the_graph():
    """And numbers are put in as ever."""
    s = of(KINKS["smallest of smallest"]).surrogate(SCORE)
    written = sympy.lambdify(("b", "t", "w"), s.estimator("t"), modules="numpy")
    formula = s.sympy(expand=True).subs({s.symbols["w"][0]: 3.0, s.symbols["w"][1]: 2.0})
    assert written(1.0, 0.0, [3.0, 2.0, 5.0]) == pytest.approx(0.5 * (2.0 + 10.0))
    assert sympy.Min(2.0, s.symbols["w"][2]) in {sympy.Min(*m.args) for m in formula.subs("b", 1.0).atoms(sympy.Min)}


# --- ties of decimals, which floats decide --------------------------------------------------------------------------
DECIMALS = {
    "more": lambda b, x: b * (x + 0.2 > 0.3),
    "equal": lambda b, x: b * np.where(x + 0.2 == 0.3, 5.0, 1.0),
    "rounded down": lambda b, x: b * np.floor(10.0 * (0.3 - x)),
    "sign": lambda b, x: b * scg.sign(x + 0.2 - 0.3),
    "larger": lambda b, x: b * np.maximum(x + 0.2, 0.3),
    "of a draw": lambda b, x: b * ((x + 0.2 * b) > 0.3),
    "a multiple": lambda b, x: b * (3.0 * x > 0.3) + 0.1 * b,
}


GROUPS = scg.ScoreFunction(scg.LeaveOneOut(group=3))


@pytest.mark.parametrize("name, strategy", [
    *((name, SCORE) for name in DECIMALS), ("more", GROUPS), ("of a draw", scg.WeakDerivative(noise="common")),
    *(pytest.param(name, strategy, marks=pytest.mark.full) for name in DECIMALS for strategy in (
        scg.WeakDerivative(noise="common"), GROUPS))])
def test_numbers_are_those_of_floats(name, strategy):
    """0.1 + 0.2 is more than 0.3 to the kernel, and so to the variance in numbers; proofs hold all the same."""
    g = scg.Graph("ties")
    b, x = g.sample("b", scg.Bernoulli(logits=g.param("t"))), g.input("x")
    g.cost("c", DECIMALS[name](b, x))
    f, values = scg.compile(g, strategy=strategy, backend="numpy"), {"t": 0.3, "x": 0.1}
    found = scg.verify(f, values, symbolic=True)
    assert found.passed and found.certificate.proved, str(found)
    groups = 3 * 4096 // (3 if strategy is GROUPS else 1)
    measured = f(values, samples=3 * 4096, rng=0).stderr["t"] ** 2 * groups
    assert f.surrogate.variance("t").evaluate(values) == pytest.approx(measured, rel=0.1, abs=1e-12)


SLOPES = {
    **DECIMALS, "absolute": lambda b, x: (b + 1.0) * abs(x + 0.2 - 0.3),
    "smaller": lambda b, x: b * np.minimum(3.0 * x, 0.3),
    "of an array": lambda b, x: b * ((x * np.array([1.0, 3.0, 2.0]) + [0.2, 0.0, 0.1] > 0.3) @ np.arange(3.0)),
    "both": lambda b, x: b * np.where((x + 0.2 > 0.3) & (b + x < 1.2), 2.0, 7.0)}


def _at_ties(name: str) -> scg.Graph:
    """A cost, its argument at a tie; a factor is differentiated, and so is what does not jump."""
    g = scg.Graph("ties")
    t, x = g.param("t"), g.input("x") if name in DECIMALS or name in ("of an array", "both") else g.param("x")
    g.cost("c", SLOPES[name](g.sample("b", scg.Bernoulli(logits=t)), x) * (1.0 + t))
    return g


def _in_a_loop() -> scg.Graph:
    g = scg.Graph("ties")
    t, x = g.param("t"), g.input("x")

    def step(total, _):
        b = g.sample("b", scg.Bernoulli(logits=t))
        return total + x, b * (total + x > 0.3) * t

    _, ys = g.scan(step, 0.0, length=4)
    g.cost("c", ys)
    return g


@pytest.mark.parametrize("build", [*(pytest.param(lambda name=name: _at_ties(name), id=name) for name in SLOPES),
                                   pytest.param(_in_a_loop, id="loop")])
def test_evaluated_formulas_decide_as_the_call_does(build):
    """Costs and gradients, and what `sympy.diff` makes of both forms."""
    s, values = build().surrogate(SCORE), {"t": 0.3, "x": 0.1}
    f = scg.compile(build(), strategy=SCORE, backend="numpy", stderr=False)
    r, e = f(values, samples=8, rng=0), s.evaluate(values, samples=8, rng=0)
    assert e.cost.mean() == pytest.approx(r.cost, rel=1e-12, abs=1e-14)
    for param, grad in r.grad.items():
        assert e.gradient(param).mean() == pytest.approx(float(grad), rel=1e-12, abs=1e-14)
        for expand in (False, True):
            found = e.of(sympy.diff(s.sympy(expand), param)).mean()
            assert found == pytest.approx(float(grad), rel=1e-12, abs=1e-14)

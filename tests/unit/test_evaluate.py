"""The formulas at numbers, replicate by replicate, beside what a call returns."""

from __future__ import annotations

import numpy as np
import pytest
import sympy

import scg


def _loops():
    """A loop in a loop, with draws, and costs in both."""
    g = scg.Graph()
    theta, w, start = g.param("theta"), g.param("w", 2), g.input("start")

    def outer(s, _):
        h = g.sample("h", scg.Bernoulli(logits=s * theta))

        def inner(q, _):
            q = np.tanh(q * theta + h)
            g.cost("inside", q * w.sum())
            return q, None

        s, _ = g.scan(inner, s * w[0], length=2)
        return s * 1.1, None

    last, _ = g.scan(outer, start, length=3)
    g.cost("last", last**2)
    return g, {"theta": 0.3, "w": np.array([0.4, 0.6]), "start": 0.7}


def test_carries_in_loops():
    g, values = _loops()
    f = scg.compile(g, strategy=scg.ScoreFunction(scg.LeaveOneOut()), backend="numpy")
    s, record = f.surrogate, ("carry_0", "carry_0'", "h")
    e, r = s.evaluate(values, samples=4, rng=3), f(values, samples=4, rng=3, record=record)
    short = s.sympy()
    for name, mean in r.costs.items():
        assert np.mean(e.costs[name]) == pytest.approx(mean, rel=1e-12)
    for formula in (s.gradient("theta"), sympy.diff(s.sympy(True), "theta"), sympy.diff(short, "theta")):
        np.testing.assert_allclose(e.of(formula), e.gradient("theta"), rtol=1e-9)
        assert np.mean(e.of(formula)) == pytest.approx(float(r.grad["theta"]), rel=1e-9)
    assert np.mean(e.of(sympy.diff(short, sympy.IndexedBase("w")[0]))) == pytest.approx(r.grad["w"][0], rel=1e-9)
    for name in record:
        np.testing.assert_array_equal(r.record[name], e.values[name])
    assert r.record["carry_0"].shape == (1, 4, 4) and r.record["carry_0'"].shape == (1, 4, 3, 3)


def test_derivatives_by_what_a_carry_is_not_made_of():
    g, _ = _loops()
    short = g.surrogate(scg.ScoreFunction()).sympy()
    w, theta = sympy.IndexedBase("w"), sympy.Symbol("theta")
    assert not sympy.diff(short, sympy.Symbol("start")).has(sympy.Derivative)
    assert sympy.diff(short, w[1]).has(sympy.Derivative) and sympy.diff(short, theta).has(sympy.Derivative)


@pytest.mark.parametrize("first", [scg.Enumerate(), scg.LocalExpectation(credit="steps"),
                                   scg.WeakDerivative(noise="fresh", credit="steps")])
def test_a_site_drawn_in_worlds_has_one_draw_in_each(first):
    g = scg.Graph()
    t = g.param("t", 2)
    k = g.sample("k", scg.Bernoulli(logits=t))
    z = g.sample("z", scg.Bernoulli(logits=k * 0.7 + t))
    g.cost("c", np.sum((z - k * 0.3) ** 2))
    f, values = scg.compile(g, strategy={"k": first, "z": scg.ScoreFunction()}, backend="numpy"), {"t": [0.3, 0.4]}
    e = f.surrogate.evaluate(values, samples=3, rng=1)
    draws = [name for name in e.values if name.startswith("z")]
    r = f(values, samples=3, rng=1, record=draws)
    for name in draws:
        np.testing.assert_array_equal(r.record[name], e.values[name])
    assert max(r.record[name].ndim for name in draws) > 3
    np.testing.assert_allclose(e.gradient("t").mean(axis=(0, 1)), r.grad["t"], rtol=1e-9)


def test_a_foreign_symbol_is_refused():
    g, values = _loops()
    with pytest.raises(scg.SCGError, match='"foreign" that the surrogate lacks'):
        g.surrogate(scg.ScoreFunction()).evaluate(values).of(sympy.Symbol("foreign"))


def test_an_array_by_its_name_alone():
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param("w", 2)))
    g.cost("c", b.sum())
    e = g.surrogate(scg.ScoreFunction()).evaluate({"w": [0.1, 0.2]}, samples=3, rng=0)
    assert e.of("w").shape == (1, 3, 2) and (e.of("w") == [0.1, 0.2]).all()
    assert (e.of("b") == e.values["b"]).all()


def test_what_is_undefined_is_no_silent_nan():
    """0/0 in a formula where the call knows the limit."""
    g = scg.Graph("power")
    g.cost("c", g.param("p") ** g.sample("x", scg.Bernoulli(probs=0.5)))
    e = g.surrogate().evaluate({"p": 0.0}, samples=4, rng=0)
    with pytest.raises(scg.NonFiniteError, match="undefined, such as 0/0"):
        e.gradient("p")


def test_gradients_of_what_an_estimator_brings_along():
    """They are of an objective, whose draws are recorded when it is asked for."""
    g = scg.Graph("control")
    w = g.param("w", 2)
    x = g.sample("x", scg.Bernoulli(logits=w))
    g.cost("c", np.sum((x - 0.3) ** 2) * (1.0 + w[0]))
    f = scg.compile(g, strategy=scg.REBAR(), backend="numpy", stderr=False)
    values = {"w": [0.3, 0.2], "x eta": 0.8, "x log temperature": -0.4}
    e, r = f.surrogate.evaluate(values, samples=8, rng=1), f(values, samples=8, rng=1)
    for name in ("x eta", "x log temperature", "w"):
        np.testing.assert_allclose(e.gradient(name).mean(axis=(0, 1)), r.grad[name], rtol=1e-10)

"""Derivatives of a ** b where the base or the exponent is 0: aᵇ is constant in a at b = 0, and in b at a = 0 < b."""

from __future__ import annotations

import numpy as np
import pytest

import scg

BOTH = pytest.mark.parametrize("backend", ["numpy", "numba"])


def evaluated(expression, values, backend, data=()):
    g = scg.Graph("powers")
    leaves = {name: g.data(name) if name in data else g.param(name, np.shape(v)) for name, v in values.items()}
    g.cost("c", expression(**leaves))
    r = scg.compile(g, backend=backend)(values, rng=0)
    return r.cost, r.grad


@BOTH
def test_exponents_that_move_over_a_base_of_0(backend):
    cost, grad = evaluated(lambda b: (np.array([0.0, 2.0, 1.0]) ** b).sum(), {"b": [1.0, 1.0, 0.3]}, backend)
    assert cost == 3.0
    np.testing.assert_allclose(grad["b"], [0.0, 2.0 * np.log(2.0), 0.0], rtol=1e-14)


@BOTH
@pytest.mark.parametrize("x", [0.0, -2.0, 1.5])
def test_powers_of_one_base_by_an_array_of_exponents(x, backend):
    """Σ xⁿ for n = 0 … 3 has the derivative 1 + 2x + 3x², at 0 and at negative bases too."""
    cost, grad = evaluated(lambda x: (x ** np.arange(4)).sum(), {"x": x}, backend)
    assert cost == pytest.approx(1 + x + x**2 + x**3) and grad["x"] == pytest.approx(1 + 2 * x + 3 * x**2)


def test_both_move():
    cost, grad = evaluated(lambda a, b: (a**b).sum(), {"a": [0.0, 0.0, 3.0], "b": [1.0, 2.5, 0.0]}, "numpy")
    assert cost == 1.0
    np.testing.assert_allclose(grad["a"], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(grad["b"], [0.0, 0.0, np.log(3.0)])


def test_exponents_by_row_and_within_loops():
    """γᵗ of data t at γ = 0, and a discounted loop: of 1, γ, γ² the mean is ⅓, and its derivative ⅓."""
    cost, grad = evaluated(lambda gamma, t: gamma**t, {"gamma": 0.0, "t": [0.0, 1.0, 2.0]}, "numpy", data=("t",))
    assert cost == pytest.approx(1 / 3) and grad["gamma"] == pytest.approx(1 / 3)
    g = scg.Graph("discount")
    gamma = g.param("gamma")
    total, _ = g.scan(lambda c, t: (c + gamma**t, None), 0.0, xs=np.arange(3.0))
    g.cost("c", total)
    r = scg.compile(g, backend="numpy")({"gamma": 0.0}, rng=0)
    assert r.cost == 1.0 and r.grad["gamma"] == 1.0


def test_a_hill_curve_with_a_control_group():
    """(y − d^h / (1 + d^h))², where the dose d is 0 in the first row."""
    dose, y, h = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.5, 0.8]), 2.0
    _, grad = evaluated(lambda h, dose, y: (y - dose**h / (1 + dose**h)) ** 2, {"h": h, "dose": dose, "y": y}, "numpy",
                        data=("dose", "y"))
    p = dose[1:] ** h / (1 + dose[1:] ** h)
    assert grad["h"] == pytest.approx((-2 * (y[1:] - p) * p * (1 - p) * np.log(dose[1:])).sum() / 3, rel=1e-12)


def test_a_random_exponent():
    """θ^N at θ = 0: P(N = 0), with derivative P(N = 1) in θ."""
    g = scg.Graph("generating function")
    n = g.sample("n", scg.Categorical(probs=[0.5, 0.3, 0.2]))
    g.cost("c", g.param("theta") ** n)
    r = scg.compile(g, strategy=scg.Enumerate(), backend="numpy")({"theta": 0.0}, rng=0)
    assert (r.cost, r.grad["theta"]) == (pytest.approx(0.5), pytest.approx(0.3))


def test_second_derivatives_at_0():
    """Two derivatives of Σ xⁿ, by a graph that holds the first one as a product with its own direction."""
    from scg.differentiate.reverse_mode import gradients
    from scg.ir.node import FUNCTIONS, constant
    from scg.laws.derivatives import leaf, value

    x = leaf("x", ())
    (first,) = gradients({FUNCTIONS["sum"](x ** constant(np.arange(5.0))): constant(1.0)}, [x])
    (second,) = gradients({first: constant(1.0)}, [x])
    assert value(first, {"x": np.array(0.0)}) == 1.0 and value(second, {"x": np.array(0.0)}) == 2.0


@pytest.mark.parametrize("expression, values", [
    (lambda a: a ** np.array(0.5), {"a": 0.0}), (lambda b: np.array(0.0) ** b, {"b": 0.0}),
    (lambda b: np.array(-2.0) ** b, {"b": 2.0})])
def test_derivatives_that_do_not_exist_are_errors(expression, values):
    """√a at 0; 0ᵇ at b = 0, where it jumps; (−2)ᵇ, which has no value beside b = 2."""
    with pytest.raises(scg.NonFiniteError):
        evaluated(expression, values, "numpy")

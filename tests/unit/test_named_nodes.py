"""A name tells a node from every equal expression: `wrt` differentiates by what is added to the one that it names."""

from __future__ import annotations

import numpy as np
import pytest

import scg

BACKENDS = ["numpy", "numba"]


def gradient(build, wrt, backend="numpy", **values):
    """Gradients by name, of a graph without sites."""
    g = scg.Graph("named")
    build(g)
    return scg.compile(g, wrt=wrt, backend=backend)(values, rng=0).grad


@pytest.mark.by_python(backend="numba")
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_equal_expression_is_another_node(backend):
    """n² + 2w with n = 2w at w = 0.5: 2n = 2 by n, and 8w + 2 = 6 by w."""

    def build(g):
        w = g.param("w")
        n = g.node("n", 2.0 * w)
        g.cost("c", n**2 + 2.0 * w)

    grad = gradient(build, ("n", "w"), backend, w=0.5)
    assert abs(grad["n"] - 2.0) < 1e-12 and abs(grad["w"] - 6.0) < 1e-12


def test_two_names_of_one_expression_are_two_nodes():
    """a³ + b² with a = b = w = 2: 12 by a, 4 by b; and a name of a name takes part in what is made of it."""

    def build(g):
        w = g.param("w")
        e = 1.0 * w
        a, b = g.node("a", e), g.node("b", e)
        again = g.node("again", a)
        g.cost("c", a**3 + b**2 + 5.0 * again)

    grad = gradient(build, ("a", "b", "again", "w"), w=2.0)
    assert {name: float(v) for name, v in grad.items()} == {"a": 17.0, "b": 4.0, "again": 5.0, "w": 21.0}


def test_a_named_leaf_is_not_the_leaf():
    """m + m·w with m a name of w: w by m is 1 + w, and w itself has 1 + 2w; so for inputs, data and literals."""

    def build(g):
        w, u, x = g.param("w"), g.input("u"), g.data("x")
        m, v, y, k = g.node("m", w), g.node("v", u), g.node("y", x), g.node("k", 3.0)
        g.cost("c", m + m * w + v * u + y**2 * x + k**2 + 3.0 * w)

    grad = gradient(build, ("m", "w", "v", "u", "y", "x", "k"), w=2.0, u=5.0, x=[1.0, 3.0])
    assert (grad["m"], grad["w"], grad["v"], grad["u"], grad["k"]) == (3.0, 8.0, 5.0, 10.0, 6.0)
    np.testing.assert_allclose(grad["y"], [1.0, 9.0])  # 2 y x in each of two rows
    np.testing.assert_allclose(grad["x"], [1.5, 13.5])


@pytest.mark.by_python(backend="numba")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_named_table_in_a_loop(backend):
    """Σₜ R[t]² + R[1] over R = (1, 2, 4), the second R another node: 2R by the named one."""

    def build(g):
        R = g.node("R", np.array([1.0, 2.0, 4.0]))
        g.scan(lambda carry, t: (carry, g.cost("c", R[t] ** 2)), 0.0, np.arange(3.0))
        g.cost("d", g.node("S", np.array([1.0, 2.0, 4.0]))[1])

    grad = gradient(build, ("R", "S"), backend)
    np.testing.assert_allclose(grad["R"], [2.0, 4.0, 8.0])
    np.testing.assert_allclose(grad["S"], [0.0, 1.0, 0.0])


def test_a_named_parameter_of_a_site():
    """E (b + σ(w)) with b ~ Bernoulli(logits=n), n = w: by n it is σ′(n) alone."""

    def build(g):
        w = g.param("w")
        n = g.node("n", 1.0 * w)
        b = g.sample("b", scg.Bernoulli(logits=n), estimator=scg.Enumerate())
        g.cost("c", b + scg.sigmoid(1.0 * w))

    slope = 0.25 / np.cosh(0.15) ** 2
    grad = gradient(build, ("n", "w"), w=0.3)
    assert abs(grad["n"] - slope) < 1e-12 and abs(grad["w"] - 2.0 * slope) < 1e-12


def test_an_equal_expression_that_was_not_named_is_told():
    """Whoever names an expression, and goes on with the expression, is told; its gradient would be 0."""
    g = scg.Graph("aside")
    h = np.exp(g.param("w"))
    g.node("h", h)
    g.cost("c", h**2)
    with pytest.raises(scg.DeclarationError, match=r"g\.node returned"):
        scg.compile(g, wrt="h", backend="numpy")


@pytest.mark.parametrize("wrt", [(), ("n",)])
def test_names_cost_nothing(wrt):
    """The kernel of a graph with names is that of the graph without."""

    def build(name):
        g = scg.Graph("same")
        w = g.param("w", 3)
        n = (lambda node: g.node("n", node)) if name else (lambda node: node)
        b = g.sample("b", scg.Bernoulli(logits=n(np.tanh(w).sum())))
        g.cost("c", (b - 0.45) ** 2 + n(np.tanh(w).sum()) if not name else (b - 0.45) ** 2 + g.nodes["n"])
        return g

    named, plain = (scg.compile(build(name), backend="numpy", wrt=(*wrt, "w")[-1:]).source for name in (True, False))
    strip = [line.partition("#")[0] for line in named.splitlines()]
    assert strip == [line.partition("#")[0] for line in plain.splitlines()]


def test_print_and_formulas_keep_the_names():
    g = scg.Graph("shown")
    w = g.param("w")
    n = g.node("n", 2.0 * w)
    m = g.node("m", w)
    g.cost("c", n * m + n**2)
    assert str(g.surrogate().sympy()) == "m*n + n**2"
    assert str(g.surrogate().sympy(expand=True)) == "6*w**2"
    assert "node    n = 2 * w" in str(g) and "cost    c = n * m + n**2" in str(g)
    assert sorted(g.to_networkx().edges) == [("m", "c"), ("n", "c"), ("w", "m"), ("w", "n")]
    assert repr(n) == '<node "n" ()>'

"""Functions of the user's in loops that end early: they are not asked about the state in which the loop ended."""

from __future__ import annotations

import numba
import numpy as np
import pytest

import scg

LAST = 2.0
TABLE = np.array([0.3, -0.2, 0.7, 0.4])


@numba.njit
def raising(s, z):
    if s >= 2.0:
        raise ValueError("no such state")
    return s * z * z


@numba.njit
def raising_vjp(g, s, z):
    if s >= 2.0:
        raise ValueError("no such state")
    return g * z * z, 2.0 * g * s * z


@numba.njit
def dividing(s, z):
    return z / (2.0 - s)


@numba.njit
def looking_up(s, k):
    if s >= 2.0:
        raise ValueError("no such state")
    return np.array([TABLE[int(2.0 * s)], s + k])


@numba.njit
def of_many(s):
    if s >= 2.0:
        raise ValueError("no such state")
    return np.full(20, s)


def in_nodes(g, s, z, k):
    safe = scg.where(s == LAST, 0.0, s)
    found = scg.stack([g.node("table", TABLE)[scg.floor(2.0 * safe)], s + k])
    return s * z * z, z / (2.0 - safe), found, np.broadcast_to(s, (20,))


def called(g, s, z, k):
    return (g.call(raising, s, z, vjp=raising_vjp), g.call(dividing, s, z), g.call(looking_up, s, k, shape=2),
            g.call(of_many, s, shape=20))


def loop(made):
    """The state grows by 0.5 or 1.5, and stays below 2 in most steps."""
    g = scg.Graph("loop")
    a, b = g.param("a"), g.param("b")

    def step(s, _):
        z = g.sample("z", scg.Normal(b, 1.0), estimator=scg.ScoreFunction())
        k = g.sample("k", scg.Bernoulli(logits=a - s))
        smooth, quotient, found, many = made(g, s, z, k)
        g.cost("c", smooth + quotient * found[0] + many.sum() * k)
        return np.minimum(found[1] + 0.5, LAST), None

    g.scan(step, 0.0, length=4, until=lambda s: s >= LAST)
    return g


VALUES = {"a": 0.2, "b": -0.4}


@pytest.fixture(scope="module")
def right():
    return scg.compile(loop(in_nodes), backend="numpy")(VALUES, samples=200, rng=1)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_functions_that_know_nothing_of_the_last_state(backend, right):
    r = scg.compile(loop(called), backend=backend)(VALUES, samples=200, rng=1)
    for name, grad in right.grad.items():
        np.testing.assert_allclose(r.grad[name], grad, rtol=1e-9)
    np.testing.assert_allclose(r.cost, right.cost, rtol=1e-9)


def path(ends):
    """A path through a call; the loop is over as soon as a count says so."""
    g = scg.Graph("path")
    b = g.param("b")

    def step(carry, _):
        s, n = carry
        z = g.sample("z", scg.Normal(b, 1.0), estimator=scg.Pathwise())
        g.cost("c", g.call(raising, n, s + z, vjp=raising_vjp))
        return (0.5 * s + z, n + g.sample("k", scg.Bernoulli(probs=0.7))), None

    g.scan(step, (0.1, 0.0), length=4, until=(lambda carry: carry[1] >= LAST) if ends else None)
    return g


def test_paths_and_formulas():
    """A replicate of the formula is one of the kernel; without until= the same function raises."""
    f = scg.compile(path(True), backend="numpy")
    r = f({"b": 0.3}, samples=40, rng=3)
    found = f.surrogate.evaluate({"b": 0.3}, samples=40, rng=3)
    np.testing.assert_allclose(found.gradient("b").mean(), r.grad["b"], rtol=1e-9)
    with pytest.raises(scg.SCGError, match="no such state"):
        scg.compile(path(False), backend="numpy")({"b": 0.3}, samples=40, rng=3)


def test_exact_values():
    """A walk of which the function makes the next state."""
    def walk(onwards):
        g = scg.Graph("walk")
        a = g.param("a")

        def step(s, _):
            s = onwards(g, s, g.sample("k", scg.Bernoulli(logits=a)))
            g.cost("c", s)
            return s, None

        g.scan(step, 0.0, length=4, until=lambda s: s >= LAST)
        return scg.exact(g, {"a": 0.2})

    def limited(s, k):
        assert s < LAST
        return s + k

    found, known = walk(lambda g, s, k: g.call(limited, s, k)), walk(lambda g, s, k: s + k)
    np.testing.assert_allclose([found.grad["a"], found.cost], [known.grad["a"], known.cost], rtol=1e-12)


@numba.njit
def onwards(s, u):
    if s >= 2.0:
        raise ValueError("no such state")
    return s + 0.5 + (u[0] > 0.5)


def test_simulated_draws():
    """A site that a function draws, from the state."""
    g = scg.Graph("simulated")
    a = g.param("a")

    def step(s, _):
        g.cost("c", s * g.sample("k", scg.Bernoulli(logits=a)))
        return g.sample("s", scg.Simulator(onwards, s)), None

    g.scan(step, 0.0, length=5, until=lambda s: s >= LAST)
    found = [scg.compile(g, backend=backend)({"a": 0.2}, samples=50, rng=0) for backend in ("numpy", "numba")]
    np.testing.assert_allclose(found[0].grad["a"], found[1].grad["a"], rtol=1e-9)

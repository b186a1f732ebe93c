"""Straight functions of the user's, compiled as parts of kernels, are what Python makes of them."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from numba import types
from scg_numba.within import straightened, within

import scg
from tests.laws import simulated as sim

THIRD, TABLE = np.float64(1.0) / 3.0, np.linspace(-1.0, 2.0, 7)

pytestmark = pytest.mark.optimised


@numba.njit
def elementary(x, y):
    """Everything that is the kernel's own, through either module."""
    return (math.exp(-abs(x)) + np.log(2.0 + x * x) + math.sin(x) * np.cos(3.0 * y), math.log1p(y * y), np.expm1(y),
            math.tanh(x - y), math.sqrt(abs(x)) + np.floor(y) + math.atan2(x, 2) + np.hypot(y, 1.5) + math.erf(x))


@numba.njit
def branches(x, y):
    """Tests within tests, with whole numbers and constants of other types among the values."""
    if x > 0.1:
        z = 2
        if y < x and not math.isnan(y):
            return z * y, 1.0
    elif x != x:
        return -1.0, y
    else:
        z = y / 7 if y > THIRD else x**3
    return z + True, max(x, y, 0) - min(y, 1)


@numba.njit
def loops(x, y):
    """Sums of known lengths, and elements of a table."""
    total, sign = 0.0, 1
    for i in range(1, 6):
        total += sign * x**i / i
        sign = -sign
        for j in range(3):
            total -= TABLE[i + j - 1] * y if j % 2 == 0 else 0.5
    return total, x ** (0.5 if x > 0.0 else 2.0)


@numba.njit
def shared(x, y):
    """Calls of straight functions, and divisions of all kinds."""
    a, b = branches(x, y)
    return a + elementary(y, b)[1] - x % 1.5, (x // 0.7) * int(4.0 * y) % 3, 5 // 2 - 7 % 4, x / (1.0 + y * y)


STRAIGHT = [elementary, branches, loops, shared]


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.full)],
                         ids=lambda d: d.__name__)
def test_values_are_those_of_python(dtype):
    """Of the function that nobody has compiled, at numbers of the graph's type; nothing is left to Numba's version."""
    own = [numba.njit(f.py_func) for f in STRAIGHT]
    a, b, c, d = (within(f, (None, None)) for f in own)

    @numba.njit
    def compiled(x, y):
        return a(x, y), b(x, y), c(x, y), d(x, y)

    rng = np.random.default_rng(5)
    points = [(x, y) for x, y in rng.normal(scale=1.5, size=(300, 2))] + [(math.nan, 0.3), (0.3, math.nan), (0.0, 0.0)]
    for x, y in ((dtype(x), dtype(y)) for x, y in points):
        with np.errstate(invalid="ignore"):
            told = [f.py_func(x, y) for f in STRAIGHT] if math.isfinite(x + y) else [elementary.py_func(x, y),
                                                                                     branches.py_func(x, y)]
        for f, wanted, (found, zero) in zip(STRAIGHT, told, compiled(x, y)):
            assert not zero
            np.testing.assert_allclose(found, np.array(wanted, dtype=float), rtol=60 * np.finfo(dtype).eps,
                                       atol=60 * np.finfo(dtype).eps, err_msg=f"{f.__name__} at {x}, {y}")
    assert not any(f.overloads for f in own)
    of_elementary = compiled.nopython_signatures[0].return_type[0][0]
    assert of_elementary == types.UniTuple(types.float32 if dtype is np.float32 else types.float64, 5)


@numba.njit
def quotient(x, y):
    """A division on one branch, by what may be 0."""
    return 1.0 / x if y > 0.5 else x


def test_what_divides_by_zero_raises_as_it_did():
    """And only where it divides, on either backend."""
    for backend in ("numpy", "numba"):
        g = scg.Graph("quotient")
        b = g.sample("b", scg.Bernoulli(probs=g.param("p")), estimator=scg.LocalExpectation())
        g.cost("c", b * g.call(quotient, g.data("x"), b) + g.call(shared, b, 0.2, shape=4)[3])
        f = scg.compile(g, backend=backend)
        for p, x in ((0.0, 0.1), (0.5, 2.0)):
            assert np.isfinite(f({"p": p, "x": np.array([x])}, samples=32, rng=1).cost)
        with pytest.raises(scg.SCGError, match=r"quotient.*ZeroDivisionError: division by zero"):
            f({"p": 0.5, "x": np.array([0.0])}, samples=32, rng=1)


@numba.njit
def searching(x):
    """A loop that ends where it will."""
    while x > 1.0:
        x = x / 2.0
    return x


@numba.njit
def looked_up(x):
    """An index that may be made of a division."""
    return TABLE[int(1.0 / x)]


@numba.njit
def raising(x):
    """An error of its own."""
    if x > 5.0:
        raise ValueError("too far")
    return x


@numba.njit
def whole(v):
    """Whole arrays."""
    return v * 2.0


@numba.njit
def corners(m, v):
    """Elements of a matrix and of what is the same in all replicates, and a sum of all."""
    return m[0, 2] - 2.0 * m[1, 0] + v[1] * m.sum() + m.shape[1]


@numba.njit(error_model="numpy")
def endless(x):
    """A division that its author lets go on."""
    return 1.0 / x


def test_other_functions_are_called_as_they_are():
    for f in (searching, looked_up, raising, corners, sim.folded):
        assert straightened(f) is None
    for f in (*STRAIGHT, quotient, whole, endless, sim.pendulum, sim.bumpy, sim.polar):
        assert straightened(f) is not None
    g = scg.Graph("others")
    x, v = g.data("x"), np.array([0.5, 1.5])
    g.cost("c", g.call(searching, x) + 10.0 * g.call(looked_up, x) + 100.0 * g.call(raising, x)
           + g.call(whole, x * v, shape=2).sum() + g.call(corners, x * np.arange(6.0).reshape(2, 3), v)
           + 1e-300 / g.call(endless, x - 0.3) + g.param("a"))
    f = scg.compile(g)
    for at in (0.3, 0.4):
        assert f({"x": np.array([at]), "a": 0.0}).cost == pytest.approx(
            at + 10.0 * TABLE[int(1.0 / at)] + 100.0 * at + 4.0 * at + (2.0 - 6.0 + 22.5) * at + 3.0, rel=1e-12)

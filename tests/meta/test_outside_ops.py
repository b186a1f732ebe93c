"""Ops from outside the package, each one record: every analysis finds there what it must know."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

import scg
from scg.analysis.bounds import Ranges
from scg.analysis.decisions import decided
from scg.analysis.dependence import Dependence
from scg.analysis.differentials import Differentials
from scg.analysis.fixed import Fixed
from scg.analysis.integers import integral
from scg.analysis.kinks import ties
from scg.analysis.magnitudes import certainly_finite
from scg.analysis.reals import Reals
from scg.analysis.support import outside
from scg.ir.interval import Interval
from scg.ir.node import constant
from scg.ir.op import OPS
from scg.ir.traverse import topological
from scg.rules.driver import rewrite

OPS_OF_OTHERS = '''
import numpy as np

import scg
from scg.extend import (JUMP, KINK, SMOOTH, Piece, Pole, Within, choosing, combining, digits, draws, elementwise, make,
                        moving)

elementwise("twice", lambda x: 2.0 * x, "(2.0 * {0})", derivative=lambda g, y, x: (2.0 * g,), linear=True, regular=True,
            integral="closed", sympy=lambda m, x: 2 * x, samples=((0.7,),))
elementwise("seen", lambda x: x, "{0}", derivative=lambda g, y, x: (g,), transparent=True, regular=True,
            bounds=lambda n, x: x, integral="closed", sympy=lambda m, x: x, samples=((0.7,),))
elementwise("rounded_up", np.ceil, "(-np.floor(-{0}))", derivative=lambda g, y, x: (None,), smoothness=JUMP,
            integral="always", sympy=lambda m, x: m.ceiling(x), defined=True, samples=((0.7,),))
elementwise("positive_part", lambda x: x * (x > 0.0), "({0} if {0} > 0.0 else 0.0)", smoothness=KINK, regular=True,
            derivative=lambda g, y, x: (scg.where(x > 0.0, g, 0.0),), tied=lambda n: n.args[0] == 0.0,
            sympy=lambda m, x: m.Max(x, 0), samples=((0.7,), (-1.0,)))
elementwise("unless", lambda c, a, b: np.where(c, b, a), "({2} if {0} else {1})", smoothness=(JUMP, SMOOTH, SMOOTH),
            derivative=lambda g, y, c, a, b: (None, scg.where(c, 0.0, g), scg.where(c, g, 0.0)), picks=slice(1, 3),
            bounds=lambda n, c, a, b: a.hull(b), integral="closed", regular=True,
            sympy=lambda m, c, a, b: m.Piecewise((b, c), (a, True)), samples=((True, 0.7, 0.4),))
elementwise("inverse", lambda x: 1.0 / x, "(1.0 / {0})", derivative=lambda g, y, x: (-g * y * y,),
            poles=Pole("at 0", lambda n, x: x.clear_of_zero), defined=lambda n, x: x.clear_of_zero,
            magnitude=lambda n, x, d: digits.of_inverse(x[0]),
            advice="Keep it away from nothing.", sympy=lambda m, x: 1 / x, samples=((0.7,),))
elementwise("inverse_root", lambda x: x ** -0.5, "({0} ** -0.5)", derivative=lambda g, y, x: (-0.5 * g * y / x,),
            steep=True, poles=Pole("at 0", lambda n, x: x.clear_of_zero, order=0.5), sympy=lambda m, x: x ** -0.5,
            samples=((0.7,),))
elementwise("masked", lambda x, y: x * y, "({0} * {1})", derivative=lambda g, y, a, b: (g * b, g * a), regular=True,
            multiplies=True, depends=draws.multiplied, sympy=lambda m, x, y: x * y, samples=((0.7, 0.4),))
elementwise("log2_times", lambda x, y: x * np.log2(y), "({0} * log({1}) / 0.6931471805599453)",
            derivative=lambda g, y, a, b: (g * scg.log(b) / np.log(2.0), g * a / b / np.log(2.0)),
            sympy=lambda m, x, y: x * m.log(y, 2), samples=((0.7, 0.4),))
combining("product_of", "mul", 1.0, derivative=lambda g, y, a: (g * y / a,))
moving("reversed", lambda node, index: (node.shape[0] - 1 - index[0],), shape=lambda args, attrs: args[0].shape,
       derivative=lambda g, y, a: (make("reversed", (g,)),))
choosing("in_turn", lambda node, index, read: [Piece(0, (index[0] // 2,), (Within(index[0] % 2, 0, 1),)),
                                               Piece(1, (index[0] // 2,), (Within(index[0] % 2, 1, 2),))],
         shape=lambda args, attrs: (2 * args[0].shape[0],), derivative=lambda g, y, a, b: (g[::2], g[1::2]))
for name, number in (("framed", 0.0), ("framed_by_half", 0.5), ("framed_by_infinity", np.inf)):
    choosing(name, lambda node, index, read, number=number: [
                 Piece(0, (index[0] - 1,), (Within(index[0], 1, node.shape[0] - 1),)), number],
             shape=lambda args, attrs: (args[0].shape[0] + 2,), derivative=lambda g, y, a: (g[1:-1],))
'''


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The ops, for as long as this module's tests run."""
    before, module = dict(OPS), ModuleType("scg_example_ops")
    sys.modules[module.__name__] = module
    exec(compile(OPS_OF_OTHERS, "ops.py", "exec"), module.__dict__)
    yield
    OPS.clear()
    OPS.update(before)
    sys.modules.pop(module.__name__)


def op(name, *args):
    """A node of one of these ops."""
    return scg.extend.make(name, tuple(map(constant, args)))


def product_of(*factors):
    """Their product, as a reduction of an array."""
    return scg.extend.make("product_of", (scg.stack(factors),), (0,))


@pytest.fixture
def g():
    return scg.Graph("outside")


def test_linear_ops_are_taken_apart(g):
    def same(a, b):
        return not any(Differentials(())(a - b).value.flat)

    x, y = g.param("x", shape=(3,)), g.param("y", shape=(3,))
    for name in ("twice", "reversed", "framed"):
        assert same(op(name, x + 3.0 * y), op(name, x) + 3.0 * op(name, y))
    assert not same(op("framed_by_half", x + y), op("framed_by_half", x) + op("framed_by_half", y))
    assert same(op("seen", x) * x, x * x) and not same(op("rounded_up", x), x)


def test_reals_and_magnitudes(g):
    x = g.param("x", shape=(3,))
    for name in ("twice", "reversed", "framed", "rounded_up"):
        assert Reals()(op(name, x))
    assert Reals()(op("in_turn", x, x)) and Reals()(op("inverse", scg.exp(x) + 1.0)) and not Reals()(op("inverse", x))
    assert not Reals()(op("framed_by_infinity", x)) and not certainly_finite(op("framed_by_infinity", x))
    assert certainly_finite(op("inverse", x * x + 1.0)) and not certainly_finite(op("inverse", x))
    assert certainly_finite(op("in_turn", op("twice", x), x)) and not certainly_finite(op("twice", scg.exp(x)))
    (zero,) = rewrite([op("reversed", x) * 0.0])
    assert zero.is_const
    assert rewrite([op("seen", x)]) == [x]


def test_whole_numbers_and_decisions(g):
    x, k = g.data("x"), g.sample("k", scg.Poisson(rate=2.0))
    assert integral(op("twice", k)) and integral(op("rounded_up", x)) and not integral(op("twice", x))
    assert not integral(op("framed_by_half", k + np.zeros(2)))
    read = x * x + 0.3
    assert read.id in decided([op("rounded_up", read)]) and read.id not in decided([op("twice", read)])


def test_what_depends_on_which_draws(g):
    z = g.sample("z", scg.Normal(0.0, 1.0), shape=(2,))
    draws = Dependence("z")
    assert draws(op("in_turn", z, np.zeros(2))).tolist() == [1, 0, 1, 0]
    assert draws(op("framed", z)).tolist() == [0, 1, 1, 0]
    assert draws(op("masked", z, np.array([0.0, 2.0]))).tolist() == [0, 1]
    assert draws(op("reversed", op("framed", z)[:3])).tolist() == [1, 1, 0]


def test_supports(g):
    """What is made of draws needs no check of its support; what is padded with 0 does."""
    dist = scg.Exponential(rate=2.0)
    z = g.sample("z", dist, shape=(2,))
    for x in (op("in_turn", z, z), op("reversed", z), op("unless", z[0] < z[1], z, z), op("seen", z)):
        assert outside(dist, x) is None
    padded = op("framed", g.sample("u", scg.Uniform(0.5, 1.0), shape=(2,)))
    assert Ranges()(padded).holds(Interval(0.0, 1.0)) and outside(scg.Uniform(0.5, 1.0), padded) is not None


def test_where_elements_stay(g):
    x = g.param("x", shape=(2,))
    fixed = Fixed(lambda node: x.id in {n.id for n in topological([node])}, {x.id})
    assert fixed(op("in_turn", x, np.zeros(2))) is not None and fixed(op("twice", x)) is None


def test_kinks(g):
    """The positive part of a number with a density is 0 half of the time, so the next kink may be met."""
    a = g.param("a")
    z = g.sample("z", scg.Normal(0.0, 1.0))
    once = op("positive_part", a + z)
    assert len(ties([once], [a])) == 0 and len(ties([op("positive_part", once)], [a])) == 1
    assert len(ties([op("positive_part", op("unless", z < 0.0, a + z, 0.0))], [a])) == 1


@pytest.mark.parametrize("loss, right", [
    (lambda x, u: x * op("inverse", u), False), (lambda x, u: x * op("inverse_root", u), True),
    (lambda x, u: op("log2_times", x, u), True), (lambda x, u: op("log2_times", x, 1.0 + op("inverse", u)), False),
    (lambda x, u: product_of(x, u), True), (lambda x, u: product_of(x, 1.0 / u), False),
    (lambda x, u: x / op("seen", u), False), (lambda x, u: x / op("twice", u), False),
    (lambda x, u: op("rounded_up", x), False)])
def test_paths_past_poles_and_jumps(g, loss, right):
    """E 1/u is infinite for an exponential u, and E u^(−½) is not."""
    x, u = g.sample("x", scg.Normal(g.param("m"), 1.0)), g.sample("u", scg.Exponential(rate=1.0))
    g.cost("c", loss(x, u))
    if right:
        scg.compile(g, strategy={"x": scg.Pathwise()}, backend="numpy")
    else:
        with pytest.raises(scg.EstimatorError, match=r"not excluded|no mean|jumps"):
            scg.compile(g, strategy={"x": scg.Pathwise()}, backend="numpy")


def test_masks_and_advice(g):
    """What an op leaves out has no say in the derivative, and an error gives the record's advice."""
    a = g.param("a")
    g.cost("c", op("unless", g.data("x") > 0.0, scg.sqrt(a), a))
    assert scg.compile(g, backend="numpy")({"a": 0.0, "x": [1.0]}).grad["a"] == 1.0
    h = scg.Graph("no mean")
    b = h.param("b")
    h.cost("c", op("inverse", b))
    with pytest.raises(scg.SCGError, match="Keep it away from nothing"):
        scg.compile(h, backend="numpy")({"b": 0.0})

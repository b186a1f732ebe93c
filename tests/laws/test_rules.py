"""Every rewrite rule keeps values; rewriting ends, keeps whole graphs, and does not lose the size of a world."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.ir.axes import Axis
from scg.ir.node import FUNCTIONS, apply, constant, make
from scg.ir.traverse import substitute
from scg.laws.derivatives import WORLD, leaf, value
from scg.ops.arithmetic import whole_power
from scg.ops.contract import contract
from scg.ops.measure import axis_sum, reduce_axes, replace_one
from scg.rules.algebra import BY_OP, RULES, step
from scg.rules.driver import rewrite
from tests.laws.checks.rules import check_off_domain, check_rule, check_same, pool


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.op.name}: {r.text}")
def test_rule(rule):
    check_rule(rule)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.op.name}: {r.text}")
def test_rule_off_its_domain(rule):
    check_off_domain(rule)


def test_what_is_not_real_is_not_lost():
    """0 · ∞, 0 · NaN, 0 / 0 and e^(log −1) are NaN, and stay so; NaN ** 0 is 1, as in NumPy."""
    x = leaf("x", (3,))
    given = {"x": np.array([np.inf, np.nan, -np.inf])}
    (simple,) = rewrite([x * 0.0])
    assert np.all(np.isnan(value(simple, given)))
    dot, quotient, power = rewrite([contract(x, constant(np.zeros(3)), "j", "j", ""), constant(0.0) / x,
                                    apply("exp", apply("log", x))])
    assert np.isnan(value(dot, given)) and np.all(np.isnan(value(quotient, {"x": np.zeros(3)})))
    assert np.all(np.isnan(value(power, {"x": -np.ones(3)})))
    assert np.all(value(x ** 0, given) == 1.0)


def test_rules_are_found_by_op():
    assert sorted(id(r) for rules in BY_OP.values() for r in rules) == sorted(map(id, RULES))
    assert all(r.op is op for op, rules in BY_OP.items() for r in rules)
    assert len({(r.op, r.text) for r in RULES}) == len(RULES)


def test_rewriting_to_the_fixed_point_keeps_values():
    """A third of the pool at once, of every kind: rules meet each other's results."""
    nodes = [n for n in pool() if n.kind == "real"][::3]
    simple = rewrite(nodes)
    assert all(step(n) is None for n in simple), "a rule still applies"
    check_same(list(zip(nodes, simple)), "rewriting")


def test_a_sum_over_a_world_whose_summand_became_constant():
    """The reduced node counts the summand once per world, whether by axis_sum or inside a contraction."""
    w, v = leaf("w", (3,), (WORLD,)), leaf("v", (3,))
    a = np.array([0.3, -0.7, 1.1])
    product = reduce_axes(contract(w, v, "j", "j", ""), {"world"})
    assert product.op.name == "contract" and not product.axes
    for node in (axis_sum(w * v, ("world",)), product, reduce_axes(contract(v, w, "j", "j", "j"), {"world"})):
        (constant_now,) = substitute([node], {w: v * 1.0})
        expected = WORLD.size * (a * a if constant_now.shape else a @ a)
        np.testing.assert_allclose(value(constant_now, {"v": a}), expected, rtol=1e-14)


def test_rewriting_reaches_the_bodies_of_scans():
    from scg.ops.scan import begin, out

    init, xs = leaf("c", ()), leaf("x", (4,))
    o = begin(4, [init], [xs])
    new = apply("stop_gradient", o.carries[0]) * 1.0 + o.xs[0] * 1.0 + apply("log", apply("exp", o.xs[0]))
    node = out(o.close(new_carries=(new,), ys=(new,)), 1)
    (simple,) = rewrite([node])
    names = {n.op.name for n in _inside(simple.args[0])}
    assert not names & {"stop_gradient", "mul", "exp", "log"}
    given = {"c": np.array(0.4), "x": np.arange(4.0)}
    np.testing.assert_allclose(value(simple, given), value(node, given), rtol=1e-13)


def _inside(scan):
    from scg.ir.traverse import topological

    return topological(scan.attrs.outputs)


def test_what_has_no_elements_is_constant():
    x, y = leaf("x", (0, 3)), leaf("y", (3,))
    nothing = leaf("w", (3,), (Axis("world", 0),))
    sums = FUNCTIONS["sum"](apply("exp", x)) + contract(x, y, "ij", "j", "i").sum() + axis_sum(nothing * y, ("world",))
    simple = rewrite([apply("exp", x * y), apply("lt", x, y), sums, apply("exp", y)])
    assert [n.op.name for n in simple] == ["const", "const", "const", "exp"]
    assert simple[0].shape == simple[1].shape == (0, 3) and simple[1].kind == "bool"
    np.testing.assert_array_equal(simple[2].attrs.array, np.zeros(3))


def test_constants_are_folded():
    node = apply("exp", constant(2.0)) * apply("add", 1.0, 2.0) + make("stop_gradient", (constant(1.0),))
    (simple,) = rewrite([node])
    assert simple.op.name == "const"
    assert float(simple.attrs.array) == pytest.approx(3 * np.exp(2.0) + 1.0, rel=1e-15)
    (kept,) = rewrite([apply("log", constant(0.0))])
    assert kept.op.name == "log", "what is not finite is left to the call, which names it"


def test_a_function_of_an_array_with_one_element_replaced():
    """f is computed of the array and of what is replaced, not once more in every world; what is not real stays so."""
    axis = Axis("element", 3)
    x, v, w, s = leaf("v", (3,)), leaf("u", (3,)), leaf("w", (3,), (WORLD,)), leaf("s", ())
    bad = constant([np.inf, np.nan, -1.0])
    for value_there in (v, w, s, bad):
        one = replace_one(x, value_there, axis)
        other = replace_one(w, value_there, axis)
        for node in (apply("log", one), apply("mul", one, s), apply("sub", other, one), whole_power(one - w, 2),
                     apply("where", apply("lt", x, 1.0), one, 0.5), apply("add", leaf("m", (2, 3)), one)):
            (new,) = rewrite([node])
            assert new.shape == node.shape and new.axes == node.axes
            given = {"v": np.array([0.3, 1.7, 1.1]), "u": np.array([0.2, 0.9, 2.0]), "s": np.array(1.4),
                     "w": np.arange(1.0, 1.0 + 3 * WORLD.size).reshape(WORLD.size, 3), "m": np.ones((2, 3))}
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(value(new, given), value(node, given))
            if node.shape == one.shape:
                assert new.op.name == "replace_one"


def test_what_may_overflow_is_not_dropped_with_its_factor_0():
    """e^1000 · 0 is NaN in a computer, as NumPy has it: it equals nothing."""
    x = leaf("x", ())
    (product,) = rewrite([apply("exp", 1000.0 * x) * 0.0])
    with np.errstate(all="ignore"):
        assert np.isnan(value(product, {"x": np.array(1.0)}))
    p = scg.Graph("given").param("p")
    assert rewrite([apply("tanh", p) * 0.0])[0].op.name == "const"

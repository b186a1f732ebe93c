"""Every registered op: value, shape, sympy form, source, first and second derivative."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import special

import scg
from scg.ir.axes import LANE, ROW
from scg.ir.node import FUNCTIONS, apply, constant, make
from scg.ir.op import OPS, Smoothness
from scg.ir.traverse import topological
from scg.laws.derivatives import (
    AXES,
    LANES,
    OTHER,
    WORLD,
    check_derivatives,
    leaf,
    objective,
    sizes_of,
    value,
    weighted,
)
from scg.ops.contract import contract
from scg.ops.measure import axis_sum, axis_to_event, event_to_axis, expect, leave_one_out, replace_one
from scg.ops.reduce import combined
from scg.ops.scan import begin, out
from scg.ops.structure import one_hot, suffix_sum
from tests.laws.checks.ops import check_elementwise, evaluate_sample, mills
from tests.laws.checks.slopes import slope

ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise"]


# --- elementwise -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise(op):
    check_elementwise(op)


# Functions of others that are the same at all numbers, at infinities and NaN too; and some that are on their domain.
# What has none here is held to its form in sympy and its own value.
EVERYWHERE = {
    "sigmoid": special.expit, "softplus": lambda x: np.logaddexp(0.0, x),
    "log_bernoulli": lambda x, odds: (x - (odds > 0)) * odds - np.logaddexp(0.0, -np.abs(odds)),
    "bernoulli_residual": lambda x, odds: x - special.expit(odds),
    "whole_power": lambda x, n: np.power(x, float(n)),
}  # fmt: skip
ON_THEIR_DOMAIN = {
    **EVERYWHERE, "gamma_slope": np.vectorize(slope), "xlogy": special.xlogy, "xlog1py": special.xlog1py,
    "lgamma_rest": lambda x: np.where(x < 16, special.gammaln(x) - x * np.log(x) + x,
                                      0.5 * np.log(2 * np.pi / x) + 1 / (12 * x) - 1 / (360 * x**3)
                                      + 1 / (1260 * x**5)),
    "digamma_rest": lambda x: np.log(x) - special.digamma(x),
    "trigamma_rest": lambda x: special.polygamma(1, x) - 1 / x, "log_ratio": lambda x, m: np.log(x / m),
    "deviance": lambda x, m: special.rel_entr(x, m) - x + m,
    "ndtr": special.ndtr, "log_ndtr": special.log_ndtr, "inverse_mills": mills,
}  # fmt: skip


@pytest.mark.parametrize("name", ON_THEIR_DOMAIN)
def test_elementwise_has_the_value_of_others(name):
    for sample in OPS[name].samples:
        np.testing.assert_allclose(evaluate_sample(OPS[name], sample), ON_THEIR_DOMAIN[name](*sample), rtol=1e-14,
                                   atol=1e-15)


EXTREMES = {  # where a plain formula would overflow, cancel or divide by zero
    "softplus": (np.array([-800.0, -40.0, 0.0, 40.0, 800.0]), lambda x: np.logaddexp(0.0, x)),
    "sigmoid": (np.array([-800.0, -40.0, 0.0, 40.0, 800.0]), special.expit),
    "expm1": (np.array([1e-12, -1e-12]), np.expm1), "log1p": (np.array([1e-12, -1e-12]), np.log1p),
    "tanh": (np.array([-800.0, 1e-12, 800.0]), np.tanh), "ndtri": (np.array([1e-15, 0.5, 1 - 1e-12]), special.ndtri),
    "lgamma": (np.array([1e-8, 1e8]), special.gammaln),
}  # fmt: skip


@pytest.mark.parametrize("name", EXTREMES)
def test_elementwise_at_extremes(name):
    x, reference = EXTREMES[name]
    np.testing.assert_allclose(value(apply(name, constant(x)), {}), reference(x), rtol=1e-14)
    node = leaf("x", x.shape)
    assert np.all(np.isfinite(value(gradient_of(apply(name, node), node), {"x": x})))


def gradient_of(node, x):
    from scg.differentiate.reverse_mode import gradients

    return gradients({FUNCTIONS["sum"](node): constant(1.0)}, [x])[0]


@pytest.mark.one_in(4)
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
@pytest.mark.parametrize("axes", list(itertools.product(AXES, repeat=2)), ids=str)
def test_elementwise_broadcasts_events_and_axes(op, axes):
    """Arguments of different shapes along different axes are combined as NumPy would, element by element."""
    sample = op.samples[0]
    leaves, arrays, rng = [], [], np.random.default_rng(0)
    for i, a in enumerate(sample[: 1 if op.name == "whole_power" else None]):
        shape, along = ((2, 1), (3,), (2, 3))[i % 3], axes[i % 2]
        full = np.broadcast_to(np.asarray(a), sizes_of(along) + shape)
        array = full.copy() if full.dtype == bool else full * rng.uniform(0.9, 1.1, size=full.shape)
        node = leaf(f"x{i}", shape, along)
        leaves.append(apply("lt", 0.5, node) if full.dtype == bool else node)
        arrays.append(array.astype(float))
    node = make(op, tuple(leaves), sample[1:] if op.name == "whole_power" else ())
    values = {f"x{i}": a for i, a in enumerate(arrays)}
    fitted = [_fit(a, leaf_.axes, node.axes) for a, leaf_ in zip(arrays, leaves)]
    booleans = [f > 0.5 if x.kind == "bool" else f for f, x in zip(fitted, leaves)]
    expected = ON_THEIR_DOMAIN.get(op.name, op.value)(*_lined_up(booleans, node), *node.attrs)
    np.testing.assert_allclose(value(node, values), np.broadcast_to(expected, sizes_of(node.axes) + node.shape),
                               rtol=1e-14, atol=1e-15)
    smooth = [x for i, x in enumerate(leaves) if x.op.name == "feed" and
              op.smooth_in(i) in (Smoothness.SMOOTH, Smoothness.CONTINUOUS)]
    if smooth and node.kind == "real":
        if op.derivative is not None:
            check_both_ways(node, smooth, values, rng, 1)
        else:
            with pytest.raises(scg.ConditionError, match="no derivative"):
                gradient_of(node, smooth[0])


def _fit(array, have, wanted):
    """An array with the axes that it lacks at size 1."""
    sizes = dict(zip((ax.name for ax in have), array.shape))
    return array.reshape(tuple(sizes.get(ax.name, 1) for ax in wanted) + array.shape[len(have):])


def _lined_up(arrays, node):
    """Event dimensions put in front of shorter shapes, behind the axes."""
    k = len(node.axes)
    return [a.reshape(a.shape[:k] + (1,) * (k + node.ndim - a.ndim) + a.shape[k:]) for a in arrays]


# --- structural ops --------------------------------------------------------------------------------------------------
def _loop(length: int, reverse: bool):
    def build(init, weight, xs):
        o = begin(length, [init], [xs], reverse)
        (c,), (x,) = o.carries, o.xs
        new = apply("tanh", c * weight + x)
        scan = o.close(new_carries=(new,), ys=(new * x + 0.1 * o.step * c,))
        return FUNCTIONS["sum"](out(scan, 1)) * 0.7 + FUNCTIONS["sum"](out(scan, 0))

    return build


def _looped(length: int, reverse: bool):
    def compute(init, weight, xs):
        c, total = init, 0.0
        for t in reversed(range(length)) if reverse else range(length):
            new = np.tanh(c * weight + xs[t])
            total = total + (new * xs[t] + 0.1 * t * c).sum()
            c = new
        return total * 0.7 + c.sum()

    return compute


def _taken(table, k):
    return table[np.asarray(k).astype(int)]


NAIL = constant(np.array([0.0, 2.0, 1.0]))
_whole = ("slice", 0, 1, 2), ("slice", 2, -1, 3)

def _running_sum(init, xs):
    """A carry to which a step only adds: its adjoint does not vary, whatever the carry varies along."""
    o = begin(3, [init], [xs])
    scan = o.close(new_carries=(o.carries[0] + o.xs[0],), ys=(o.carries[0] * 2.0,))
    return FUNCTIONS["sum"](out(scan, 0)) + FUNCTIONS["sum"](out(scan, 1))


def _shifted(init, shift, xs):
    """A carry whose adjoint varies only from the second step back on, and a constant that is added to it."""
    o = begin(3, [init], [xs])
    scan = o.close(new_carries=(o.carries[0] + shift,), ys=(o.carries[0] * o.xs[0],))
    return FUNCTIONS["sum"](out(scan, 0)) + FUNCTIONS["sum"](out(scan, 1) ** 2)


# op → (builder on nodes, the same in NumPy, shapes of the leaves)
STRUCTURAL = {
    "sum": [(lambda a: FUNCTIONS["sum"](a), lambda a: a.sum(), [(2, 3)]),
            (lambda a: FUNCTIONS["sum"](a, axis=-1, keepdims=True), lambda a: a.sum(-1, keepdims=True), [(2, 3)]),
            (lambda a: FUNCTIONS["sum"](a, axis=(0, 2)), lambda a: a.sum((0, 2)), [(2, 3, 2)])],
    "amax": [(lambda a: FUNCTIONS["max"](a), lambda a: a.max(), [(2, 3)]),
             (lambda a: FUNCTIONS["max"](a, axis=0), lambda a: a.max(0), [(2, 3)]),
             (lambda a: FUNCTIONS["min"](a, axis=1, keepdims=True), lambda a: a.min(1, keepdims=True), [(2, 3)])],
    "reshape": [(lambda a: FUNCTIONS["reshape"](a, (3, -1)), lambda a: a.reshape(3, -1), [(2, 3)])],
    "transpose": [(lambda a: FUNCTIONS["transpose"](a), np.transpose, [(2, 3)]),
                  (lambda a: FUNCTIONS["transpose"](a, (1, 2, 0)), lambda a: a.transpose(1, 2, 0), [(2, 3, 2)])],
    "broadcast_to": [(lambda a: FUNCTIONS["broadcast_to"](a, (2, 4, 3)), lambda a: np.broadcast_to(a, (2, 4, 3)),
                      [(4, 1)])],
    "getitem": [(lambda a: a[1], lambda a: a[1], [(2, 3)]),
                (lambda a: a[:, ::-1], lambda a: a[:, ::-1], [(2, 3)]),
                (lambda a: a[-1, 0:2], lambda a: a[-1, 0:2], [(2, 3)]),
                (lambda a: a[..., None, 2::-2], lambda a: a[..., None, 2::-2], [(2, 3)])],
    "put": [(lambda a: make("put", (a,), (_whole, (2, 3))), lambda a: a[:, ::-1], [(2, 3)]),
            (lambda a: make("put", (a,), ((("at", 1), ("slice", 0, 2, 2)), (2, 3))),
             lambda a: np.array([[0, 0, 0], [a[0], 0, a[1]]]), [(2,)])],
    "take": [(lambda t: FUNCTIONS["getitem"](t, NAIL), lambda t: t[[0, 2, 1]], [(3,)]),
             (lambda t: FUNCTIONS["getitem"](t, NAIL), lambda t: t[[0, 2, 1]], [(3, 2)]),
             (lambda t: FUNCTIONS["getitem"](t, (slice(None), [[1, 0], [1, 1]])), lambda t: t[:, [[1, 0], [1, 1]]],
              [(3, 2)])],
    "stack": [(lambda a, b: FUNCTIONS["stack"]([a, b]), lambda a, b: np.stack([a, b]), [(2, 3), (2, 3)]),
              (lambda a, b: FUNCTIONS["stack"]([a, b, a], axis=-1), lambda a, b: np.stack([a, b, a], -1),
               [(2,), (2,)])],
    "concatenate": [(lambda a, b: FUNCTIONS["concatenate"]([a, b]), lambda a, b: np.concatenate([a, b]),
                     [(2, 3), (1, 3)]),
                    (lambda a, b: FUNCTIONS["concatenate"]([a, b], axis=1), lambda a, b: np.concatenate([a, b], 1),
                     [(2, 3), (2, 2)])],
    "suffix_sum": [(suffix_sum, lambda a: np.cumsum(a[::-1], 0)[::-1], [(4, 2)])],
    "prefix_sum": [(lambda a: make("prefix_sum", (a,)), lambda a: np.cumsum(a, 0), [(4, 2)]),
                   (lambda a: np.cumsum(a, axis=1), lambda a: np.cumsum(a, axis=1), [(2, 3)])],
    "contract": [(lambda a, b: a @ b, lambda a, b: a @ b, [(2, 3), (3,)]),
                 (lambda a, b: a @ b, lambda a, b: a @ b, [(3,), (3, 2)]),
                 (lambda a, b: a @ b, lambda a, b: a @ b, [(2, 3), (3, 2)]),
                 (lambda a, b: a @ b, lambda a, b: a @ b, [(3,), (3,)]),
                 (lambda a, b: a @ b, lambda a, b: a @ b, [(2, 2, 3), (2, 3, 2)]),
                 (lambda a, b: a @ b, lambda a, b: a @ b, [(2, 2, 3), (3, 2)]),
                 (lambda a, b: a @ b, lambda a, b: a @ b, [(2, 3), (2, 3, 2)]),
                 (lambda a, b: contract(a, b, "ij", "ij", "ij"), lambda a, b: a * b, [(2, 3), (2, 3)]),
                 (lambda a, b: np.outer(a, b), np.outer, [(2,), (3,)])],
    "scan": [(_running_sum, lambda c, x: c.sum() * 7 + x.sum() + 2 * (2 * x[0] + x[1]).sum(), [(2,), (3, 2)]),
             (_shifted, lambda c, k, x: (c + 3 * k).sum() + sum((((c + t * k) * x[t]) ** 2).sum() for t in range(3)),
              [(2,), (2,), (3, 2)]),
             (_loop(3, False), _looped(3, False), [(2,), (2,), (3, 2)]),
             (_loop(3, True), _looped(3, True), [(2,), (), (3, 2)])],
    "out": [(_loop(1, False), _looped(1, False), [(2,), (2,), (1, 2)])],
}  # fmt: skip

WITH_AXES = {"event_to_axis", "axis_to_event", "axis_sum", "expect", "leave_one_out", "replace_one"}
RANDOM = {"noise", "antithetic", "uniform", "draw_until", "sample", "below", "category"}  # see test_distributions
MADE_BY_RULES = {"softplus_changes", "sigmoid_sums"}  # see test_binary_steps
CALLED = {"call", "call_without_vjp", "call_of_vjp"}  # see test_calls
MARKS = {"at_edge", "implicit"}  # written out before a program is made: see test_edges, test_implicit_paths


def test_every_op_has_a_case():
    others = {name for name, op in OPS.items() if op.kind not in ("elementwise", "leaf")}
    assert others == set(STRUCTURAL) | WITH_AXES | RANDOM | CALLED | MARKS | MADE_BY_RULES


def structural_cases():
    """Every case with axes of every kind on each of its leaves (all pairs, for more than two: rotations)."""
    for name, cases in STRUCTURAL.items():
        for number, (_, _, shapes) in enumerate(cases):
            along = itertools.product(AXES, repeat=len(shapes)) if len(shapes) < 3 else _rotations(len(shapes))
            for axes in along:
                words = "|".join("+".join(ax.name for ax in a) or "-" for a in axes)
                yield pytest.param(name, number, axes, id=f"{name}{number}-{words}")


def _rotations(n: int):
    every = [*AXES, (LANE,), ()]
    return [tuple((every * 2)[i + j] for j in range(n)) for i in range(len(every))]


@pytest.mark.parametrize("name, number, axes", list(structural_cases()))
def test_structural(name, number, axes):
    build, reference, shapes = STRUCTURAL[name][number]
    rng = np.random.default_rng(7)
    leaves = [leaf(f"x{i}", shape, a) for i, (shape, a) in enumerate(zip(shapes, axes))]
    values = {x.attrs.name: rng.normal(size=sizes_of(x.axes) + x.shape) for x in leaves}
    node = build(*leaves)
    assert any(n.op.name == name for n in topological([node]))
    np.testing.assert_allclose(value(node, values), each_world(reference, node, leaves, values), rtol=1e-13, atol=1e-13)
    check_both_ways(node, leaves, values, rng)


def check_both_ways(node, leaves, values, rng, order: int = 2) -> None:
    """Adjoints that vary along every axis of the node, and adjoints that vary along none."""
    values["weights"] = rng.normal(size=sizes_of(node.axes) + node.shape)
    check_derivatives(weighted(node, "weights"), leaves, values, order)
    check_derivatives(FUNCTIONS["sum"](node), leaves, values, order)


def each_world(reference, node, leaves, values) -> np.ndarray:
    """The NumPy function applied in every world and lane, one at a time."""
    lead = sizes_of(node.axes)
    found = np.empty(lead + node.shape)
    for index in np.ndindex(lead):
        at = dict(zip((ax.name for ax in node.axes), index))
        found[index] = reference(*(values[x.attrs.name][tuple(at[ax.name] for ax in x.axes)] for x in leaves))
    return found


# --- ops on axes -----------------------------------------------------------------------------------------------------
def checked(build, shape, axes, expected) -> None:
    """One leaf: the value, and the derivatives of a weighted sum."""
    rng = np.random.default_rng(3)
    x = leaf("x", shape, axes)
    values = {"x": rng.normal(size=sizes_of(axes) + shape)}
    node = build(x)
    found = value(node, values)
    assert found.shape == sizes_of(node.axes) + node.shape
    np.testing.assert_allclose(found, expected(values["x"]), rtol=1e-13)
    check_both_ways(apply("sin", node), [x], values, rng)
    check_both_ways(node, [x], values, rng)


def test_event_to_axis():
    checked(lambda x: event_to_axis(x, WORLD), (2, 3), (), lambda a: a)
    checked(lambda x: event_to_axis(x, WORLD), (2, 3), (LANE,), lambda a: np.moveaxis(a, 1, 0))
    checked(lambda x: event_to_axis(x, WORLD), (2,), (OTHER, LANE), lambda a: np.moveaxis(a, 2, 1))


def test_axis_to_event():
    checked(lambda x: axis_to_event(x, WORLD), (3,), (WORLD, LANE), lambda a: np.moveaxis(a, 0, 1))
    checked(lambda x: axis_to_event(x, WORLD), (), (OTHER, WORLD, LANE), lambda a: np.moveaxis(a, 1, 2))
    checked(lambda x: axis_to_event(x, WORLD), (3,), (LANE,), lambda a: np.stack([a, a], 1))


def test_axis_round_trip():
    for axes in ((), (LANE,), (OTHER, LANE)):
        checked(lambda x: axis_to_event(event_to_axis(x, WORLD), WORLD), (2, 3), axes, lambda a: a)


def test_axis_sum():
    checked(lambda x: axis_sum(x, ("world",)), (3,), (WORLD, LANE), lambda a: a.sum(0))
    checked(lambda x: axis_sum(x * x, ("other", "world")), (), (OTHER, WORLD, LANE), lambda a: (a * a).sum((0, 1)))
    checked(lambda x: axis_sum(x, ("world",)) * x, (2,), (WORLD,), lambda a: a.sum(0) * a)


def test_axis_sum_over_a_world_that_is_lost():
    """A node that no longer varies along the axis counts once for every world."""
    from scg.ir.traverse import substitute

    x, y = leaf("x", (2,), (WORLD,)), leaf("y", (2,))
    (node,) = substitute([axis_sum(x * 1.5, ("world",))], {x: y})
    a = np.array([0.3, -0.7])
    np.testing.assert_allclose(value(node, {"y": a}), 2 * 1.5 * a)


def test_expect():
    checked(lambda x: expect(x * x), (3,), (WORLD, LANE), lambda a: (a * a).mean(1))
    checked(lambda x: expect(x) * x, (2,), (LANE,), lambda a: a.mean(0) * a)
    x = leaf("x", (2,), (WORLD,))
    assert expect(x) is x, "what does not vary by row or lane is its own expectation"
    rows = leaf("r", (), (ROW, LANE))
    assert expect(rows, ("row",)).axes == (LANE,)


def test_leave_one_out():
    x = leaf("x", (2,), (WORLD, LANE))
    a = np.random.default_rng(0).normal(size=(2, LANES, 2))
    node = leave_one_out(x, None)
    expected = (a.sum(1, keepdims=True) - a) / (LANES - 1)
    np.testing.assert_allclose(value(node, {"x": a}), expected, rtol=1e-13)
    assert gradient_of(node * 2.0, x) is None, "nothing flows through the mean of other replicates"


def test_replace_one():
    rng = np.random.default_rng(1)
    for shape, axes in itertools.product(((2,), (1, 2)), itertools.product(((), (LANE,)), repeat=2)):
        x, v = leaf("x", shape, axes[0]), leaf("v", shape, axes[1])
        node = replace_one(x, v, WORLD)
        values = {n.attrs.name: rng.normal(size=sizes_of(n.axes) + shape) for n in (x, v)}
        found = value(node, values)
        a, b = (np.broadcast_to(values[n.attrs.name], sizes_of(node.axes)[1:] + shape) for n in (x, v))
        for world in range(2):
            expected = a.reshape(*a.shape[: a.ndim - len(shape)], -1).copy()
            expected[..., world] = b.reshape(expected.shape)[..., world]
            np.testing.assert_array_equal(found[world], expected.reshape(a.shape))
        check_both_ways(apply("sin", node), [x, v], values, rng)
        check_both_ways(node, [x, v], values, rng)


# --- table lookups by a node -----------------------------------------------------------------------------------------
@pytest.mark.one_in(4)
@pytest.mark.parametrize("table_axes", AXES, ids=str)
@pytest.mark.parametrize("index_axes", AXES, ids=str)
@pytest.mark.parametrize("rest, k_shape", [((), ()), ((2,), ()), ((), (3,)), ((2,), (2,))])
def test_take_by_a_node(table_axes, index_axes, rest, k_shape):
    rng = np.random.default_rng(5)
    table, k = leaf("table", (4, *rest), table_axes), leaf("k", k_shape, index_axes)
    node = FUNCTIONS["getitem"](table, apply("floor", k))
    values = {"table": rng.normal(size=sizes_of(table_axes) + table.shape),
              "k": rng.integers(0, 4, size=sizes_of(index_axes) + k_shape) + 0.5}
    expected = each_world(lambda t, i: _taken(t, np.floor(i)), node, [table, k], values)
    np.testing.assert_allclose(value(node, values), expected)
    check_both_ways(node, [table], values, rng)


def test_take_outside_the_table_has_no_value():
    table, k = leaf("table", (3,)), leaf("k", (4,))
    node = FUNCTIONS["getitem"](table, apply("floor", k))
    found = value(node, {"table": np.arange(3.0), "k": np.array([-1.0, 0.0, 2.0, 3.0])})
    assert np.isnan(found).tolist() == [True, False, False, True]


# --- composites ------------------------------------------------------------------------------------------------------
COMPOSITES = {
    "logsumexp": (lambda a: scg.logsumexp(a, axis=-1), lambda a: special.logsumexp(a, axis=-1), (2, 3)),
    "logmeanexp": (lambda a: scg.logmeanexp(a, axis=0), lambda a: np.log(np.exp(a).mean(0)), (2, 3)),
    "softmax": (lambda a: scg.softmax(a), lambda a: special.softmax(a, axis=-1), (2, 3)),
    "log_softmax": (lambda a: scg.log_softmax(a, axis=0), lambda a: special.log_softmax(a, axis=0), (2, 3)),
    "logaddexp": (lambda a: scg.logaddexp(a[0], a[1]), lambda a: np.logaddexp(a[0], a[1]), (2, 3)),
    "clip": (lambda a: scg.clip(a, -0.5, 0.8), lambda a: np.clip(a, -0.5, 0.8), (5,)),
    "relu": (lambda a: scg.relu(a), lambda a: np.maximum(a, 0.0), (5,)),
    "mean": (lambda a: FUNCTIONS["mean"](a, axis=0), lambda a: a.mean(0), (3, 2)),
    "one_hot": (lambda a: one_hot(scg.floor(a * 0.0 + 2.0), 4) * a, lambda a: np.eye(4)[2] * a, (1,)),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSITES)
@pytest.mark.parametrize("axes", AXES, ids=str)
def test_composites(name, axes):
    build, reference, shape = COMPOSITES[name]
    rng = np.random.default_rng(11)
    x = leaf("x", shape, axes)
    values = {"x": rng.normal(size=sizes_of(axes) + shape)}
    node = build(x)
    np.testing.assert_allclose(value(node, values), each_world(reference, node, [x], values), rtol=1e-12, atol=1e-14)
    check_both_ways(node, [x], values, rng)


@pytest.mark.parametrize("name", ["logsumexp", "logmeanexp", "softmax", "log_softmax", "logaddexp"])
def test_smooth_composites_at_ties(name):
    """Inside they take a maximum; where arguments are equal the derivatives must not notice."""
    build, _, shape = COMPOSITES[name]
    x = leaf("x", shape)
    values = {"x": np.zeros(shape), "weights": np.random.default_rng(0).normal(size=build(x).shape)}
    check_derivatives(weighted(build(x), "weights"), [x], values)


def test_extremes_share_the_adjoint_among_ties():
    x = leaf("x", (4,))
    grad = value(gradient_of(FUNCTIONS["max"](x), x), {"x": np.array([1.0, 2.0, 2.0, 0.0])})
    np.testing.assert_array_equal(grad, [0.0, 0.5, 0.5, 0.0])


def test_the_objective_of_these_checks_is_the_one_of_gradients():
    """A node that is constant along lanes and worlds weighs as much as it is said to."""
    x = leaf("x", (), (WORLD, LANE))
    values = {"x": np.arange(6.0).reshape(2, 3)}
    assert objective(x, values) == pytest.approx(values["x"].mean(1).sum())


# --- reductions by an elementwise op ---------------------------------------------------------------------------------
COMBINING = [op for op in OPS.values() if op.combines is not None]


@pytest.mark.parametrize("op", COMBINING, ids=lambda op: op.name)
def test_reductions_are_what_their_op_makes_of_the_elements(op):
    """In any order, and begun with a number that changes none: the value is what kernels and formulas compute."""
    by, start = op.combines
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).round(1)
    x[0, 1, 2], x[1, 1, 1], x[2, 3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(by.value(start, x), x)
    for dims in ((0,), (1, 2), (0, 2), (0, 1, 2)):
        n = make(op, (constant(x),), dims)
        np.testing.assert_array_equal(op.value(n, [x]), combined(n, [x]))
        backwards = x[tuple(slice(None, None, -1 if d in dims else 1) for d in range(3))]
        np.testing.assert_array_equal(op.value(n, [x]), combined(n, [backwards]))
    np.testing.assert_array_equal(combined(make(op, (constant(np.zeros((0, 3))),), (0,)), [np.zeros((0, 3))]), start)

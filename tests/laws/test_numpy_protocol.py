"""NumPy's own functions, operators and methods on nodes give NumPy's own values and shapes, or refuse."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import scg
from scg.ir.node import Node
from scg.laws.derivatives import leaf, value
from scg.ops.numpy_protocol import _ARRAY_FUNCTIONS, _OTHER_UFUNCS, _UFUNCS

SHAPES = [((), ()), ((3,), ()), ((), (2, 3)), ((2, 3), (3,)), ((2, 1), (3,)), ((2, 3), (2, 3)), ((1, 3), (2, 1)),
          ((0,), ())]


def arrays(shapes, seed: int = 0, positive: bool = False):
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=s) for s in shapes]
    return [np.abs(a) + 0.1 for a in found] if positive else found


def compare(function, given, wrap=lambda node: node) -> None:
    """The function on leaves, interpreted, and on arrays."""
    expected = function(*given)
    nodes = [leaf(f"x{i}", a.shape) for i, a in enumerate(given)]
    found = function(*map(wrap, nodes))
    if not (isinstance(found, Node) or (isinstance(found, tuple) and isinstance(found[0], Node))):
        assert found == expected
        return
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for node, wanted in pairs:
        got = value(node, {f"x{i}": a for i, a in enumerate(given)})
        assert node.shape == got.shape == np.shape(wanted)
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)


# --- ufuncs ----------------------------------------------------------------------------------------------------------
POSITIVE = {"log", "log1p", "log2", "log10", "sqrt", "power", "float_power", "reciprocal", "true_divide"}
BOOLEAN = {"logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor",
           "invert"}
LOGICAL = [u for u in (*_UFUNCS, *_OTHER_UFUNCS) if u.__name__ in BOOLEAN]
PLAIN = [u for u in (*_UFUNCS, *_OTHER_UFUNCS) if u.__name__ not in BOOLEAN and u is not np.matmul]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("ufunc", PLAIN, ids=lambda u: u.__name__)
def test_ufuncs(ufunc, shapes):
    compare(ufunc, arrays(shapes[: ufunc.nin], positive=ufunc.__name__ in POSITIVE))


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("ufunc", LOGICAL, ids=lambda u: u.__name__)
def test_boolean_ufuncs(ufunc, shapes):
    compare(lambda *xs: ufunc(*(x > 0.0 for x in xs)) * 1.0, arrays(shapes[: ufunc.nin]))


@pytest.mark.parametrize("ufunc", [np.logical_and, np.logical_or, np.logical_xor, np.logical_not],
                         ids=lambda u: u.__name__)
def test_logical_ufuncs_take_numbers_as_truth_values(ufunc):
    given = [np.array([0.0, 0.5, 0.0, -2.0]), np.array([0.0, 0.0, 3.0, 1.0])]
    compare(lambda *xs: ufunc(*xs) * 1.0, given[: ufunc.nin])


def test_ufuncs_with_one_argument_that_is_no_node():
    for function in (lambda x: np.add(1.5, x), lambda x: np.subtract([1.0, 2.0, 3.0], x), lambda x: 2 / x,
                     lambda x: x / 2, lambda x: 2**x, lambda x: np.float64(3.0) * x, lambda x: np.arange(3) - x,
                     lambda x: np.maximum(x, 0), lambda x: np.arange(3.0) @ x):
        compare(function, arrays([(3,)]))


@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2, 3, 0.5, 2.0])
def test_powers_of_positive_numbers(exponent):
    compare(lambda x: x**exponent, arrays([(2, 3)], positive=True))
    compare(lambda x: np.power(x, exponent), arrays([()], positive=True))


EDGES = np.array([-3.0, -2.5, -2.0, -1.5, -0.5 - 2**-53, -0.5, -(0.5 - 2**-54), -(2.0**-60), 0.0, 2.0**-60,
                  0.5 - 2**-54, 0.5, 0.7, 1.5, 2.5, 3.5, 1e6 + 0.5, 2.0**52 + 1.0, 2.0**53 - 1.0, -(2.0**60), 1e300])


@pytest.mark.parametrize("function", [np.floor, np.ceil, np.trunc, np.fix, np.rint, np.round, lambda x: x.round(),
                                      lambda x: np.round(x, 2), lambda x: np.round(x, decimals=-1),
                                      lambda x: x // 2, lambda x: x % 2, lambda x: divmod(x, -2),
                                      lambda x: np.fmod(x, 2)])
def test_rounding(function):
    compare(function, [EDGES])


@pytest.mark.parametrize("function", [np.floor_divide, np.remainder, np.fmod, np.divmod])
def test_quotients_of_integers_are_exact(function):
    a, b = np.arange(-40.0, 41.0), np.array([-7.0, -3.0, -1.0, 1.0, 2.0, 5.0, 49.0])
    compare(lambda x, y: function(x[:, None], y), [a, b])
    compare(lambda x: function(x, 1e9), [np.array([2.0**52 - 1.0, 3e9, -3e9 - 1.0])])


def test_rounding_of_python():
    for function in (math.floor, math.ceil, math.trunc, round, lambda x: round(x, 1)):
        node, at = leaf("x", ()), np.array(-2.25)
        assert value(function(node), {"x": at}) == function(float(at))
    compare(lambda x: 7 // x, [np.array([2.0, -2.0])])
    compare(lambda x: 7 % x, [np.array([2.0, -2.0])])
    compare(lambda x: divmod(7, x), [np.array([2.0, -2.0])])
    assert value(pow(leaf("x", ()), 2, 3), {"x": np.array(4.0)}) == pow(4, 2, 3)


@pytest.mark.parametrize("exponent", [-3, 0, 1, 2, 3])
def test_whole_powers_of_negative_numbers(exponent):
    compare(lambda x: x ** float(exponent), [np.array([-1.5, -0.3, 2.0])])


def test_reductions_of_ufuncs():
    for ufunc in (np.add, np.maximum, np.minimum):
        for axis in (0, 1, None, (0, 1)):
            compare(lambda x: ufunc.reduce(x, axis=axis), arrays([(2, 3)]))
        compare(lambda x: ufunc.reduce(x), arrays([(2, 3)]))
        compare(lambda x: ufunc.reduce(x, axis=1, keepdims=True), arrays([(2, 3)]))


# --- functions -------------------------------------------------------------------------------------------------------
def _axes(function, *shapes):
    options = [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, -1)}, {"axis": 1, "keepdims": True}, {"keepdims": True}]
    return [(lambda x, o=o: function(x, **o), [s]) for o in options for s in shapes]


FUNCTIONS = {
    np.sum: _axes(np.sum, (2, 3), (2, 3, 4)), np.mean: _axes(np.mean, (2, 3), (2, 3, 4)),
    np.max: _axes(np.max, (2, 3), (2, 3, 4)), np.amax: _axes(np.amax, (2, 3)), np.min: _axes(np.min, (2, 3), (2, 3, 4)),
    np.amin: _axes(np.amin, (2, 3)),
    np.dot: [(np.dot, s) for s in ([(), ()], [(), (3,)], [(3,), (3,)], [(2, 3), (3,)], [(3,), (3, 2)], [(2, 3), (3, 4)],
                                   [(2, 3, 4), (4,)], [(2, 3, 4), (4, 2)], [(2, 4), (3, 4, 2)], [(4,), (3, 4, 2)],
                                   [(2, 3, 4), (3, 4, 2)])],
    np.outer: [(np.outer, [(2,), (3,)]), (np.outer, [(2, 2), (3,)]), (np.outer, [(2,), ()])],
    np.round: [(np.round, [(5,)]), (lambda a: np.round(a, 1), [(5,)]), (lambda a: np.round(a, decimals=-1), [(5,)])],
    np.around: [(np.around, [(5,)])], np.fix: [(np.fix, [(5,)])],
    np.stack: [(lambda a, b: np.stack([a, b]), [(2, 3), (2, 3)]),
               (lambda a, b: np.stack((a, b), axis=1), [(2, 3), (2, 3)]),
               (lambda a, b: np.stack([a, b, a], axis=-1), [(2,), (2,)]), (lambda a, b: np.stack([a, b]), [(), ()])],
    np.concatenate: [(lambda a, b: np.concatenate([a, b]), [(2, 3), (1, 3)]),
                     (lambda a, b: np.concatenate((a, b), axis=-1), [(2, 3), (2, 1)]),
                     (lambda a, b: np.concatenate([a, b, a]), [(2,), (3,)])],
    np.reshape: [(lambda a: np.reshape(a, (3, 2)), [(2, 3)]), (lambda a: np.reshape(a, -1), [(2, 3)]),
                 (lambda a: np.reshape(a, (1, -1)), [()])],
    np.transpose: [(np.transpose, [(2, 3)]), (lambda a: np.transpose(a, (2, 0, 1)), [(2, 3, 4)]),
                   (lambda a: np.transpose(a, axes=(1, 0)), [(2, 3)]), (np.transpose, [(3,)]), (np.transpose, [()]),
                   (lambda a: np.transpose(a, (0, -1, 1)), [(2, 3, 4)])],
    np.ravel: [(np.ravel, [(2, 3)])],
    np.clip: [(lambda a: np.clip(a, -0.5, 0.5), [(5,)]), (lambda a: np.clip(a, None, 0.5), [(5,)]),
              (lambda a: np.clip(a, 0.0, None), [(2, 3)]), (lambda a, b: np.clip(a, b, 1.0), [(2, 3), (3,)]),
              (lambda a: np.clip(a, min=0.0), [(5,)]), (lambda a: np.clip(a, min=-0.5, max=0.5), [(5,)])],
    np.where: [(lambda a, b: np.where(a > 0, a, b), [(2, 3), (3,)]), (lambda a: np.where(a > 0, 1.0, -1.0), [(3,)]),
               (lambda a, b: np.where(a > b, a, 0.0), [(2, 1), (3,)])],
    np.squeeze: [(np.squeeze, [(1, 3, 1)]), (lambda a: np.squeeze(a, axis=0), [(1, 3, 1)]),
                 (lambda a: np.squeeze(a, axis=(0, -1)), [(1, 3, 1)])],
    np.expand_dims: [(lambda a: np.expand_dims(a, 0), [(3,)]), (lambda a: np.expand_dims(a, -1), [(2, 3)]),
                     (lambda a: np.expand_dims(a, 1), [(2, 3)]), (lambda a: np.expand_dims(a, (0, -1)), [(2, 3)])],
    np.broadcast_to: [(lambda a: np.broadcast_to(a, (4, 2, 3)), [(2, 1)]), (lambda a: np.broadcast_to(a, 3), [()])],
    np.cumsum: [(np.cumsum, [(2, 3)]), (lambda a: np.cumsum(a, axis=0), [(2, 3)]),
                (lambda a: np.cumsum(a, axis=-1), [(2, 3, 2)])],
    np.shape: [(np.shape, [(2, 3)])], np.ndim: [(np.ndim, [(2, 3)])], np.size: [(np.size, [(2, 3)])],
    np.take: [(lambda a: np.take(a, [1, 0, 1]), [(3,)]), (lambda a: np.take(a, [5, 0]), [(2, 3)]),
              (lambda a: np.take(a, [1, 0], axis=1), [(2, 3)]), (lambda a: np.take(a, 1, axis=0), [(2, 3)]),
              (lambda a: np.take(a, [[0, -1]], axis=-1), [(2, 3)])],
    np.zeros_like: [(np.zeros_like, [(2, 3)])], np.ones_like: [(np.ones_like, [(2, 3)])],
}  # fmt: skip


def test_every_function_has_a_case():
    assert set(FUNCTIONS) == set(_ARRAY_FUNCTIONS)


@pytest.mark.parametrize("function, number", [
    pytest.param(f, i, id=f"{f.__name__}{i}") for f, cases in FUNCTIONS.items() for i in range(len(cases))])
def test_functions(function, number):
    call, shapes = FUNCTIONS[function][number]
    compare(call, arrays(shapes))


# --- products --------------------------------------------------------------------------------------------------------
PRODUCTS = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((5, 2, 3), (3, 4)),
            ((2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (1, 3, 4)),
            ((1, 2, 3), (5, 3, 4)),
            ((6, 1, 2, 3), (5, 3, 4)), ((6, 5, 2, 3), (6, 5, 3, 4)), ((1, 1), (1, 1)), ((1, 1, 1), (2, 1, 1))]


@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
def test_matrix_products(shapes):
    compare(lambda a, b: a @ b, arrays(shapes))
    compare(np.matmul, arrays(shapes))


@pytest.mark.parametrize("shapes", [((), (3,)), ((2, 3), (2,)), ((2, 3), (2, 3)), ((4, 2, 3), (5, 3, 1))], ids=str)
def test_matrix_products_that_numpy_refuses(shapes):
    with pytest.raises(ValueError):
        np.matmul(*arrays(shapes))
    with pytest.raises(scg.ShapeError):
        np.matmul(leaf("a", shapes[0]), leaf("b", shapes[1]))


# --- indexing, methods, attributes -----------------------------------------------------------------------------------
MASK = np.array([True, False, True])
INDICES = [0, -1, (1, 2), slice(None), slice(1, None), slice(None, None, -1), slice(-1, None, -2), (slice(None), 0),
           (Ellipsis, 1), (None, 0), (0, None, slice(0, 2)), (slice(0, 0),), [0, 1, 1], np.array([[1], [0]]),
           (1, [2, 0]),
           (slice(None), [2, 0, 2]), (slice(1, 2), np.array([[0, 1], [2, 2]])), (slice(None), slice(None), [1]),
           (Ellipsis, [2, 0]), (Ellipsis, [2, 0], slice(None)), (1, Ellipsis, 2),
           (slice(None), MASK), (slice(None), MASK, slice(None, None, -1)), np.array([True, False]), (Ellipsis,), ()]


@pytest.mark.parametrize("index", INDICES, ids=lambda i: repr(i).replace("\n", ""))
def test_indexing(index):
    given = arrays([(2, 3, 4)])
    try:
        compare(lambda x: x[index], given)
    except scg.ShapeError as error:
        # integers beside an array are the one combination that NumPy has and nodes have not; it must say so
        assert index == (1, [2, 0]) and "two steps" in str(error)


def test_indices_outside_are_refused():
    x = leaf("x", (2, 3))
    for index in (2, -3, (0, 3), [0, 2], (slice(None), [3]), (0, 0, 0), np.array([True, False, True]), 0.5, "a",
                  ([0], [1], [2])):
        with pytest.raises(scg.SCGError):
            x[index]


def test_indexing_by_nodes_takes_what_numpy_takes():
    table = np.arange(24.0).reshape(2, 3, 4)
    t, k, j = leaf("t", table.shape), scg.floor(leaf("k", ())), scg.floor(leaf("j", ()))
    for k0, j0 in itertools.product((0, 1), (0, 1, 2)):
        values = {"t": table, "k": np.array(float(k0)), "j": np.array(float(j0))}
        np.testing.assert_array_equal(value(t[k], values), table[k0])
        np.testing.assert_array_equal(value(t[k, j], values), table[k0, j0])
        np.testing.assert_array_equal(value(t[:, j], values), table[:, j0])
        np.testing.assert_array_equal(value(t[k, :, 1], values), table[k0, :, 1])
        np.testing.assert_array_equal(value(t[1, j, ::-1], values), table[1, j0, ::-1])


@pytest.mark.parametrize("method", [
    lambda a: a.sum(), lambda a: a.sum(axis=1), lambda a: a.sum(0, keepdims=True), lambda a: a.mean(axis=-1),
    lambda a: a.max(), lambda a: a.min(axis=0), lambda a: a.T, lambda a: a.reshape(3, 2), lambda a: a.reshape((6,)),
    lambda a: a.reshape(-1, 2), lambda a: a.ravel(), lambda a: a.transpose(), lambda a: a.transpose(1, 0),
    lambda a: a.dot(np.ones(3)), lambda a: a.shape, lambda a: a.ndim, lambda a: a.size, lambda a: len(a),
    lambda a: sum(row.sum() for row in a), lambda a: -a, lambda a: +a, lambda a: abs(a), lambda a: (a > 0) * 1.0,
    lambda a: (a >= a.mean()) * 2.0, lambda a: (a < 0.2) * a, lambda a: (a <= 0.2) * a, lambda a: (a == a[0]) * 1.0,
    lambda a: (a != a[0]) * 1.0, lambda a: ((a > 0) & (a < 1)) * 1.0, lambda a: ((a < 0) | ~(a < 1)) * 1.0,
    lambda a: (a > 0).sum(axis=0), lambda a: (a > 0).mean(), lambda a: ((a > 0) ^ (a < 1)) * 1.0,
    lambda a: ((a > 0) ^ np.array([True, False, True])) * 1.0, lambda a: a.clip(-0.5, 0.5), lambda a: a.cumsum(axis=1),
    lambda a: a[:1].squeeze(), lambda a: a.flatten(), lambda a: a.take([2, 0], axis=1), lambda a: a.round(1),
    lambda a: a.reshape(np.array([3, 2])), lambda a: a.reshape([3, 2]), lambda a: a // 0.3, lambda a: a % 0.3,
])  # fmt: skip
def test_methods_and_operators(method):
    compare(method, arrays([(2, 3)]))


# --- what is refused -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("call", [
    lambda x: bool(x > 0), lambda x: float(x), lambda x: int(x), lambda x: np.asarray(x), lambda x: np.array([x, x]),
    lambda x: np.median(x), lambda x: np.sort(x), lambda x: np.linalg.norm(x), lambda x: np.add.accumulate(x),
    lambda x: np.add(x, 1.0, out=np.zeros(3)), lambda x: np.sum(x, where=np.array([True, False, True])),
    lambda x: np.arctan2(x, 1.0), lambda x: "a" if x[0] else "b", lambda x: max(x[0], x[1]),
    lambda x: np.multiply.reduce(x),
    lambda x: np.sum(x, dtype=int), lambda x: np.add.reduce(x, where=np.array([True, False, True])),
    lambda x: np.add.reduce(x, initial=3.0), lambda x: np.take(x, [0], mode="wrap"),
    lambda x: np.reshape(x, (3,), order="F"), lambda x: x.reshape((3,), order="F"), lambda x: x.sum(dtype=float),
    lambda x: x.sum(0, float), lambda x: x.sum(1, 2, 3), lambda x: np.multiply(x, x, where=[True, False, True]),
    lambda x: x ^ 2, lambda x: (x > 0) ^ 1, lambda x: x << 1, lambda x: 2 >> x,
    lambda x: x & x, lambda x: ~x, lambda x: np.bitwise_or(x > 0, x),
])  # fmt: skip
def test_refused(call):
    """What nodes cannot do raises an error of the package: never a wrong value, never an object array."""
    with pytest.raises(scg.NodeUseError):
        call(leaf("x", (3,)))


@pytest.mark.parametrize("build", [
    lambda x: x + np.ones(2), lambda x: x.reshape(2), lambda x: np.sum(x, axis=1), lambda x: scg.stack([x, x[:2]]),
    lambda x: np.concatenate([x, x[0]]), lambda x: np.broadcast_to(x, (2,)), lambda x: np.squeeze(x, axis=0),
    lambda x: np.mean(x[:0]), lambda x: np.max(x[:0]), lambda x: np.transpose(x, (0, 0)),
    lambda x: np.sum(x, axis=(0, 0)), lambda x: np.expand_dims(x, 7), lambda x: np.cumsum(x, axis=1),
    lambda x: x.sum(axis="x"), lambda x: x.sum(axis=0.0), lambda x: x.mean(axis=True), lambda x: x.reshape("u"),
    lambda x: x.reshape(3.0), lambda x: x.reshape(None), lambda x: x.reshape(-1, -1), lambda x: x.transpose(0.0),
    lambda x: x[::0], lambda x: x["a":], lambda x: x[1.5:], lambda x: x[: x[0]], lambda x: x[x > 0],
    lambda x: x[x[0] > 0],
    lambda x: np.broadcast_to(x, -1), lambda x: np.squeeze(x, axis="u"), lambda x: scg.stack(3),
    lambda x: scg.stack({"a": x}), lambda x: np.round(x, 0.5),
])  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(build):
    with pytest.raises(scg.ShapeError) as caught:
        build(leaf("x", (3,)))
    assert "test_numpy_protocol.py" in str(caught.value), "the error does not name the user's line"

"""NaN and the infinities go through kernels as they go through NumPy: none vanishes, none appears."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from scipy import special

import scg
from scg.ir.node import make
from scg.ir.op import OPS
from scg.ops.structure import suffix_sum
from tests.laws.checks.kernels import by_rows
from tests.laws.test_ops import EVERYWHERE
from tests.unit.test_vector_math import EDGES

pytestmark = pytest.mark.optimised
VALUES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -1.5, 1e300, 1e-300])
ELEMENTWISE = [op for op in OPS.values() if op.kind == "elementwise"]
ATTRIBUTES = {"whole_power": [(2,), (3,), (-1,), (-2,), (5,)]}


def given(code, finite):
    """A node with any value: NaN and the infinities cannot be given as data, so a code says where they stand."""
    infinite = np.exp(1e4 * code)
    return scg.where(code == 1.0, np.sqrt(-code), scg.where(code == 2.0, infinite,
                     scg.where(code == 3.0, -infinite, finite)))


def coded(values: np.ndarray, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    """The data that make `given` yield these values."""
    code = np.select([np.isnan(values), values == np.inf, values == -np.inf], [1.0, 2.0, 3.0], 0.0)
    return code, np.where(code == 0.0, values, 1.0)


def same(found, right, exact: bool) -> np.ndarray:
    """Equal, signs of zero included, or close where a function is only accurate to some ulp; NaN where NaN."""
    close = found == right if exact else np.isclose(found, right, rtol=1e-13, atol=0.0)
    signs = (np.signbit(found) == np.signbit(right)) | (right != 0.0)
    return (np.isnan(found) & np.isnan(right)) | (close & signs)


def cases(backend: str):
    """Every elementwise op, with every value of its attributes that is tried here.

    Functions that kernels call by their own name have tests of their own, at these values and many more.
    """
    for op in ELEMENTWISE:
        if backend == "numpy" or op.source != f"{op.name}({{0}})" or op.name not in EDGES:
            for attrs in ATTRIBUTES.get(op.name, [()]):
                yield f"{op.name}{attrs or ''}", op, attrs


def _call(op, attrs):
    def expression(**columns):
        args = [given(columns[f"code{i}"], columns[f"finite{i}"]) for i in range(op.arity)]
        truths = {i for i, a in enumerate(op.samples[0]) if isinstance(a, bool)}
        return make(op, tuple(a > 0.0 if i in truths else a for i, a in enumerate(args)), attrs)

    return expression


def _right(op, attrs, args):
    truths = [isinstance(a, bool) for a in op.samples[0]]
    args = [a > 0.0 if truth else a for a, truth in zip(args, truths)]
    with np.errstate(all="ignore"):
        return np.asarray(EVERYWHERE.get(op.name, op.value)(*args, *attrs), float)


ROUNDED_ONCE = {"abs", "sign", "floor", "maximum", "minimum", "where", "sqrt", "one", "zero", "if", "else", "or", "and",
                "not", "np", "INF", "NAN"}


def _words(op) -> set[str]:
    """What stands in its source beside arguments and numbers; a power is one."""
    return {*re.findall(r"[A-Za-z]\w*|\*\*", re.sub(r"\{\w+\}", "", op.source))}


def _is_close(op, backend: str, args, found, right) -> np.ndarray:
    """As exact as the source is. Of two zeros, either may be the larger; sines are reduced up to 2⁴⁸ only."""
    ok = same(found, right, _words(op) <= ROUNDED_ONCE)
    if _words(op) & {"maximum", "minimum"}:
        ok |= found == right
    return ok | ((np.abs(args[0]) > 2.0**48) if _words(op) & {"sin", "cos"} and backend == "numba" else False)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_every_elementwise_op(backend):
    args = np.array(list(itertools.product(VALUES, repeat=3))).T
    columns = {}
    for i, a in enumerate(args):
        columns[f"code{i}"], columns[f"finite{i}"] = coded(a)
    found = by_rows({name: _call(op, attrs) for name, op, attrs in cases(backend)}, columns, backend)
    wrong = []
    for name, op, attrs in cases(backend):
        right = _right(op, attrs, args[: op.arity])
        ok = _is_close(op, backend, args, found[name], right)
        if not ok.all():
            at = int(np.argmin(ok))
            wrong.append(f"{name}{tuple(args[: op.arity, at].tolist())} = {found[name][at]}, in NumPy {right[at]}")
    assert not wrong, "\n".join(wrong)


def _softmax(x):
    with np.errstate(all="ignore"):
        e = np.exp(x - np.max(x))
        return e / np.sum(e)


REDUCTIONS = {
    "sum": (np.sum, np.sum), "mean": (np.mean, np.mean), "max": (np.max, np.max), "min": (np.min, np.min),
    "running sum": (np.cumsum, np.cumsum),
    "running sum from the end": (suffix_sum, lambda x: np.cumsum(x[::-1])[::-1]),
    "contraction": (lambda x: x @ np.linspace(0.0, 1.0, x.shape[0]),
                    lambda x: np.sum(x * np.linspace(0.0, 1.0, len(x)))),
    "logsumexp": (scg.logsumexp, special.logsumexp), "softmax": (scg.softmax, _softmax),
    "log_softmax": (scg.log_softmax, special.log_softmax),
    "logaddexp": (lambda x: np.logaddexp(x, x[::-1]), lambda x: np.logaddexp(x, x[::-1])),
    "columns": (lambda x: np.max(np.sum(scg.stack([x, -x, 2.0 * x]), axis=1)),
                lambda x: np.max(np.sum([x, -x, 2.0 * x], axis=1))),
}  # fmt: skip


@pytest.mark.parametrize("size", [5, 40])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_every_reduction_and_running_sum(backend, size):
    """One value that is not finite at each position, and two together."""
    rng = np.random.default_rng(0)
    places = [(i, v) for i in range(size) for v in (np.nan, np.inf, -np.inf)]
    x = rng.normal(size=(len(places) + 9, size))
    for row, (i, v) in zip(x, places):
        row[i] = v
    for row, pair in zip(x[len(places):], itertools.product((np.nan, np.inf, -np.inf), repeat=2)):
        row[[1, size - 2]] = pair
    code, finite = coded(x)
    found = by_rows({name: lambda code, finite, f=f: f(given(code, finite)) for name, (f, _) in REDUCTIONS.items()},
                    {"code": code, "finite": finite}, backend)
    with np.errstate(all="ignore"):
        wrong = [name for name, (_, right) in REDUCTIONS.items()
                 if not np.allclose(found[name], [right(row) for row in x], rtol=1e-12, atol=1e-12, equal_nan=True)]
    assert wrong == []


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_sums_in_log_space(backend, dtype):
    """Of every pair of values: −∞ is the logarithm of 0, of which a sum may consist."""
    largest = np.finfo(dtype).max
    values = [np.nan, np.inf, -np.inf, 0.0, 0.5, -1.5, float(0.9 * largest), float(-0.9 * largest)]
    a, b = np.array(list(itertools.product(values, repeat=2))).T
    columns = {name + part: column for name, x in (("a", a), ("b", b))
               for part, column in zip(("code", "finite"), coded(x))}
    expressions = {
        "ufunc": lambda **c: np.logaddexp(*_pair(c)), "sum": lambda **c: scg.logsumexp(scg.stack(_pair(c))),
        "columns": lambda **c: scg.logsumexp(scg.stack([scg.stack(_pair(c))] * 2), axis=1, keepdims=True)[1, 0],
        "decision": lambda **c: np.where(np.logaddexp(*_pair(c)) > 1.0, 1.0, 0.0),
    }
    found = by_rows(expressions, columns, backend, dtype)
    with np.errstate(all="ignore"):
        right = np.logaddexp(a, b)
    for name in ("ufunc", "sum", "columns"):
        np.testing.assert_allclose(found[name], right, rtol=1e-6 if dtype == "float32" else 1e-14, err_msg=name)
    np.testing.assert_array_equal(found["decision"], right > 1.0)


def _pair(c):
    return [given(c[name + "code"], c[name + "finite"]) for name in "ab"]


def forward(message, step, mask, xp, logsumexp):
    """The end of a recursion over states in log space, of which a mask leaves out some at each step."""
    for allowed in mask:
        message = logsumexp(message[:, None] + step + xp.where(allowed > 0.5, 0.0, -np.inf)[None, :], axis=0)
    return message


@pytest.mark.by_python
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_recursion_over_states_that_none_reaches(backend):
    """A state that no path reaches has the message −∞, and adds nothing: to the value or to the derivative."""
    w, mask = np.array([[0.3, -0.2, 0.1], [0.0, 0.4, -1.0], [0.2, 0.2, 0.7]]), np.array([[1.0, 0, 0], [0, 1, 1]])

    def chance(w):  # by matrix products, without logarithms
        p = np.array([0.5, 0.0, 0.5])
        for allowed in mask:
            p = (p @ np.exp(w)) * allowed
        return p

    g = scg.Graph("forward")
    step, allowed = g.param("w", (3, 3)), g.input("mask", (2, 3))
    message = forward(scg.stack([np.log(0.5), -np.inf, np.log(0.5)]), step, allowed, np, scg.logsumexp)
    g.cost("end", np.exp(message))
    g.cost("all", scg.logsumexp(message))
    r = scg.compile(g, backend=backend)({"w": w, "mask": mask}, samples=1, rng=0)
    np.testing.assert_allclose(r.cost, chance(w).sum() + np.log(chance(w).sum()), rtol=1e-14)
    ends = np.array([[(chance(w + 1e-30j * e.reshape(3, 3)).sum()).imag / 1e-30] for e in np.eye(9)]).reshape(3, 3)
    np.testing.assert_allclose(r.grad["w"], ends * (1.0 + 1.0 / chance(w).sum()), rtol=1e-13)
    none = scg.compile(_ends(), backend=backend)({"w": w, "mask": np.zeros((2, 3))}, samples=1, rng=0)
    assert none.cost == 0.0 and not none.grad["w"].any()


def _ends():
    g = scg.Graph("ends")
    message = forward(scg.stack([0.0, 0.0, 0.0]), g.param("w", (3, 3)), g.input("mask", (2, 3)), np, scg.logsumexp)
    g.cost("end", np.exp(scg.logsumexp(message)) + np.exp(np.logaddexp(message[0], message[1])))
    return g


def test_the_chances_of_a_masked_sum_are_differentiated_along_its_samples():
    """log(eᶻ + e⁻^∞) = z and log(eᶻ + eᶻ) = z + log 2: the slope in the mean of z is 1."""
    g = scg.Graph("path")
    z, m = g.sample("z", scg.Normal(loc=g.param("t"), scale=1.0)), g.input("m")
    g.cost("c", np.logaddexp(z, np.where(m > 0.0, z, -np.inf)))
    f = scg.compile(g, strategy=scg.Pathwise(), backend="numpy")
    assert f({"t": 0.3, "m": 0.0}, samples=8, rng=0).grad["t"] == 1.0
    np.testing.assert_allclose(f({"t": 0.3, "m": 1.0}, samples=8, rng=0).grad["t"], 1.0, rtol=1e-15)


def test_a_maximum_that_loses_nan_is_caught(monkeypatch):
    """Planted: Python's max, of which NaN is the smaller argument or the larger, as it happens to stand."""
    from scg_numba import spelling

    templates = {**spelling.TEMPLATES, OPS["maximum"]: "({0} if {0} >= {1} else {1})",
                 OPS["sign"]: "(1.0 if {0} > 0.0 else 0.0)"}
    monkeypatch.setattr(spelling, "TEMPLATES", templates)
    monkeypatch.setattr(spelling, "source_of", spelling.source_of.__wrapped__)  # which remembers
    x = np.array([[np.nan, 1.0] + [0.0] * 20])
    code, finite = coded(x)
    found = by_rows({"max": lambda code, finite: np.max(given(code, finite)),
                     "sign": lambda code, finite: np.sign(given(code, finite))[0]},
                    {"code": code, "finite": finite}, "numba")
    assert not np.isnan(found["max"]).any() and not np.isnan(found["sign"]).any()

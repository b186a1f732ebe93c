"""Decisions are those of IEEE arithmetic in the order in which the graph is written, in kernels too.

What is compared, rounded, or used as an index stands on ties here on purpose: there a product in place of a quotient, a
fused product and sum, or a sum in another order decide otherwise. The same expressions are evaluated by a kernel, by
the reference and by NumPy itself, which must agree in every bit.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.analysis.decisions import decided, in_order
from scg.ir.traverse import topological
from scg.rules.driver import rewrite
from tests.laws.checks.kernels import by_numpy, by_rows

WHOLE = np.array([(k, m) for k in range(-60, 150, 3) for m in (7.0, 49.0, 10.0)])


def _where(condition, a, b):
    return scg.where(condition, a, b) if hasattr(condition, "op") else np.where(condition, a, b)


ON_NUMBERS = {
    "a quotient rounded down": lambda k, m, a, b, c: np.floor(k / 49.0),
    "a whole quotient": lambda k, m, a, b, c: k // m,
    "a remainder": lambda k, m, a, b, c: k % m,
    "a quotient compared": lambda k, m, a, b, c: k / 10 <= 0.3,
    "a quotient times its divisor": lambda k, m, a, b, c: (k / 49.0) * 49.0 == k,
    "a quotient by a variable": lambda k, m, a, b, c: (k / m) * m == k,
    "a sum of products": lambda k, m, a, b, c: 0.1 * a + 0.2 * b == 0.3,
    "a product and a sum": lambda k, m, a, b, c: 0.1 * a + c < 0.7,
    "a common factor": lambda k, m, a, b, c: 0.1 * a + 0.1 * b <= 0.1 * c,
    "a difference of products": lambda k, m, a, b, c: a * 0.1 - b * 0.1 == c * 0.1,
    "a sum in order": lambda k, m, a, b, c: (0.1 * a + 0.1) + 0.1 * b == 0.1 * a + (0.1 + 0.1 * b),
    "what cancels": lambda k, m, a, b, c: np.sign((0.1 * a + 0.2) - 0.2 - 0.1 * a),
    "a square": lambda k, m, a, b, c: (0.1 * k) ** 2 <= 0.09,
    "a cube": lambda k, m, a, b, c: (0.1 * k) ** 3 == 0.1 * k * (0.1 * k) * (0.1 * k),
    "a cube compared": lambda k, m, a, b, c: (0.1 * k) ** 3 <= 0.027,
    "a higher power": lambda k, m, a, b, c: (1.1 + 0.01 * a) ** 7 >= 1.1**7 + 0.1 * b,
    "an inverse square": lambda k, m, a, b, c: (0.1 * m) ** -2 <= 1.0 / (0.1 * m) ** 2,
    "a square root": lambda k, m, a, b, c: np.sqrt(0.01 * a * a) == np.abs(0.1 * a),
    "rounded": lambda k, m, a, b, c: np.rint(0.1 * a + 0.4 * b),
    "rounded to a decimal": lambda k, m, a, b, c: np.round(0.35 * a, 1),
    "cut off": lambda k, m, a, b, c: np.trunc(0.1 * a * 10.0),
    "a table": lambda k, m, a, b, c: _where(np.floor((k + 60.0) / 49.0) == 2.0, a, b),
    "the larger": lambda k, m, a, b, c: np.maximum(0.1 * a + 0.2, 0.3) == 0.3,
    "a logarithm of a whole number": lambda k, m, a, b, c: np.log(np.abs(k) + 1.0) <= np.log(np.abs(a) + 1.0),
}  # fmt: skip


def numbers() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    k, m = WHOLE.T
    a, b, c = rng.integers(-5, 8, size=(3, len(k))).astype(float)
    return {"k": k, "m": m, "a": a, "b": b, "c": c}


def differences(expressions, columns, backend: str, dtype: str = "float64") -> list[str]:
    """The expressions that come out otherwise than in NumPy, in some row."""
    found, right = by_rows(expressions, columns, backend, dtype), by_numpy(expressions, columns, dtype)
    return [f"{name}: {int(np.sum(~_same(found[name], right[name])))} rows" for name in expressions
            if not _same(found[name], right[name]).all()]


def _same(a, b):
    return (a == b) | (np.isnan(a) & np.isnan(b))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_numbers_on_ties(backend, dtype):
    assert differences(ON_NUMBERS, numbers(), backend, dtype) == []


def _compared(sums, threshold):
    """A condition on all sums of the columns, as numbers."""
    return _where(sums <= threshold, 1.0, 0.0)


ON_ARRAYS = {
    "a sum": lambda x: np.sum(0.1 * x),
    "a sum compared": lambda x: np.sum(0.1 * x) <= 0.1 * np.sum(x),
    "a mean compared": lambda x: np.mean(x) * 10.0 <= 0.3 * x[0],
    "a mean of a few": lambda x: _compared(np.mean(x[:3]), 0.1 * x[0]),
    "a running sum compared": lambda x: _compared(np.cumsum(0.1 * x), 0.3),
    "a sum of squares rounded": lambda x: np.floor(1e16 * np.sum((0.1 * x) ** 2)),
    "columns compared": lambda x: _compared(np.sum(0.1 * np.outer(x, x[:3]), axis=0), 0.3),
    "all of a matrix": lambda x: np.floor(1e15 * np.sum(0.1 * np.outer(x, x[:3]))),
}


@pytest.mark.parametrize("backend, size", [("numpy", 5), ("numpy", 16), ("numpy", 300), ("numba", 13), ("numba", 300)])
def test_arrays_on_ties(backend, size):
    x = np.random.default_rng(size).integers(-5, 8, size=(40, size)).astype(float)
    chosen = {name: f for name, f in ON_ARRAYS.items() if name != "a sum" or size <= 16}
    assert differences(chosen, {"x": x}, backend) == []


def _walk(x):
    """How often a running sum, which a loop carries, is at most 0.3."""
    start = np.float64(0.0)
    if hasattr(x, "op"):
        (_, count), _ = x.owner.scan(lambda c, v: ((c[0] + 0.1 * v, c[1] + _compared(c[0] + 0.1 * v, 0.3)), None),
                                     (start, start), x)
        return count
    count = 0.0
    for v in x:
        start = start + 0.1 * v
        count += start <= 0.3
    return count


AS_THE_REFERENCE = {
    "a product with a matrix": lambda x: _compared(0.1 * x @ np.linspace(-1.0, 1.0, 3 * x.size).reshape(-1, 3), 0.0),
    "a product of vectors": lambda x: np.floor(1e3 * (0.1 * x @ (0.1 * x))),
    "a sum": lambda x: np.floor(1e4 * np.sum(0.1 * x)),
    "a mean": lambda x: _compared(np.mean(0.1 * x), 0.1 * np.mean(x)),
    "a running sum": lambda x: _compared(np.cumsum(0.1 * x), 0.3),
}


@pytest.mark.parametrize("size, dtype", [
    (13, "float32"), (40, "float64"), pytest.param(40, "float32", marks=pytest.mark.full)])
def test_kernels_decide_as_the_reference(size, dtype):
    """Where NumPy has no order of its own (matrix products), and in float32, whose sums are added up in float64."""
    x = np.random.default_rng(size).integers(-5, 8, size=(40, size)).astype(float)
    found, right = (by_rows(AS_THE_REFERENCE, {"x": x}, backend, dtype) for backend in ("numba", "numpy"))
    assert [name for name in AS_THE_REFERENCE if not _same(found[name], right[name]).all()] == []


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_a_loop_carries(backend):
    x = np.random.default_rng(3).integers(-2, 4, size=(60, 9)).astype(float)
    assert differences({"a walk": _walk}, {"x": x}, backend) == []


def test_sums_are_added_in_order_where_something_jumps():
    """Whether a scale is above 0 is a number or an error, which way a logarithm is written no matter at all."""
    g = scg.Graph("seamless")
    sums = g.param("w", (3, 5)) @ g.data("x", 5)
    known, ways = scg.kl_divergence(scg.Normal(0.0, sums), scg.Normal(0.0, 1.0)), scg.Bernoulli(logits=sums)
    (density,) = rewrite([ways.log_prob(np.ones(3))])
    assert any(n.op.name == "term" for n in topological([density]))
    for root in (known, density):
        assert sums.id in decided([root]) and sums.id not in in_order([root])
    for root in (scg.where(sums > 0.0, 1.0, known), known + (sums > 0.0) * 1.0, sums > 0.0):
        assert sums.id in in_order([root])


# --- planted errors --------------------------------------------------------------------------------------------------
def test_a_kernel_that_may_reorder_is_caught(monkeypatch):
    from scg_numba import runtime

    monkeypatch.setitem(runtime.OPTIONS, "fastmath", {"contract", "nsz", "reassoc", "arcp"})
    chosen = {name: ON_NUMBERS[name] for name in ("a quotient rounded down", "a quotient compared", "what cancels")}
    assert len(differences(chosen, numbers(), "numba")) == len(chosen)


def test_a_rule_that_changes_the_last_bit_is_caught(monkeypatch):
    from scg.rules import driver

    chosen = {"a common factor": ON_NUMBERS["a common factor"]}
    assert differences(chosen, numbers(), "numpy") == []
    monkeypatch.setattr(driver, "decided", lambda roots: {})
    assert differences(chosen, numbers(), "numpy") != []


def test_a_sum_in_another_order_is_caught(monkeypatch):
    from scg.schedule import ground

    monkeypatch.setattr(ground, "decided", lambda roots: {})
    x = np.random.default_rng(0).integers(-5, 8, size=(40, 40)).astype(float)
    assert differences({"a sum compared": ON_ARRAYS["a sum compared"]}, {"x": x}, "numba") != []


@pytest.mark.parametrize("twice", [lambda y: np.log(np.exp(y)), lambda y: np.exp(np.log(y))], ids=["log eˣ", "e^log x"])
def test_what_is_finished_may_stand_for_what_is_decided(twice):
    """A rule that gives x itself changes the last bit as one does that gives something new."""
    theta = scg.Graph("decided").param("theta")
    y = abs(theta) * 3.0
    compared, beside = rewrite([twice(y) > y, twice(y + 1.0)])
    assert compared.args[0] is not compared.args[1]
    assert any(a.op is twice(y).op for a in compared.args)
    assert beside is rewrite([y + 1.0])[0]  # which no decision reads

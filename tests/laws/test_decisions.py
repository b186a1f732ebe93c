"""Decisions are those of IEEE arithmetic in the order in which the graph is written, in kernels too.

What is compared, rounded, or used as an index stands on ties here on purpose: there a product in place of a quotient, a
fused product and sum, or a sum in another order decide otherwise. The same expressions are evaluated by a kernel, by
the reference and by NumPy itself, which must agree in every bit.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg
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

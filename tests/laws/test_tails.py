"""Densities far out, where squares of values leave the range of the precision."""

from __future__ import annotations

import numpy as np
import pytest
from mpmath import loggamma, mp, mpf

import scg


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-6)])
@pytest.mark.parametrize("df", [0.3, 4.0, 1e6])
def test_the_tails_of_students_t(df, dtype, tolerance):
    """Also where squares of values are too large for the precision; the slope in df is that of the tail's index."""
    x = np.array([3.0, 3e9, 3e10, 3e14, 3e20, 3e37]).astype(dtype)
    g = scg.Graph("tails")
    d = g.param("df")
    g.cost("c", scg.StudentT(d, 0.0, 1.0).log_prob(g.data("x")))
    f = scg.compile(g, backend="numpy", dtype=dtype)
    for value in x[[0, 4, 5]] if dtype == "float32" else x:
        found = f({"df": df, "x": np.array([value])}, samples=1)
        y, h = float(value), 0.5 * float(df)
        tail = np.log1p(y * y / df)
        log_ratio = precise_log_ratio(h)
        assert found.cost == pytest.approx(log_ratio - 0.5 * np.log(df * np.pi) - (h + 0.5) * tail, rel=tolerance)


def precise_log_ratio(h: float) -> float:
    """log Γ(h + ½) − log Γ(h), without cancellation at large h."""
    with mp.workdps(40):
        return float(loggamma(mpf(h) + mpf(0.5)) - loggamma(mpf(h)))

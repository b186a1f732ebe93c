"""Whole powers of arrays, rounded once: products of pairs of numbers, of which the second is the rounding error.

T. J. Dekker, *A floating-point technique for extending the available precision*, Numer. Math. 18 (1971).
"""

from __future__ import annotations

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]

SPLITTER = 2.0**27 + 1.0  # cuts the 53 bits of a number in halves, whose products are exact


def whole_power_value(x, n: int) -> np.ndarray:
    """xⁿ, element by element.

    Parameters
    ----------
    x : array of float64 or float32
    n : int

    Returns
    -------
    array
        The float next to xⁿ, of the type of `x`; 0, ∞ and NaN as NumPy has them.
    """
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        if n in (-1, 1, 2):
            return {-1: lambda: 1.0 / x, 1: lambda: x, 2: lambda: x * x}[n]()
        plain = x ** float(n)
        mantissa, exponent = np.frexp(x.astype(np.float64))  # within [½, 1) no product overflows
        base = (mantissa, np.zeros_like(mantissa))
        if n < 0:
            inverse = 1.0 / mantissa
            base = (inverse, inverse * _rest(inverse, mantissa))
        high, low = _powered(base, abs(n))
        rounded = np.ldexp(high + low, np.clip(exponent.astype(np.int64) * n, -100_000, 100_000))
        return np.where(np.isfinite(x) & (x != 0.0), rounded, plain).astype(x.dtype)


def _rest(inverse, x):
    """1 − x · inverse, rounded once."""
    product, error = _two_product(inverse, x)
    return (1.0 - product) - error


def _halves(x):
    upper = SPLITTER * x
    upper = upper - (upper - x)
    return upper, x - upper


def _two_product(x, y) -> Pair:
    """x·y as its rounded value and the rounding error."""
    product, (a, b), (c, d) = x * y, _halves(x), _halves(y)
    return product, ((a * c - product) + a * d + b * c) + b * d


def _multiplied(x: Pair, y: Pair) -> Pair:
    product, error = _two_product(x[0], y[0])
    error = error + (x[0] * y[1] + x[1] * y[0])
    total = product + error
    return total, error - (total - product)


def _powered(x: Pair, n: int) -> Pair:
    result: Pair | None = None
    while n:
        if n & 1:
            result = x if result is None else _multiplied(result, x)
        n >>= 1
        x = _multiplied(x, x) if n else x
    assert result is not None
    return result

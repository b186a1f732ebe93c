"""The slope of a gamma draw in its concentration, in 60 digits."""

from __future__ import annotations

import mpmath


def slope(a: float, log_x: float) -> float:
    """d log x / da at a fixed F, by the power series of the incomplete gamma function in 60 digits."""
    with mpmath.workdps(60):
        a, log_x = mpmath.mpf(a), mpmath.mpf(log_x)
        x = mpmath.exp(log_x)
        total, moved, term, harmonic, n = mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(1), mpmath.mpf(0), 0
        while term * (1 + harmonic) > mpmath.mpf(10) ** -55 * total or n < x - a:
            n += 1
            term *= x / (a + n)
            harmonic += 1 / (a + n)
            total, moved = total + term, moved + term * harmonic
        return float((total * (mpmath.digamma(a + 1) - log_x) + moved) / a)

"""Many points close together: rules that see what is too narrow for Gauss quadrature.

Evenly spaced points are exact to rounding where the density falls to nothing at both ends, as it does over the real
line for a normal value and over the logarithm of a gamma value. Weights sum to 1.
"""

from __future__ import annotations

import numpy as np

_PANEL = 16  # Gauss–Legendre points of a panel


def normal_grid(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal values from −14 to 14."""
    z = np.linspace(-14.0, 14.0, count)
    w = np.exp(-0.5 * z * z)
    return z, w / w.sum()


def gamma_grid(count: int, concentration: float, reach: float = 1.0,
               top: float = 700.0) -> tuple[np.ndarray, np.ndarray]:
    """Gamma values of rate 1, evenly spaced in their logarithm about that of their mean, and so far out."""
    width = np.sqrt(400.0 / concentration)
    d = np.linspace(-reach * (width + 40.0 / concentration), np.log1p(reach * (width + top / concentration)), count)
    w = np.exp(concentration * (1.0 + d - np.exp(d)))
    return concentration * np.exp(d), w / w.sum()


def interval_grid(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Values from 0 to 1: panels of Gauss–Legendre points."""
    panels = max(count // _PANEL, 1)
    z, w = np.polynomial.legendre.leggauss(_PANEL)
    points = (np.arange(panels)[:, None] + 0.5 * (z + 1.0)) / panels
    return points.reshape(-1), np.tile(w / (2.0 * panels), panels)


def beta_grid(count: int, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Beta values, evenly spaced in their log-odds about those of their mean."""
    width = np.sqrt(400.0 * (1.0 / a + 1.0 / b))
    d = np.linspace(-width - 40.0 / a, width + 40.0 / b, count) + np.log(a / b)
    log_w = -a * np.logaddexp(0.0, -d) - b * np.logaddexp(0.0, d)
    w = np.exp(log_w - log_w.max())
    return 1.0 / (1.0 + np.exp(-d)), w / w.sum()

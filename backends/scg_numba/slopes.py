"""Slopes of draws in kernels: the numbers that `scg.ops.implicit` defines.

It is pasted after `special` into exported modules, and needs that alone.
"""

import math

import numpy as np
from numba import njit, types
from numba.extending import overload

from scg_numba.special import digamma

SLOPE_POINTS = np.linspace(-3.7, 4.6, 80)
SLOPE_STEPS = np.exp(SLOPE_POINTS - np.exp(-SLOPE_POINTS))
SLOPE_WEIGHTS = SLOPE_STEPS * (1.0 + np.exp(-SLOPE_POINTS)) * (SLOPE_POINTS[1] - SLOPE_POINTS[0])
SLOPE_TERMS = 26
SLOPE_END = -60.0


def as_given(value, like):
    """The value in the type of `like`."""


@overload(as_given)
def _as_given(value, like):
    if like == types.float32:
        return lambda value, like: np.float32(value)
    return lambda value, like: value


@njit(nogil=True, error_model="numpy")
def gamma_slope(concentration, log_draw):
    """d log x / da of a gamma draw x of concentration a and rate 1."""
    a, log_x = np.float64(concentration), np.float64(log_draw)
    x, mean = math.exp(log_x), digamma(a) + 1.0 / a
    result = 0.0
    if log_x <= mean and a < 1.0:
        total, slope, term, harmonic = 1.0, 0.0, 1.0, 0.0
        for n in range(1, SLOPE_TERMS):
            term = term * x / (a + n)
            harmonic = harmonic + 1.0 / (a + n)
            total, slope = total + term, slope + term * harmonic
        result = (total * (mean - log_x) + slope) / a
    elif log_x <= mean:
        scale = 2.0 / ((a - x) + math.sqrt((a - x) * (a - x) + 2.0 * x))
        plain, weighted = 0.0, 0.0
        for i in range(SLOPE_STEPS.size):
            s = scale * SLOPE_STEPS[i]
            fallen = math.expm1(-s)
            power = -a * s - x * fallen
            if power < SLOPE_END:  # what comes after adds nothing
                break
            e = SLOPE_WEIGHTS[i] * scale * math.exp(power)
            plain, weighted = plain + e, weighted + s * (1.0 + fallen) * e
        result = (mean - log_x) * plain + weighted * (x / a)
    else:
        scale = 2.0 / ((x - a) + math.sqrt((x - a) * (x - a) + 2.0 * x))
        for i in range(SLOPE_STEPS.size):
            s = scale * SLOPE_STEPS[i]
            power = a * s - x * math.expm1(s)
            if power < SLOPE_END:
                break
            result += SLOPE_WEIGHTS[i] * scale * math.exp(power) * (log_x - mean + 1.0 / a + s)
    return as_given(result, concentration)

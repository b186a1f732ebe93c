"""Random uniforms inside kernels that take one replicate after another: those of one lane, of many elements, or of
one element in lanes that lie apart, which are one replicate's in the rows.

Like `scg_numba.noise` it imports NumPy and Numba only, besides that: its text also goes into standalone modules.
"""

import numpy as np
from numba import njit

from scg_numba.noise import _U1, _coarse, _fine, _high, _word
from scg_numba.pipeline import OPTIONS


@njit(inline="always", **OPTIONS)
def fill_elements_coarse(out, k0, k1, r, element, step, draw):
    """Fill `out` with the coarse uniforms of one lane, of the elements from `element` on."""
    _fill_elements_coarse(out, np.uint64(k0), np.uint64(k1), np.uint64(r), np.uint64(element), np.uint64(step),
                          np.uint64(draw))


@njit(inline="always", **OPTIONS)
def fill_elements_fine(out, k0, k1, r, element, step, draw):
    """`fill_elements_coarse` for fine uniforms."""
    _fill_elements_fine(out, np.uint64(k0), np.uint64(k1), np.uint64(r), np.uint64(element), np.uint64(step),
                        np.uint64(draw))


@njit(**OPTIONS)
def _fill_elements_coarse(out, k0, k1, r, element, step, draw):
    for i in range(out.size):
        out[i] = _coarse(out, _word(k0, k1, r, element + np.uint64(i), step, draw))


@njit(**OPTIONS)
def _fill_elements_fine(out, k0, k1, r, element, step, draw):
    for i in range(out.size):
        out[i] = _high(out, _word(k0, k1, r, element + np.uint64(i), step, draw))
    for i in range(out.size):
        out[i] = _fine(out[i], _word(k0, k1, r, element + np.uint64(i), step, draw + _U1))


@njit(inline="always", **OPTIONS)
def fill_rows_coarse(out, k0, k1, r0, apart, element, step, draw):
    """Fill `out` with the coarse uniforms of an element, in lanes so far apart from `r0` on."""
    _fill_rows_coarse(out, np.uint64(k0), np.uint64(k1), np.uint64(r0), np.uint64(apart), np.uint64(element),
                      np.uint64(step), np.uint64(draw))


@njit(inline="always", **OPTIONS)
def fill_rows_fine(out, k0, k1, r0, apart, element, step, draw):
    """`fill_rows_coarse` for fine uniforms."""
    _fill_rows_fine(out, np.uint64(k0), np.uint64(k1), np.uint64(r0), np.uint64(apart), np.uint64(element),
                    np.uint64(step), np.uint64(draw))


@njit(**OPTIONS)
def _fill_rows_coarse(out, k0, k1, r0, apart, element, step, draw):
    for i in range(out.size):
        out[i] = _coarse(out, _word(k0, k1, r0 + np.uint64(i) * apart, element, step, draw))


@njit(**OPTIONS)
def _fill_rows_fine(out, k0, k1, r0, apart, element, step, draw):
    for i in range(out.size):
        out[i] = _high(out, _word(k0, k1, r0 + np.uint64(i) * apart, element, step, draw))
    for i in range(out.size):
        out[i] = _fine(out[i], _word(k0, k1, r0 + np.uint64(i) * apart, element, step, draw + _U1))

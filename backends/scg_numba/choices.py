"""Discrete draws inside kernels: probabilities are compared with as many words of the noise as that needs.

This module owns the compiled form of `scg.noise.below` and `scg.noise.category`, and promises their draws. Like the
noise it imports NumPy and Numba only, besides that: its text also goes into standalone modules.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from scg_numba.noise import _LOW32, _U4, _U6, _U32, _last, _part, _philox, _word
from scg_numba.pipeline import OPTIONS

_U0, _U63 = np.uint64(0), np.uint64(63)
_WORDS = 34  # as in `scg.noise`


@njit(**OPTIONS)
def _falls_below(p, k0, k1, r, element, step, flip):
    """Whether U, whose digits are the words of draws 0, 1, …, is less than p; `flip` takes the complements."""
    for draw in range(_WORDS):
        p *= 4294967296.0  # exact, as is what follows
        top = np.floor(p)
        word = float((_word(k0, k1, r, element, step, np.uint64(draw)) & _LOW32) ^ flip)
        if word != top:
            return word < top
        p -= top
    return False


@njit(**OPTIONS)
def both_sides(logit):
    """A probability by its log-odds, and what is left of 1, each to its own precision."""
    e = np.exp(-abs(np.float64(logit)))
    small, large = e / (1.0 + e), 1.0 / (1.0 + e)
    return (large, small) if logit > 0.0 else (small, large)


@njit(**OPTIONS)
def _below_at(p, q, k0, k1, r, element, step, flip):
    if p <= 0.5:
        return 1.0 if _falls_below(p, k0, k1, r, element, step, flip) else 0.0
    return 0.0 if _falls_below(q, k0, k1, r, element, step, flip ^ _LOW32) else 1.0


@njit(inline="always", **OPTIONS)
def below_at(p, q, k0, k1, r, element, step, flipped):
    """1 if U of one lane is below p, else 0, given q = 1 − p; see `scg.noise.below`."""
    return _below_at(np.float64(p), np.float64(q), np.uint64(k0), np.uint64(k1), np.uint64(r), np.uint64(element),
                     np.uint64(step), _LOW32 if flipped else _U0)


@njit(**OPTIONS)
def _category_at(weights, size, k0, k1, r, element, step, flip):
    low, middle = 0.0, size - 1
    for k in range(size):
        low += weights[k]
        if low > 0.5:
            middle = k
            break
        if _falls_below(low, k0, k1, r, element, step, flip):
            return float(k)
    high = 0.0
    for k in range(size - 1, middle, -1):
        high += weights[k]
        if _falls_below(high, k0, k1, r, element, step, flip ^ _LOW32):
            return float(k)
    return float(middle)


@njit(inline="always", **OPTIONS)
def category_at(weights, size, k0, k1, r, element, step, flipped):
    """The index that U of one lane picks by so many weights; see `scg.noise.category`."""
    return _category_at(weights, size, np.uint64(k0), np.uint64(k1), np.uint64(r), np.uint64(element), np.uint64(step),
                        _LOW32 if flipped else _U0)


@njit(**OPTIONS)
def sum_from_the_end(sums, start, vectors, size):
    """Turn so many vectors of weights, from a place of the array on, into their sums from the last weight on."""
    for vector in range(vectors):
        first = start + vector * size
        for k in range(size - 2, -1, -1):
            sums[first + k] += sums[first + k + 1]


@njit(**OPTIONS)
def _category_among(low, high, k0, k1, r, element, step, flip):
    above, middle = 0, low.size - 1  # the first sum above ½
    while above < middle:
        k = (above + middle) // 2
        above, middle = (above, k) if low[k] > 0.5 else (k + 1, middle)
    first, last = 0, middle  # the first sum that U is below
    while first < last:
        k = (first + last) // 2
        first, last = (first, k) if _falls_below(low[k], k0, k1, r, element, step, flip) else (k + 1, last)
    if first < middle:
        return float(first)
    first, last = middle, low.size - 1  # the last one that 1 − U is below, from the other end
    while first < last:
        k = (first + last + 1) // 2
        first, last = (k, last) if _falls_below(high[k], k0, k1, r, element, step, flip ^ _LOW32) else (first, k - 1)
    return float(first)


@njit(inline="always", **OPTIONS)
def category_among(low, high, k0, k1, r, element, step, flipped):
    """As `category_at`, by the sums of the weights from both ends."""
    return _category_among(low, high, np.uint64(k0), np.uint64(k1), np.uint64(r), np.uint64(element), np.uint64(step),
                           _LOW32 if flipped else _U0)


@njit(inline="always", **OPTIONS)
def fill_range_below(out, scratch, p, q, k0, k1, r0, element, step, flipped):
    """Fill `out` with 1 where U is below p, else with 0, for consecutive lanes; as `fill_uniform_range` else."""
    _fill_range_below(out, scratch, np.float64(p), np.float64(q), np.uint64(k0), np.uint64(k1), np.uint64(r0),
                      np.uint64(element), np.uint64(step), flipped)


@njit(**OPTIONS)
def _fill_range_below(out, scratch, p, q, k0, k1, r0, element, step, flipped):
    # 1 − U < p is 1 with the roles of p and q changed, and of 1 and 0
    one, zero = (0.0, 1.0) if flipped else (1.0, 0.0)
    p, q = (q, p) if flipped else (p, q)
    # A first word below the edge is below p, one above it is not, and one that is the edge is decided by further words.
    edge = np.uint64(np.floor(p * 4294967296.0)) if p <= 0.5 else np.uint64(4294967295.0 - np.floor(q * 4294967296.0))
    # Whole blocks by a call of their own: beside the other case in one loop they take a tenth longer.
    if r0 & _U63 == _U0 and out.size % 64 == 0:
        met = _fill_below(out, edge, one, zero, k0, k1, r0, element, step)
    else:
        met = _fill_blocks_below(out, scratch, edge, one, zero, k0, k1, r0, element, step)
    if met:
        _decide_at_edge(out, p, q, edge, one, zero, k0, k1, r0, element, step)


@njit(**OPTIONS)
def _fill_blocks_below(out, scratch, edge, one, zero, k0, k1, r0, element, step):
    """As `_fill_below`, for lanes that begin and end anywhere in a block."""
    done, met = 0, False
    while done < out.size:
        start, skip, n = _part(out.size - done, np.int64(r0) + done)
        if skip == 0 and n % 64 == 0:
            met |= _fill_below(out[done : done + n], edge, one, zero, k0, k1, start, element, step)
        else:
            met |= _fill_below(scratch, edge, one, zero, k0, k1, start, element, step)
            for i in range(n):
                out[done + i] = scratch[skip + i]
        done += n
    return met


@njit(**OPTIONS)
def _decide_at_edge(out, p, q, edge, one, zero, k0, k1, r0, element, step):
    """Decide by further words the lanes whose first word is the edge."""
    for i in range(out.size):
        r = r0 + np.uint64(i)
        if _word(k0, k1, r, element, step, _U0) & _LOW32 == edge:
            below = _below_at(p, q, k0, k1, r, element, step, _U0)
            out[i] = one if below != 0.0 else zero


def _fill_below(out, edge, one, zero, k0, k1, r0, element, step):
    """1 where a lane's first word is below the edge, else 0; whether one of the words is the edge."""


@overload(_fill_below, jit_options=OPTIONS)
def _fill_below_overload(out, edge, one, zero, k0, k1, r0, element, step):
    return _fill_below_float32 if out.dtype == types.float32 else _fill_below_float64


def _fill_below_float64(out, edge, one, zero, k0, k1, r0, element, step):
    # The words lie where their comparisons will: in one loop the two need more vector registers than there are.
    words = out.view(np.uint64)
    q0 = (r0 >> _U6) << _U4
    for block in range(out.size // 64):
        q = q0 + np.uint64(16 * block)
        last = _last(q, _U0)
        first = 64 * block
        for j in range(16):
            w0, w1, w2, w3 = _philox(q | np.uint64(j), element, step, last, k0, k1)
            words[first + j] = w0
            words[first + 16 + j] = w1
            words[first + 32 + j] = w2
            words[first + 48 + j] = w3
    edge, nearest = edge << _U32, ~_U0
    for i in range(out.size):
        word = words[i] << _U32
        out[i] = one if word < edge else zero
        gap = word - edge  # what is below 0 wraps around, and is large
        nearest = gap if gap < nearest else nearest
    return nearest == _U0


def _fill_below_float32(out, edge, one, zero, k0, k1, r0, element, step):
    one, zero = np.float32(one), np.float32(zero)
    q0 = (r0 >> _U6) << _U4
    nearest = ~_U0
    for block in range(out.size // 64):
        q = q0 + np.uint64(16 * block)
        last = _last(q, _U0)
        first = 64 * block
        for j in range(16):
            w0, w1, w2, w3 = _philox(q | np.uint64(j), element, step, last, k0, k1)
            g0, g1, g2, g3 = (w0 & _LOW32) - edge, (w1 & _LOW32) - edge, (w2 & _LOW32) - edge, (w3 & _LOW32) - edge
            # below 0 a gap wraps around, to what is large and, signed, negative
            out[first + j] = one if np.int64(g0) < 0 else zero
            out[first + 16 + j] = one if np.int64(g1) < 0 else zero
            out[first + 32 + j] = one if np.int64(g2) < 0 else zero
            out[first + 48 + j] = one if np.int64(g3) < 0 else zero
            g0, g2 = g0 if g0 < g1 else g1, g2 if g2 < g3 else g3
            g0 = g0 if g0 < g2 else g2
            nearest = g0 if g0 < nearest else nearest
    return nearest == _U0

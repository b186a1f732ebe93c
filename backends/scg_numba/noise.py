"""Random uniforms inside kernels, after the contract in `scg.noise`.

This module owns the compiled form of that contract: functions that a kernel calls to fill a tile's lanes, or to draw
for one lane. It promises the numbers of `scg.noise.uniform`, bit for bit, on every CPU, and writes nothing but its
output. It imports NumPy and Numba only: its text also goes into standalone modules, which must not need `scg`.

The arguments are those of the contract: the two key words ``k0, k1``, the replicate ``r`` (``r0`` for the first of a
range), ``element``, ``step`` and ``draw``; any integer type will do. Nothing is checked here. The host checks sizes
once, against the ranges in `scg.noise`; beyond them, lanes would share noise.

Tiles begin at a multiple of 64 and hold a multiple of 64 lanes, as `fill_uniform` wants them. Ranges that do not (a row
of samples, when lanes are not rows times samples) go through `fill_uniform_range`.

Speed on one core (Zen 4, 3.7 GHz, a tile in the cache): 0.41 ns for a coarse number, 0.8 ns for a fine one. Three
things make it, and are easily lost:

- Blocks of 64 lanes are 16 counters × 4 output words, so the inner loop is a plain loop over counters with four
  contiguous stores. Its ten rounds are unrolled by LLVM, and inlined by Numba (``inline="always"``): a plain call that
  returns four words keeps them in memory, and the loop scalar (9 times slower).
- The state is 64 bits wide, and what a product leaves in the upper halves stays there until the next one ignores it.
  The masks before the products say so to LLVM, which makes them one ``vpmuludq`` each and drops the masks.
- Words become floats through their bits, one subtraction instead of a conversion, an addition and a product.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from scg_numba.pipeline import OPTIONS

__all__ = [
    "fill_range_coarse", "fill_range_fine", "fill_uniform", "fill_uniform_fine", "fill_uniform_range", "set_keys",
    "uniform_at", "uniform_at_f32", "word_at",
]  # fmt: skip

# Unsigned constants throughout: Numba turns a mix of signed and unsigned 64-bit integers into floats.
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW32 = np.uint64(0xFFFFFFFF)
_U1, _U3, _U4, _U6, _U9, _U15, _U20, _U24, _U32 = (np.uint64(i) for i in (1, 3, 4, 6, 9, 15, 20, 24, 32))

# Bits put into the mantissa under one of these exponents are a float; less the offset it is the uniform. All exact.
_COARSE64_BITS, _COARSE64_OFFSET = np.uint64(0x413 << 52), 2.0**20 - 2.0**-33  # 2²⁰ + w · 2⁻³²
_COARSE32_BITS, _COARSE32_OFFSET = np.uint64(0x7F << 23), np.float32(1 - 2.0**-24)  # 1 + (w div 2⁹) · 2⁻²³
_FINE64_BITS, _FINE64_OFFSET = np.uint64(0x3FF << 52), 1 - 2.0**-53  # 1 + k · 2⁻⁵²
_FINE64_HIGH, _FINE64_LOW = np.uint64((1 << 52) - (1 << 26)), np.uint64((1 << 26) - 1)


# --- from words to numbers ----------------------------------------------------------------------------------------
# Never inline="always": that would put them under the kernel's `fastmath` after all.


@njit(**OPTIONS)
def _coarse64(word):
    """(w + ½) · 2⁻³² of the lower 32 bits of a word."""
    return np.uint64((word & _LOW32) | _COARSE64_BITS).view(np.float64) - _COARSE64_OFFSET


@njit(**OPTIONS)
def _coarse32(word):
    """(w div 2⁹ + ½) · 2⁻²³ of the lower 32 bits of a word, as float32."""
    return np.uint32(((word & _LOW32) >> _U9) | _COARSE32_BITS).view(np.float32) - _COARSE32_OFFSET


@njit(**OPTIONS)
def _high64(word):
    """The first half of a fine uniform, kept as the float 1 + (w div 2⁶) · 2⁻²⁶."""
    return np.uint64(((word << _U20) & _FINE64_HIGH) | _FINE64_BITS).view(np.float64)


@njit(**OPTIONS)
def _fine64(high, word):
    """(k + ½) · 2⁻⁵², the upper 26 bits of k from `_high64` and the lower ones from the upper 26 bits of a word."""
    k = np.float64(high).view(np.uint64) | ((word >> _U6) & _FINE64_LOW)
    return np.uint64(k).view(np.float64) - _FINE64_OFFSET


def _coarse(out, word):
    """The uniform of a word, in the dtype of `out`."""


@overload(_coarse, jit_options=OPTIONS)
def _coarse_overload(out, word):
    if out.dtype == types.float32:
        return lambda out, word: _coarse32(word)
    return lambda out, word: _coarse64(word)


def _high(out, word):
    """What the first word gives of a fine uniform, in the dtype of `out`."""


@overload(_high, jit_options=OPTIONS)
def _high_overload(out, word):
    if out.dtype == types.float32:
        return lambda out, word: _coarse32(word)
    return lambda out, word: _high64(word)


def _fine(high, word):
    """A fine uniform, from what `_high` gave and the second word."""


@overload(_fine, jit_options=OPTIONS)
def _fine_overload(high, word):
    if high == types.float32:
        return lambda high, word: high  # LLVM then drops what the word was computed by
    return lambda high, word: _fine64(high, word)


# --- keys ---------------------------------------------------------------------------------------------------------
@njit(**OPTIONS)
def _mix64(x):
    """`scg.noise.mix64` of a uint64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(**OPTIONS)
def set_keys(words):
    """Put the keys of all streams at the beginning of an array of uint64: behind these stand the seed and the hashes.

    Both halves of a key are in one element: on a little-endian machine, the lower one first.
    """
    streams = (words.size - 1) // 2
    seed = _mix64(words[streams])
    for i in range(streams):
        words[i] = _mix64(seed ^ words[streams + 1 + i])


# --- words --------------------------------------------------------------------------------------------------------


@njit(inline="always", **OPTIONS)
def _philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 on uint64; only the lower halves of arguments and results count."""
    for _ in range(10):
        p0 = _M0 * (c0 & _LOW32)
        p1 = _M1 * (c2 & _LOW32)
        c0 = (p1 >> _U32) ^ c1 ^ k0
        c1 = p1
        c2 = (p0 >> _U32) ^ c3 ^ k1
        c3 = p0
        k0 = k0 + _W0
        k1 = k1 + _W1
    return c0, c1, c2, c3


@njit(inline="always", **OPTIONS)
def _last(q, draw):
    """The counter's last word: the upper 8 bits of q above 24 bits of draw."""
    return ((q >> _U32) << _U24) | draw


@njit(inline="always", **OPTIONS)
def _word(k0, k1, r, element, step, draw):
    """The word of one draw of one lane, in the lower half."""
    q = ((r >> _U6) << _U4) | (r & _U15)
    w0, w1, w2, w3 = _philox(q, element, step, _last(q, draw), k0, k1)
    index = (r >> _U4) & _U3
    even = w0 if index == 0 else w2
    odd = w1 if index == 1 else w3
    return odd if index & _U1 else even


# --- one lane -----------------------------------------------------------------------------------------------------
# What kernels call converts its arguments and is inlined; what it calls is compiled. Without that step Numba compiles
# a function again for every literal it is called with: `fill_uniform(out, k0, k1, r0, 0, 0, 7)`, 0.2 s for each 7.


@njit(inline="always", **OPTIONS)
def word_at(k0, k1, r, element, step, draw):
    """The 32-bit word of one draw of one lane, as uint64."""
    return _word_at(np.uint64(k0), np.uint64(k1), np.uint64(r), np.uint64(element), np.uint64(step), np.uint64(draw))


@njit(inline="always", **OPTIONS)
def uniform_at(k0, k1, r, element, step, draw, fine):
    """The float64 uniform of one lane: of `draw`, and if `fine` also of ``draw + 1``.

    For loops that run lane by lane, such as rejection samplers; `fill_uniform` is 30 times faster per number.
    """
    return _uniform_at(
        np.uint64(k0), np.uint64(k1), np.uint64(r), np.uint64(element), np.uint64(step), np.uint64(draw), fine
    )


@njit(inline="always", **OPTIONS)
def uniform_at_f32(k0, k1, r, element, step, draw):
    """The float32 uniform of one lane. A fine one is the same number, and leaves ``draw + 1`` unused."""
    return _coarse32(word_at(k0, k1, r, element, step, draw))


@njit(**OPTIONS)
def _word_at(k0, k1, r, element, step, draw):
    return _word(k0, k1, r, element, step, draw) & _LOW32


@njit(**OPTIONS)
def _uniform_at(k0, k1, r, element, step, draw, fine):
    word = _word(k0, k1, r, element, step, draw)
    if fine:
        return _fine64(_high64(word), _word(k0, k1, r, element, step, draw + _U1))
    return _coarse64(word)


# --- tiles --------------------------------------------------------------------------------------------------------


@njit(inline="always", **OPTIONS)
def fill_uniform(out, k0, k1, r0, element, step, draw):
    """Fill `out` with the coarse uniforms of consecutive lanes.

    Parameters
    ----------
    out : 1-D contiguous array of float64 or float32
        Its length must be a multiple of 64.
    k0, k1 : int
        Key words.
    r0 : int
        First lane, a multiple of 64; ``out[l]`` belongs to lane ``r0 + l``.
    element, step, draw : int
        The rest of the counter.
    """
    _fill_coarse(out, np.uint64(k0), np.uint64(k1), np.uint64(r0), np.uint64(element), np.uint64(step), np.uint64(draw))


@njit(inline="always", **OPTIONS)
def fill_uniform_fine(out, k0, k1, r0, element, step, draw):
    """Fill `out` with the fine uniforms of consecutive lanes, from draws `draw` and ``draw + 1``.

    Parameters
    ----------
    out, k0, k1, r0, element, step, draw
        As for `fill_uniform`. In float32 the numbers are the same as there, and cost the same.
    """
    _fill_fine(out, np.uint64(k0), np.uint64(k1), np.uint64(r0), np.uint64(element), np.uint64(step), np.uint64(draw))


@njit(inline="always", **OPTIONS)
def fill_uniform_range(out, scratch, k0, k1, r0, element, step, draw, fine):
    """Fill `out` with the uniforms of consecutive lanes, from any lane on and of any number.

    Whole blocks are written in place; a block that is cut off at either end is made in `scratch` and copied from there,
    so a range costs at most two blocks more than an aligned one.

    Parameters
    ----------
    out : 1-D contiguous array of float64 or float32
        Of any length.
    scratch : 1-D contiguous array
        Of length 64 and the dtype of `out`; overwritten.
    k0, k1, r0, element, step, draw : int
        As for `fill_uniform`, except that `r0` may be any lane.
    fine : bool
        Whether to fill as `fill_uniform_fine` does.
    """
    if fine:
        fill_range_fine(out, scratch, k0, k1, r0, element, step, draw)
    else:
        fill_range_coarse(out, scratch, k0, k1, r0, element, step, draw)


@njit(inline="always", **OPTIONS)
def fill_range_coarse(out, scratch, k0, k1, r0, element, step, draw):
    """`fill_uniform_range` for coarse uniforms."""
    _fill_range_coarse(out, scratch, np.uint64(k0), np.uint64(k1), np.uint64(r0), np.uint64(element), np.uint64(step),
                       np.uint64(draw))


@njit(inline="always", **OPTIONS)
def fill_range_fine(out, scratch, k0, k1, r0, element, step, draw):
    """`fill_uniform_range` for fine uniforms."""
    _fill_range_fine(out, scratch, np.uint64(k0), np.uint64(k1), np.uint64(r0), np.uint64(element), np.uint64(step),
                     np.uint64(draw))


@njit(**OPTIONS)
def _fill_coarse(out, k0, k1, r0, element, step, draw):
    q0 = (r0 >> _U6) << _U4
    for block in range(out.size // 64):
        q = q0 + np.uint64(16 * block)
        last = _last(q, draw)  # the same for the 16 counters of a block
        first = 64 * block
        for j in range(16):
            w0, w1, w2, w3 = _philox(q | np.uint64(j), element, step, last, k0, k1)
            out[first + j] = _coarse(out, w0)
            out[first + 16 + j] = _coarse(out, w1)
            out[first + 32 + j] = _coarse(out, w2)
            out[first + 48 + j] = _coarse(out, w3)


@njit(**OPTIONS)
def _fill_fine(out, k0, k1, r0, element, step, draw):
    q0 = (r0 >> _U6) << _U4
    for block in range(out.size // 64):
        q = q0 + np.uint64(16 * block)
        last = _last(q, draw)
        first = 64 * block
        # The two words of a number in loops of their own: together they need more vector registers than there are.
        for j in range(16):
            w0, w1, w2, w3 = _philox(q | np.uint64(j), element, step, last, k0, k1)
            out[first + j] = _high(out, w0)
            out[first + 16 + j] = _high(out, w1)
            out[first + 32 + j] = _high(out, w2)
            out[first + 48 + j] = _high(out, w3)
        for j in range(16):
            w0, w1, w2, w3 = _philox(q | np.uint64(j), element, step, last + _U1, k0, k1)
            out[first + j] = _fine(out[first + j], w0)
            out[first + 16 + j] = _fine(out[first + 16 + j], w1)
            out[first + 32 + j] = _fine(out[first + 32 + j], w2)
            out[first + 48 + j] = _fine(out[first + 48 + j], w3)


# One function for each kind, so that a kernel compiles only what it calls. Elements are copied one by one: assigning a
# slice would compile the formatting of its error message, which takes longer than all the rest.
@njit(**OPTIONS)
def _fill_range_coarse(out, scratch, k0, k1, r0, element, step, draw):
    done = 0
    while done < out.size:
        start, skip, n = _part(out.size - done, np.int64(r0) + done)
        if skip == 0 and n % 64 == 0:
            _fill_coarse(out[done : done + n], k0, k1, start, element, step, draw)
        else:
            _fill_coarse(scratch, k0, k1, start, element, step, draw)
            for i in range(n):
                out[done + i] = scratch[skip + i]
        done += n


@njit(**OPTIONS)
def _fill_range_fine(out, scratch, k0, k1, r0, element, step, draw):
    done = 0
    while done < out.size:
        start, skip, n = _part(out.size - done, np.int64(r0) + done)
        if skip == 0 and n % 64 == 0:
            _fill_fine(out[done : done + n], k0, k1, start, element, step, draw)
        else:
            _fill_fine(scratch, k0, k1, start, element, step, draw)
            for i in range(n):
                out[done + i] = scratch[skip + i]
        done += n


@njit(**OPTIONS)
def _part(left, start):
    """What is filled next: its first lane, how many lanes of the block to skip, and how many lanes it has."""
    skip = start % 64
    n = min(left, 64 - skip)
    if n == 64:
        n = left // 64 * 64
    return np.uint64(start), skip, n

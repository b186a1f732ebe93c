"""Random words and uniforms as NumPy arrays, after the contract in `scg.noise`.

This module owns the vectorised form of that contract for the reference backend. It promises the words of
`scg.noise.word` for any broadcastable integer arrays, refuses what the counter cannot hold, and keeps no state. It
computes each word on its own, without a look at which ones share a counter: plain rather than fastest.
"""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from scg.noise import DRAWS, ELEMENTS, PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL, REPLICATES, STEPS

__all__ = ["uniform", "words"]

_M32 = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)
_M0, _M1 = (np.uint64(m) for m in PHILOX_MULTIPLIERS)
_CHUNK = 8192  # temporaries of 64 KiB: they stay in the cache, and below the size at which malloc asks the kernel


def words(key: tuple[int, int], r: ArrayLike, element: ArrayLike, step: ArrayLike, draw: ArrayLike) -> np.ndarray:
    """The 32-bit words of the given draws.

    Parameters
    ----------
    key : tuple of int
        Two 32-bit words, see `scg.noise.key`.
    r, element, step, draw : array_like of int
        Replicate, element of the event, step and draw; broadcast against each other.

    Returns
    -------
    ndarray of uint32
        Of the broadcast shape.

    Raises
    ------
    TypeError
        If one of the arrays does not hold integers.
    ValueError
        If one holds a number outside its range in the counter.
    """
    r = _checked("r", r, REPLICATES)
    element = _checked("element", element, ELEMENTS)
    step = _checked("step", step, STEPS)
    draw = _checked("draw", draw, DRAWS)
    q = (r >> np.uint64(6) << np.uint64(4)) | (r & np.uint64(15))
    index = (r >> np.uint64(4) & np.uint64(3)).astype(np.intp)
    top = q >> _S32 << np.uint64(24)

    shape = np.broadcast_shapes(r.shape, element.shape, step.shape, draw.shape)
    flat = [np.broadcast_to(a, shape).reshape(-1) for a in (q & _M32, element, step, top | draw, index)]
    out = np.empty(shape, np.uint32)
    flat_out = out.reshape(-1)
    for start in range(0, out.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        *counter, which = (a[chunk] for a in flat)
        flat_out[chunk] = np.choose(which, _philox(counter, key))
    return out


def uniform(
    key: tuple[int, int],
    r: ArrayLike,
    element: ArrayLike,
    step: ArrayLike,
    draw: ArrayLike,
    fine: bool = False,
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """The uniform numbers of the given draws, in the open interval (0, 1).

    Parameters
    ----------
    key, r, element, step, draw
        As for `words`.
    fine : bool
        52 bits from draws ``draw`` and ``draw + 1``, rather than 32 from ``draw``. In float32 the numbers are the same
        23 bits either way.
    dtype : float32 or float64

    Returns
    -------
    ndarray of `dtype`
        Of the broadcast shape.
    """
    dtype = np.dtype(dtype)
    if dtype not in (np.float64, np.float32):
        raise TypeError(f"dtype must be float32 or float64, not {dtype}")
    draw = _checked("draw", draw, DRAWS - 1 if fine else DRAWS)
    high = words(key, r, element, step, draw)
    if dtype == np.float32:
        return ((high >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    if not fine:
        return (high + 0.5) * 2.0**-32
    low = words(key, r, element, step, draw + np.uint64(1))
    # Each term, and the sum, is a multiple of 2⁻⁵³ below 1: exact.
    return (high >> np.uint32(6)) * 2.0**-26 + ((low >> np.uint32(6)) + 0.5) * 2.0**-52


def _philox(counter: list[np.ndarray], key: tuple[int, int]) -> list[np.ndarray]:
    """Philox4x32-10 on arrays of uint64 that hold 32-bit words."""
    c0, c1, c2, c3 = counter
    for i in range(PHILOX_ROUNDS):
        k0, k1 = (np.uint64((int(k) + i * weyl) & 0xFFFFFFFF) for k, weyl in zip(key, PHILOX_WEYL, strict=True))
        p0 = c0 * _M0
        p1 = c2 * _M1
        c0, c1, c2, c3 = (p1 >> _S32) ^ c1 ^ k0, p1 & _M32, (p0 >> _S32) ^ c3 ^ k1, p0 & _M32
    return [c0, c1, c2, c3]


def _checked(name: str, values: ArrayLike, limit: int) -> np.ndarray:
    """Integers in [0, limit) as uint64; anything else is an error rather than another site's noise."""
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, not {values.dtype}")
    if values.size and not (values.min() >= 0 and values.max() < limit):
        raise ValueError(f"{name} must be in [0, {limit}), got {values.min()} to {values.max()}")
    return values.astype(np.uint64)

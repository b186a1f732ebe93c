"""Whether arrays of a call are finite: looked at in one go, while other threads may run."""

from collections.abc import Sequence

import numpy as np
from numba import carray, njit

from scg_numba.pipeline import OPTIONS
from scg_numba.spots import pointer_like


@njit(**OPTIONS)
def all_finite(addresses, counts, like, exponent):
    """Whether no element of the arrays at these addresses has all bits of the exponent, as infinity and NaN do."""
    for i in range(len(addresses)):
        bits = carray(pointer_like(addresses[i], like), (counts[i],))
        most = exponent & ~exponent
        for j in range(bits.size):
            most = max(most, bits[j] & exponent)
        if most == exponent:
            return False
    return True


_BITS = {np.dtype(real): (np.empty(0, bits), bits(2**most - 2**least)) for real, bits, most, least in (
    ("float32", np.uint32, 31, 23), ("float64", np.uint64, 63, 52))}


def looked_at(arrays: Sequence[np.ndarray], dtype: np.dtype) -> tuple:
    """What `all_finite` is given of contiguous arrays of one type, float32 or float64."""
    addresses = np.array([array.__array_interface__["data"][0] for array in arrays], np.int64)
    return addresses, np.array([array.size for array in arrays], np.int64), *_BITS[dtype]


def are_finite(arrays: Sequence[np.ndarray]) -> bool:
    """Whether all numbers are, of contiguous arrays of one type, float32 or float64."""
    return all_finite(*looked_at(arrays, arrays[0].dtype))

"""Arrays of large results: sums that stand apart from a range's numbers, and arrays that are written again.

Exported modules hold this text too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from scg.sums import SUM

_spare: dict[tuple[Any, ...], list[np.ndarray]] = {}  # fresh memory takes as long to get as it takes to fill
SPARES, MOST_KINDS = 4, 8  # that are kept of each kind, and kinds
LINE = 64  # bytes of a cache line: vectors that lie across two take twice as long to read


def spare(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that nobody reads any more, or a new one, whose first element is at the start of a cache line."""
    with contextlib.suppress(KeyError, IndexError):
        return _spare[shape, np.dtype(dtype)].pop()
    size = math.prod(shape) * np.dtype(dtype).itemsize
    wider = np.empty(size + LINE, np.uint8)
    start = -wider.ctypes.data % LINE
    return wider[start : start + size].view(dtype).reshape(shape)


def used_up(*arrays: np.ndarray) -> None:
    """Nobody else has, or will read, these: they may be written again."""
    for array in arrays:
        if len(_spare) > MOST_KINDS:
            _spare.clear()
        kept = _spare.setdefault((array.shape, array.dtype), [])
        if len(kept) < SPARES:
            kept.append(array)


class Apart(NamedTuple):
    """Sums of large outputs in an array of the working type, where a kernel left them.

    `runs` has for each output the ends of its elements in the vector of means, and where they begin in the array.
    """

    array: np.ndarray
    runs: tuple[tuple[int, int, int], ...]

    def sums(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Each output's place in the vector of means, and its sums."""
        for first, stop, at in self.runs:
            yield slice(first, stop), self.array[at : at + stop - first]

    def put(self, numbers: np.ndarray) -> None:
        """Put them in their places among a range's numbers."""
        for where, sums in self.sums():
            numbers[SUM, where] = sums

    @property
    def places(self) -> np.ndarray:
        """Where sums begin and end in the array, row by row."""
        return np.array([(at, at + stop - first) for first, stop, at in self.runs])

    def between(self, width: int) -> np.ndarray:
        """Where what else there is of the vector of means begins and ends in it, row by row."""
        ends = [0, *(end for first, stop, _ in sorted(self.runs) for end in (first, stop)), width]
        return np.array(ends).reshape(-1, 2)

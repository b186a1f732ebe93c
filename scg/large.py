"""Arrays of large results: sums that stand apart from a range's numbers, and arrays that are written again.

Exported modules hold this text too.
"""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from scg.sums import SUM

_spare: dict[int, list[np.ndarray]] = {}  # by their bytes: fresh memory takes longer to get than it takes to fill
SPARES, MOST_KINDS = 4, 16  # that are kept of each size, and sizes
LINE = 64  # bytes of a cache line: vectors that lie across two take twice as long to read
LINES = LINE // 8  # whole numbers of a cache line
# where threads that make means together note how many have come, what is taken, made and bad, that one has gone, or has
# found what is not finite, and where sums lie: each in a line of its own
CAME, TAKEN, MADE, BAD, GONE, UNFIT, ADDRESSES = (LINES * i for i in range(7))
NOTES = ADDRESSES + LINES
PAGES = 1 << 16  # bytes from which on allocators tend to give memory back to the system


def spare(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array that nobody reads any more, or a new one, whose first element is at the start of a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if kept := _spare.get(size):
        with contextlib.suppress(IndexError):  # another thread has taken the last one
            return np.ndarray(shape, dtype, kept.pop())
    wider = np.empty(size + LINE, np.uint8)
    start = -wider.ctypes.data % LINE
    return wider[start : start + size].view(dtype).reshape(shape)


def used_up(*arrays: np.ndarray) -> None:
    """Nobody else has, or will read, these: they may be written again."""
    for array in arrays:
        size = array.nbytes
        kept = _spare.pop(size, [])  # sizes stand in the order in which they were last used
        if len(kept) < SPARES:
            kept.append(array)
        _spare[size] = kept
        if len(_spare) > MOST_KINDS:
            _spare.pop(list(_spare)[0], None)  # noqa: RUF015  (other threads may change it meanwhile)


def given_away(size: int, dtype: Any) -> np.ndarray:
    """So many elements for a result: when nobody has them, or a part of them, any more, they may be written again.

    Whoever trains drops the gradients of a step for those of the next. Where memory is given back to the system and
    asked for again, a page is filled with zeros first, and that takes longer than a step's elementwise part.
    """
    if size * np.dtype(dtype).itemsize < PAGES:
        return np.empty(size, dtype)
    own = spare((size,), dtype)
    # what is made of a part of it has this one for its base, as that of an array goes down to the last array below
    array = np.frombuffer(own.data, dtype)
    loan = _Loan(array, _returned)
    loan.own = own
    _loans[id(loan)] = loan
    return array


class _Loan(weakref.ref):
    """That an array is given away, and the array that its memory is from."""

    __slots__ = ("own",)
    own: np.ndarray


_loans: dict[int, _Loan] = {}


def _returned(loan: _Loan) -> None:
    """Nobody has an array any more that was given away."""
    del _loans[id(loan)]
    used_up(loan.own)


def copied(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The elements of a vector in an array that is `given_away`."""
    found = given_away(len(array), dtype)
    found[...] = array
    return found


Runs = tuple[tuple[int, int, int], ...]


class Apart(NamedTuple):
    """Sums of large outputs in an array of the working type, where a kernel left them.

    `runs` has for each output the ends of its elements in the vector of means, and where they begin in the array.
    """

    array: np.ndarray
    runs: Runs

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
        return _places(self.runs)

    def between(self, width: int) -> np.ndarray:
        """Where what else there is of the vector of means begins and ends in it, row by row."""
        return _between(self.runs, width)


@functools.lru_cache(64)
def _places(runs: Runs) -> np.ndarray:
    return np.array([(at, at + stop - first) for first, stop, at in runs])


@functools.lru_cache(64)
def _between(runs: Runs, width: int) -> np.ndarray:
    ends = np.array([0, *(end for first, stop, _ in sorted(runs) for end in (first, stop)), width]).reshape(-1, 2)
    return ends[ends[:, 0] < ends[:, 1]]

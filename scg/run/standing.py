"""Large means of a call of one or two ranges, made of the sums that these left apart.

The threads of both ranges make them together, each some pieces: a sum of two ranges has one part in another processor's
cache, whoever makes it. Exported modules hold this text too.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from scg.large import BAD, GONE, LINE, MADE, NOTES, UNFIT, Apart, Runs, given_away
from scg.program import Partial

Finish = Callable[[np.ndarray, np.ndarray, float, float, np.ndarray, np.ndarray], bool]
PIECES = 8  # that are made one by one: a thread that comes late finds some left


class Standing(NamedTuple):
    """The sums that one or two ranges left apart, and what makes means of them."""

    one: Apart
    other: np.ndarray  # of the second range, or none
    share: tuple[float, float]

    @classmethod
    def of(cls, large: Sequence[Apart], share: tuple[float, float]) -> Standing:
        """Of the sums of each range."""
        one, *more = large
        return cls(one, more[0].array if more else np.empty(0, one.array.dtype), share)

    def means(self, finish: Finish) -> Apart | None:
        """Means in an array that nobody else has; None if they are not all finite, or some became 0."""
        means = _like(self.one)
        return means if self.put(means, self.one.places, finish) else None

    def put(self, means: Apart, places: np.ndarray, finish: Finish) -> bool:
        """Put some of the means there; whether they are finite, and none became 0."""
        return finish(self.one.array, self.other, *self.share, means.array, places)


def _like(sums: Apart) -> Apart:
    """An array for means of sums, that nobody else has."""
    return sums._replace(array=given_away(len(sums.array), sums.array.dtype))


class Together:
    """The means of two ranges, which the threads that have made these make together, where both have left their sums.

    Parameters
    ----------
    share : tuple of float
        What a sum is multiplied by, and divided by.
    meet : callable
        See `scg.program.Kernel`.
    later : list of arrays
        What the calling thread is to look at while it would wait for the other: whether all is finite.
    """

    def __init__(self, share: tuple[float, float], meet: Callable[..., None], later: list[np.ndarray]):
        self._share, self._meet, self._later = share, meet, later
        self._notes = np.zeros(NOTES, np.int64)
        self._means: dict[str, Apart] = {}  # one, whoever was the first to need it
        self._none = False

    def arrive(self, number: int, found: Partial, patience: int, calling: bool) -> None:
        """The range of that number has come; so long is worth waiting for the other, and for what it makes.

        A helper also waits until the calling thread has gone on: Python runs one of them at a time.
        """
        large = found.large
        if large is None:
            self._none = True
        elif not self._none:
            means = self._means.get("all") or self._means.setdefault("all", _like(large))
            self._meet(self._notes, large.array, number, patience, calling, *self._share, means.array,
                       *_pieces(large.runs), self._later if calling else ())
            if calling:
                self._notes[GONE] = 1
                self._later.clear()

    @property
    def complete(self) -> bool:
        """Whether nothing is to be waited for: if both have come, all is made."""
        return self._none or int(self._notes[MADE]) == PIECES

    @property
    def unfit(self) -> bool:
        """Whether something that was looked at is not finite."""
        return bool(self._notes[UNFIT])

    def means(self) -> Apart | None:
        """The means; None if they have not been made, or are not all finite, or some became 0."""
        if self._none or self._notes[MADE] < PIECES or self._notes[BAD]:
            return None
        return self._means["all"]


@functools.lru_cache(64)
def _pieces(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """The places of sums, row by row where some begin and end, in parts of about as many elements each; where each part
    begins among the rows, and where the last one ends.

    They are parted at the starts of cache lines, so that no two threads write to the same one.
    """
    ends = [0, *itertools.accumulate(stop - first for first, stop, _ in runs)]
    parts = [ends[-1] * i // PIECES // LINE * LINE for i in range(PIECES)] + [ends[-1]]
    found: list[tuple[int, int]] = []
    begins = [0]
    for low, high in itertools.pairwise(parts):
        places = [(at + max(low - start, 0), at + min(high, stop) - start)
                  for (_, _, at), (start, stop) in zip(runs, itertools.pairwise(ends))]
        found += [(first, last) for first, last in places if first < last]
        begins.append(len(found))
    return np.array(found, np.int64).reshape(-1, 2), np.array(begins, np.int64)

"""Large means of a call of one or two ranges, made of the sums that these left apart.

All threads of a call may make them, each some pieces: a sum of two ranges has one part in another processor's cache,
whoever makes it. Exported modules hold this text too.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from scg.large import LINE, Apart, Runs, given_away
from scg.program import Partial

Finish = Callable[[np.ndarray, np.ndarray, float, float, np.ndarray, np.ndarray], bool]
PIECES = 4  # that are made one by one: a thread that is woken late finds some left


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


class Pieces:
    """Makes these means once the sums of all ranges are there, in pieces that any thread may make.

    Parameters
    ----------
    ranges : int
        One or two.
    share : tuple of float
        What a sum is multiplied by, and divided by.
    finish : callable
        See `scg.run.moments.finish`.
    """

    def __init__(self, ranges: int, share: tuple[float, float], finish: Finish):
        self._ranges, self._missing, self._share, self._finish = ranges, ranges, share, finish
        self._large: dict[int, Apart] = {}
        self._means: Apart | None = None
        self._good: list[bool] = []

    @property
    def complete(self) -> bool:
        """Whether all ranges' sums are there."""
        return self._missing == 0

    def tasks(self, number: int, found: Partial) -> Sequence[Callable[[], None]]:
        """A range has come: what is to be done, if it was the last one that was missing, and all left sums apart.

        The first one that comes waits for the last: what can be made before is made then.
        """
        self._missing -= 1
        if found.large is None:
            return ()
        self._large[number] = found.large
        if self._means is None:
            self._means = _like(found.large)
        if len(self._large) < self._ranges:
            return ()
        standing = Standing.of([self._large[i] for i in sorted(self._large)], self._share)
        return [functools.partial(self._put, standing, places) for places in _pieces(found.large.runs)]

    def _put(self, standing: Standing, places: np.ndarray) -> None:
        assert self._means is not None
        self._good.append(standing.put(self._means, places, self._finish))

    def means(self, standing: Standing) -> Apart | None:
        """The means of sums, as far as they have not been made yet."""
        if not self._good:
            return standing.means(self._finish)
        return self._means if all(self._good) else None


@functools.lru_cache(64)
def _pieces(runs: Runs) -> list[np.ndarray]:
    """The places of sums, row by row where some begin and end, in parts of about as many elements each.

    They are parted at the starts of cache lines, so that no two threads write to the same one.
    """
    ends = [0, *itertools.accumulate(stop - first for first, stop, _ in runs)]
    parts = [ends[-1] * i // PIECES // LINE * LINE for i in range(PIECES)] + [ends[-1]]
    found = []
    for low, high in itertools.pairwise(parts):
        places = [(at + max(low - start, 0), at + min(high, stop) - start)
                  for (_, _, at), (start, stop) in zip(runs, itertools.pairwise(ends))]
        found.append(np.array([(first, last) for first, last in places if first < last]).reshape(-1, 2))
    return found

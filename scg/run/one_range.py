"""What a call of one range and few numbers gives: merged as far as somebody asks for it.

A small call takes less time than NumPy takes for a few operations: what can be made of Python's own numbers is.
Exported modules hold this text too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from scg.program import FEW, Division, Layout, Partial
from scg.run.by_name import Named
from scg.run.moments import SMALLEST, Gathered, Merged, merge
from scg.sums import COUNT, SQUARES, SUM

Places = Sequence[tuple[str, Any, Any]]  # names, where their numbers stand, and their shapes


class Size:
    """What is known of all calls of one size, whose replicates are one range.

    Parameters
    ----------
    layout : Layout
    division : Division
    """

    def __init__(self, layout: Layout, division: Division):
        self.layout, self.division, self.checks = layout, division, layout.checks
        self.count = division.samples if layout.shared else division.samples * division.rows
        self.gradients = [(name, where[0] if type(where) is tuple else where, shape)
                          for name, where, shape in layout.entries.get("grad", ())]
        self.kind, self.float64 = np.dtype(layout.dtype), np.dtype(np.float64)
        self.of_one_row = division.rows == 1 or layout.shared
        self.errors, self.observed = layout.errors_at, layout.observed
        self.least = SMALLEST / float(division.samples * division.rows) ** 2

    def made(self, numbers: np.ndarray) -> OneRange | None:
        """What a range's numbers are; None if they must be looked at more closely: something may be wrong."""
        rows = numbers.tolist() if self.errors else [numbers[SUM].tolist()]
        sums = rows[SUM]
        if not math.isfinite(sum(sums)):
            return None
        for i in self.checks:
            if sums[i] != 0.0:
                return None
        return OneRange(self, numbers, rows)


class OneRange:
    """`Merged` of one range of few numbers, found sound: the same bits, each when it is asked for."""

    __slots__ = ("_numbers", "_rows", "_size")
    fault, by_row, large, stands = False, None, (), None

    def __init__(self, size: Size, numbers: np.ndarray, rows: list[list[float]]):
        self._size, self._numbers, self._rows = size, numbers, rows

    @property
    def cost(self) -> float:
        """The whole cost, which is the first output."""
        return self._rows[SUM][0] / self._size.count

    def gradients(self, found: Named) -> Named:
        """Put the gradients there."""
        size = self._size
        return _put(found, size.gradients, self._rows[SUM], size.count, size.kind)

    def errors(self) -> list[float] | None:
        """The standard errors of all means, if the range is of one row, and nothing is to be said of any."""
        size = self._size
        if not (size.errors and size.of_one_row) or (count := self._rows[COUNT][size.observed]) < 2.0:
            return None
        share, squares, least = count * (count - 1.0), self._rows[SQUARES], size.least
        found = [math.nan] * len(squares)
        for i in size.errors:
            variance = squares[i] / share
            if not least < variance < math.inf:
                return None
            found[i] = math.sqrt(variance)
        for where in size.layout.steady:
            found[where] = [0.0] * (where.stop - where.start)
        return found

    def of_gradients(self, errors: list[float], found: Named) -> Named:
        """Put the gradients' errors there."""
        return _put(found, self._size.gradients, errors, 1, self._size.float64)

    def _merged(self) -> Merged:
        return merge(self._size.layout, self._size.division, Gathered([Partial(self._numbers)]))

    @property
    def known(self) -> np.ndarray:
        """As of `Merged`."""
        return self._merged().known

    @property
    def mean(self) -> np.ndarray:
        """As of `Merged`."""
        return self._merged().known

    @property
    def variance(self) -> np.ndarray:
        """As of `Merged`."""
        return self._merged().variance


def _put(found: Named, places: Places, numbers: list[Any], count: int, kind: np.dtype) -> Named:
    """Put outputs there by name, from all numbers times `count`."""
    for name, where, shape in places:
        if type(where) is int:
            found[name] = np.array(numbers[where] / count, kind)
        else:
            part = np.array([each / count for each in numbers[where]], kind)
            found[name] = part if shape is None else part.reshape(shape)
    return found


def are_few(layout: Layout) -> bool:
    """Whether what a range gives is few numbers, and nothing is to be said or done before they are asked for."""
    summed = layout.dtype == "float32" and len(layout.entries.get("cost", ())) > 2  # the whole cost, with its error
    return (layout.width <= FEW and not (layout.by_row or layout.records or layout.compared or summed)
            and layout.uncoupled is None and "tie" not in layout.spans)

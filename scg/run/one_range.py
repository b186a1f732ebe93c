"""What a call of one range and few numbers gives: merged as far as somebody asks for it.

A small call takes less time than NumPy takes for a few operations: what can be made of Python's own numbers is.
Exported modules hold this text too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scg.program import FEW, Division, Layout, Partial
from scg.run.by_name import Named
from scg.run.moments import SMALLEST, Gathered, Merged, merge
from scg.sums import COUNT, SQUARES, SUM


class OneRange:
    """`Merged` of one range of few numbers, found sound: the same bits, each when it is asked for.

    Attributes
    ----------
    few : list of float
        All means, times `count`.
    """

    __slots__ = ("_division", "_layout", "_numbers", "count", "few")
    fault, by_row, large = False, None, ()

    def __init__(self, layout: Layout, division: Division, numbers: np.ndarray, few: list[float], count: int):
        self._layout, self._division, self._numbers, self.few, self.count = layout, division, numbers, few, count

    def few_errors(self) -> list[float] | None:
        """The standard errors of all means, if the range is of one row, and nothing is to be said of any."""
        layout, division = self._layout, self._division
        if division.rows > 1 and not layout.shared:
            return None
        numbers = self._numbers.tolist()
        count, squares = numbers[COUNT][layout.observed], numbers[SQUARES]
        if count < 2.0:
            return None
        size, share, found = float(division.samples * division.rows), count * (count - 1.0), [math.nan] * len(squares)
        least = SMALLEST / (size * size)
        for i in layout.errors_at:
            variance = squares[i] / share
            if not least < variance < math.inf:
                return None
            found[i] = math.sqrt(variance)
        for where in layout.steady:
            found[where] = [0.0] * (where.stop - where.start)
        return found

    def _merged(self) -> Merged:
        return merge(self._layout, self._division, Gathered([Partial(self._numbers)]))

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


def are_few(layout: Layout) -> bool:
    """Whether what a range gives is few numbers, and nothing is to be said or done before they are asked for."""
    summed = layout.dtype == "float32" and len(layout.entries.get("cost", ())) > 2  # the whole cost, with its error
    return (layout.width <= FEW and not (layout.by_row or layout.records or layout.compared or summed)
            and layout.uncoupled is None and "tie" not in layout.spans)


def of_one_range(layout: Layout, division: Division) -> Callable[[np.ndarray], OneRange | None]:
    """What is made of the numbers of a range that is all, as a function of these.

    That is None if they must be looked at more closely: something may be wrong.
    """
    checks = layout.checks
    count = division.samples if layout.shared else division.samples * division.rows

    def made(numbers: np.ndarray) -> OneRange | None:
        sums = numbers[SUM].tolist()
        if not math.isfinite(sum(sums)) or (checks and any(sums[i] != 0.0 for i in checks)):
            return None
        return OneRange(layout, division, numbers, sums, count)

    return made


def put(found: Named, entries: Sequence[tuple[str, Any, Any]], few: list[float], count: int, kind: np.dtype) -> Named:
    """Put outputs there by name, from all numbers times `count`; `entries` is `Layout.entries` of a role."""
    for name, where, shape in entries:
        if type(where) is tuple:
            found[name] = np.array(few[where[0]] / count, kind)
        else:
            part = np.array([each / count for each in few[where]], kind)
            found[name] = part if shape is None else part.reshape(shape)
    return found

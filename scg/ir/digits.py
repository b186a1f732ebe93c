"""How large numbers are: decimal digits before the point, 0 at least; infinity where there may be no end of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scg.ir.interval import SMALLEST, Interval


def of_number(largest: float) -> float:
    """Of a number."""
    return max(math.log10(largest), 0.0) if largest > 0 else 0.0


def of_interval(x: Interval) -> float:
    """Of the largest number of an interval."""
    return of_number(max(abs(x.low), abs(x.high)))


def of_inverse(x: Interval) -> float:
    """Of 1 / x, for x in an interval."""
    low = max(x.low, -x.high)
    return max(-math.log10(low), 0.0) if low >= SMALLEST else math.inf


def of_exponential(x: Interval) -> float:
    """Of eˣ, for x in an interval."""
    return max(x.high / math.log(10.0), 0.0)


def largest(node, intervals: Sequence[Interval], digits: Sequence[float]) -> float:
    """The rule of an op whose result is about as large as its largest argument."""
    return max(digits, default=math.inf)


def product(node, intervals: Sequence[Interval], digits: Sequence[float]) -> float:
    """The rule of a product."""
    return sum(digits)


def exponential(node, intervals: Sequence[Interval], digits: Sequence[float]) -> float:
    """The rule of an exponential function."""
    return of_exponential(intervals[0])


def quotient(node, intervals: Sequence[Interval], digits: Sequence[float]) -> float:
    """The rule of a quotient."""
    return digits[0] + of_inverse(intervals[1])


def where(condition: bool, digits: float) -> float:
    """So many digits where a condition holds."""
    return digits if condition else math.inf

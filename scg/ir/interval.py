"""Intervals that values lie in for certain, and their arithmetic.

Ends are exact up to rounding: what is bounded by 1 may exceed it in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
    """All numbers between two ends.

    Attributes
    ----------
    low, high : float
    low_open, high_open : bool
        Whether the end itself is left out.
    nonzero : bool
        Whether 0 is left out besides: the sign may be unknown, but it does not change.
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = True
    high_open: bool = True
    nonzero: bool = False

    @property
    def positive(self) -> bool:
        """Whether all are above 0."""
        return self.low > 0 or (self.low == 0 and (self.low_open or self.nonzero))

    @property
    def clear_of_zero(self) -> bool:
        """Whether 0 is not among them."""
        return self.nonzero or self.positive or self.negated().positive

    def negated(self) -> Interval:
        """−x."""
        return Interval(-self.high, -self.low, self.high_open, self.low_open, self.nonzero)

    def plus(self, other: Interval) -> Interval:
        """x + y."""
        return Interval(self.low + other.low, self.high + other.high, self.low_open or other.low_open,
                        self.high_open or other.high_open)

    def times(self, other: Interval) -> Interval:
        """x y."""
        ends = [_product(a, b) for a in self._ends() for b in other._ends()]
        low = min(ends, key=lambda e: (e[0], e[1]))  # of equal ends one that is attained
        high = max(ends, key=lambda e: (e[0], not e[1]))
        return Interval(low[0], high[0], low[1], high[1], self.clear_of_zero and other.clear_of_zero)

    def _ends(self) -> tuple[tuple[float, bool], ...]:
        return (self.low, self.low_open), (self.high, self.high_open)

    def reciprocal(self) -> Interval:
        """1 / x."""
        if self.low >= 0:
            return Interval(_inverse(self.high), _inverse(self.low), self.high_open, self.low_open or self.low == 0,
                            True)
        return self.negated().reciprocal().negated() if self.high <= 0 else Interval(nonzero=True)

    def magnitude(self) -> Interval:
        """|x|."""
        if self.low >= 0:
            return self
        if self.high <= 0:
            return self.negated()
        far = max((-self.low, not self.low_open), (self.high, not self.high_open))
        return Interval(0.0, far[0], self.nonzero, not far[1], self.nonzero)

    def power(self, n: int) -> Interval:
        """xⁿ for a whole number n."""
        if n < 0:
            return self.power(-n).reciprocal()
        base = self.magnitude() if n % 2 == 0 else self
        return base.through(lambda x: math.copysign(abs(x) ** n, x) if n else 1.0, nonzero=self.clear_of_zero)

    def through(self, function: Callable[[float], float], nonzero: bool = False) -> Interval:
        """f(x) for an increasing function f; an end where it is not defined is unbounded."""
        with np.errstate(all="ignore"):
            low, high = (_number(function, end) for end in (self.low, self.high))
        low = -math.inf if math.isnan(low) else low
        high = math.inf if math.isnan(high) else high
        return Interval(low, high, self.low_open or math.isinf(low), self.high_open or math.isinf(high), nonzero)

    def larger(self, other: Interval) -> Interval:
        """max(x, y)."""
        low = max((self.low, self.low_open), (other.low, other.low_open))
        high = max((self.high, not self.high_open), (other.high, not other.high_open))
        return Interval(low[0], high[0], low[1], not high[1], self.clear_of_zero and other.clear_of_zero)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        low = min((self.low, self.low_open), (other.low, other.low_open))
        high = max((self.high, not self.high_open), (other.high, not other.high_open))
        return Interval(low[0], high[0], low[1], not high[1], self.clear_of_zero and other.clear_of_zero)

    def repeated(self, count: int) -> Interval:
        """The sum of `count` numbers of the interval."""
        return self if count == 1 else self.times(exactly(float(count)))

    def holds(self, other: Interval) -> bool:
        """Whether every number of the other interval is in this one."""
        low = self.low < other.low or (self.low == other.low and (other.low_open or not self.low_open))
        high = self.high > other.high or (self.high == other.high and (other.high_open or not self.high_open))
        return low and high and (other.clear_of_zero or not self.nonzero)


def _number(function: Callable[[float], float], x: float) -> float:
    try:
        return float(function(x))
    except OverflowError:
        return math.copysign(math.inf, x)


def _inverse(x: float) -> float:
    return 1.0 / x if x else math.inf


def _product(a: tuple[float, bool], b: tuple[float, bool]) -> tuple[float, bool]:
    """An end of a product: 0 if one factor is, whatever the other one grows to."""
    if a[0] == 0 or b[0] == 0:
        attained = (a[0] == 0 and not a[1]) or (b[0] == 0 and not b[1])
        return 0.0, not attained
    return a[0] * b[0], a[1] or b[1]


ANY = Interval()
POSITIVE = Interval(0.0)
UNIT = Interval(0.0, 1.0, False, False)


def exactly(value: float) -> Interval:
    """One number."""
    return Interval(value, value, False, False)


def of_array(array: np.ndarray) -> Interval:
    """The interval of an array's elements."""
    if not array.size or not np.all(np.isfinite(array)):
        return ANY
    return Interval(float(array.min()), float(array.max()), False, False, bool(np.all(array != 0)))


def hull(intervals: Iterable[Interval]) -> Interval:
    """The smallest interval that holds all of several."""
    found = list(intervals)
    out = found[0] if found else ANY
    for interval in found[1:]:
        out = out.hull(interval)
    return out

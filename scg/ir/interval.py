"""Intervals that values lie in for certain, and their arithmetic.

They are intervals of real numbers: exp(x) is above 0, though a computer's exp(−1000) is 0. Ends that are computed are
rounded outwards, so that what is said of an end is true of the real function there.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

LARGEST = sys.float_info.max


class Interval(NamedTuple):
    """All numbers between two ends.

    Attributes
    ----------
    low, high : float
    low_open, high_open : bool
        Whether the end itself is left out. A closed infinite end says that the value may be infinite.
    nonzero : bool
        Whether 0 is left out besides.
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

    def above(self, value: float) -> bool:
        """Whether none is below a number."""
        return self.low >= value

    def only(self, value: float) -> bool:
        """Whether there is one number in it, and which."""
        return self.low == self.high == value

    @property
    def clear_of_zero(self) -> bool:
        """Whether 0 is not among them."""
        return self.nonzero or self.positive or self.negated().positive

    def negated(self) -> Interval:
        """−x."""
        return Interval(-self.high, -self.low, self.high_open, self.low_open, self.nonzero)

    def plus(self, other: Interval) -> Interval:
        """x + y."""
        low = _sum((self.low, self.low_open), (other.low, other.low_open), -1)
        high = _sum((self.high, self.high_open), (other.high, other.high_open), 1)
        return between(low[0], high[0], low[1], high[1])

    def times(self, other: Interval) -> Interval:
        """x y."""
        lows = [_product(a, b, -1) for a in self._ends() for b in other._ends()]
        highs = [_product(a, b, 1) for a in self._ends() for b in other._ends()]
        low = min(lows, key=lambda e: (e[0], e[1]))  # of equal ends one that is attained
        high = max(highs, key=lambda e: (e[0], not e[1]))
        return between(low[0], high[0], low[1], high[1], self.clear_of_zero and other.clear_of_zero)

    def _ends(self) -> tuple[tuple[float, bool], ...]:
        return (self.low, self.low_open), (self.high, self.high_open)

    def reciprocal(self) -> Interval:
        """1 / x."""
        if self.low >= 0:
            return between(_inverse(self.high, -1), _inverse(self.low, 1), self.high_open, self.low_open,
                           self.finite)
        if self.high <= 0:
            return self.negated().reciprocal().negated()
        return Interval(low_open=self.nonzero, high_open=self.nonzero, nonzero=self.finite)

    @property
    def finite(self) -> bool:
        """Whether none is infinite."""
        return all(is_open or math.isfinite(end) for end, is_open in self._ends())

    def with_ends(self) -> Interval:
        """The same, with its finite ends, and 0 where that is among them."""
        return Interval(self.low, self.high, math.isinf(self.low), math.isinf(self.high))

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
        if n == 0:
            return exactly(1.0)
        base = self.magnitude() if n % 2 == 0 else self
        out = base.through(lambda x: math.copysign(abs(x) ** n, x), nonzero=self.clear_of_zero)
        low, high = max(out.low, 0.0) if base.low >= 0 else out.low, min(out.high, 0.0) if base.high <= 0 else out.high
        return between(low, high, out.low_open, out.high_open, out.nonzero)  # rounding takes no power past 0

    def raised(self, exponent: Interval) -> Interval:
        """x to a power, for x from 0 on: a positive one keeps x on its side of 1, and moves an x off 0 and 1."""
        if self.low < 0 or not exponent.positive:
            return POSITIVE if self.positive else ANY
        low = self._power_of_end(self.low, self.low_open, exponent, -1)
        high = self._power_of_end(self.high, self.high_open, exponent, 1)
        return between(low[0], high[0], low[1], high[1], self.clear_of_zero)

    @staticmethod
    def _power_of_end(end: float, is_open: bool, exponent: Interval, way: int) -> tuple[float, bool]:
        """The lowest or highest power of an end, rounded outwards but not past 0 or 1, and whether it is left out."""
        if end in (0.0, 1.0, math.inf):
            return end, is_open  # whatever the exponent is
        upper = (end > 1.0) == (way > 0)
        at, at_open = (exponent.high, exponent.high_open) if upper else (exponent.low, exponent.low_open)
        found = _image(lambda x: np.power(x, at), end, way)
        sided = max(found, 1.0) if end > 1.0 else min(max(found, 0.0), 1.0)
        return sided, is_open or at_open or (sided in (0.0, 1.0) and math.isfinite(at))

    def through(self, function: Callable[[float], float], nonzero: bool = False) -> Interval:
        """f(x) for a strictly increasing function f; an end where it has no value is unbounded.

        Its limits at ±∞ are attained there only: tanh(20) is below 1, though a computer's is not.
        """
        least, most = _number(function, -math.inf), _number(function, math.inf)
        low, low_open = _image(function, self.low, -1), self.low_open
        high, high_open = _image(function, self.high, 1), self.high_open
        if math.isnan(low):
            low, low_open = -math.inf, False
        elif math.isfinite(self.low) and low <= least:
            low, low_open = least, True
        if math.isnan(high):
            high, high_open = math.inf, False
        elif math.isfinite(self.high) and high >= most:
            high, high_open = most, True
        return between(low, high, low_open, high_open, nonzero)

    def larger(self, other: Interval) -> Interval:
        """max(x, y)."""
        low = max((self.low, self.low_open), (other.low, other.low_open))
        high = max((self.high, not self.high_open), (other.high, not other.high_open))
        return between(low[0], high[0], low[1], not high[1], self.clear_of_zero and other.clear_of_zero)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        low = min((self.low, self.low_open), (other.low, other.low_open))
        high = max((self.high, not self.high_open), (other.high, not other.high_open))
        return between(low[0], high[0], low[1], not high[1], self.clear_of_zero and other.clear_of_zero)

    def mixed(self) -> Interval:
        """Where weighted means of its numbers lie: between the same ends, but that of −1 and 1 is 0."""
        return between(*self)._replace(nonzero=self.clear_of_zero and not self.low < 0 < self.high)

    def repeated(self, count: int) -> Interval:
        """The sum of `count` numbers of the interval: numbers that are not 0 may add up to it."""
        if count == 1:
            return self
        return self.mixed().times(exactly(float(count))) if count else exactly(0.0)

    def contains(self, value: float) -> bool:
        """Whether a number is in it."""
        above = self.low < value or (self.low == value and not self.low_open)
        below = self.high > value or (self.high == value and not self.high_open)
        return above and below and not (value == 0 and self.nonzero)

    def holds(self, other: Interval) -> bool:
        """Whether every number of the other interval is in this one."""
        low = self.low < other.low or (self.low == other.low and (other.low_open or not self.low_open))
        high = self.high > other.high or (self.high == other.high and (other.high_open or not self.high_open))
        return low and high and (other.clear_of_zero or not self.nonzero)


def between(low: float, high: float, low_open: bool, high_open: bool, nonzero: bool = False) -> Interval:
    """The interval in normal form: an end beyond all numbers is the last one, and 0 is no end where it is left out."""
    if low == math.inf:
        low, low_open = LARGEST, low_open and high_open
    if high == -math.inf:
        high, high_open = -LARGEST, low_open and high_open
    return Interval(low, high, low_open or (nonzero and low == 0), high_open or (nonzero and high == 0), nonzero)


def _number(function: Callable[[float], float], x: float) -> float:
    try:
        with np.errstate(all="ignore"):
            return float(function(x))
    except OverflowError:
        return math.copysign(math.inf, x)
    except ValueError:
        return math.nan


def _image(function: Callable[[float], float], x: float, way: int) -> float:
    """An end of f(x), rounded outwards by more than NumPy's functions are off."""
    y = _number(function, x)
    if not math.isfinite(x) or not math.isfinite(y) or (x in (0.0, 1.0) and y in (0.0, 0.5, 1.0)):
        return y
    for _ in range(4):
        y = math.nextafter(y, way * math.inf)
    return y


def _sum(a: tuple[float, bool], b: tuple[float, bool], way: int) -> tuple[float, bool]:
    """An end of a sum, rounded outwards; of −∞ and ∞ it is unbounded."""
    total = a[0] + b[0]
    if not math.isfinite(total):
        attained = any(math.isinf(end) and not is_open for end, is_open in (a, b))
        return way * math.inf if math.isnan(total) else total, not attained
    part = total - a[0]
    exact = (a[0] - (total - part)) + (b[0] - part) == 0.0
    return total if exact else math.nextafter(total, way * math.inf), a[1] or b[1]


def _inverse(x: float, way: int) -> float:
    """An end of a reciprocal of numbers from 0 on, rounded outwards."""
    if x == 0 or math.isinf(x):
        return math.inf if x == 0 else 0.0
    power_of_two = math.frexp(x)[0] == 0.5
    return 1.0 / x if power_of_two else max(math.nextafter(1.0 / x, way * math.inf), 0.0)


def _product(a: tuple[float, bool], b: tuple[float, bool], way: int) -> tuple[float, bool]:
    """An end of a product, rounded outwards but not past 0: 0 if one factor is, whatever the other one grows to."""
    if a[0] == 0 or b[0] == 0:
        attained = (a[0] == 0 and not a[1]) or (b[0] == 0 and not b[1])
        return 0.0, not attained
    product = a[0] * b[0]
    if math.isinf(product):
        return product, not any(math.isinf(end) and not is_open for end, is_open in (a, b))
    if not _exact(a[0], b[0], product):
        product = math.nextafter(product, way * math.inf)
        product = max(product, 0.0) if (a[0] > 0) == (b[0] > 0) else min(product, 0.0)
    return product, a[1] or b[1]


def _exact(a: float, b: float, product: float) -> bool:
    (m, n), (p, q), (r, s) = (x.as_integer_ratio() for x in (a, b, product))
    return m * p * s == r * n * q


SMALLEST = 1e-30  # what is computed to be above it does not underflow, in single precision either
ANY = Interval()
ENDLESS = Interval(low_open=False, high_open=False)
POSITIVE = Interval(0.0)
UNIT = Interval(0.0, 1.0, False, False)


def exactly(value: float) -> Interval:
    """One number."""
    return Interval(value, value, False, False)


def of_array(array: np.ndarray) -> Interval:
    """The interval of an array's elements."""
    if not array.size or np.any(np.isnan(array)):
        return ANY
    return between(float(array.min()), float(array.max()), False, False, bool(np.all(array != 0)))


def hull(intervals: Iterable[Interval]) -> Interval:
    """The smallest interval that holds all of several."""
    found = list(intervals)
    out = found[0] if found else ANY
    for interval in found[1:]:
        out = out.hull(interval)
    return out

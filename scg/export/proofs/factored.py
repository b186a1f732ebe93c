"""Rational functions whose denominators are kept as powers of factors: sums and products take no common divisors.

Denominators of probabilities are powers of a few polynomials, such as 1 + e^θ. So a sum is one of polynomials, over the
largest of these powers; what can be divided out is, when someone looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import sympy
from sympy.polys.rings import PolyRing

from scg.export.proofs.limits import Limits, NotFinite

MOST_TERMS = 300  # of a polynomial that is divided or factored
MOST_PRODUCTS = 300_000  # of summands, in a product of polynomials: seconds


class Fractions:
    """The rational functions in some variables.

    Parameters
    ----------
    symbols : sequence of Symbol
    limits : Limits
    """

    def __init__(self, symbols: Sequence[Any], limits: Limits):
        self.ring, self.symbols, self.limits = PolyRing(symbols, sympy.QQ, sympy.lex), tuple(symbols), limits
        self.factors: list[Any] = []
        self._places: dict[Any, int] = {}
        self._powers: dict[tuple[int, int], Any] = {}
        self._split: dict[Any, tuple[Any, dict[int, int]]] = {}
        self.zero, self.one = Fraction(self, self.ring.zero, {}), Fraction(self, self.ring.one, {})

    def of(self, poly) -> Fraction:
        """A polynomial, or a number."""
        return Fraction(self, self.ring(poly), {})

    def product(self, a, b):
        """Of two polynomials.

        Raises
        ------
        ExactError
            If it takes too long.
        """
        self.limits.check(0, "")
        if len(a) * len(b) > MOST_PRODUCTS:
            raise self.limits.refusal(f"Products of {len(a)} by {len(b)} summands are too long{self.limits.size}.")
        return a * b

    def power(self, place: int, k: int):
        """A factor to a power."""
        if (place, k) not in self._powers:
            self._powers[place, k] = self.factors[place] ** k
        return self._powers[place, k]

    def split(self, poly) -> tuple[Any, dict[int, int]]:
        """A polynomial as a number and powers of factors."""
        if poly not in self._split:
            content, factors = poly.factor_list()
            found: dict[int, int] = {}
            for factor, k in factors:
                content *= factor.LC**k
                factor = factor.monic()
                place = self._places.setdefault(factor, len(self.factors))
                if place == len(self.factors):
                    self.factors.append(factor)
                found[place] = k
            self._split[poly] = content, found
        return self._split[poly]


class Fraction:
    """A polynomial over powers of factors."""

    __slots__ = ("among", "numer", "powers")

    def __init__(self, among: Fractions, numer: Any, powers: Mapping[int, int]):
        self.among, self.numer, self.powers = among, numer, powers if numer else {}

    def _other(self, other) -> Fraction:
        return other if isinstance(other, Fraction) else self.among.of(sympy.QQ(int(other)))

    def _over(self, powers: Mapping[int, int]):
        numer = self.numer
        for place, k in powers.items():
            if more := k - self.powers.get(place, 0):
                numer = self.among.product(numer, self.among.power(place, more))
        return numer

    def __add__(self, other) -> Fraction:
        other = self._other(other)
        if not self or not other:
            return self or other
        powers = dict(self.powers)
        for place, k in other.powers.items():
            powers[place] = max(k, powers.get(place, 0))
        return Fraction(self.among, self._over(powers) + other._over(powers), powers)

    def __neg__(self) -> Fraction:
        return Fraction(self.among, -self.numer, self.powers)

    def __sub__(self, other) -> Fraction:
        return self + -self._other(other)

    def __rsub__(self, other) -> Fraction:
        return self._other(other) - self

    def __mul__(self, other) -> Fraction:
        other = self._other(other)
        if not self or not other:
            return self.among.zero
        powers = dict(self.powers)
        for place, k in other.powers.items():
            powers[place] = k + powers.get(place, 0)
        return Fraction(self.among, self.among.product(self.numer, other.numer), powers)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other) -> Fraction:
        return self * self._other(other)._inverse()

    def _inverse(self) -> Fraction:
        if not self:
            raise NotFinite(self.among.limits)
        content, powers = self.among.split(self.numer)
        numer = self.among.ring(1 / content)
        for place, k in self.powers.items():
            numer *= self.among.power(place, k)
        return Fraction(self.among, numer, powers).reduced()

    def __pow__(self, k: int) -> Fraction:
        if k < 0:
            return self._inverse() ** -k
        return Fraction(self.among, self.numer**k, {place: k * p for place, p in self.powers.items() if k})

    def __bool__(self) -> bool:
        return bool(self.numer)

    def reduced(self) -> Fraction:
        """Without factors that are in both, unless that takes long."""
        if len(self.numer) > MOST_TERMS:
            return self
        numer, powers = self.numer, {}
        for place, k in self.powers.items():
            while k:
                (quotient,), rest = numer.div([self.among.factors[place]])
                if rest:
                    break
                numer, k = quotient, k - 1
            if k:
                powers[place] = k
        return Fraction(self.among, numer, powers)

    def has(self, place: int) -> bool:
        """Whether the denominator has a variable, by its place."""
        return any(m[place] for i in self.powers for m in self.among.factors[i].itermonoms())

    def at(self, numbers: Sequence[Decimal]) -> Decimal:
        """The number at a point, which has one for each variable, in the precision of the decimal context."""
        def value(poly) -> Decimal:
            return sum((math.prod((x**k for x, k in zip(numbers, m) if k), start=Decimal(int(c.numerator)))
                        / int(c.denominator) for m, c in poly.iterterms()), Decimal(0))

        below = math.prod((value(self.among.factors[i]) ** k for i, k in self.powers.items()), start=Decimal(1))
        return value(self.numer) / below

    def as_expr(self):
        """As a formula in the variables; the numerator is factored unless it is long."""
        reduced = self.reduced()
        numer = reduced.numer.as_expr()
        if len(reduced.numer) <= MOST_TERMS:
            numer = sympy.factor(numer)
        return numer / sympy.Mul(*(self.among.factors[i].as_expr() ** k for i, k in reduced.powers.items()))

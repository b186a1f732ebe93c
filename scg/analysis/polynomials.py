"""Polynomials over atoms that are known by numbers: two that are equal as formulas are one.

An atom is anything that is not taken apart. Some are known better: an atom and its inverse cancel, and the square of
one that is 0 or 1 is itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np

MOST_TERMS = 64  # of a product that is multiplied out
ROUNDED = 1e-13  # a coefficient that is left of others this much larger is their rounding error
Polynomial = dict[tuple[int, ...], float]
"""Coefficients by the sorted numbers of a product's atoms."""

ONE: tuple[int, ...] = ()


class Atoms:
    """The numbers of atoms, and of which draws each is made, in bits."""

    def __init__(self) -> None:
        self.table: dict[Hashable, int] = {}
        self.draws: list[int] = []
        self.shapes: list[tuple[int, ...]] = []
        self.inverse: dict[int, int] = {}
        self.flags: set[int] = set()  # those that are 0 or 1
        self._special: set[int] = set()

    def number(self, key: Hashable, draws: int = 0, shape: tuple[int, ...] = ()) -> int:
        """The number of what has that key; that of an array's elements together has their shape."""
        found = self.table.get(key)
        if found is None:
            found = self.table[key] = len(self.table)
            self.draws.append(draws)
            self.shapes.append(shape)
        return found

    def one(self, key: Hashable, draws: int = 0, shape: tuple[int, ...] = ()) -> Polynomial:
        """The polynomial that is this atom."""
        return {(self.number(key, draws, shape),): 1.0}

    def flag(self, key: Hashable, draws: int) -> Polynomial:
        """One that is 0 or 1."""
        found = self.number(key, draws)
        self.flags.add(found)
        self._special.add(found)
        return {(found,): 1.0}

    def drawn(self, *of: Polynomial) -> int:
        """The draws that polynomials are made of."""
        found = 0
        for p in of:
            for term in p:
                for atom in term:
                    found |= self.draws[atom]
        return found

    def whole(self, p: Polynomial) -> int:
        """The number of a polynomial as one thing."""
        return self.number(frozenset(p.items()), self.drawn(p), self.shape(p))

    def shape(self, p: Polynomial) -> tuple[int, ...]:
        """That of the arrays whose elements it stands for; () of one number."""
        return np.broadcast_shapes(*(self.shapes[a] for term in p for a in term))

    def inverted(self, p: Polynomial) -> Polynomial:
        """1/p, of what all terms have in common factor by factor."""
        common, number, rest = self.divided(p)
        found = {tuple(sorted(map(self._inverse, common))): 1.0 / number}
        if len(rest) == 1:
            return scaled(found, rest[ONE])  # 1 or −1
        return self.product(found, {(self._inverse(self.whole(rest)),): 1.0})

    def divided(self, p: Polynomial) -> tuple[tuple[int, ...], float, Polynomial]:
        """The factors that all terms have, a positive number, and what they multiply."""
        first = min(p)
        common = [a for a in dict.fromkeys(first) for _ in range(min(term.count(a) for term in p))]
        number = abs(p[first])
        rest: Polynomial = {}
        for term, c in p.items():
            left = list(term)
            for a in common:
                left.remove(a)
            rest[tuple(left)] = c / number
        return tuple(common), number, rest

    def _inverse(self, atom: int) -> int:
        if atom not in self.inverse:
            other = self.number(("1 /", atom), self.draws[atom], self.shapes[atom])
            self.inverse.update({atom: other, other: atom})
            self._special.update((atom, other))
        return self.inverse[atom]

    def product(self, p: Polynomial, q: Polynomial) -> Polynomial:
        """p q, multiplied out."""
        if len(p) == 1 and ONE in p:
            return scaled(q, p[ONE])
        if len(q) == 1 and ONE in q:
            return scaled(p, q[ONE])
        out: Polynomial = {}
        for a, x in p.items():
            for b, y in q.items():
                add_to(out, self._term(a, b), x * y)
        return out

    def _term(self, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
        term = a + b
        if self._special.isdisjoint(term):
            return tuple(sorted(term))
        found: list[int] = []
        for atom in sorted(term):
            if atom in self.flags and found and found[-1] == atom:
                continue
            if self.inverse.get(atom) in found:
                found.remove(self.inverse[atom])
            else:
                found.append(atom)
        return tuple(found)


def add_to(out: Polynomial, term: tuple[int, ...], c: float) -> None:
    """Add a term; what is left of coefficients that cancel but for rounding is nothing."""
    before = out.get(term)
    if before is None:
        if c != 0.0:
            out[term] = c
        return
    after = before + c
    if abs(after) <= ROUNDED * abs(c):
        del out[term]
    else:
        out[term] = after


def scaled(p: Polynomial, by: float) -> Polynomial:
    """A number times p."""
    return p if by == 1.0 else {term: by * c for term, c in p.items()} if by else {}


def added(*parts: Polynomial) -> Polynomial:
    """Their sum."""
    return summed(parts)


def summed(parts: Iterable[Polynomial]) -> Polynomial:
    """The sum of many."""
    out: Polynomial = {}
    for p in parts:
        for term, c in p.items():
            add_to(out, term, c)
    return out

"""Indices in plans: numbers, or expressions with the loop that they belong to, and what is computed of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from scg.schedule.language import Expr, Num, Over, Plus, Rest, Times


@dataclass(frozen=True, slots=True)
class Ix:
    """An index: a number, or an expression with the depth of the innermost loop in it.

    One that was `read` is made of elements of nodes, which are real numbers.
    """

    value: int | Expr
    depth: int = 0
    read: bool = False

    # what index maps are made of (see `Op.index_map`)
    def __add__(self, other) -> Ix:
        return plus(self, as_index(other))

    def __radd__(self, other) -> Ix:
        return plus(as_index(other), self)

    def __sub__(self, other) -> Ix:
        return self + scaled(as_index(other), -1)

    def __rsub__(self, other) -> Ix:
        return as_index(other) + scaled(self, -1)

    def __mul__(self, other) -> Ix:
        return scaled(self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> Ix:
        return Ix(self.number // other) if self.known else replace(self, value=Over(self.expr, other))

    def __mod__(self, other: int) -> Ix:
        return Ix(self.number % other) if self.known else replace(self, value=Rest(self.expr, other))

    @property
    def known(self) -> bool:
        """Whether it is a number."""
        return isinstance(self.value, int)

    @property
    def number(self) -> int:
        """The number that it is."""
        assert isinstance(self.value, int)
        return self.value

    @property
    def expr(self) -> Expr:
        """The expression that it is."""
        return Num(self.value, "int") if isinstance(self.value, int) else self.value


ZERO = Ix(0)


class Position(NamedTuple):
    """Which element: an index per world axis by name, and one per event dimension. The lane is implied."""

    worlds: Mapping[str, Ix]
    event: tuple[Ix, ...]


def as_index(index) -> Ix:
    """A number as an index."""
    return index if isinstance(index, Ix) else Ix(int(index))


def scaled(ix: Ix, factor: int) -> Ix:
    """factor · ix."""
    if ix.known:
        return Ix(ix.number * factor)
    return ix if factor == 1 else replace(ix, value=Times(factor, ix.expr))


def plus(a: Ix, b: Ix) -> Ix:
    """a + b."""
    if a.known and b.known:
        return Ix(a.number + b.number)
    if (a.known and a.value == 0) or (b.known and b.value == 0):
        return b if a.known and a.value == 0 else a
    return Ix(Plus(a.expr, b.expr), max(a.depth, b.depth), a.read or b.read)


def flat(event: tuple[Ix, ...], shape: tuple[int, ...]) -> Ix:
    """The C-order position of an event index."""
    at = ZERO
    for ix, size in zip(event, shape):
        at = plus(scaled(at, size), ix)
    return at

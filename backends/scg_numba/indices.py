"""Indices in kernels: numbers, or text with the loop that it belongs to, and what is computed of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Ix(NamedTuple):
    """An index expression: a number, or text with the depth of the innermost loop in it.

    One that was `read` is made of elements of nodes, which are real numbers.
    """

    text: str | int
    depth: int = 0
    read: bool = False

    # what index maps are made of (see `Op.index_map`)
    def __add__(self, other) -> Ix:  # type: ignore[override]
        return plus(self, as_index(other))

    def __radd__(self, other) -> Ix:
        return plus(as_index(other), self)

    def __sub__(self, other) -> Ix:
        return self + scaled(as_index(other), -1)

    def __rsub__(self, other) -> Ix:
        return as_index(other) + scaled(self, -1)

    def __mul__(self, other) -> Ix:  # type: ignore[override]
        return scaled(self, other)

    __rmul__ = __mul__  # type: ignore[assignment]

    def __floordiv__(self, other: int) -> Ix:
        return Ix(int(self.text) // other) if self.known else self._replace(text=f"(({self.text}) // {other})")

    def __mod__(self, other: int) -> Ix:
        return Ix(int(self.text) % other) if self.known else self._replace(text=f"(({self.text}) % {other})")

    @property
    def known(self) -> bool:
        """Whether it is a number."""
        return isinstance(self.text, int)


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
        return Ix(int(ix.text) * factor)
    return ix if factor == 1 else ix._replace(text=f"{factor} * {ix.text}")


def plus(a: Ix, b: Ix) -> Ix:
    """a + b."""
    if a.known and b.known:
        return Ix(int(a.text) + int(b.text))
    if (a.known and a.text == 0) or (b.known and b.text == 0):
        return b if a.known and a.text == 0 else a
    return Ix(f"({a.text} + {b.text})", max(a.depth, b.depth), a.read or b.read)


def flat(event: tuple[Ix, ...], shape: tuple[int, ...]) -> Ix:
    """The C-order position of an event index."""
    at = ZERO
    for ix, size in zip(event, shape):
        at = plus(scaled(at, size), ix)
    return at

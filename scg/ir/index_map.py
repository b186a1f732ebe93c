"""Where the elements of a result come from: index maps, for ops that compute nothing but choose and move.

Written once per op, they are read by kernels (an index is text with the loop that it belongs to), by formulas (a sympy
expression) and by NumPy (an array of positions): so they are made of the given indices and whole numbers by ``+``,
``-``, ``*``, ``//`` and ``%``, which are Python's, and of nothing else.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple


class Within(NamedTuple):
    """A condition: low ≤ index < high."""

    index: Any
    low: int
    high: int


class Piece(NamedTuple):
    """An element of an argument, at one index for each of its dimensions, where all conditions hold."""

    argument: int
    at: tuple
    where: tuple[Within, ...] = ()


def repeated(index: tuple, shape: tuple[int, ...]) -> tuple:
    """The index in an array of that shape, of an element of what it is broadcast to."""
    return tuple(0 if size == 1 else i for i, size in zip(index[len(index) - len(shape):], shape))


def position(index: tuple, shape: tuple[int, ...]) -> Any:
    """The place of an element in C order."""
    flat: Any = 0
    for i, size in zip(index, shape):
        flat = flat * size + i
    return flat


def reshaped(index: tuple, shape: tuple[int, ...], old: tuple[int, ...]) -> tuple:
    """The index, in an array of shape `old`, of an element of the same array in `shape`."""
    if 0 in shape:
        return (0,) * len(old)
    kept = [(i, size) for i, size in zip(index, shape) if size != 1]
    sizes = [size for size in old if size != 1]
    found: list = []
    while sizes:  # the shortest leading dimensions of both that have as many elements
        group, ours = [kept.pop(0)], [sizes.pop(0)]
        while (have := math.prod(size for _, size in group)) != (wanted := math.prod(ours)):
            if have < wanted:
                group.append(kept.pop(0))
            else:
                ours.append(sizes.pop(0))
        found += _digits(position(*zip(*group)), ours)
    left = iter(found)
    return tuple(0 if size == 1 else next(left) for size in old)


def _digits(flat: Any, sizes: list[int]) -> list:
    """A place in C order as one index for each dimension."""
    digits: list = []
    for size in reversed(sizes[1:]):
        digits.insert(0, flat % size)
        flat = flat // size
    return [flat, *digits]

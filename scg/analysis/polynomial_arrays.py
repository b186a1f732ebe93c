"""Arrays of polynomials: what is known of a node's elements, and of how they move.

An array of more than `MOST_ELEMENTS` is one polynomial, whose atoms stand for all elements at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.polynomials import ONE, Polynomial, added, scaled, summed
from scg.ir.node import Node

MOST_ELEMENTS = 512  # of an array that is taken apart
NOTHING: Polynomial = {}
Elements = Any
"""An array of polynomials, which an array's shape is broadcast from."""


class Unproved(Exception):
    """Nothing is known: what is asked about is too large, or moves in a way that is not followed."""


class Known(NamedTuple):
    """What is known of a node.

    Attributes
    ----------
    value : array of polynomials
        Whatever is stopped.
    held, whole : array of polynomials, or None
        Its differentials where what is stopped does not move, and where it does; None if it does not move.
    """

    value: Elements
    held: Elements | None = None
    whole: Elements | None = None

    @property
    def hidden(self) -> bool:
        """Whether it moves otherwise than it seems to."""
        return not _equal(self.held, self.whole)

    @property
    def moves(self) -> bool:
        """Whether it moves at all."""
        return self.held is not None or self.whole is not None

    @property
    def settled(self) -> Known:
        """With no differential where it is 0."""
        return Known(self.value, *(d if d is not None and any(d.flat) else None for d in (self.held, self.whole)))

    def mapped(self, function: Callable[[Elements], Elements]) -> Known:
        """With a linear function of each."""
        return Known(*(None if x is None else function(x) for x in self))


def is_large(node: Node) -> bool:
    """Whether an array is not taken apart."""
    return node.size > MOST_ELEMENTS


def one(p: Polynomial, ndim: int = 0) -> Elements:
    """One polynomial as an array that every shape of so many dimensions is broadcast from."""
    found = np.empty((1,) * ndim, dtype=object)
    found[(0,) * ndim] = p
    return found


def filled(shape: tuple[int, ...], element: Callable[[tuple[int, ...]], Any]) -> Elements:
    """An array by a function of the index."""
    found = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        found[index] = element(index)
    return found


def each(function: Callable[..., Any], *arrays: Elements) -> Elements:
    """A function of polynomials, element by element."""
    found = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return found if isinstance(found, np.ndarray) else one(found)


def plus(a: Elements | None, b: Elements | None) -> Elements | None:
    """Their sum, of what there is."""
    if a is None or b is None:
        return b if a is None else a
    return each(added, a, b)


def times(by: float, a: Elements | None) -> Elements | None:
    """A number times a."""
    return None if a is None else each(lambda p: scaled(p, by), a)


def is_number(p: Polynomial) -> bool:
    """Whether it is made of no atom."""
    return not p or (len(p) == 1 and ONE in p)


def number_of(p: Polynomial) -> float:
    """Which number it is, if it is one."""
    return p.get(ONE, 0.0)


def sums(array: Elements, shape: tuple[int, ...]) -> Elements:
    """Sums over the dimensions behind those of the shape."""
    flat = array.reshape(int(np.prod(shape, dtype=int)), -1)
    return _listed([summed(row) for row in flat], shape)


def by_matrix(node: Node, array: Elements) -> Elements:
    """What a linear op of one argument makes of its elements."""
    of, flat = node.args[0], list(array.flat)
    columns = []
    for i in range(of.size):
        unit = np.zeros(of.size)
        unit[i] = 1.0
        at = unit.reshape((1,) * len(of.axes) + of.shape)
        columns.append(np.asarray(node.op.value(node, [at])).ravel())  # type: ignore[misc]
    rows = zip(*columns) if columns else [()] * node.size
    return _listed([summed(scaled(p, float(w)) for p, w in zip(flat, row) if w) for row in rows], node.shape)


def _listed(found: Iterable[Polynomial], shape: tuple[int, ...]) -> Elements:
    left = iter(found)
    return filled(shape, lambda index: next(left))


def _equal(a: Elements | None, b: Elements | None) -> bool:
    if a is None or b is None:
        other = b if a is None else a
        return other is None or not any(other.flat)
    return all(p == q for p, q in np.broadcast(a, b))

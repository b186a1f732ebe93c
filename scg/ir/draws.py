"""Sets of draws, of which `scg.analysis.dependence` says what an element depends on: integers, a bit for each draw.

A node has one set for all its elements, or an array of them in its shape. What an op makes of the sets of its arguments
is a rule like its value: `Op.depends`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import index, or_
from typing import Any

import numpy as np

from scg.ir.node import Node

Draws = int | np.ndarray

MOST_ELEMENTS = 1 << 22  # of a result of which each element is told apart


def each_alone(numbers: np.ndarray) -> np.ndarray:
    """For each element of an array of numbers the set of the draw of that number alone.

    A set is a Python integer: those of NumPy end at 64 bits.
    """
    return np.asarray(np.frompyfunc(lambda number: 1 << int(number), 1, 1)(numbers), dtype=object)


def united(draws: Draws) -> int:
    """The draws that some element depends on."""
    return draws if isinstance(draws, int) else reduce(or_, draws.flat, 0)


def of_all(of: Sequence[Draws]) -> int:
    """The draws that some element of some argument depends on."""
    return reduce(or_, map(united, of), 0)


def told_apart(of: Sequence[Draws]) -> bool:
    """Whether elements of an argument have sets of their own."""
    return any(isinstance(draws, np.ndarray) for draws in of)


def whole(draws: Draws, node: Node) -> np.ndarray:
    """One set for each element of the node."""
    if isinstance(draws, np.ndarray):
        return draws
    out = np.empty(node.shape, dtype=object)
    out[...] = draws
    return out


def elementwise(n: Node, of: Sequence[Draws]) -> Draws:
    """The rule of an op that acts element by element."""
    return np.broadcast_to(reduce(or_, of), n.shape) if told_apart(of) else of_all(of)


def moved(n: Node, of: Sequence[Draws]) -> Draws:
    """The rule of an op that moves elements: by its value, of sets; what it pads with depends on nothing."""
    if len(of) == 1 and n.op.index_map is not None and not told_apart(of):
        return of_all(of)
    assert n.op.value is not None
    arrays = [whole(d, a).reshape((1,) * len(a.axes) + a.shape) for d, a in zip(of, n.args)]
    found = n.op.value(n, arrays)[(0,) * len(n.axes)]
    return found if n.op.index_map is not None else np.frompyfunc(_or_nothing, 1, 1)(found)


def _or_nothing(found: Any) -> int:
    """A set of draws; a real number, which stands where there is no element, depends on none."""
    return 0 if isinstance(found, (float, np.floating)) else index(found)


def united_over(draws: Draws, dims: Sequence[int]) -> np.ndarray:
    """The sets of an array, united along dimensions."""
    for d in sorted(dims, reverse=True):
        draws = np.bitwise_or.reduce(draws, axis=d)  # type: ignore[assignment,arg-type]
    return np.asarray(draws, dtype=object)


def has_zeros(node: Node) -> bool:
    """Whether it is an array of numbers, some of them 0: what is finite has no say in its product with these."""
    return node.is_const and bool(node.shape) and not np.all(node.attrs.array)


def multiplied(n: Node, of: Sequence[Draws]) -> Draws:
    """The rule of a product: without what a literal 0 multiplies."""
    literals = [a for a in n.args if has_zeros(a)]
    found = elementwise(n, of)
    for arg in literals:
        found = np.where(np.broadcast_to(arg.attrs.array != 0, n.shape), found, 0)
    return found

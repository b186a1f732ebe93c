"""The order in which NumPy adds, for sums that a decision reads: there the last bit matters.

NumPy adds trailing dimensions, taken as one, *pairwise*: up to 7 elements one after the other, up to 128 in eight sums
side by side, and more in two halves. What stands before a dimension that is kept is added one after the other.
(`pairwise_sum` in NumPy's ``loops_utils.h.src``.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SIDE_BY_SIDE, LONGEST = 8, 128


class Order(NamedTuple):
    """How to add elements: each is added to one of `count` partial sums, and these are added to each other.

    Attributes
    ----------
    slots : tuple of int
        The number of the partial sum that each element is added to, in the order of the elements.
    steps : tuple of (int, int)
        Which partial sum is added to which: (to, what). At the end the sum is number 0.
    count : int
    """

    slots: tuple[int, ...]
    steps: tuple[tuple[int, int], ...]
    count: int  # type: ignore[assignment]


def pairwise(size: int, first: int = 0) -> Order:
    """NumPy's order of so many elements, with partial sums from number `first` on."""
    if size < SIDE_BY_SIDE:
        return Order((first,) * size, (), 1)
    if size <= LONGEST:
        even, rest = size - size % SIDE_BY_SIDE, size % SIDE_BY_SIDE
        slots = [first + i % SIDE_BY_SIDE for i in range(even)] + [first + SIDE_BY_SIDE + i for i in range(rest)]
        tree = [(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (4, 6), (0, 4)]
        steps = [(first + to, first + what) for to, what in tree] + [(first, slot) for slot in slots[even:]]
        return Order(tuple(slots), tuple(steps), SIDE_BY_SIDE + rest)
    half = size // 2 - size // 2 % SIDE_BY_SIDE
    left = pairwise(half, first)
    right = pairwise(size - half, first + left.count)
    return Order(left.slots + right.slots, (*left.steps, *right.steps, (first, first + left.count)),
                 left.count + right.count)


def order_of(shape: Sequence[int], dims: Sequence[int]) -> Order:
    """The order of the elements that a sum over some dimensions adds, these elements being in C order."""
    kept = [d for d, size in enumerate(shape) if d not in dims and size > 1]
    inner = int(np.prod([shape[d] for d in dims if not kept or d > kept[-1]], dtype=int))
    outer = int(np.prod([shape[d] for d in dims], dtype=int)) // max(inner, 1)
    if inner == 1:
        return Order((0,) * outer, (), 1)
    parts = [pairwise(inner, 0)]
    for _ in range(1, outer):
        parts.append(pairwise(inner, sum(p.count for p in parts)))
    starts = np.cumsum([0, *(p.count for p in parts[:-1])]).tolist()
    return Order(sum((p.slots for p in parts), ()), (*(s for p in parts for s in p.steps),
                 *((0, start) for start in starts[1:])), sum(p.count for p in parts))

"""What must hold of numbers so that what was compiled of others is what they would become.

Equal literals are one node. So a guard holds only of numbers that are equal to each other, to what is computed of
them, and to any number of the compiler's own, where the first ones were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scg.ir.interval import Interval, of_array
from scg.ir.looks import QUESTIONS, Key, Looks, Made, Step, as_literal

Value = Callable[[str], Callable[..., Any]]
"""The function that computes an op, by the op's name."""


class Guard(NamedTuple):
    """What must hold of the numbers of a graph, so that what was compiled of others is what they would become.

    Attributes
    ----------
    fixed : tuple
        The places of those that must be the same, and what they are.
    ways : tuple of tuples
        Of every literal how it was computed first: an op, its attributes, and its arguments, which are arrays or places
        of literals before it; or no op, and a place among the numbers.
    again : tuple of pairs
        The places of literals that were computed in other ways besides, and these.
    others : dict
        The bytes that none of these may have, by type and shape.
    answers : tuple
        Questions about them, with their answers.
    steps, ends : tuple
        How intervals are computed of them, and questions about these.
    reals : tuple of pairs of int
        Which of the numbers that are given to a kernel are which of them.
    """

    fixed: tuple[tuple[int, Key], ...]
    ways: tuple[tuple, ...]
    again: tuple[tuple[int, tuple], ...]
    others: Mapping[tuple, frozenset[bytes]]
    answers: tuple[tuple[int, str, tuple, bool], ...]
    steps: tuple[tuple, ...]
    ends: tuple[tuple, ...]
    reals: tuple[tuple[int, int], ...] = ()

    def holds(self, numbers: Sequence[np.ndarray], value: Value) -> list[np.ndarray] | None:
        """The literals that are made of these numbers, if all holds of them that must; else None."""
        if any(_key(numbers[place]) != key for place, key in self.fixed):
            return None
        known: list[np.ndarray] = []
        for way in self.ways:
            known.append(_computed(way, numbers, known, value))
        keys = [*map(_key, known)]
        if any(_key(_computed(way, numbers, known, value)) != keys[i] for i, way in self.again):
            return None
        if len({*keys}) != len(keys) or any(data in self.others.get((kind, shape), ()) for kind, shape, data in keys):
            return None
        if any(QUESTIONS[question](known[i], *given) is not answer for i, question, given, answer in self.answers):
            return None
        return known if self._same_intervals(known) else None

    def _same_intervals(self, known: Sequence[np.ndarray]) -> bool:
        found: list[Interval] = []
        for name, *given in self.steps:
            if name == "of":
                found.append(of_array(known[given[0]]))
            elif not name:
                found.append(given[0])
            else:
                one, *more = [found[x.number] if isinstance(x, Step) else x for x in given]
                found.append(getattr(one, name)(*more))
        for step, name, given, end in self.ends:
            interval = found[step.number]
            asked = getattr(interval, name) if name else tuple(interval)
            if (asked(*given) if callable(asked) else asked) != end:
                return False
        return True


def guard_of(looks: Looks, reals: Sequence[float], texts: bool = False) -> Guard:
    """What must hold of other numbers, by what was looked at of these.

    Parameters
    ----------
    looks : Looks
    reals : sequence of float
        Those that a kernel is given.
    texts : bool
        Whether there are texts that may show the numbers.
    """
    fixed = _fixed(looks, looks.read | looks.shown if texts else looks.read)
    places = {key: i for i, key in enumerate(looks.roots)}
    free = {key: i for i, key in enumerate(key for key in looks.made if key not in fixed)}
    steps, ends = _of_intervals(looks, free)
    own = {("<f8", (), np.float64(x).tobytes()) for x in looks.numbers}
    return Guard(
        tuple((i, key) for i, key in enumerate(looks.roots) if key in fixed),
        tuple(_way(looks.made[key][0], places.get(key, 0), free) for key in free),
        tuple((i, _way(made, 0, free)) for key, i in free.items() for made in looks.made[key][1:]),
        _others((looks.written | own | fixed) - free.keys(), free),
        tuple((free[key], question, given, answer) for (key, question, given), answer in looks.answers.items()
              if key in free),
        steps, ends,
        tuple((i, free[key]) for i, x in enumerate(reals) if (key := ("<f8", (), np.float64(x).tobytes())) in free))


def _fixed(looks: Looks, read: set[Key]) -> set[Key]:
    """Literals that must be the same: they were read, or are what something else is too, or made of such alone."""
    order = {key: i for i, key in enumerate(looks.made)}
    fixed = {key for key in looks.made if key in read or key in looks.written or _number(key) in looks.numbers
             or any(order.get(arg.key, -1) >= order[key] for made in looks.made[key][:1] if made for arg in made.args)}
    while True:
        more = {root for key in fixed for root in _roots(looks, key)} - fixed
        for key, ways in looks.made.items():
            still = [made is not None and all(arg.key in fixed or arg.key not in looks.made for arg in made.args)
                     for made in ways]
            if any(still) and key not in fixed:  # if some ways are of what stays and others are not, it stays too
                more.add(key)
        if not more:
            return fixed
        fixed |= more


def _roots(looks: Looks, key: Key) -> Iterator[Key]:
    """What a literal is made of."""
    seen, waiting = {key}, [key]
    while waiting:
        one = waiting.pop()
        if None in looks.made.get(one, ()):
            yield one
        new = {arg.key for made in looks.made.get(one, ()) if made for arg in made.args} - seen
        seen |= new
        waiting += new


def _number(key: Key) -> float | None:
    return float(np.frombuffer(key[2], key[0])[0]) if key[:2] == ("<f8", ()) else None


def _way(made: Made | None, place: int, free: Mapping[Key, int]) -> tuple:
    if made is None:
        return "", (), (place,)
    return made.op, made.attrs, tuple(free.get(arg.key, _array(arg.key)) for arg in made.args)


def _array(key: Key) -> np.ndarray:
    return np.frombuffer(key[2], key[0]).reshape(key[1])


def _others(keys: set[Key], free: Mapping[Key, int]) -> dict[tuple, frozenset[bytes]]:
    """The bytes of literals, of those types and shapes that matter."""
    kinds = {key[:2] for key in free}
    return {kind: frozenset(key[2] for key in keys if key[:2] == kind) for kind in kinds}


def _of_intervals(looks: Looks, free: Mapping[Key, int]) -> tuple[tuple[tuple, ...], tuple[tuple, ...]]:
    """How intervals are computed, and what was asked of those that may be others."""
    steps: list[tuple] = []
    moved: list[bool] = []
    for name, *given in looks.steps:
        if name == "of":
            moved.append(given[0] in free)
            steps.append(("of", free[given[0]]) if moved[-1] else ("", of_array(_array(given[0]))))
        else:
            moved.append(any(moved[x.number] for x in given if isinstance(x, Step)))
            steps.append((name, *given))
    ends = tuple((step, name, given, end) for (step, name, given), end in looks.ends.items() if moved[step.number])
    last = max((step.number for step, *_ in ends), default=-1)
    return tuple(steps[: last + 1]), ends


def _key(array: np.ndarray) -> Key:
    return array.dtype.str, array.shape, array.tobytes()


def _computed(way: tuple, numbers: Sequence[np.ndarray], known: Sequence[np.ndarray], value: Value) -> np.ndarray:
    op, attrs, args = way
    if not op:
        return numbers[args[0]]
    with np.errstate(all="ignore"):
        return as_literal(value(op)(*(known[a] if isinstance(a, int) else a for a in args), *attrs))

"""The literal: the numbers of a constant node, which tell whoever watches what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scg.ir.interval import Interval, of_array
from scg.ir.looks import QUESTIONS, WATCHING, Given, Made, as_literal, is_generic


class Literal:
    """A NumPy array that can be hashed: the attribute of a constant node.

    Whoever watches literals is told what they are asked; see `scg.ir.looks`.

    Parameters
    ----------
    array : array_like
    made : Made, optional
        How it was computed of other literals.

    Attributes
    ----------
    key : tuple
        Its type, shape and bytes, for whoever asks whether two are the same.
    """

    __slots__ = ("_array", "key")

    def __init__(self, array, made: Made | None = None):
        self._array = np.array(array, order="C")
        self._array.setflags(write=False)
        self.key = (self._array.dtype.str, self._array.shape, self._array.tobytes())
        for looks in WATCHING:
            if made is None:
                looks.written.add(self.key)
            else:
                looks.computed(self.key, made)

    @property
    def array(self) -> np.ndarray:
        """Its array, for whoever looks at it."""
        for looks in WATCHING:
            looks.read.add(self.key)
        return self._array

    @property
    def shown(self) -> np.ndarray:
        """Its array, for a text: texts decide nothing but texts."""
        for looks in WATCHING:
            looks.shown.add(self.key)
        return self._array

    @property
    def unwatched(self) -> np.ndarray:
        """Its array, for who decides nothing by it."""
        return self._array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its array."""
        return self._array.shape

    @property
    def is_boolean(self) -> bool:
        """Whether it holds truths."""
        return self._array.dtype == bool

    @property
    def is_generic(self) -> bool:
        """Whether it is one number that rules and compilers do not know."""
        return is_generic(self._array)

    def ask(self, question: str, *given: Any) -> bool:
        """The answer to one of the `QUESTIONS` about it."""
        answer = QUESTIONS[question](self._array, *given)
        for looks in WATCHING:
            looks.asked(self.key, question, given, answer)
        return answer

    def interval(self) -> Interval:
        """The interval of its elements."""
        found: Interval = of_array(self._array)
        for looks in WATCHING:
            found = looks.interval(self.key, found)
        return found

    def number(self) -> float:
        """The only element, as a number of a kernel: of a number that kernels are given nobody looks at which it is."""
        if not any(looks.follows(self.key) for looks in WATCHING) or not self.ask("generic"):
            return float(self.array)
        given: Any = Given(float(self._array), lambda: self.array)
        return given

    @classmethod
    def computed(cls, value: Callable[..., Any], op: str, attrs: tuple, of: Sequence[Literal]) -> Literal | None:
        """What an op makes of literals; None if that is not finite."""
        with np.errstate(all="ignore"):
            array = as_literal(value(*(x._array for x in of), *attrs))
        found = cls(array, Made(op, attrs, tuple(of)))
        return found if found.ask("finite") else None

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other) -> bool:
        return isinstance(other, Literal) and self.key == other.key

    def __reduce__(self):  # an array that was read could be written to
        return Literal, (self.array,)

    def __repr__(self) -> str:
        return np.array2string(self.shown, precision=6, threshold=8, separator=", ").replace("\n", "")

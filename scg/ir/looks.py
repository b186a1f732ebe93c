"""What a compiler looks at of the numbers in a graph, while somebody watches.

A `Literal` tells its watchers whatever is asked of it: of its array, that it was read; of a question, the answer; of
arithmetic on literals, what came of it. Who compiles a graph and has watched its numbers knows what must hold of other
numbers so that the same would come of them: that is a guard (`scg.ir.alike`). Nothing else of a number reaches a
compiler, so what is not in the guard can have had no part in it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np

from scg.forking import in_children
from scg.ir.interval import Interval

Key = tuple[str, tuple[int, ...], bytes]
"""An array by its type, shape and bytes."""

QUESTIONS: dict[str, Callable[..., bool]] = {
    "is": lambda array, value: bool((array == value).all()),
    "all": lambda array: bool(np.all(array)),
    "any": lambda array: bool(array.any()),
    "finite": lambda array: bool(np.all(np.isfinite(array))),
    "infinite": lambda array: bool(np.all(np.isinf(array))),
    "whole": lambda array: bool(np.all(array == np.floor(array))),
    "at most": lambda array, most: bool(np.all(np.abs(array) <= most)),
    "passes": lambda array, test: bool(np.all(test(array))),
    "generic": lambda array: is_generic(array),
}
"""What can be asked of a literal without looking at its numbers."""
_SPECIAL = (0.5, -0.5)
_STEPS = ("negated", "plus", "times", "reciprocal", "magnitude", "power", "larger", "hull", "mixed", "repeated")


def is_generic(array: np.ndarray) -> bool:
    """Whether it is one number that rules and compilers do not know: neither whole nor ½, and finite."""
    if array.shape or array.dtype != np.float64:
        return False
    value = float(array)
    return math.isfinite(value) and not value.is_integer() and value not in _SPECIAL


class Watched(Protocol):
    """A literal."""

    @property
    def key(self) -> Key:
        """Its array, for whoever asks whether two are the same."""


class Made(NamedTuple):
    """How a literal was computed: by which op, with which attributes, of which literals."""

    op: str
    attrs: tuple
    args: tuple[Watched, ...]


class Step(NamedTuple):
    """The number of a step, where an interval was computed of others."""

    number: int


class Looks:
    """What was looked at, of the numbers of a graph.

    Parameters
    ----------
    roots : sequence of Literal
        The numbers of the graph, each once.
    """

    def __init__(self, roots: Sequence[Watched]):
        self.roots = [root.key for root in roots]
        self.made: dict[Key, list[Made | None]] = {key: [None] for key in self.roots}
        self.read: set[Key] = set()
        self.shown: set[Key] = set()  # in texts
        self.written: set[Key] = set()  # literals of other origin
        self.numbers: set[float] = set()  # of kernels, of other origin
        self.answers: dict[tuple[Key, str, tuple], bool] = {}
        self.open, self.thread = True, threading.get_ident()
        self.facts: dict[int, dict] = {}  # of nodes, by their ids: what was found before nobody has watched
        self.steps: list[tuple] = []  # how intervals were computed
        self.ends: dict[tuple, Any] = {}  # what was asked of them

    # --- what literals tell -----------------------------------------------------------------------------------------
    def computed(self, key: Key, made: Made) -> None:
        """A literal was made of others."""
        if any(arg.key in self.made for arg in made.args):
            ways = self.made.setdefault(key, [])
            if made not in ways:
                ways.append(made)
        else:
            self.written.add(key)

    def asked(self, key: Key, question: str, given: tuple, answer: bool) -> None:
        """A question was answered."""
        if key in self.made:
            self.answers[key, question, given] = answer

    def interval(self, key: Key, found: Interval) -> Any:
        """The interval of a literal, that tells what is asked of it."""
        if not self.follows(key):
            self.read.add(key)
            return found
        return self.seen(found, ("of", key))

    def follows(self, key: Key) -> bool:
        """Whether it is told what this thread does with a literal."""
        return key in self.made and self.thread == threading.get_ident()

    def seen(self, found: Interval, step: tuple) -> Any:
        """An interval that tells what is asked of it, and how it was computed, while somebody watches."""
        if not self.open:
            return found
        self.steps.append(step)
        return Seen(self, found, Step(len(self.steps) - 1))


class Seen:
    """An interval, that tells what is asked of it."""

    __slots__ = ("_found", "_looks", "_step")

    def __init__(self, looks: Looks, found: Interval, step: Step):
        self._looks, self._found, self._step = looks, found, step

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._found, name)
        if not callable(found):
            return self._told(name, (), found)
        return lambda *given: self._called(name, found, given)

    def _called(self, name: str, function: Callable[..., Any], given: tuple) -> Any:
        if name in _STEPS and all(isinstance(x, int) or (isinstance(x, Seen) and x._looks is self._looks)
                                  for x in given):
            plain = [x._found if isinstance(x, Seen) else x for x in given]
            steps = [x._step if isinstance(x, Seen) else x for x in given]
            return self._looks.seen(function(*plain), (name, self._step, *steps))
        if name in ("above", "contains", "only"):
            return self._told(name, given, function(*given))
        return getattr(self._plain(), name)(*[x._plain() if isinstance(x, Seen) else x for x in given])

    def _plain(self) -> Interval:
        """All of it: it must be the same."""
        return Interval(*self._told("", (), tuple(self._found)))

    def _told(self, name: str, given: tuple, found: Any) -> Any:
        if self._looks.open:
            self._looks.ends[self._step, name, given] = found
        return found

    def __getitem__(self, which: Any) -> Any:
        return self._plain()[which]

    def __iter__(self) -> Iterator:
        return iter(self._plain())

    def __eq__(self, other: object) -> bool:
        return self._plain() == (other._plain() if isinstance(other, Seen) else other)

    def __hash__(self) -> int:
        return hash(self._plain())

    def __reduce__(self):
        return Interval, tuple(self._plain())


def together(intervals: Sequence[Any]) -> Sequence[Any]:
    """Intervals that all tell what is asked of them, if one does."""
    looks = next((x._looks for x in intervals if isinstance(x, Seen) and x._looks.open), None)
    if looks is None:
        return [x._plain() if isinstance(x, Seen) else x for x in intervals]
    return [x if isinstance(x, Seen) and x._looks is looks else
            looks.seen(x._plain() if isinstance(x, Seen) else x, ("", x)) for x in intervals]


class Given:
    """A number of a kernel that is a literal's. Whoever looks at it is told, and so is the watcher."""

    __slots__ = ("_read", "_value", "text")

    def __init__(self, value: float, read: Callable[[], object]):
        self._value, self._read = value, read
        self.text = repr(value)  # for whoever asks whether two are the same

    def __float__(self) -> float:
        self._read()
        return self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __eq__(self, other: object) -> bool:
        return self.text == text_of(other)

    def __repr__(self) -> str:
        return repr(float(self))

    def __format__(self, spec: str) -> str:
        return format(float(self), spec)


def _delegated(name: str) -> Callable[..., Any]:
    return lambda self, *given: getattr(float(self), name)(*map(_as_it_is, given))


def _as_it_is(x: Any) -> Any:
    return float(x) if isinstance(x, Given) else x


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "radd", "rsub", "rmul", "rtruediv", "rfloordiv",
              "rmod", "rpow", "neg", "pos", "abs", "lt", "le", "gt", "ge", "bool", "int", "round", "trunc"):
    setattr(Given, f"__{_name}__", _delegated(f"__{_name}__"))


def text_of(value: Any) -> str:
    """A number's digits, by which it is told from others."""
    return value.text if isinstance(value, Given) else repr(value)


# --- watching ---------------------------------------------------------------------------------------------------------
WATCHING: list[Looks] = []  # one at most, of all threads: what one of them asks may be kept, and found by another
_lock = threading.Lock()


def _renew() -> None:
    """Who watched is not in a forked process."""
    global _lock
    _lock = threading.Lock()
    WATCHING.clear()


in_children(_renew)


@contextmanager
def watched(roots: Sequence[Watched], others: Callable[[], Iterable[Key]]) -> Iterator[Looks | None]:
    """Watch what is asked of literals in here, if nobody else does; `others` are those that there are."""
    looks = Looks(roots)
    with _lock:
        first = not WATCHING
        if first:
            WATCHING.append(looks)
    if not first:
        yield None
        return
    try:
        looks.written.update(key for key in others() if key not in looks.made)
        yield looks
    finally:
        with _lock:
            looks.open = False
            WATCHING.clear()


def as_literal(value: Any) -> np.ndarray:
    """A value as the array of a literal: of float64, or booleans."""
    array = np.asarray(value)
    return np.array(array if array.dtype == bool else array.astype(np.float64), order="C")

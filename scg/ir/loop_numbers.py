"""Numbers of open loops: they stand before the names of a loop's leaves, and each is given out once in a process."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

_next = itertools.count()
_NUMBER = re.compile(r"\d+(?=:)")


def fresh() -> int:
    """A number that no other loop of this process has."""
    return next(_next)


def unnumbered(name: str) -> str:
    """A leaf's name in print."""
    return name.partition(":")[2] or name


def renumbered(name: str, known: dict[str, int]) -> str:
    """The name of a leaf from another process, with a number of this one; `known` holds those that were given out."""
    return _with_number(name, lambda number: known.setdefault(number, fresh()))


def numbered_anew(name: str, known: dict[str, int]) -> str:
    """The name of a leaf with the number that its loop has in the order in which loops are come by: the first has 0."""
    return _with_number(name, lambda number: known.setdefault(number, len(known)))


def _with_number(name: str, of: Callable[[str], int]) -> str:
    number = _NUMBER.match(name)
    return name if number is None else f"{of(number[0])}{name[number.end():]}"

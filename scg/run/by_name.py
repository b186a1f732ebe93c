"""Results by name, as users ask for them: mappings whose missing names are this package's errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from scg.errors import UnknownAttribute, UnknownName
from scg.ir.location import here

V = TypeVar("V")


class Asked(Mapping[str, V]):
    """A mapping that is more than a dict: classes of results that are looked up by name are made of it.

    Parameters
    ----------
    found : mapping of str
    asked, lacks, has : str
        What the error of a missing name says: what was asked for, with {} for the name; that it is not there; and what
        the names are that are.
    """

    def __init__(self, found: Mapping[str, V], asked: str, lacks: str, has: str):
        self._found, self._words = dict(found), (asked, lacks, has)

    def __getitem__(self, name: str) -> V:
        try:
            return self._found[name]
        except (KeyError, TypeError):
            asked, lacks, has = self._words
            raise UnknownName(str(here() or ""), asked.format(repr(name)), lacks,
                              f"{has}: {', '.join(self._found) or 'none'}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Named(dict):
    """A dict of results; a name that it lacks is an error that says what it has.

    Attributes
    ----------
    asked : str
        How it is asked for: ``"r.grad"``.
    fix : str
        What would give the name a result.
    """

    __slots__ = ()
    asked = fix = ""

    def __getattr__(self, name: str):
        if name.startswith("_"):  # protocols ask
            raise AttributeError(name)
        fix = f"Write {self.asked}[{name!r}]." if name in self else f'Names are asked for as in {self.asked}["theta"].'
        raise UnknownAttribute(str(here() or ""), f"{self.asked}.{name} was asked for.",
                               f"Results are read by name. It has: {', '.join(map(str, self)) or 'nothing'}.", fix)

    def __missing__(self, name):
        raise UnknownName(str(here() or ""), f"{self.asked}[{name!r}] was asked for.",
                          f"It has: {', '.join(map(str, self)) or 'nothing'}.", self.fix)


class Gradients(Named):
    """``r.grad``."""

    __slots__ = ()
    asked, fix = "r.grad", "What is differentiated are the params, or what wrt= named."


class Errors(Named):
    """``r.stderr``."""

    __slots__ = ()
    asked, fix = "r.stderr", Gradients.fix


class ByName(Named):
    """What is asked for in another way."""

    def __init__(self, found=(), asked: str = "", fix: str = ""):
        super().__init__(found)
        self.asked, self.fix = asked, fix

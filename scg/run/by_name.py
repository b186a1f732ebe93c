"""Results by name, as users ask for them: dicts whose missing names are this package's errors."""

from __future__ import annotations

from scg.errors import UnknownAttribute, UnknownName
from scg.ir.location import here


class ByName(dict):
    """A dict of results; a name that it lacks is an error that says what it has.

    Parameters
    ----------
    found : dict
    asked : str
        How it is asked for: ``"r.grad"``.
    fix : str
        What would give the name a result.
    """

    def __init__(self, found=(), asked: str = "", fix: str = ""):
        super().__init__(found)
        self.asked, self.fix = asked, fix

    def __getattr__(self, name: str):
        if name.startswith("_"):  # protocols ask
            raise AttributeError(name)
        fix = f"Write {self.asked}[{name!r}]." if name in self else f'Names are asked for as in {self.asked}["theta"].'
        raise UnknownAttribute(str(here() or ""), f"{self.asked}.{name} was asked for.",
                               f"Results are read by name. It has: {', '.join(map(str, self)) or 'nothing'}.", fix)

    def __missing__(self, name):
        raise UnknownName(str(here() or ""), f"{self.asked}[{name!r}] was asked for.",
                          f"It has: {', '.join(map(str, self)) or 'nothing'}.", self.fix)

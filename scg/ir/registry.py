"""Registries: what the package knows by name, each thing once."""

from __future__ import annotations

from typing import TypeVar

from scg.errors import DeclarationError
from scg.ir.location import here

T = TypeVar("T")


class Registry(dict[str, T]):
    """Things of one kind by name; a second one of a name is refused.

    Parameters
    ----------
    kind : str
        What it holds, as errors call it: ``"estimator"``.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def add(self, name: str, thing: T) -> T:
        """Enter a thing under its name.

        Raises
        ------
        DeclarationError
            If another one has the name. A class of the same module is no other but its new definition: a cell of a
            notebook that is run again, or ``dataclass(slots=True)``, which makes every class twice.
        """
        earlier = self.get(name)
        if earlier is not None and not _redefined(earlier, thing):
            raise DeclarationError(
                str(here() or ""), f'The name "{name}" was registered a second time, for another {self.kind}.',
                f"Each {self.kind} is known by its name: the earlier one would be lost.", "Choose another name.")
        self[name] = thing
        return thing


def _redefined(earlier, thing) -> bool:
    """Whether two things of one name are one class of one module, before and after."""
    return isinstance(earlier, type) and isinstance(thing, type) and earlier.__module__ == thing.__module__

"""Copies of a graph: what it was at some time, over the same nodes; and pickled ones, over nodes of their own."""

from __future__ import annotations

import copyreg
from typing import Any, Self

from scg.ir.flat import nodes_of, remade, to_bytes


class Copied:
    """What can be kept as it is by now, and pickled.

    Attributes
    ----------
    names : dict of int to str
        Names of nodes, by their ids: these mean something in one process only.
    """

    names: dict[int, str]

    @property
    def home(self) -> Any:
        """The graph that its nodes belong to: itself, unless it was kept."""
        return self.__dict__.get("_home", self)

    def as_it_is(self) -> Self:
        """The graph as it is declared by now: what is declared later is not in it.

        Compiled functions and surrogates keep it, and are of nothing else.
        """
        kept = object.__new__(type(self))
        kept.__dict__.update((name, value.copy() if isinstance(value, (dict, set, list)) else value)
                             for name, value in self.__dict__.items())
        kept.__dict__["_home"] = self.home
        return kept

    def __reduce__(self):
        parts = {name: value for name, value in self.__dict__.items() if name != "_home"}
        nodes = nodes_of(parts, self.home)
        names = [(node, self.names[node.id]) for node in nodes if node.id in self.names]
        data = to_bytes({**parts, "names": names}, nodes, self.home)
        if self.home is self:
            return copyreg.__newobj__, (type(self),), data  # type: ignore[attr-defined]
        return _kept, (type(self), data, self.home)

    def __setstate__(self, data: bytes) -> None:
        self._read(data, self)

    def _read(self, data: bytes, home: Copied) -> None:
        self.__dict__.update(remade(data, home))
        self.names = {node.id: name for node, name in self.__dict__["names"]}


def _kept(kind: type[Copied], data: bytes, home: Copied) -> Copied:
    kept = object.__new__(kind)
    kept._read(data, home)
    kept.__dict__["_home"] = home
    return kept

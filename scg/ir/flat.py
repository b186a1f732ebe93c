"""Objects that hold nodes as bytes: one record a node, arguments first, so that depth does not matter.

Ids of nodes, and numbers of open loops, mean something in one process only: what is read is made anew there, so that
equal nodes are one node again.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

from scg.ir.location import derived_from
from scg.ir.loop_numbers import renumbered
from scg.ir.node import FUNCTIONS, Node, has_owners_identity, make, restored
from scg.ir.said import call_of, taught
from scg.ir.traverse import topological

_FIELDS = ("op", "args", "attrs", "shape", "axes", "kind", "source")
_OWNER = "owner"


class _Finder(pickle.Pickler):
    """Finds the nodes that an object holds."""

    def __init__(self, owner: Any) -> None:
        super().__init__(io.BytesIO())
        self.owner = owner
        self.found: list[Node] = []

    def persistent_id(self, obj: Any) -> str | None:
        if isinstance(obj, Node):
            self.found.append(obj)
            return ""
        return _OWNER if obj is self.owner and obj is not None else None


class _Writer(pickle.Pickler):
    def __init__(self, file, owner: Any) -> None:
        super().__init__(file)
        self.owner = owner
        self.numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | str | None:
        if isinstance(obj, Node):
            return self.numbers[obj.id]
        return _OWNER if obj is self.owner and obj is not None else None


class _Reader(pickle.Unpickler):
    def __init__(self, file, owner: Any) -> None:
        super().__init__(file)
        self.owner = owner
        self.nodes: list[Node] = []

    def persistent_load(self, number: int | str) -> Any:
        return self.owner if isinstance(number, str) else self.nodes[number]


def nodes_of(obj: Any, owner: Any = None) -> list[Node]:
    """All nodes that an object holds, and what they are computed from, arguments first; `owner` is not entered."""
    finder = _Finder(owner)
    finder.dump(obj)
    return _everything(finder.found)


def to_bytes(obj: Any, nodes: Sequence[Node], owner: Any = None) -> bytes:
    """An object that holds these nodes of a graph, which is not written itself."""
    file = io.BytesIO()
    writer = _Writer(file, owner)
    writer.dump(len(nodes))
    for node in nodes:
        writer.dump((has_owners_identity(node), *(getattr(node, name) for name in _FIELDS), call_of(node)))
        writer.numbers[node.id] = len(writer.numbers)
    writer.dump(obj)
    return file.getvalue()


def from_bytes(data: bytes) -> Any:
    """The object of `to_bytes`, over nodes of its own that belong to no graph."""
    reader = _Reader(io.BytesIO(data), None)
    for _ in range(reader.load()):
        fields = reader.load()
        reader.nodes.append(restored(**dict(zip(_FIELDS, fields[1:]))))
        taught(reader.nodes[-1], fields[-1])
    return reader.load()


def remade(data: bytes, owner: Any) -> Any:
    """The object of `to_bytes`, over nodes of this process that belong to the graph `owner`."""
    reader = _Reader(io.BytesIO(data), owner)
    numbers: dict[str, int] = {}
    for _ in range(reader.load()):
        owned, op, args, attrs, *_, source, call = reader.load()
        if op.name == "placeholder":
            attrs = attrs._replace(name=renumbered(attrs.name, numbers))
        with derived_from(source):
            reader.nodes.append(make(op, args, attrs, owner=owner if owned else None))
        taught(reader.nodes[-1], call)
    return reader.load()


def _everything(roots: Sequence[Node]) -> list[Node]:
    """All nodes below the roots, with those that attributes hold, and what it reads as, before the node itself."""
    found: dict[int, Node] = {}
    for node in topological(roots):
        if node.id not in found:
            call = call_of(node)
            inner = (*getattr(node.attrs, "nodes", ()), *(call.args if call else ()))
            found.update((n.id, n) for n in (_everything(inner) if inner else ()) if n.id not in found)
            found[node.id] = node
    return list(found.values())


def _reduced(node: Node) -> tuple:
    """What `pickle` keeps of one node: the graph that it stands in."""
    return remade, (to_bytes(node, nodes_of(node), node.owner), node.owner)


FUNCTIONS["reduced"] = _reduced

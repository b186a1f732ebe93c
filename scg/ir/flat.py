"""Objects that hold graphs as bytes: one record a node, arguments first, so that depth does not matter."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import Any

from scg.ir.node import Node, restored
from scg.ir.traverse import topological

_FIELDS = ("op", "args", "attrs", "shape", "axes", "kind", "source")


class _Writer(pickle.Pickler):
    def __init__(self, file) -> None:
        super().__init__(file)
        self.numbers: dict[int, int] = {}

    def persistent_id(self, obj: Any) -> int | None:
        return self.numbers[obj.id] if isinstance(obj, Node) else None


class _Reader(pickle.Unpickler):
    def __init__(self, file) -> None:
        super().__init__(file)
        self.nodes: list[Node] = []

    def persistent_load(self, number: int) -> Node:
        return self.nodes[number]


def to_bytes(obj: Any, roots: Sequence[Node]) -> bytes:
    """An object that holds nodes below some roots; whose graph they were is not kept."""
    file = io.BytesIO()
    writer = _Writer(file)
    order = _everything(roots)
    writer.dump(len(order))
    for node in order:
        writer.dump(tuple(getattr(node, name) for name in _FIELDS))
        writer.numbers[node.id] = len(writer.numbers)
    writer.dump(obj)
    return file.getvalue()


def from_bytes(data: bytes) -> Any:
    """The object of `to_bytes`, over nodes of its own."""
    reader = _Reader(io.BytesIO(data))
    for _ in range(reader.load()):
        reader.nodes.append(restored(**dict(zip(_FIELDS, reader.load()))))
    return reader.load()


def _everything(roots: Sequence[Node]) -> list[Node]:
    """All nodes below the roots, with those that attributes hold before the node whose attributes they are."""
    found: dict[int, Node] = {}
    for node in topological(roots):
        if node.id not in found:
            inner = getattr(node.attrs, "nodes", ())
            found.update((n.id, n) for n in (_everything(inner) if inner else ()) if n.id not in found)
            found[node.id] = node
    return list(found.values())

"""What an object over nodes is made of, as bytes: equal ones are of equal objects, in whatever process they are.

Ids of nodes, numbers of open loops, the user's lines and what loops call their carries are left out, and so are
literals that are any number, for all that is known yet; for the user's names stand numbers. What has code or data that
the bytes cannot hold, a function or a class that is not this package's, has none.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MappingProxyType
from typing import Any, NamedTuple

from scg.ir.flat import nodes_of
from scg.ir.literal import Literal
from scg.ir.location import Location
from scg.ir.loop_numbers import numbered_anew
from scg.ir.node import Node, has_owners_identity
from scg.ir.op import Op
from scg.ir.said import call_of

_KNOWN = {"scg", "numpy", "builtins"}  # packages whose classes and functions are told by their names, at one version


class Structure(NamedTuple):
    """What an object is made of.

    Attributes
    ----------
    data : bytes
        A digest of it, without lines and literals.
    lines : tuple of Location
        The user's lines that it holds, in their order.
    literals : tuple of Literal
        Those that were left out, in their order.
    """

    data: bytes
    lines: tuple[Location, ...]
    literals: tuple[Literal, ...]


class Called(NamedTuple):
    """A name of the user's, where it is one."""

    name: str


class Foreign(Exception):
    """Something is not this package's own."""


class _Writer(pickle.Pickler):
    """Writes objects by what they are, never by which of equal ones they are."""

    def __init__(self, file: io.BytesIO, owner: Any, ops: frozenset[str], names: Mapping[str, int]) -> None:
        super().__init__(file, 5)
        self.fast = True  # nothing is written as "the same as before"
        self.owner, self.ops, self.names = owner, ops, names
        self.numbers: dict[int, int] = {}
        self.lines: list[Location] = []
        self.literals: list[Literal] = []

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Node):
            return self.numbers[obj.id]
        if isinstance(obj, Location):
            self.lines.append(obj)
            return "line"
        if isinstance(obj, Op):
            if obj.name not in self.ops:
                raise Foreign(obj.name)
            return f"op {obj.name}"
        if isinstance(obj, Called):
            return "name", self.names.get(obj.name, obj.name)
        if type(obj) in (set, frozenset):  # in one order: that of a set is another in every process
            return "set", tuple(sorted(obj, key=repr))
        return "owner" if obj is self.owner and obj is not None else None

    def reducer_override(self, obj: Any) -> Any:
        named = isinstance(obj, (type, FunctionType, BuiltinFunctionType))
        module = getattr(obj, "__module__", None) if named else type(obj).__module__
        if str(module).partition(".")[0] not in _KNOWN:
            raise Foreign(repr(type(obj)))
        return NotImplemented


def structure_of(obj: Any, ops: frozenset[str], owner: Any = None,
                 names: Mapping[str, int] = MappingProxyType({})) -> Structure | None:
    """What an object is made of; `ops` are those that are known by their names.

    Parameters
    ----------
    obj : object
        Its nodes may belong to the graph `owner`.
    ops : frozenset of str
    owner : object, optional
    names : dict of str to int
        What stands for a name, where something is `Called` by it, or the attributes of a node say that it is one.

    Returns
    -------
    Structure or None
        None if something of it is not this package's own, or cannot be written.
    """
    file = io.BytesIO()
    writer = _Writer(file, owner, ops, names)
    try:
        _write(writer, obj, nodes_of(obj, owner))
    except Exception:  # whatever an object says that will not be written: it has no structure then
        return None
    return Structure(hashlib.blake2b(file.getvalue(), digest_size=32).digest(), tuple(writer.lines),
                     tuple(writer.literals))


def _write(writer: _Writer, obj: Any, nodes: Sequence[Node]) -> None:
    loops: dict[str, int] = {}
    for node in nodes:
        attrs = node.attrs
        if node.op.name == "placeholder":
            attrs = attrs._replace(name=numbered_anew(attrs.name, loops), called="")
        elif node.is_const and attrs.is_generic:
            writer.literals.append(attrs)
            attrs = None
        elif (field := getattr(attrs, "naming", None)) is not None:
            attrs = attrs._replace(**{field: Called(getattr(attrs, field))})
        attrs = getattr(attrs, "uncalled", attrs)
        owned = has_owners_identity(node)
        writer.dump((node.op, node.args, attrs, node.shape, node.axes, node.kind, owned, node.source, call_of(node)))
        writer.numbers[node.id] = len(writer.numbers)
    writer.dump(obj)

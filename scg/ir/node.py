"""The node: immutable and hash-consed, so that equality is identity and common subexpressions are one object.

A node is ``(op, args, attrs)`` with its event shape, its axes, its kind (``real``, ``bool``, ``noise``, ``tuple``) and
the user's line. The line takes no part in identity.
"""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections.abc import Iterator
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from scg.errors import DeclarationError, NodeUseError, SCGError, ShapeError
from scg.forking import in_children
from scg.ir.axes import Axes, union
from scg.ir.literal import Literal
from scg.ir.location import Location, here
from scg.ir.looks import WATCHING, Key
from scg.ir.methods import FUNCTIONS as FUNCTIONS
from scg.ir.methods import function
from scg.ir.op import Op, lookup
from scg.ir.refused_uses import RefusedUses, using

LARGEST = 1 << 27  # elements of a node: a gigabyte of them in float64
_table: weakref.WeakValueDictionary[tuple, Node] = weakref.WeakValueDictionary()
_ids = itertools.count()
_lock = threading.RLock()


def _renew() -> None:
    global _lock
    _lock = threading.RLock()


in_children(_renew)


class Node(RefusedUses):
    """A value in the graph. Make one with `make`, or with operators and functions on other nodes.

    Attributes
    ----------
    op : Op
        What computes it.
    args : tuple of Node
        What it is computed from.
    attrs : hashable
        What else the op needs.
    shape : tuple of int
        Event shape, without axes.
    axes : tuple of Axis
        Named dimensions along which it varies besides.
    kind : str
        ``"real"``, ``"bool"``, ``"noise"`` or ``"tuple"``.
    owner : object or None
        The graph whose leaves it depends on; None for constants.
    source : Location or None
        The user's line.
    id : int
        Unique; arguments have smaller ids than their users.
    facts : dict
        What analyses have found of it, by their kind.
    """

    __slots__ = ("__weakref__", "args", "attrs", "axes", "facts", "id", "kind", "op", "owner", "shape", "source")
    op: Op
    args: tuple[Node, ...]
    attrs: Any
    shape: tuple[int, ...]
    axes: Axes
    kind: str
    owner: Any
    source: Location | None
    id: int
    facts: dict[Any, Any]

    __array_priority__ = 1000

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<{function('describe')(self)}>"

    # --- arithmetic -------------------------------------------------------------------------------------------------
    def __add__(self, other): return apply("add", self, other)
    def __radd__(self, other): return apply("add", other, self)
    def __sub__(self, other): return apply("sub", self, other)
    def __rsub__(self, other): return apply("sub", other, self)
    def __mul__(self, other): return apply("mul", self, other)
    def __rmul__(self, other): return apply("mul", other, self)
    def __truediv__(self, other): return apply("div", self, other)
    def __rtruediv__(self, other): return apply("div", other, self)
    def __floordiv__(self, other): return function("floor_divide")(self, other)
    def __rfloordiv__(self, other): return function("floor_divide")(other, self)
    def __mod__(self, other): return function("remainder")(self, other)
    def __rmod__(self, other): return function("remainder")(other, self)
    def __divmod__(self, other): return function("divmod")(self, other)
    def __rdivmod__(self, other): return function("divmod")(other, self)
    def __pow__(self, other, modulo=None): return function("power")(self, other, modulo)
    def __rpow__(self, other): return function("power")(other, self)
    def __neg__(self): return apply("neg", self)
    def __pos__(self): return as_real(self)
    def __abs__(self): return apply("abs", self)
    def __round__(self, decimals=None): return function("round")(self, 0 if decimals is None else decimals)
    def __floor__(self): return apply("floor", self)
    def __ceil__(self): return function("ceil")(self)
    def __trunc__(self): return function("trunc")(self)
    def __matmul__(self, other): return function("matmul")(self, other)
    def __rmatmul__(self, other): return function("matmul")(other, self)

    # --- comparisons build nodes; internals key on `id` -------------------------------------------------------------
    def __eq__(self, other): return apply("eq", self, other)  # type: ignore[override]
    def __ne__(self, other): return apply("ne", self, other)  # type: ignore[override]
    def __lt__(self, other): return apply("lt", self, other)
    def __le__(self, other): return apply("le", self, other)
    def __gt__(self, other): return apply("lt", other, self)
    def __ge__(self, other): return apply("le", other, self)
    def __and__(self, other): return apply("and", self, other)
    def __rand__(self, other): return apply("and", other, self)
    def __or__(self, other): return apply("or", self, other)
    def __ror__(self, other): return apply("or", other, self)
    def __xor__(self, other): return function("xor")(self, other)
    def __rxor__(self, other): return function("xor")(other, self)
    def __invert__(self): return apply("not", self)

    # --- the array protocol -----------------------------------------------------------------------------------------
    @property
    def ndim(self) -> int:
        """Number of event dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of event elements."""
        return int(np.prod(self.shape, dtype=int))

    @property
    def is_const(self) -> bool:
        """Whether it is a literal."""
        return self.op.kind == "leaf" and isinstance(self.attrs, Literal)

    @property
    def T(self): return function("transpose")(self)

    def __len__(self) -> int:
        if not self.shape:
            raise NodeUseError(using(self), "len() of a scalar node was asked for, or iteration over it.",
                               "It has no dimensions.", "Use .size, or an array node.")
        return self.shape[0]

    def __iter__(self): return (self[i] for i in range(len(self)))
    def __getitem__(self, index): return function("getitem")(self, index)
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return function("array_ufunc")(ufunc, method, inputs, kwargs)

    def __array_function__(self, func, types, args, kwargs):
        return function("array_function")(func, args, kwargs)

    def _numpy(self, func, args, kwargs): return function("array_function")(func, (self, *args), kwargs)
    def sum(self, *args, **kwargs): return self._numpy(np.sum, args, kwargs)
    def mean(self, *args, **kwargs): return self._numpy(np.mean, args, kwargs)
    def max(self, *args, **kwargs): return self._numpy(np.max, args, kwargs)
    def min(self, *args, **kwargs): return self._numpy(np.min, args, kwargs)
    def round(self, *args, **kwargs): return self._numpy(np.round, args, kwargs)
    def clip(self, *args, **kwargs): return self._numpy(np.clip, args, kwargs)
    def cumsum(self, *args, **kwargs): return self._numpy(np.cumsum, args, kwargs)
    def squeeze(self, *args, **kwargs): return self._numpy(np.squeeze, args, kwargs)
    def ravel(self, *args, **kwargs): return self._numpy(np.ravel, args, kwargs)
    def flatten(self, *args, **kwargs): return self._numpy(np.ravel, args, kwargs)
    def take(self, *args, **kwargs): return self._numpy(np.take, args, kwargs)
    def dot(self, *args, **kwargs): return self._numpy(np.dot, args, kwargs)
    def transpose(self, *axes): return function("transpose")(self, *axes)

    def reshape(self, *shape, **kwargs):
        """The same elements in another event shape."""
        return self._numpy(np.reshape, shape if len(shape) == 1 else (shape,), kwargs)

    # --- copies -----------------------------------------------------------------------------------------------------
    def __copy__(self) -> Node: return self
    def __deepcopy__(self, memo) -> Node: return self

    def __reduce__(self):
        return function("reduced")(self)


NodeLike: TypeAlias = Node | ArrayLike  # what a node is made of where one is needed

_FIELDS = ("op", "args", "attrs", "shape", "axes", "kind", "owner", "source", "id", "facts")


def restored(**fields: Any) -> Node:
    """A node as it was written down, outside of any graph and of the table of nodes."""
    node = Node()
    for name, value in {**fields, "owner": None, "id": next(_ids), "facts": {}}.items():
        object.__setattr__(node, name, value)
    return node


def where(node: Node | None) -> str:
    """The first part of an error message about `node`."""
    if node is None:
        return str(here() or "")
    location = node.source or here()
    name = function("title")(node)
    return ", ".join(part for part in (str(location) if location else "", name) if part)


def make(op: Op | str, args: tuple[Node, ...] = (), attrs: Any = (), *, owner: Any = None) -> Node:
    """The node of these parts: the existing one if there is one.

    Raises
    ------
    ShapeError
        If the op's shape rule refuses the arguments.
    DeclarationError
        If the arguments belong to two graphs.
    """
    op = lookup(op) if isinstance(op, str) else op
    # The owner tells leaves of two graphs apart: by its address, for the table must not keep graphs alive. A node keeps
    # its owner, so that while there is an entry no other graph can have that address. Nor may it keep the nodes of a
    # loop's body: these stand in it by their ids, which are never used again.
    key = _key(op, args, attrs, owner)
    node = _table.get(key)
    if node is not None:
        return node
    shape = tuple(op.shape(args, attrs))
    axes = op.axes(args, attrs) if op.axes else union(*(a.axes for a in args))
    if shape:
        within_bounds(shape, op.name, axes)
    kind = op.result(args, attrs) if callable(op.result) else op.result
    # a loop belongs to the graph whose sites are drawn in its body
    owner = _common_owner(op, (*args, *getattr(attrs, "outputs", ())), owner)
    location = here()
    with _lock:
        node = _table.get(key)
        if node is None:
            node = Node()
            for name, value in zip(_FIELDS, (op, args, attrs, shape, axes, kind, owner, location, next(_ids), {})):
                object.__setattr__(node, name, value)  # nodes refuse to be changed
            _table[key] = node
    return node


def literals() -> Iterator[Key]:
    """The keys of the literals of all nodes that there are."""
    return (node.attrs.key for node in list(_table.values()) if isinstance(node.attrs, Literal))


def facts_of(node: Node) -> dict[Any, Any]:
    """Where what analyses find of a node is kept: with it, or with whoever watches what they look at."""
    for looks in WATCHING:
        if looks.thread == threading.get_ident():
            return looks.facts.setdefault(node.id, {})
    return node.facts


def within_bounds(shape: tuple[int, ...], what: str, axes: Axes = (), most: int = LARGEST) -> tuple[int, ...]:
    """The event shape of a node that has no more elements, in all worlds together, than are kept at once.

    It is looked at before there is an array.

    Raises
    ------
    ShapeError
        If it has more.
    """
    worlds = math.prod([ax.size for ax in axes if ax.size is not None]) if axes else 1
    if math.prod(shape) * worlds > most:
        shown = ", ".join(f"{size:,}" if size < 10**30 else "more than 10^30" for size in shape)
        raise ShapeError(str(here() or ""), f"An array of shape ({shown}) was asked for ({what})"
                         f"{f', in {worlds:,} worlds' if worlds > 1 else ''}.",
                         f"That is more than {most:,} numbers in a replicate.",
                         "Use fewer draws, or ScoreFunction(), which replays none." if worlds > 1 else
                         "Use a smaller one.")
    return shape


def _key(op: Op, args: tuple[Node, ...], attrs: Any, owner: Any) -> tuple:
    return op.name, tuple(a.id for a in args), getattr(attrs, "identity", attrs), None if owner is None else id(owner)


def has_owners_identity(node: Node) -> bool:
    """Whether the graph that it belongs to is a part of what it is, and not only that of its arguments."""
    return node.owner is not None and _table.get(_key(node.op, node.args, node.attrs, node.owner)) is node


def _common_owner(op: Op, args, owner):
    first = None
    for a in args:
        if a.owner is not None and owner is not None and a.owner is not owner:
            raise DeclarationError(
                str(here() or ""), f"{op.name} was asked to combine nodes of two graphs.",
                f"One belongs to {_said_of(owner, first)}, the other to {_said_of(a.owner, a)}.",
                "Declare both in one Graph.")  # fmt: skip
        if owner is None and a.owner is not None:
            owner, first = a.owner, a
    return owner


def _said_of(owner, node: Node | None) -> str:
    """A graph by its name, which another may have too, and one of its nodes."""
    return f'graph "{getattr(owner, "name", owner)}"' + ("" if node is None else f" ({where(node)})")


def constant(value) -> Node:
    """A literal node; a node is returned as it is.

    Raises
    ------
    NodeUseError
        If the value is not numeric, or a sequence that holds nodes.
    """
    if isinstance(value, Node):
        return value
    try:
        array = np.asarray(value)
    except SCGError:
        raise
    except Exception:  # nested lists of several lengths, and objects that will not be arrays
        array = np.empty((), dtype=object)
    if isinstance(value, np.matrix):
        raise NodeUseError(str(here() or ""), "A np.matrix was used in a graph.",
                           "Its * is a product of matrices; that of nodes is one of elements.",
                           "Use np.asarray(matrix), and @ for products of matrices.")
    if array.dtype == bool:
        return make("const", (), Literal(array))
    if isinstance(value, np.ma.MaskedArray):
        raise NodeUseError(str(here() or ""), "A masked array was used in a graph.", "Nodes have no masks.",
                           "Use array.filled(value), or scg.where(mask, a, b).")
    if array.dtype.kind == "O" and all(isinstance(v, Real) for v in array.flat):  # Python's own, of any size
        array = _as_floats(value, array)
    if array.dtype.kind not in "iuf":
        raise NodeUseError(
            str(here() or ""), f"{_kind_of(value, array)} was used in a graph.",
            "Only real numbers, arrays of them, and nodes can be.",
            "Give numbers that float64 can hold; use scg.stack to make an array of nodes.")
    return make("const", (), Literal(array.astype(np.float64)))


def _as_floats(value, array: np.ndarray) -> np.ndarray:
    """Python's numbers as float64."""
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise NodeUseError(str(here() or ""), f"{_kind_of(value, array)} was used in a graph.",
                           "It holds a number beyond the largest of float64, 1.8e308.",
                           "Give smaller numbers, or their logarithms.") from None


def _kind_of(value, array: np.ndarray) -> str:
    """What a value is, for an error."""
    kind = f" of dtype {array.dtype}" if isinstance(value, (np.ndarray, list, tuple)) else ""
    return f"A value of type {type(value).__name__}{kind}"


def of_literals(node: Node) -> Node | None:
    """The literal that an elementwise op of literals is; None where that is not finite."""
    if node.op.value is None:
        return None
    attrs = node.attrs if isinstance(node.attrs, tuple) else ()
    found = Literal.computed(node.op.value, node.op.name, attrs, [a.attrs for a in node.args])
    return None if found is None else make("const", (), found)


def apply(name: str, *args) -> Node:
    """An elementwise op on nodes and literals; booleans become numbers where arithmetic needs them."""
    try:
        op = lookup(name)
    except KeyError:
        raise DeclarationError(str(here() or ""), f"apply({name!r}, …) was called.", "No op has that name.",
                               "Declare one by scg.extend.elementwise, before it is applied.") from None
    if op.arity is not None and len(args) != op.arity:
        raise DeclarationError(str(here() or ""), f"apply({name!r}, …) was given {len(args)} arguments.",
                               f"The op takes {op.arity}.", f"Give it {op.arity}, as its value takes them.")
    nodes = tuple(constant(a) for a in args)
    if op.result != "bool" or op.name in ("lt", "le", "eq", "ne"):
        first = 1 if op.name == "where" else 0
        nodes = nodes[:first] + tuple(as_real(a) for a in nodes[first:])
    return make(op, nodes)


def as_real(node: Node) -> Node:
    """A boolean node as the numbers 0 and 1; a real one as it is."""
    return make("real", (node,)) if node.kind == "bool" else node

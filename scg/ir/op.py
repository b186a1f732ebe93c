"""The op record and its registry.

An op carries all its interpretations: value, shape rule, derivative, sympy form, scalar source, smoothness. The laws,
both backends, sympy and the errors find them here, so that a new op is one record in one file.

Four kinds of op, by what a backend must know to compute it:

==============  ====================================================================================================
``elementwise``  broadcasts its arguments; computed element by element from `source`
``structural``   moves, reduces or contracts elements; those that move or choose them say where from (`index_map`,
                `pieces`), the others are a small closed set, for each of which a backend has a rule
``leaf``         has no arguments: parameters, inputs, literals, noise, placeholders
``loop``         holds a body of its own (scan, sampling loops)
==============  ====================================================================================================
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scg.errors import DeclarationError
from scg.ir.axes import Axes, union
from scg.ir.index_map import Piece
from scg.ir.interval import Interval
from scg.ir.registry import Registry


class Smoothness(enum.Enum):
    """What the op does to a path that is differentiated through it."""

    SMOOTH = "smooth"
    CONTINUOUS = "continuous"  # kinks: differentiable almost everywhere, and its derivative is the true one
    DISCONTINUOUS = "discontinuous"  # jumps: the almost-everywhere derivative misses them
    BLOCKING = "blocking"  # no derivative flows, by definition (stop_gradient, sampling)


class Pole(NamedTuple):
    """Where an op that is smooth elsewhere jumps, or grows without bound.

    Attributes
    ----------
    text : str
        How an error says it: "it jumps …".
    avoided : callable
        ``avoided(node, *intervals) -> bool``: whether arguments in these intervals keep clear of it.
    """

    text: str
    avoided: Callable[..., bool]


@dataclass(frozen=True, eq=False)
class Op:
    """One operation with all its interpretations.

    Parameters
    ----------
    name : str
        Unique in the registry.
    kind : str
        ``"elementwise"``, ``"structural"``, ``"leaf"`` or ``"loop"``.
    value : callable
        For an elementwise op, a NumPy function of broadcast arrays, followed by the attributes. For a structural op,
        ``value(node, arrays)``, where each array has its node's axes first and then its event dimensions.
    shape : callable
        ``shape(args, attrs) -> event shape``; raises `ShapeError`.
    axes : callable
        ``axes(args, attrs) -> axes``; by default the union of the arguments'.
    derivative : callable or None
        ``derivative(g, node, *args) -> adjoints``, one per argument, written with nodes; ``None`` in a place means that
        nothing flows there. The adjoints may still be broadcast: the reverse pass reduces them.
    sympy : callable or None
        ``sympy(module, *expressions, *attrs) -> expression``.
    source : str or None
        A scalar expression in the arguments ``{0}``, ``{1}`` …, and ``{attrs}``, over the names that kernels provide
        (elementwise only).
    smoothness : Smoothness or tuple
        One for all arguments, or one per argument.
    result : str or callable
        The kind of the result, ``"real"``, ``"bool"``, ``"noise"`` or ``"tuple"``, or ``result(args, attrs)``.
    integral : str
        ``"always"`` if the result is an integer, ``"closed"`` if it is one when all real arguments are, else ``"no"``.
    poles : Pole, tuple of Pole or None
        Where the op is not smooth although `smoothness` says so elsewhere: one for all arguments, or one per argument.
        A random quantity that is differentiated must keep clear of it for certain.
    bounds : callable or None
        ``bounds(node, *intervals) -> Interval``: where the result lies if the arguments lie in these intervals; any
        real number by default.
    regular : bool, callable or None
        Whether the result and the derivative are finite wherever the arguments are: what is not need be masked where a
        choice leaves it out. May be ``regular(node)``. By default only what moves, adds and draws elements is.
    tied : callable or None
        ``tied(node)``: for an op with kinks a boolean node, where the arguments stand at one.
    ignores : callable or None
        ``ignores(position, *args)``: a boolean node, where the result is the same whatever that argument is, the others
        being as they are (a product with 0); or None, if that is nowhere.
    samples : tuple
        Test points: tuples of argument values (then attributes) where the laws try the op.
    index_map : callable or None
        For a structural op whose elements are those of its one argument, moved: ``index_map(node, index)`` is the place
        in the argument of the element at `index` of the result, one index for each of the argument's dimensions, made
        as `scg.ir.index_map` says. Kernels, formulas and, without a `value`, NumPy read it; what is known of the
        argument is known of the result.
    pieces : callable or None
        The same, of an op that chooses among several arguments, or by their elements: ``pieces(node, index, read)`` is
        a list of `Piece`. The element at `index` is the first of them whose conditions hold. The last may be a number,
        for where none does; without one there is no such place. ``read(argument, index)`` is an element as an index;
        where that is outside the dimension that it is an index of, the piece's conditions do not hold, and the element
        is NaN if no other piece's do.
    reads : tuple of int
        The arguments that `pieces` reads so; the result jumps where they change.
    transparent : bool
        Whether the value is that of the one argument, as it is: of marks on what is differentiated, and of names.
    reduces : bool
        For a structural op: whether an element is made of several of an argument's, as a sum is.
    work : int
        About how many additions one element takes, for an elementwise op: kernels compute what is cheap where it is
        used, and store what is not.
    rebuild : callable or None
        ``rebuild(node, args, hook) -> node``, where `make` with the same attributes would not do.
    """

    name: str
    kind: str
    shape: Callable[..., tuple[int, ...]]
    value: Callable[..., Any] | None = None
    axes: Callable[..., Axes] | None = None
    derivative: Callable[..., Any] | None = None
    sympy: Callable[..., Any] | None = None
    source: str | None = None
    smoothness: Smoothness | tuple[Smoothness, ...] = Smoothness.SMOOTH
    result: str | Callable[..., str] = "real"
    integral: str = "no"
    poles: Pole | tuple[Pole | None, ...] | None = None
    bounds: Callable[..., Interval] | None = None
    regular: bool | Callable[..., bool] | None = None
    tied: Callable[..., Any] | None = None
    ignores: Callable[..., Any] | None = None
    samples: tuple = field(default=())
    index_map: Callable[..., tuple] | None = None
    pieces: Callable[..., list] | None = None
    reads: tuple[int, ...] = ()
    transparent: bool = False
    reduces: bool = False
    work: int = 8
    rebuild: Callable[..., Any] | None = None

    @property
    def moves(self) -> bool:
        """Whether each element is one of an argument's, or a number: it computes nothing."""
        return self.index_map is not None or self.pieces is not None

    def pieces_of(self, node, index: tuple, read: Callable[[int, tuple], Any]) -> list:
        """Where the element at `index` comes from, of an op that moves elements; see `pieces`."""
        if self.index_map is not None:
            return [Piece(0, self.index_map(node, index))]
        assert self.pieces is not None

        def declared(argument: int, at: tuple) -> Any:
            if argument not in self.reads:
                raise DeclarationError(
                    str(node.source or ""), f"Argument {argument} of {self.name} was read as an index.",
                    "Its record does not name it: what moves it would be taken to move the result smoothly.",
                    f"Register {self.name} with reads=({argument},).")
            return read(argument, at)

        return self.pieces(node, index, declared)

    def smooth_in(self, position: int) -> Smoothness:
        """Smoothness in one argument."""
        if position in self.reads:
            return Smoothness.DISCONTINUOUS
        return self.smoothness[position] if isinstance(self.smoothness, tuple) else self.smoothness

    def pole_in(self, position: int) -> Pole | None:
        """The pole in one argument."""
        return self.poles if self.poles is None or isinstance(self.poles, Pole) else self.poles[position]

    def is_regular(self, node) -> bool:
        """Whether a node of the op is finite, and its derivative too, wherever its arguments are."""
        if self.regular is None:
            return self.kind != "elementwise" and not self.reads
        return self.regular(node) if callable(self.regular) else self.regular

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self):
        return lookup, (self.name,)


OPS: Registry[Op] = Registry("op")


def register(op: Op) -> Op:
    """Add an op to the registry; a second op of one name is refused."""
    return OPS.add(op.name, op)


def lookup(name: str) -> Op:
    """The op of that name."""
    return OPS[name]


def union_of_arguments(args, attrs) -> Axes:
    """The default axes of a node."""
    return union(*(a.axes for a in args))

"""The op record and its registry.

An op carries all its interpretations: value, shape rule, derivative, sympy form, scalar source, smoothness. The laws,
both backends, sympy and the errors find them here, so that a new op is one record in one file.

Four kinds of op, by what a backend must know to compute it:

==============  ====================================================================================================
``elementwise``  broadcasts its arguments; computed element by element from `source`
``structural``   moves, reduces or contracts elements; those that move or choose them say where from (`index_map`,
                `pieces`), the others are a small closed set, for each of which plans have a rule
``leaf``         has no arguments: parameters, inputs, literals, noise, placeholders
``loop``         holds a body of its own (scan, sampling loops)
==============  ====================================================================================================
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from scg.errors import DeclarationError
from scg.ir.axes import Axes
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
    order : float
        The op grows like x^−order at 0: like 1/x if nothing is said, and for 0 like a logarithm. From 1 on it has no
        mean where its argument has density up to the pole.
    cancels : bool
        Whether the derivative near it is that of the argument over the argument, as that of log x is: a factor
        that does not move has no say in it.
    """

    text: str
    avoided: Callable[..., bool]
    order: float = 1.0
    cancels: bool = False


class Inverse(NamedTuple):
    """How an op is undone in one of its arguments, in which it is strictly monotone, the others being as they are.

    What its functions are given after the position and the values are the other arguments, then the attributes.

    Attributes
    ----------
    undo : callable
        ``undo(position, y, *others) -> x``: the argument at which the result is y.
    log_slope : callable
        ``log_slope(position, x, y, *others)``: the logarithm of |dy/dx|, with y the result at x.
    positions : tuple of int
        The arguments that it can be undone in.
    above : callable
        ``above(position, *attrs) -> number``: below which numbers it is not monotone, or not defined, in the argument;
        −∞ if it is everywhere.
    positive : bool
        Whether the other argument must be a positive number for that; any real number will do otherwise.
    straight : tuple of int
        The arguments in which it is a straight line.
    tail : callable
        ``tail(position, t, *attrs) -> t``: how fast the density of the result falls far out, like exp(−|y|^t), where
        that of the argument falls like exp(−|x|^t); 0 if slower than any of these.
    """

    undo: Callable[..., Any]
    log_slope: Callable[..., Any]
    positions: tuple[int, ...] = (0,)
    above: Callable[..., float] = lambda position, *attrs: -math.inf
    positive: bool = False
    straight: tuple[int, ...] = ()
    tail: Callable[..., float] = lambda position, t, *attrs: t


EVERY = slice(None)
_BY_VALUE = (Smoothness.CONTINUOUS, Smoothness.DISCONTINUOUS)


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
    integral : str or callable
        ``"always"`` if the result is an integer, ``"closed"`` if it is one when all real arguments are, else ``"no"``;
        may be ``integral(node)``.
    seamless : tuple of int
        The arguments that are conditions at which nothing jumps: the result is the same number on both sides, or an
        error on one. So the sums that such a condition compares may be added in any order.
    settled : callable or None
        Of an op that jumps: ``settled(node, *intervals) -> bool``, whether the result is the same wherever the
        arguments lie in these intervals. Then it does not jump there.
    poles : Pole, tuple of Pole or None
        Where the op is not smooth although `smoothness` says so elsewhere: one for all arguments, or one per argument.
        A random quantity that is differentiated must keep clear of it for certain.
    bounds : callable or None
        ``bounds(node, *intervals) -> Interval``: where the result lies if the arguments lie in these intervals; any
        real number by default.
    defined : bool, callable or None
        Whether the result is a real number where the arguments are, as mathematics has it, not a computer; may be
        ``defined(node, *intervals)``, for arguments in these intervals. By default of comparisons, of linear ops and of
        those that pick elements only.
    magnitude : callable or None
        ``magnitude(node, intervals, digits) -> digits``: how many decimal digits the result has before the point
        at most, given the intervals of the arguments and how many these have (`scg.ir.digits`). By default as many as
        the largest argument where the op is linear or picks elements, and otherwise as its bounds allow.
    regular : bool, callable or None
        Whether the result and the derivative are finite wherever the arguments are: what is not need be masked where a
        choice leaves it out. May be ``regular(node)``. By default only what moves, adds and draws elements is.
    tied : callable or None
        ``tied(node)``: for an op with kinks a boolean node, where the arguments stand at one.
    ignores : callable or None
        ``ignores(position, *args)``: a boolean node, where the result is the same whatever that argument is, the others
        being as they are (a product with 0); or None, if that is nowhere.
    picks : slice or None
        The arguments of which each element of the result is an element, such as the branches of a choice. By default
        all of an op that moves elements, but those that it `reads`.
    linear : bool
        Whether the op is linear in all its arguments together, as what only moves elements is, without saying so.
    multiplies : bool or None
        Whether the result is a product of functions of one argument each, or a sum of such products: the derivative in
        one argument is multiplied by what is made of the others. If nothing is said, of an op of several arguments that
        is not linear and picks nothing, it may be.
    flat : bool or None
        Whether the result may be the same over a stretch of an argument on which it depends elsewhere. By default where
        the op has kinks, or what it picks depends on values.
    steep : bool
        Whether its slope is infinite where it is finite itself, as that of √x is at 0: what has density up to there has
        none any more.
    logarithmic : bool
        Whether it grows like a logarithm, so that it has a mean where its argument has none.
    growth : float or callable
        It grows no faster than its argument to this power, ∞ for an exponential; may be ``growth(node)``. Of several
        arguments that it does not multiply it grows as the fastest one.
    oscillates : bool
        Whether it is bounded where its slope is not, as sin(x²) is: that it has a mean says nothing of its derivative.
    depends : callable or None
        ``depends(node, draws) -> draws``: the draws on which each element of the result depends, given those of the
        arguments' (`scg.ir.draws`). By default those of the elements at the same place, of what moves elements of the
        elements that are moved, and of all elements otherwise.
    constant_sums : callable or None
        ``constant_sums(node, sums, intervals) -> sums``: what the elements add up to along dimensions, where that is
        one number by construction, given those of the arguments and where these lie (`scg.ir.constant_sums`). By
        default of what moves whole lines of its arguments.
    inverse : Inverse or None
        How it is undone in an argument, if it can be: what `scg.Transformed` maps draws by is made of such ops.
    stands_for : int or None
        The argument that the result is, written in another way for a computer: what is known of that one is known of
        the result.
    hinders : str
        How it hinders a derivative, if it does not simply jump: in words that follow "which".
    advice : str
        What an error says of a result that is not finite: what to do.
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
    rests : bool
        Whether it is its argument, of which no derivative is asked where it is one of the numbers that are the
        attributes and stays it, as a 0 that multiplies what moves: a mask.
    reduces : bool
        For a structural op: whether an element is made of several of an argument's, as a sum is.
    combines : tuple of Op and float, or None
        For an op that reduces the dimensions in its attributes: the elementwise op of two arguments that it combines
        elements by, one after the other, and the number to begin with. Kernels, formulas and, without a `value`, NumPy
        compute it so.
    work : int
        About how many additions one element takes, for an elementwise op: kernels compute what is cheap where it is
        used, and store what is not.
    text : str, callable or None
        How it reads in text: a template in the arguments, such as ``"{0} + {1}"``, or ``text(node)``, which returns
        one. Parentheses are put where Python needs them. By default a call of its name.
    said : str
        What a call of it in text is, in words after the call, such as ``"f(x): the …"``, where its name is none that
        readers know.
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
    integral: str | Callable[..., str] = "no"
    seamless: tuple[int, ...] = ()
    settled: Callable[..., bool] | None = None
    poles: Pole | tuple[Pole | None, ...] | None = None
    bounds: Callable[..., Interval] | None = None
    defined: bool | Callable[..., bool] | None = None
    magnitude: Callable[..., float] | None = None
    regular: bool | Callable[..., bool] | None = None
    tied: Callable[..., Any] | None = None
    ignores: Callable[..., Any] | None = None
    picks: slice | None = None
    linear: bool = False
    multiplies: bool | None = None
    flat: bool | None = None
    steep: bool = False
    logarithmic: bool = False
    growth: float | Callable[..., float] = 1.0
    oscillates: bool = False
    depends: Callable[..., Any] | None = None
    constant_sums: Callable[..., Any] | None = None
    inverse: Inverse | None = None
    stands_for: int | None = None
    hinders: str = ""
    advice: str = "Keep its arguments where it is defined."
    samples: tuple = field(default=())
    index_map: Callable[..., tuple] | None = None
    pieces: Callable[..., list] | None = None
    reads: tuple[int, ...] = ()
    transparent: bool = False
    rests: bool = False
    reduces: bool = False
    combines: tuple[Op, float] | None = None
    work: int = 8
    text: str | Callable[..., str] | None = None
    said: str = ""
    rebuild: Callable[..., Any] | None = None

    @cached_property
    def arity(self) -> int | None:
        """How many arguments an elementwise op takes, as its source says; None of others."""
        found = re.findall(r"\{(\d+)", self.source or "") if self.kind == "elementwise" else ()
        return 1 + max(map(int, found)) if found else None

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

    def __post_init__(self):
        if self.picks is None and (self.transparent or self.moves):
            object.__setattr__(self, "picks", EVERY)

    def smooth_in(self, position: int) -> Smoothness:
        """Smoothness in one argument."""
        if position in self.reads:
            return Smoothness.DISCONTINUOUS
        return self.smoothness[position] if isinstance(self.smoothness, tuple) else self.smoothness

    def is_settled(self, node, intervals: Iterable[Interval]) -> bool:
        """Whether a node of the op is the same for all arguments in these intervals."""
        return self.settled is not None and self.settled(node, *intervals)

    def grown(self, node, *growths: float) -> float:
        """How fast a node of the op grows, given how fast its arguments do: as a draw does to this power."""
        power = self.growth(node) if callable(self.growth) else self.growth
        fastest = sum(growths) if self.may_multiply(node) else max(growths)
        return fastest and fastest * power

    def pole_in(self, position: int) -> Pole | None:
        """The pole in one argument."""
        return self.poles if self.poles is None or isinstance(self.poles, Pole) else self.poles[position]

    def picked(self, node) -> tuple[int, ...]:
        """The positions of the arguments that a node of the op picks its elements from."""
        if self.picks is None:
            return ()
        return tuple(i for i in range(len(node.args))[self.picks] if i not in self.reads)

    def padding(self, node) -> float | None:
        """The number that a node of the op has where it has no element of an argument, if it has one there."""
        if self.pieces is None or 0 in node.shape:
            return None
        pieces = self.pieces_of(node, (0,) * len(node.shape), lambda argument, at: 0)
        return next((float(piece) for piece in pieces if not isinstance(piece, Piece)), None)

    def rearranges(self, node) -> bool:
        """Whether the elements are those of the arguments, put elsewhere whatever any value is."""
        return self.transparent or (self.picks == EVERY and not self.reads and not self._has(*_BY_VALUE)
                                    and self.padding(node) is None)

    def may_multiply(self, node) -> bool:
        """Whether the derivative in one argument may be multiplied by what is made of the others."""
        if self.multiplies is None:
            numbers = 2 if self.combines else sum(a.kind == "real" for a in node.args)
            known = self.linear or self.picks is not None or self.kind == "loop"
            return numbers > 1 and node.kind == "real" and not known
        return self.multiplies

    @property
    def chooses(self) -> bool:
        """Whether it takes one of several arguments or elements by conditions; the others have no say."""
        return self.picks is not None and not self.transparent and (
            self.kind == "elementwise" or self._has(Smoothness.CONTINUOUS))

    def is_linear(self, node) -> bool:
        """Whether a node of the op is linear in all arguments together."""
        return self.linear or self.rearranges(node) or (
            self.pieces is not None and not self.reads and self.padding(node) == 0.0)

    def is_flat(self, node) -> bool:
        """Whether a node of the op may be the same over a stretch of an argument."""
        if self.flat is None:
            return self._has(Smoothness.CONTINUOUS) or (self.picks is not None and not self.rearranges(node))
        return self.flat

    def _has(self, *kinds: Smoothness) -> bool:
        every = self.smoothness if isinstance(self.smoothness, tuple) else (self.smoothness,)
        return any(one in kinds for one in every)

    def decides(self, node) -> tuple[int, ...]:
        """The positions of the numbers on which a node of the op decides: where it jumps in these."""
        return tuple(i for i, a in enumerate(node.args)
                     if a.kind == "real" and self.smooth_in(i) is Smoothness.DISCONTINUOUS)

    def is_integral(self, node) -> str:
        """``"always"``, ``"closed"`` or ``"no"``, of a node of the op."""
        found = self.integral(node) if callable(self.integral) else self.integral
        padding = self.padding(node)
        return found if padding is None or padding.is_integer() else "no"

    def is_defined(self, node, *intervals: Interval) -> bool:
        """Whether a node of the op is a real number for arguments that are, in these intervals."""
        if self.defined is None:
            return self._as_given(node)
        return self.defined(node, *intervals) if callable(self.defined) else self.defined

    def digits(self, node, intervals, digits) -> float:
        """How many decimal digits a node of the op has before the point at most; infinity if that is not known."""
        if self.magnitude is not None:
            return self.magnitude(node, intervals, digits)
        if not self._as_given(node):
            return math.inf
        return max([0.0, *digits, math.log10(max(abs(self.padding(node) or 0.0), 1.0))])

    def _as_given(self, node) -> bool:
        """Whether it is a real number of about their size whatever real numbers the arguments are."""
        padding = self.padding(node)
        return self.linear or self.result == "bool" or (
            self.picks is not None and not self.reads and (padding is None or math.isfinite(padding)))

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

"""Nodes as sympy expressions, exactly: scalars are symbols, arrays are indexed, reductions are sums over indices.

Conversion is lazy: an array node is a function from indices to scalar expressions, so that moving elements is
arithmetic on indices and nothing is ever laid out. An expression is that of *one* replicate and row: `row` and `lane`
do not appear, every other axis is one more index. Symbols have no assumptions, so that ``Symbol(name)`` is the one
of that name; they are named as the user named them:

==================  ================================================================================================
``theta``, ``W[i]``  params, inputs, data, and sites by their drawn value; spaces in names are underscores
``h'[i]``           the same site replayed, with other parameters or other noise; a replay per world has an index more
``u_x``             the uniform behind a site; ``epsilon_x`` is its standard normal quantile
``pos[t]``          the carry of a scan as it enters step t, by the user's key, where loops are not expanded; without a
                    key it is ``carry_0[t]``, by its place
==================  ================================================================================================

A named node, and a cost inside a scan, prints as its name and still differentiates as its definition, unless `expand`
puts the definition in its place. `expand` also unrolls scans, step by step.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import sympy

from scg.errors import SCGError
from scg.export.names import Names
from scg.export.sympy import forms, named
from scg.export.sympy.shared import settled
from scg.export.sympy.stable import plain
from scg.ir.literal import Literal
from scg.ir.location import calling
from scg.ir.node import Node, where
from scg.ir.op import Op, Smoothness
from scg.ir.traverse import topological
from scg.ops.leaves import feed_op, param_op, placeholder_op, state_op
from scg.ops.scan import scan_op

LARGEST = 1_000_000  # parts of an expression in which what is used twice is written twice
EXPANDABLE = 16  # a sum of at most so many terms is written out where its terms differ in form
_DEEP = 20_000  # sympy recurses over its expressions, which may be deeper than Python's own limit
_NESTED = 20  # elements that are begun within each other before the inner one is converted first
_INDEX_NAMES = ("i", "j", "k", "l", "m", "n", "p", "q", "r", "s")
_STEP_NAMES = ("t", "s", "r")
_MAY_MOVE = (param_op, placeholder_op, feed_op, state_op, scan_op)  # with parameters, for all that a node shows

_JUMPS = (sympy.core.relational.Relational, sympy.sign, sympy.floor, sympy.KroneckerDelta, sympy.Heaviside)

Index = tuple[Any, ...]
Label = Callable[["Converter", Index, "At"], Any]
ELEMENTS: dict[Op, Callable[..., Any]] = {}  # by op: rule(converter, node, index, at) -> expression
KINDS: dict[str, Callable[..., Any]] = {}  # by kind, for ops that have no rule of their own


class NeedsNumbers(Exception):
    """An element was asked for at a symbolic index that only numbers can answer: its sum has to write itself out."""

    def __init__(self, symbols: Iterable[sympy.Symbol]):
        super().__init__()
        self.symbols = frozenset(symbols)


class Later(Exception):
    """An element that is to be converted before the one that asks for it: conversion does not recurse over graphs."""

    def __init__(self, node: Node, index: Index, at: At):
        super().__init__()
        self.element = node, index, at


class Frame:
    """A step of a scan: where the placeholders of its body get their meaning."""

    def __init__(self, scan: Node, t, parent: Frame | None):
        self.scan, self.t, self.parent = scan, t, parent
        self.key: tuple = (scan.id, t, parent.key if parent else None)

    @property
    def steps(self) -> Index:
        """The steps of all the scans around, outermost first."""
        return (*(self.parent.steps if self.parent else ()), self.t)


class Decided(NamedTuple):
    """An element that jumps: its node, the loop around it, and its steps, worlds and indices."""

    node: Node
    frame: Frame | None
    place: Index

    @property
    def name(self) -> str:
        """What its node is recorded as: no name of a symbol."""
        return f"?{self.node.id} {self.frame.scan.id if self.frame else ''}"

    @property
    def key(self) -> tuple:
        """What identifies it: nodes are not to be compared."""
        return self.node.id, self.frame.key if self.frame else None, self.place


class At(NamedTuple):
    """Where an element is asked for: along which worlds, in which step, below which sums."""

    worlds: tuple[tuple[str, Any], ...] = ()
    frame: Frame | None = None
    bound: tuple[tuple[sympy.Symbol, bool], ...] = ()

    def world(self, name: str):
        """The index along a world."""
        return dict(self.worlds)[name]

    def along(self, name: str, index) -> At:
        """The same in one world of an axis."""
        return self._replace(worlds=tuple(sorted({**dict(self.worlds), name: index}.items())))

    def inside(self, frame: Frame | None) -> At:
        """The same in a step of a scan, or outside of it."""
        return self._replace(frame=frame)

    def below(self, symbol, short: bool) -> At:
        """The same below a sum over `symbol`."""
        return self._replace(bound=(*self.bound, (symbol, short)))


class Converter:
    """Converts nodes of one surrogate; names of replays and indices are consistent within it.

    Parameters
    ----------
    names : Names
        Gives names, and those that indices must avoid.
    expand : bool
        Put definitions in the place of named nodes, and unroll scans.
    labels : dict of int to callable, optional
        By node id: ``label(converter, index, at) -> expression`` in place of the node's own.
    reserved : int
        How many index names are left free, for the element of a parameter that is differentiated by.
    sharing : bool
        Whether long parts that occur more than once have names, and are written once.
    letters : pair of sequence of str, optional
        The names of indices of elements, and those of steps.
    along : dict of str to str, optional
        The name of the index along an axis, by the name of that, if it is free.

    Attributes
    ----------
    symbols : dict of str to Symbol or IndexedBase
        All symbols that were made, indices apart.
    draws : dict of str to pair of Node and Frame
        The nodes behind the names of draws, noise and carries, and the loop around them, if any.
    decided : dict of expression to list of Decided
        What jumps, such as a comparison, and the elements that it stands for: on paper 0.1 + 0.2 > 0.3 is false.
    """

    def __init__(self, names: Names, expand: bool = False, labels: Mapping[int, Label] | None = None,
                 reserved: int = 0, sharing: bool = False,
                 letters: tuple[Sequence[str], Sequence[str]] = (_INDEX_NAMES, _STEP_NAMES),
                 along: Mapping[str, str] = MappingProxyType({})):
        self.names, self.graph = names, names.graph
        self.expand, self.labels, self.sharing = expand, dict(labels or {}), sharing
        self._taken = {*names.taken, *names.keys}
        elements, steps = letters
        self._along = along
        self.element_names = [n for n in elements if n not in self._taken]
        self.step_names = [n for n in steps if n not in self._taken] + self.element_names
        self.free = tuple(forms.Index(n) for n in self.element_names[:reserved])
        self.symbols: dict[str, Any] = {}
        self.draws: dict[str, tuple[Node, Frame | None]] = {}
        self.decided: dict[Any, list[Decided]] = {}
        self._memo: dict[tuple, Any] = {}
        self._sizes: dict[Any, int] = {}
        self._provisional: dict[Any, int] = {}
        self._shared: dict[Any, str] = {}  # the names of what occurs more than once
        self._begun = 0
        self._plain: dict[int, Node] = {}
        self._moving: dict[int, bool] = {}

    # --- elements ---------------------------------------------------------------------------------------------------
    def scalar(self, node: Node):
        """The expression of a scalar node."""
        return self.sum_of([node])

    def _giving_way(self, expr):
        """An expression without the numbers that have names of the user's."""
        hidden = {x: sympy.Float(x) for x in (sympy.pi, sympy.E) if str(x) in self._taken}
        return expr.xreplace(hidden) if hidden else expr

    def at(self, node: Node, index: Index, frame: Frame | None = None):
        """The expression of one element of a node, in a step of a loop or outside of all."""
        steps = () if frame is None else tuple((t, False) for t in frame.steps if isinstance(t, forms.Index))
        return self.converted(node, index, At(frame=frame, bound=steps))

    def converted(self, node: Node, index: Index, at: At):
        """`element`, where the elements that others are made of wait on a stack of our own."""
        waiting = [(node, index, at)]
        while True:
            self._begun = 0
            try:
                value = self.element(*waiting[-1])
            except Later as later:
                waiting.append(later.element)
                continue
            except NeedsNumbers:  # which is known now, and meets the sum that asks when it is converted again
                if len(waiting) == 1:
                    raise
            waiting.pop()
            if not waiting:
                return value

    def sum_of(self, nodes: Iterable[Node]):
        """The sum of scalar nodes."""
        with deep():
            found = sympy.Add(*(sympy.sympify(self.converted(node, (), At())) for node in nodes))
            return self._giving_way(self.settled(found))

    def element(self, node: Node, index: Index, at: At):
        """The expression of one element."""
        index = tuple(int(i) if isinstance(i, sympy.Integer) else i for i in index)
        axes = {ax.name for ax in node.axes}
        worlds = tuple(w for w in at.worlds if w[0] in axes)
        key = (node.id, index, worlds, at.frame.key if at.frame else None, at.bound)
        if key not in self._memo:
            if self._begun == _NESTED:
                raise Later(node, index, at)
            label = self.labels.get(node.id)
            self._begun += 1
            try:
                value = self.provisional(label(self, index, at) if label else self.defined(node, index, at))
            except NeedsNumbers as need:
                value = need
            finally:
                self._begun -= 1
            self._memo[key] = value
        found = self._memo[key]
        if isinstance(found, NeedsNumbers):
            raise NeedsNumbers(found.symbols)
        return found

    def constant(self, literal: Literal, index: Index):
        """An element of an array of numbers."""
        return forms.constant_element(literal, index)

    def plain(self, node: Node) -> Node:
        """The node as it is on paper: one and the same, however often an element of it is begun."""
        if node.id not in self._plain:
            self._plain[node.id] = plain(node)
        return self._plain[node.id]

    def provisional(self, value):
        """A long expression under a name, which it keeps if it occurs more than once."""
        value = sympy.sympify(value)
        if not isinstance(value, sympy.Expr) or named.length(value) <= named.SHARED:
            return value
        if not self.sharing:
            self._check_size(value)
            return value
        if value not in self._provisional:
            self._provisional[value] = len(self._provisional)
        return named.Shared(self._head(f"{self._provisional[value]}?", value), value)

    def _check_size(self, value) -> None:
        """Refuse what sympy could only hang on.

        Raises
        ------
        SCGError
        """
        if self._size(value) > LARGEST:
            raise SCGError(
                calling(self.graph.name), "A surrogate was to be written as one expression.",
                f"It would have more than {LARGEST} parts: what is used twice is written twice.",
                "Write what is repeated as a loop, g.scan; or take s.sympy(), in which shared parts have names.")

    def _size(self, expr) -> int:
        """How many parts an expression has; what is used twice counts twice."""
        sizes, waiting = self._sizes, [expr]
        while waiting:
            part = waiting[-1]
            args = getattr(part, "args", ())
            missing = [a for a in args if a not in sizes] if part not in sizes else []
            waiting += missing
            if not missing:
                sizes[part] = 1 + sum(sizes[a] for a in args)
                waiting.pop()
        return sizes[expr]

    def settled(self, expr):
        """An expression in which what occurs once has no name, and what occurs more than once one of a series."""
        def renamed(part, definition):
            head = part.head
            name = str(head.base.label) if isinstance(head, sympy.Indexed) else head.name
            if not name.endswith("?"):
                return part.func(head, definition)
            if definition not in self._shared:
                series = (f"v{n}" for n in range(len(self._shared), 1_000_000))
                self._shared[definition] = next(name for name in series if name not in self._taken)
            return named.Shared(self._head(self._shared[definition], definition), definition)

        return settled(expr, renamed)

    def _head(self, name: str, value):
        index = sorted((s for s in value.free_symbols if isinstance(s, forms.Index)), key=str)
        return sympy.IndexedBase(name)[tuple(index)] if index else sympy.Symbol(name)

    def defined(self, node: Node, index: Index, at: At):
        """The expression of one element, by the node's op."""
        name = self.graph.names.get(node.id) if not self.expand else None
        rule = ELEMENTS.get(node.op) or KINDS.get(
            "moving" if node.op.moves else "combining" if node.op.combines else node.op.kind)
        if rule is None:
            raise SCGError(where(node), f"A node of op {node.op.name} was to be written as a formula.",
                           "Its elements are computed from several of an argument's, and no rule says how.",
                           "Print the surrogate as text, or take the numbers.")
        value = rule(self, node, index, at)
        return value if name is None else named.Named(self.symbol(self.names.given(name), index), value)

    # --- names ------------------------------------------------------------------------------------------------------
    @property
    def by_name(self) -> dict[str, Any]:
        """All symbols that were made, by the user's name where they have one."""
        given = self.names.shown
        return {given.get(name, name): symbol for name, symbol in self.symbols.items()}

    def leaf(self, name: str, index: Index = ()):
        """The symbol of a param, an input or data."""
        return self.symbol(self.names.given(name), index)

    def symbol(self, name: str, index: Index = ()):
        """The symbol of that name, indexed if there is an index."""
        base = self.symbols.get(name)
        if base is None:
            base = sympy.IndexedBase(name) if index else sympy.Symbol(name)
            self.symbols[name] = base
        return base[index] if index else base

    def drawn(self, name: str, node: Node, index: Index, at: At):
        """The symbol of a draw, of noise or of a carry: indexed by step, by world, and by element."""
        self.draws.setdefault(name, (node, at.frame))
        worlds = tuple(at.world(ax.name) for ax in node.axes if not ax.statistical)
        return self.symbol(name, (*(at.frame.steps if at.frame else ()), *worlds, *index))

    def decide(self, value, node: Node, index: Index, at: At) -> None:
        """An expression that jumps, of an element of a node, as it stands and as sympy writes it in cases."""
        if not isinstance(value, _JUMPS):
            return  # sympy knows it already, or has made others of it
        forms_of = [value]
        if isinstance(value, sympy.core.relational.Relational) and forms.is_plain(value):
            first = sympy.Piecewise((1, value), (0, True))
            forms_of += [first.args[0][1]] if isinstance(first, sympy.Piecewise) else []
        worlds = tuple(at.world(ax.name) for ax in node.axes if not ax.statistical)
        found = Decided(node, at.frame, (*(at.frame.steps if at.frame else ()), *worlds, *index))
        for form in dict.fromkeys(forms_of):
            known = self.decided.setdefault(form, [])
            if all(d.key != found.key for d in known):
                known.append(found)

    def rank(self, node: Node) -> int:
        """How many indices a drawn node has beside those of steps."""
        return sum(not ax.statistical for ax in node.axes) + node.ndim

    def depends_on_parameters(self, node: Node) -> bool:
        """Whether a parameter reaches the node other than through samples (placeholders are taken to)."""
        for n in topological([node]):
            if n.id not in self._moving:
                blocked = n.args and all(n.op.smooth_in(i) is Smoothness.BLOCKING for i in range(len(n.args)))
                self._moving[n.id] = n.op in _MAY_MOVE or (
                    not blocked and any(self._moving[a.id] for a in n.args))
        return self._moving[node.id]

    # --- sums -------------------------------------------------------------------------------------------------------
    def summation(self, low, high, term: Callable[[Any, At], Any], at: At, steps: bool = False, axis: str = ""):
        """Σ term(i) from `low` to `high`, both included; written out where the terms have no common form."""
        whole = isinstance(low, int) and isinstance(high, int)
        if whole and high <= low:
            return term(low, at) if high == low else sympy.Integer(0)
        symbol = self._fresh(at, steps, axis)
        try:
            body = term(symbol, at.below(symbol, whole and high - low < EXPANDABLE))
        except NeedsNumbers as need:
            if symbol not in need.symbols:
                raise
            if not whole:
                raise NeedsNumbers(sympy.sympify(low).free_symbols | sympy.sympify(high).free_symbols) from None
            return sympy.Add(*(term(i, at) for i in range(low, high + 1)))
        body = sympy.sympify(body)
        return forms.Sum(body, (symbol, low, high)) if symbol in body.free_symbols else body * (high - low + 1)

    def _fresh(self, at: At, steps: bool, axis: str):
        used = {s for s, _ in at.bound} | set(self.free)
        names = self.step_names if steps else [*filter(None, [self._along.get(axis)]), *self.element_names]
        extra = (f"i{n}" for n in range(1, 10_000) if f"i{n}" not in self._taken)
        return next(s for s in map(forms.Index, itertools.chain(names, extra)) if s not in used)

    def ask_for_numbers(self, index, at: At) -> None:
        """Make the sums that bind a symbolic index write themselves out, if all of them are short."""
        short = {s for s, is_short in at.bound if is_short}
        symbols = sympy.sympify(index).free_symbols
        if symbols and symbols <= short:
            raise NeedsNumbers(symbols)


@contextlib.contextmanager
def deep():
    """Room for the recursion over a deep graph."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEEP))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)

"""Ops of arrays of polynomials: their values, and the differentials of these by those of their arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.polynomial_arrays import (
    NOTHING,
    Elements,
    Known,
    Unproved,
    by_matrix,
    each,
    filled,
    is_large,
    is_number,
    number_of,
    one,
    plus,
    sums,
    times,
)
from scg.analysis.polynomials import MOST_TERMS, ONE, Atoms, Polynomial, added, scaled
from scg.ir.axes import union
from scg.ir.node import Node
from scg.ir.op import Op, Smoothness
from scg.ops.arithmetic import and_op, eq_op, le_op, lt_op, ne_op, not_op, or_op
from scg.ops.elementary import exp_op, log_op
from scg.ops.reduce import sum_op

CLOSE = 1e-9  # numbers that differ by less, relatively, may be equal
FEW_TERMS = 4  # of a factor that is always multiplied out
MOST_OF_SLOPE = 512  # terms of a factor times a differential
MOST_WEIGHED = 150_000  # terms of differentials, in all
MOST_PRODUCTS = 4096  # of a contraction that is taken apart
MOST_VALUES = 32  # of a number by which an element is picked
_COMPARISONS = (lt_op, le_op, eq_op, ne_op)


class Score(NamedTuple):
    """The differential of a draw's log-probability.

    Attributes
    ----------
    draws : int
        The draw, as a bit; of a large array all of them.
    hidden : Polynomial
        What it is weighed by where it is hidden: 1, or 0 where nothing is hidden or the loop is over.
    goes_on : Polynomial
        1 where its mean is 0, given what the draw does not move.
    """

    draws: int
    hidden: Polynomial
    goes_on: Polynomial


class Formulas:
    """Atoms, and what ops make of them.

    Attributes
    ----------
    atoms : Atoms
    scores : dict of int to Score
        By the numbers of the differentials.
    slopes : set of int
        The numbers of all other differentials.
    """

    def __init__(self) -> None:
        self.atoms = Atoms()
        self.scores: dict[int, Score] = {}
        self.slopes: set[int] = set()
        self._weighed = 0
        self._exponents: dict[int, Polynomial] = {}  # of exponentials, by their numbers

    # --- what is not taken apart -------------------------------------------------------------------------------------
    def literal(self, node: Node) -> Elements:
        """The numbers of a constant."""
        array = np.asarray(node.attrs.array, float)
        same = array.size and np.all(array == array.flat[0])
        if not np.all(np.isfinite(array)) or (is_large(node) and not same):
            return self.apart(node, node.id, 0)
        if is_large(node):
            return one(scaled({ONE: 1.0}, float(array.flat[0])), node.ndim)
        return filled(array.shape, lambda index: scaled({ONE: 1.0}, float(array[index])))

    def apart(self, node: Node, key: Any, draws: int) -> Elements:
        """An atom for each element, or for all of many."""
        if is_large(node):
            return one(self.atoms.one(key, draws, node.shape), node.ndim)
        return filled(node.shape, lambda index: self.atoms.one((key, index), draws))

    def symbols(self, value: Elements) -> Elements:
        """A differential of its own for each polynomial."""
        def symbol(p: Polynomial) -> Polynomial:
            found = self.atoms.number(("d", self.atoms.whole(p)), self.atoms.drawn(p), self.atoms.shape(p))
            self.slopes.add(found)
            return {(found,): 1.0}

        return each(symbol, value)

    def has_scores(self, slope: Elements | None) -> bool:
        """Whether there is a score in a differential."""
        return slope is not None and any(a in self.scores for p in slope.flat for term in p for a in term)

    def moving(self, node: Node, args: Sequence[Known]) -> list[int]:
        """Which arguments move a node: also where it jumps, since it does so in the mean."""
        return [i for i, k in enumerate(args) if k is not None and k.moves
                and node.op.smooth_in(i) is not Smoothness.BLOCKING]

    def as_one(self, node: Node, args: Sequence[Known], value: Elements) -> Known:
        """The node with a differential that is a symbol, if nothing is hidden in what it is made of."""
        moving = [args[i] for i in self.moving(node, args)]
        still = all(k.held is None for k in moving)
        if not still and any(k.hidden for k in moving):
            raise Unproved
        whole = self.symbols(value) if any(k.whole is not None for k in moving) else None
        return Known(value, None if still else whole, whole)

    def opaque(self, node: Node, args: Sequence[Known]) -> Known:
        """An op that is not taken apart, all of whose elements are made of all of its arguments."""
        if set(node.axes) != set(union(*(a.axes for a in node.args))):
            raise Unproved
        of = [self.together(k.value, a).flat[0] for k, a in zip(args, node.args)]
        key = (node.op, node.attrs, *map(self.atoms.whole, of))
        return self.as_one(node, args, self.apart(node, key, self.atoms.drawn(*of)))

    # --- element by element ------------------------------------------------------------------------------------------
    def product(self, a: Known, b: Known) -> Known:
        """Their product, which is multiplied out; of a long one each long factor is one thing."""
        x, y = self._factor(a, b), self._factor(b, a)

        def slope(da: Elements | None, db: Elements | None) -> Elements | None:
            return plus(self.weighed(y, da), self.weighed(x, db))

        return Known(each(self.atoms.product, x, y), slope(a.held, b.held), slope(a.whole, b.whole))

    def _factor(self, a: Known, other: Known) -> Elements:
        def factor(p: Polynomial, q: Polynomial, *slopes: Polynomial) -> Polynomial:
            many = len(p) > FEW_TERMS and ((len(q) > 1 and len(p) * len(q) > MOST_TERMS)
                                           or any(len(p) * len(d) > MOST_OF_SLOPE for d in slopes))
            return self.shortened(p) if many else p

        return each(factor, a.value, *(x for x in other if x is not None))

    def shortened(self, p: Polynomial) -> Polynomial:
        """A value as one thing."""
        return {(self.atoms.whole(p),): 1.0}

    def weighed(self, value: Elements, slope: Elements | None) -> Elements | None:
        """A differential times a value."""
        def product(p: Polynomial, d: Polynomial) -> Polynomial:
            self._weighed += len(p) * len(d)
            if self._weighed > MOST_WEIGHED:
                raise Unproved
            return self.atoms.product(p, d)

        return None if slope is None else each(product, value, slope)

    def inverse(self, a: Known) -> Known:
        """1/a."""
        if any(not p for p in a.value.flat):
            raise Unproved
        value = each(self.atoms.inverted, a.value)
        square = times(-1.0, each(self.atoms.product, value, value))
        return Known(value, self.weighed(square, a.held), self.weighed(square, a.whole))

    def chosen(self, condition: Known, a: Known, b: Known) -> Known:
        """b + c (a − b), where c is 0 or 1."""
        found = self.product(condition, Known(*(plus(x, times(-1.0, y)) for x, y in zip(a, b))))
        value, held, whole = (plus(y, x) for x, y in zip(found, b))
        return Known(each(lambda p: self.shortened(p) if len(p) > MOST_TERMS else p, value), held, whole)

    def decided(self, node: Node, args: Sequence[Known]) -> Known | None:
        """The larger, or the smaller, of two numbers where it is known which: where they differ by a number, and where
        they are equal and move alike. None if it is not known of every element.

        Raises
        ------
        Unproved
            If two are equal as formulas and move in different ways, of which something is hidden: which of them is the
            larger in floating point is not asked.
        """
        shape = np.broadcast_shapes(*(x.shape for known in args for x in known if x is not None))
        a, b = ([np.broadcast_to(one(NOTHING) if x is None else x, shape) for x in known] for known in args)
        second = np.zeros(shape, dtype=bool)
        for index in np.ndindex(shape):
            apart: float | None = apart_by(*(x[0].item(index) for x in (a, b)))
            if apart == 0.0 and any(x[index] != y[index] for x, y in zip(a[1:], b[1:])):
                if any(known.hidden for known in args):
                    raise Unproved
                return None
            if apart is None:
                return None
            second[index] = node.op.value(apart, 0.0) != apart  # type: ignore[misc]
        return Known(*(np.where(second, y, x) for x, y in zip(a, b)))

    def condition(self, node: Node, args: Sequence[Known]) -> Known:
        """A truth value, as 0 or 1. Where what it is asked of moves it moves in the mean, by a differential."""
        op, certain = node.op, Known(one({ONE: 1.0}))
        if op is not_op:
            return Known(each(lambda p: added({ONE: 1.0}, scaled(p, -1.0)), args[0].value),
                         times(-1.0, args[0].held), times(-1.0, args[0].whole))
        if op is and_op:
            return self.product(*args)
        if op is or_op:  # a + (1 − a) b
            return self.chosen(args[0], certain, args[1])

        if op is eq_op and any(is_number(p) for p in args[1].value.flat):
            args = args[::-1]
        if op is eq_op and all(is_number(p) for p in args[0].value.flat):
            return self.as_one(node, args, each(lambda n, p: self.equals(p, number_of(n)), *(k.value for k in args)))

        if op in _COMPARISONS:
            apart = each(apart_by, *(k.value for k in args))
            if all(apart.flat):  # far from where it would change
                return Known(each(lambda x: {ONE: 1.0} if op.value(x, 0.0) else {}, apart))  # type: ignore[misc]

        def flag(*of: Polynomial) -> Polynomial:
            if all(map(is_number, of)):
                return {ONE: 1.0} if op.value(*map(number_of, of)) else {}  # type: ignore[misc]
            return self.atoms.flag((op, node.attrs, *map(self.atoms.whole, of)), self.atoms.drawn(*of))

        return self.as_one(node, args, each(flag, *(k.value for k in args)))

    def exponential(self, p: Polynomial) -> Polynomial:
        """A product of exponentials, those of −x and of x inverse to each other."""
        with np.errstate(over="ignore"):
            found: Polynomial = {ONE: float(np.exp(number_of(p)))}
        if not 0.0 < found[ONE] < np.inf:
            raise Unproved
        for term, c in p.items():
            if term != ONE:
                count = int(abs(c)) if c == round(c) and abs(c) <= 4.0 else 1
                key = (exp_op, term, abs(c) / count)
                part = self.atoms.one(key, self.atoms.drawn({term: c}), self.atoms.shape({term: c}))
                self._exponents[next(iter(part))[0]] = {term: abs(c) / count}
                for _ in range(count):
                    found = self.atoms.product(found, part if c > 0.0 else self.atoms.inverted(part))
        return found

    def logarithm(self, p: Polynomial) -> Polynomial:
        """That of what all terms have in common factor by factor, exponentials undone, and that of the rest."""
        common, number, rest = self.atoms.divided(p) if p else ((), 1.0, p)
        parts = []
        for a in common:
            b = self.atoms.inverse.get(a, a)
            sign, a = (1.0, a) if a in self._exponents or b not in self._exponents else (-1.0, b)
            parts.append(scaled(self._exponents.get(a) or self._log({(a,): 1.0}), sign))
        return added(*parts, scaled({ONE: 1.0}, math.log(number)), {} if rest == {ONE: 1.0} else self._log(rest))

    def _log(self, p: Polynomial) -> Polynomial:
        return self.atoms.one((log_op, self.atoms.whole(p)), self.atoms.drawn(p), self.atoms.shape(p))

    # --- arrays ------------------------------------------------------------------------------------------------------
    def fitted(self, known: Known, arg: Node, node: Node) -> Known:
        """What is known of an argument, for a node all of whose elements are one."""
        if known is None or not is_large(node) or is_large(arg):
            return known
        return known.mapped(lambda x: self.together(x, arg))

    def together(self, array: Elements, arg: Node) -> Elements:
        """The elements of an array as those of one."""
        if array.size == 1:
            return one(array.flat[0])
        if not array.size or all(p == array.flat[0] for p in array.flat):
            return one(array.flat[0] if array.size else NOTHING)
        key = ("array", arg.shape, *(self.atoms.whole(p) for p in np.broadcast_to(array, arg.shape).flat))
        found = self.atoms.number(key, self.atoms.drawn(*array.flat), arg.shape)
        if any(a in self.slopes or a in self.scores for p in array.flat for term in p for a in term):
            self.slopes.add(found)
        return one({(found,): 1.0})

    def contracted(self, node: Node, args: Sequence[Known]) -> Known:
        """A sum of products."""
        c = node.attrs
        sizes = dict(zip(c.left + c.right, node.args[0].shape + node.args[1].shape))
        if set(node.axes) != set(union(*(a.axes for a in node.args))) or any(map(is_large, (node, *node.args))) or (
                int(np.prod(list(sizes.values()), dtype=int)) > MOST_PRODUCTS):
            return self.opaque(node, args)
        order = [*c.out, *(x for x in sizes if x not in c.out)]

        def aligned(array: Elements, arg: Node, letters: str) -> Elements:
            own = [x for x in order if x in letters]
            array = np.transpose(np.broadcast_to(array, arg.shape), [letters.index(x) for x in own])
            return array.reshape([sizes[x] if x in letters else 1 for x in order])

        a, b = (known.mapped(lambda x, arg=arg, letters=letters: aligned(x, arg, letters))  # type: ignore[misc]
                for known, arg, letters in zip(args, node.args, (c.left, c.right)))
        every = tuple(sizes[x] for x in order)
        return self.product(a, b).mapped(lambda x: sums(np.broadcast_to(x, every), node.shape))

    def linear(self, node: Node, known: Known) -> Known:
        """A linear op of one argument that is no large array, and makes none."""
        of = node.args[0]
        if node.op is not sum_op:
            return known.mapped(lambda x: by_matrix(node, np.broadcast_to(x, of.shape)))
        order = [*(d for d in range(of.ndim) if d not in node.attrs), *node.attrs]
        return known.mapped(lambda x: sums(np.transpose(np.broadcast_to(x, of.shape), order), node.shape))

    def of_terms(self, array: Elements, of: Node, op: Op, attrs: Any, shape: tuple[int, ...], large: bool) -> Elements:
        """What a linear op makes of a large array: of each term, and each element of it."""
        p = self.together(array, of).flat[0]
        parts = {self.part(op, attrs, of.shape, term, shape): c for term, c in p.items()}
        if large or not shape:
            return one({(a,): c for a, c in parts.items()}, len(shape))
        return filled(shape, lambda index: {(self._element(a, index),): c for a, c in parts.items()})

    def part(self, op: Op, attrs: Any, of: tuple[int, ...], term: tuple[int, ...], shape: tuple[int, ...]) -> int:
        """The number of what a linear op makes of a term."""
        found = self.atoms.number((op, attrs, of, term), self.atoms.drawn({term: 1.0}), shape)
        if found not in self.scores and any(a in self.slopes or a in self.scores for a in term):
            self.slopes.add(found)
        return found

    def _element(self, atom: int, index: tuple[int, ...]) -> int:
        found = self.atoms.number(("at", atom, index), self.atoms.draws[atom])
        if atom in self.slopes:
            self.slopes.add(found)
        return found

    def rearranged(self, node: Node, args: Sequence[Known]) -> Known | None:
        """Of an op that moves elements; None if it does so by values of which too many are possible."""
        read = node.op.reads
        unknown = [i for i in read if not all(map(is_number, args[i].value.flat))]
        given = [np.broadcast_to(each(number_of, k.value), a.shape).astype(float) if i in read else None
                 for i, (k, a) in enumerate(zip(args, node.args))]
        if not unknown:
            at = self._places(node, given)
            return None if at is None else self._gathered(node, args, at)
        if len(unknown) > 1 or args[unknown[0]].moves:
            return None
        return self._picked(node, args, unknown[0], given)

    def _picked(self, node: Node, args: Sequence[Known], by: int, given: list) -> Known | None:
        """Of an op that picks elements by one array of numbers: for each number that it can be the element, where it is
        that number."""
        size = node.args[by].shape
        first = self._places(node, [*given[:by], np.zeros(size), *given[by + 1 :]])
        if first is None:
            return None
        reader = np.zeros(node.shape, dtype=int)  # which of the numbers picks the element
        for i in range(int(np.prod(size, dtype=int)) if size else 0):
            one_of = np.zeros(size)
            one_of.flat[i] = 1.0
            then = self._places(node, [*given[:by], one_of, *given[by + 1 :]])
            if then is None:
                return None
            reader[then != first] = i
        numbers = list(np.broadcast_to(args[by].value, size).flat)
        parts: list[Known] = []
        while (at := self._places(node, [*given[:by], np.full(size, float(len(parts))), *given[by + 1 :]])) is not None:
            if len(parts) == MOST_VALUES:
                return None
            hit = [self.equals(p, float(len(parts))) for p in numbers]
            parts.append(self.product(Known(filled(node.shape, lambda index: hit[reader[index]])),
                                      self._gathered(node, args, at)))
        return reduce(lambda a, b: Known(*map(plus, a, b)), parts)

    def equals(self, p: Polynomial, number: float) -> Polynomial:
        """1 where it is the number, else 0."""
        if is_number(p):
            return {ONE: 1.0} if number_of(p) == number else {}
        of = sorted(map(self.atoms.whole, (p, scaled({ONE: 1.0}, number))))
        return self.atoms.flag((eq_op, *of), self.atoms.drawn(p))

    def _places(self, node: Node, given: Sequence[Any]) -> np.ndarray | None:
        """Where the elements of a node come from, in all arguments one after the other from 1 on; 0 is for none."""
        starts = np.cumsum([1, *(a.size for a in node.args)])
        arrays = [(np.arange(starts[i], starts[i + 1], dtype=float) if known is None else known).reshape(
            (1,) * len(a.axes) + a.shape) for i, (a, known) in enumerate(zip(node.args, given))]
        with np.errstate(all="ignore"):
            found = np.array(node.op.value(node, arrays), dtype=float).reshape(node.shape)  # type: ignore
        return found if node.op.padding(node) in (None, 0.0) and np.all(np.isfinite(found)) else None

    def _gathered(self, node: Node, args: Sequence[Known], at: np.ndarray) -> Known:
        def moved(parts: Sequence[Elements | None]) -> Elements | None:
            if all(x is None for x in parts):
                return None
            flat: list[Polynomial] = [NOTHING]
            for x, a in zip(parts, node.args):
                flat += [NOTHING] * a.size if x is None else list(np.broadcast_to(x, a.shape).flat)
            return filled(node.shape, lambda index: flat[int(at[index])])

        return Known(*map(moved, zip(*args)))


def apart_by(p: Polynomial, q: Polynomial) -> float | None:
    """By which number p is larger than q, 0 if that may be a rounding error; None if they do not differ by a number."""
    apart = added(p, scaled(q, -1.0))
    if not is_number(apart):
        return None
    size = max((abs(c) for c in (*p.values(), *q.values())), default=0.0)
    return number_of(apart) if abs(number_of(apart)) > CLOSE * size else 0.0

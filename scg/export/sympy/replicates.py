"""Formulas at numbers: every replicate at once, sums over indices as sums along a dimension.

Arrays have the replicates last and the bound indices before them, innermost first; so what does not vary along an index
need not have its dimension. What is shared in a formula is computed once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import scipy.special
import sympy

from scg.errors import SCGError
from scg.export.sympy import forms, named, reals
from scg.export.sympy.to_sympy import deep

Group = Callable[[np.ndarray], np.ndarray]


class Range(NamedTuple):
    """The values of an index: whole numbers along a dimension, counted from the last one."""

    level: int
    first: int
    after: int

    @property
    def values(self) -> np.ndarray:
        return np.arange(self.first, self.after).reshape(-1, *(1,) * self.level)


Bound = dict[sympy.Symbol, Range]


class Replicates:
    """The numbers behind symbols, in so many replicates.

    Parameters
    ----------
    numbers : dict of str to array
        By the name of a symbol, each of shape (replicates or 1, *shape).
    count : int
        Replicates.
    others : callable
        From an array over replicates (the last dimension) to the mean over the other ones of each one's group.

    Attributes
    ----------
    rate : callable
        ``rate(name, index, symbol) -> array``: the derivative of what a loop carries, in each replicate.
    decided : dict of expression to list
        Elements that decide what jumps, each with the `name` of its numbers and its `place` in them.
    """

    rate: Callable[[str, tuple[int, ...], Any], np.ndarray]
    decided: Mapping[Any, Sequence[Any]] = MappingProxyType({})

    def __init__(self, numbers: Mapping[str, np.ndarray], count: int, others: Group):
        self.numbers, self.count, self.others = numbers, count, others
        self._memo: dict[tuple, np.ndarray] = {}
        self._free: dict[Any, frozenset] = {}

    def of(self, expr, at: Mapping[sympy.Symbol, int] | None = None) -> np.ndarray:
        """An expression in every replicate; `at` gives numbers for its free indices."""
        bound: Bound = {s: Range(0, i, i + 1) for s, i in (at or {}).items()}
        with deep(), np.errstate(all="ignore"):
            found = np.asarray(self._value(sympy.sympify(expr), bound), float)
        return np.broadcast_to(found.reshape(found.shape[-1:] or (1,)), (self.count,))

    def over(self, expr, indices: Sequence[sympy.Symbol], shape: Sequence[int]) -> np.ndarray:
        """An expression at all values of free indices, (*shape, replicates)."""
        levels = range(len(shape), 0, -1)
        bound = {s: Range(k, 0, n) for s, n, k in zip(indices, shape, levels)}
        with deep(), np.errstate(all="ignore"):
            found = _without_ones(np.asarray(self._value(sympy.sympify(expr), bound), float))
        return np.broadcast_to(found, (*shape, self.count))

    # --- parts --------------------------------------------------------------------------------------------------
    def _value(self, expr, bound: Bound) -> np.ndarray:
        free = self._indices(expr)
        key = (expr, *((s, bound[s]) for s in bound if s in free))
        if key not in self._memo:
            self._memo[key] = self._computed(expr, bound)
        return self._memo[key]

    def _indices(self, expr) -> frozenset:
        """The indices that occur in an expression, bound ones of its own included."""
        if expr not in self._free:
            own = frozenset({expr}) if isinstance(expr, sympy.Symbol) else frozenset()
            parts = (expr.definition,) if isinstance(expr, (named.Named, named.Shared)) else expr.args
            self._free[expr] = own.union(*(self._indices(a) for a in parts if isinstance(a, sympy.Basic)))
        return self._free[expr]

    def _computed(self, expr, bound: Bound) -> np.ndarray:
        if expr.is_Number or expr.is_NumberSymbol:
            return np.asarray(float(expr))
        known = self._decision(expr, bound)
        if known is not None:
            return known
        rule = next((rule for kind, rule in _RULES.items() if isinstance(expr, kind)), None)
        if rule is not None:
            return rule(self, expr, bound)
        args = [self._value(a, bound) for a in expr.args]
        return np.asarray(_function(expr.func, len(args))(*args))

    def _decision(self, expr, bound: Bound) -> np.ndarray | None:
        """What jumps, as floats decide it; None of all else, and of what two elements decide differently."""
        turned = isinstance(expr, sympy.core.relational.Relational) and expr not in self.decided
        elements = self.decided.get(expr.negated if turned else expr, ())
        found = [self._of_name(e.name, [self._value(sympy.sympify(i), bound) for i in e.place]) for e in elements
                 if all(s in bound for i in e.place for s in sympy.sympify(i).free_symbols)]
        if not found or not all(np.array_equal(found[0], other) for other in found[1:]):
            return None
        one = found[0]
        if not isinstance(expr, sympy.core.relational.Relational):
            return np.asarray(one, float)
        return one == 0.0 if turned else one != 0.0

    def _symbol(self, expr, bound: Bound):
        return bound[expr].values if expr in bound else self._of_name(expr.name, ())

    def _of_name(self, name: str, index: Sequence[np.ndarray]):
        if name not in self.numbers:
            raise SCGError("a formula", "It was to be evaluated.",
                           f'It has a symbol "{name}" that the surrogate lacks.', "Give it a number first, with subs.")
        array = self.numbers[name]
        where = [np.clip(i, -n, n - 1).astype(int) for i, n in zip(index, array.shape[1:])]  # as in branches not taken
        if not where:
            return array
        lane = np.arange(len(array)) if len(array) > 1 else np.zeros(1, int)
        return array[(lane, *where)]

    def _indexed(self, expr, bound: Bound):
        return self._of_name(str(expr.base.label), [self._value(i, bound) for i in expr.indices])

    def _named(self, expr, bound: Bound):
        return self._value(expr.definition, bound)

    def _carried(self, expr, bound: Bound):
        return self._value(expr.args[0], bound)

    def _derivative(self, expr, bound: Bound):
        """Of what a loop carries: from step to step."""
        carry, (symbol, order) = expr.args[0], expr.args[1]
        if order != 1 or not isinstance(carry, forms.Unfolded):
            raise SCGError("a formula", f"{expr} was to be evaluated.", "Only first derivatives of carries are known.",
                           "Differentiate the expanded form, s.sympy(expand=True).")
        if isinstance(symbol, sympy.Indexed):
            symbol = symbol.base[tuple(int(self._value(i, bound).flat[0]) for i in symbol.indices)]
        head = carry.args[0]
        name, index = (str(head.base.label), head.indices) if isinstance(head, sympy.Indexed) else (head.name, ())
        places = np.broadcast_arrays(*(self._value(i, bound) for i in index)) if index else [np.zeros(1)]
        found = np.empty((*places[0].shape[:-1], self.count))
        for where in np.ndindex(places[0].shape[:-1]):
            found[where] = self.rate(name, tuple(int(p[where].flat[0]) for p in places) if index else (), symbol)
        return found

    def _table(self, expr, bound: Bound):
        array = expr.args[0].values
        where = [np.clip(self._value(i, bound), -n, n - 1).astype(int) for i, n in zip(expr.args[1:], array.shape)]
        return array[tuple(where)].astype(float)

    def _choice(self, expr, bound: Bound):
        return np.where(*(self._value(a, bound) for a in expr.args))

    def _piecewise(self, expr, bound: Bound):
        value: Any = np.asarray(np.nan)
        for branch, condition in reversed(expr.args):
            value = np.where(self._value(condition, bound), self._value(branch, bound), value)
        return value

    def _sum(self, expr, bound: Bound):
        *rest, (symbol, low, high) = expr.limits
        inner = forms.Sum(expr.function, *rest) if rest else expr.function
        low, high = (np.asarray(self._value(x, bound)) for x in (low, high))
        level = 1 + max((range.level for range in bound.values()), default=0)
        first, last = int(low.min()), int(high.max())
        index = Range(level, first, last + 1).values
        if not index.size:
            return np.zeros(1)
        terms = np.asarray(self._value(inner, {**bound, symbol: Range(level, first, last + 1)}), float)
        terms = terms if terms.ndim == level + 1 and len(terms) == len(index) else np.broadcast_to(
            terms, np.broadcast_shapes(terms.shape, index.shape))
        if low.size > 1 or high.size > 1:
            terms = np.where((index >= low) & (index <= high), terms, 0.0)
        return _without_ones(terms.sum(axis=0))

    def _others(self, expr, bound: Bound):
        x = self._value(expr.args[0], bound)
        return self.others(np.broadcast_to(x, (*np.shape(x)[:-1], self.count)))

    def _mean(self, expr, bound: Bound):
        return np.mean(self._value(expr.args[0], bound), axis=-1, keepdims=True)

    def _stopped(self, expr, bound: Bound):
        return self._value(expr.args[0], bound)

    def _delta(self, expr, bound: Bound):
        a, b = (self._value(x, bound) for x in expr.args[:2])
        return (a == b).astype(float)

    def _truth(self, expr, bound: Bound):
        return np.asarray(bool(expr))

    def _add(self, expr, bound: Bound):
        return functools.reduce(np.add, [self._value(a, bound) for a in expr.args])

    def _mul(self, expr, bound: Bound):
        return functools.reduce(np.multiply, [self._value(a, bound) for a in expr.args])

    def _pow(self, expr, bound: Bound):
        base, power = (self._value(a, bound) for a in expr.args)
        return np.sqrt(base) if expr.exp == sympy.S.Half else np.power(np.asarray(base, float), power)


def _without_ones(array: np.ndarray) -> np.ndarray:
    """Without dimensions of one number before the others."""
    while array.ndim > 1 and len(array) == 1:
        array = array[0]
    return array


def _heaviside(x, at_zero=0.5):
    return np.heaviside(x, at_zero)


def _logical(combine):
    return lambda *args: functools.reduce(combine, args)


_RULES: dict[type, Callable[[Replicates, Any, Bound], np.ndarray]] = {
    sympy.Symbol: Replicates._symbol, sympy.Indexed: Replicates._indexed, named.Named: Replicates._named,
    named.Shared: Replicates._named,
    forms.Unfolded: Replicates._carried, sympy.Derivative: Replicates._derivative, forms.Table: Replicates._table,
    forms.Choice: Replicates._choice, sympy.Piecewise: Replicates._piecewise, sympy.Sum: Replicates._sum,
    forms.LOO: Replicates._others, forms.Expectation: Replicates._mean, forms.stop_gradient: Replicates._stopped,
    sympy.KroneckerDelta: Replicates._delta, sympy.logic.boolalg.BooleanAtom: Replicates._truth,
    sympy.Add: Replicates._add, sympy.Mul: Replicates._mul, sympy.Pow: Replicates._pow,
}  # fmt: skip

_FUNCTIONS: dict[type, Callable] = {
    sympy.exp: np.exp, sympy.log: np.log, sympy.Abs: np.abs, reals.Abs: np.abs, sympy.sign: np.sign,
    reals.sign: np.sign, sympy.floor: np.floor, reals.floor: np.floor, reals.tanh: np.tanh, reals.sinh: np.sinh,
    reals.cosh: np.cosh, sympy.tanh: np.tanh, sympy.sin: np.sin,
    sympy.cos: np.cos, sympy.Max: _logical(np.maximum), sympy.Min: _logical(np.minimum),
    reals.Max: _logical(np.maximum), reals.Min: _logical(np.minimum), sympy.erf: scipy.special.erf,
    sympy.erfc: scipy.special.erfc, sympy.erfinv: scipy.special.erfinv, sympy.loggamma: scipy.special.gammaln,
    sympy.digamma: scipy.special.digamma, sympy.gamma: scipy.special.gamma, sympy.Heaviside: _heaviside,
    sympy.polygamma: lambda n, x: scipy.special.polygamma(int(np.asarray(n).flat[0]), x),
    sympy.Eq: np.equal, sympy.Ne: np.not_equal, sympy.StrictLessThan: np.less, sympy.LessThan: np.less_equal,
    sympy.StrictGreaterThan: np.greater, sympy.GreaterThan: np.greater_equal, sympy.And: _logical(np.logical_and),
    sympy.Or: _logical(np.logical_or), sympy.Not: np.logical_not, sympy.Xor: _logical(np.logical_xor),
}  # fmt: skip


@functools.cache
def _function(function, arity: int) -> Callable:
    """A function as NumPy has it, else as SciPy has."""
    known = _FUNCTIONS.get(function) or getattr(function, "_imp_", None)
    if known is not None:
        return known
    args = sympy.symbols(f"x:{arity}")
    written = sympy.lambdify(args, function(*args), modules=["scipy", "numpy"])
    return lambda *numbers: np.asarray(written(*numbers)) if math.prod(np.shape(numbers[0])) else numbers[0]

"""Derivatives of converted surrogates: with respect to a parameter, or to the element of one at free indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy

from scg.export.sympy import forms
from scg.export.sympy.forms import Stopped
from scg.export.sympy.named import Named, Shared
from scg.export.sympy.shared import settled
from scg.export.sympy.to_sympy import deep


def unstop(expr):
    """The expression with every ⊥(x) replaced by x: the estimator's value, once it has been differentiated.

    Parameters
    ----------
    expr : sympy expression or Lambda

    Returns
    -------
    sympy expression or Lambda
    """
    return rewritten(expr, Stopped, lambda e: e.args[0])


def spell_out(expr):
    """The expression with the definition of every named node in its place."""
    return rewritten(expr, Named, lambda e: e.definition)


def rewritten(expr, kind: type, rule: Callable):
    """The expression with every part of a kind replaced, innermost first; each distinct part is visited once."""
    done: dict = {}

    def visit(e):
        if isinstance(e, (Named, Shared)) and e not in done:
            new = e.changed(visit)
            done[e] = rule(new) if isinstance(new, kind) else new
        if e in done:
            return done[e]
        if not isinstance(e, sympy.Basic) or not e.args:
            return e
        if e not in done:
            args = [visit(a) for a in e.args]
            new = e if all(a is b for a, b in zip(args, e.args)) else e.func(*args)
            done[e] = rule(new) if isinstance(new, kind) else new
        return done[e]

    with deep():
        return visit(sympy.sympify(expr))


def derivative(expr, head, shape: tuple[int, ...] = (), free: tuple = ()):
    """∂expr/∂head for a scalar; for an array the function of the indices that gives ∂expr/∂head[indices].

    Parameters
    ----------
    expr : sympy expression
    head : Symbol or IndexedBase
    shape : tuple of int
    free : tuple of Symbol
        One index per dimension, not bound anywhere in `expr`.
    """
    with deep():
        if not shape:
            return settled(without_empty_sums(sympy.diff(expr, head)))
        found = pick(sympy.diff(expr, head[free]), dict(zip(free, shape)))
        return sympy.Lambda(free, settled(without_empty_sums(found)))


def without_empty_sums(expr):
    """Sums of zeros, which sympy leaves where a derivative vanishes, as zero."""
    return rewritten(expr, sympy.Sum, lambda e: sympy.Integer(0) if e.function == 0 else e)


def pick(expr, sizes: Mapping):
    """Sums over a Kronecker delta as the one term that it picks, wherever it is certain to be in the range.

    Parameters
    ----------
    expr : sympy expression
    sizes : dict of Symbol to int
        Indices that run from 0 to below a size.
    """
    return rewritten(expr, sympy.Sum, lambda e: _picked(e, sizes))


def _picked(total, sizes: Mapping):
    """One sum, inner limits first."""
    if not any(d.free_symbols & set(total.bound_symbols) for d in _deltas(total.function)):
        return total
    value, inside = total.function, dict(sizes)
    for symbol, low, high in total.limits:
        if low == 0 and high.is_Integer:
            inside[symbol] = int(high) + 1
    for limit in total.limits:
        terms = sympy.Add.make_args(_distributed(value, limit[0]))
        value = sympy.Add(*(_one_sum(term, limit, inside) for term in terms))
    return value


def _deltas(expr) -> set:
    """The deltas in an expression, but for those in parts that have names."""
    found, seen, waiting = set(), set(), [expr]
    while waiting:
        part = waiting.pop()
        if part not in seen:
            seen.add(part)
            waiting += part.args
            if isinstance(part, sympy.KroneckerDelta):
                found.add(part)
    return found


def _distributed(expr, symbol):
    """Products multiplied out as far as deltas in `symbol` hide in a sum."""
    def hidden(e):
        sums = [f for f in sympy.Mul.make_args(e) if isinstance(f, sympy.Add)] if isinstance(e, sympy.Mul) else []
        return any(symbol in delta.free_symbols for f in sums for delta in _deltas(f))

    terms = sympy.Add.make_args(expr)
    return sympy.Add(*(_distributed(sympy.expand_mul(t, deep=False), symbol) if hidden(t) else t for t in terms))


def _one_sum(term, limit, sizes: Mapping):
    symbol, low, high = limit
    factors = sympy.Mul.make_args(term)
    for k, factor in enumerate(factors):
        point = _point(factor, symbol)
        if point is not None and _within(point, low, high, sizes):
            return sympy.Mul(*factors[:k], *factors[k + 1:]).subs(symbol, point)
    return forms.Sum(term, limit) if symbol in term.free_symbols else term * (high - low + 1)


def _point(factor, symbol):
    """Where a delta is one: its other index."""
    if isinstance(factor, sympy.KroneckerDelta):
        a, b = factor.args
        if symbol in (a, b):
            other = b if a == symbol else a
            return other if symbol not in other.free_symbols else None
    return None


def _within(point, low, high, sizes: Mapping) -> bool:
    if point.is_Integer:
        return bool(low.is_Integer and high.is_Integer and low <= point <= high)
    return bool(low == 0 and high.is_Integer and point in sizes and sizes[point] <= high + 1)

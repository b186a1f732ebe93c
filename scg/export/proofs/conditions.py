"""Conditions on parameters: of which sign some formulas are. Those of several cases are put together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sympy

MOST_PLACES = 2000  # at which it is seen whether cases leave something out
SIGNS = frozenset((-1, 0, 1))
Conditions = Mapping[Any, frozenset[int]]  # formulas in the parameters, and the signs that they may have

RELATIONS = {
    frozenset({1}): sympy.Gt, frozenset({0, 1}): sympy.Ge, frozenset({0}): sympy.Eq,
    frozenset({-1}): sympy.Lt, frozenset({-1, 0}): sympy.Le, frozenset({-1, 1}): sympy.Ne,
}  # fmt: skip


def flipped(signs: Iterable[int]) -> frozenset[int]:
    """The signs of what is multiplied by −1."""
    return frozenset(-s for s in signs)


def oriented(expr, signs: Iterable[int]) -> tuple[Any, frozenset[int]]:
    """One of a formula and its negative, the same for both."""
    return (-expr, flipped(signs)) if expr.could_extract_minus_sign() else (expr, frozenset(signs))


def root_of(expr) -> tuple[Any, Any, Any] | None:
    """Of a formula that is linear in its only symbol: the symbol, where it is 0, and its slope."""
    symbols = {s for s in expr.atoms(sympy.Symbol, sympy.Indexed) if not isinstance(s, sympy.Indexed)}
    symbols = {s for s in symbols if s not in {i.base.label for i in expr.atoms(sympy.Indexed)}} | expr.atoms(
        sympy.Indexed)
    if len(symbols) != 1:
        return None
    (x,) = symbols
    slope = expr.diff(x)
    if not slope.is_number or slope == 0:
        return None
    return x, -expr.subs(x, 0) / slope, slope


def without_implied(conditions: Conditions) -> Conditions:
    """Without those that others imply: x ≤ 1 where x ≤ 0."""
    kept = dict(conditions)
    for expr in conditions:
        others = [e for e in kept if e != expr]
        if any(_implies((e, kept[e]), (expr, kept[expr])) for e in others):
            del kept[expr]
    return kept


def _implies(one: tuple[Any, frozenset[int]], other: tuple[Any, frozenset[int]]) -> bool:
    """Whether wherever one holds, the other does, as far as both are linear in one and the same symbol."""
    (e, signs), (f, allowed) = one, other
    a, b = root_of(e), root_of(f)
    if a is None or b is None or a[0] != b[0]:
        return False
    return all(sympy.sign(f.subs(b[0], x)) in allowed for x in _between(sorted({a[1], b[1]}))
               if sympy.sign(e.subs(a[0], x)) in signs)


def everywhere(cases: Sequence[Conditions]) -> bool:
    """Whether one of them holds at each point, as far as that is seen: in formulas that are taken to be independent."""
    roots: dict[Any, set] = {}
    lines: dict[Any, tuple[Any, Any]] = {}
    for e in {e for conditions in cases for e in conditions}:
        symbol, root, slope = root_of(e) or (e, 0, 1)
        lines[e] = symbol, sympy.sign(slope)
        roots.setdefault(symbol, set()).add(root)
    grids = {symbol: _between(sorted(found)) for symbol, found in roots.items()}
    if math.prod(map(len, grids.values())) > MOST_PLACES:
        return False
    signs = {e: {x: lines[e][1] * sympy.sign(x - (root_of(e) or (e, 0))[1]) for x in grids[lines[e][0]]} for e in lines}
    return all(any(all(signs[e][place[lines[e][0]]] in allowed for e, allowed in c.items()) for c in cases)
               for place in (dict(zip(grids, xs)) for xs in itertools.product(*grids.values())))


def _between(roots: list) -> list:
    """These numbers, and one in each of the intervals between and beside them."""
    inside = [(a + b) / 2 for a, b in itertools.pairwise(roots)]
    return [roots[0] - 1, *roots, *inside, roots[-1] + 1]


def merged(cases: Iterable[Conditions]) -> list[Conditions]:
    """Fewer conditions, one of which holds where one of these does."""
    found = [dict(c) for c in cases]
    while True:
        pair = next(((a, b, e) for a, b in itertools.combinations(found, 2) if (e := _apart(a, b)) is not None), None)
        if pair is None:
            return list(found)
        a, b, expr = pair
        both = a[expr] | b[expr]
        found[found.index(a)] = {e: both if e == expr else s for e, s in a.items() if e != expr or both != SIGNS}
        found.remove(b)


def _apart(a: Conditions, b: Conditions) -> Any:
    """The only formula in which two conditions differ, if there is but one."""
    if a.keys() != b.keys():
        return None
    different = [e for e in a if a[e] != b[e]]
    return different[0] if len(different) == 1 else None

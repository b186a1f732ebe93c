"""Formulas in the variables as people read them: in the probability p = σ(θ), where e^θ is nothing but its odds."""

from __future__ import annotations

from typing import Any

import sympy

from scg.export.names import Names
from scg.export.proofs.conditions import RELATIONS, flipped
from scg.export.proofs.factored import MOST_TERMS
from scg.export.proofs.rational import Rational, surely_positive
from scg.export.sympy.named import Named


class Shown:
    """How formulas of one question are shown, the same in all cases.

    Parameters
    ----------
    names : Names
    count : int
        How many elements its params have: of one, σ of it is p, of more, p_name.

    Attributes
    ----------
    definitions : dict of Symbol to expression
        What stands for what.
    """

    def __init__(self, names: Names, count: int):
        self._names, self._count = names, count
        self.definitions: dict[sympy.Symbol, Any] = {}

    def of(self, rational: Rational, elements: list[Any]) -> list[Any]:
        """Elements of the field as formulas."""
        exprs = [e.as_expr() for e in elements]
        ps = self._probabilities(rational) if max(len(e.numer) for e in elements) <= MOST_TERMS else {}
        if not ps:
            return [_tidied(rational.spelled(e)) for e in exprs]
        in_p = [_tidied(sympy.factor(e.xreplace({t: p / (1 - p) for t, p in ps.items()}))) for e in exprs]
        in_p = [rational.spelled(e) for e in in_p]
        used = set().union(*(e.free_symbols for e in in_p))
        named = {}
        for t, p in ps.items():
            if p in used:
                self.definitions[p] = 1 / (1 + sympy.exp(-_exponent(rational, t)))
                named[p] = Named(p, self.definitions[p])
        return [e.xreplace(named) for e in in_p]

    def condition(self, rational: Rational, expr, signs: frozenset[int]) -> Any:
        """That something has one of some signs, as a relation."""
        (shown,) = self.of(rational, [rational.element(expr)])
        back = {n.head: n for n in shown.atoms(Named)}
        plain = _without_positive(shown.xreplace({n: n.head for n in back.values()}), set(back))
        symbols = plain.free_symbols
        if len(symbols) == 1 and plain.is_polynomial(*symbols) and sympy.degree(plain, *symbols) == 1:
            (x,) = symbols
            slope, at = plain.diff(x), sympy.solve(plain, x)[0]
            relation = RELATIONS[signs if slope > 0 else flipped(signs)](x, at)
        else:
            relation = RELATIONS[signs](plain, 0)
        return relation.xreplace(back)

    def _probabilities(self, rational: Rational) -> dict[Any, sympy.Symbol]:
        """Of the odds t that come in powers of t and 1 + t only."""
        found = {}
        odds = {t for t in rational.field.symbols if all(
            f.as_expr() in (t, 1 + t) for f in rational.field.factors if t in f.as_expr().free_symbols)}
        for t, definition in rational.definitions.items():
            if t in odds and isinstance(definition, sympy.exp):
                meant = _exponent(rational, t)
                if isinstance(meant, (sympy.Symbol, sympy.Indexed)):
                    name = "p" if self._count == 1 else f"p_{meant}"
                    while name in self._names.taken:
                        name += "_"
                    found[t] = sympy.Symbol(name)
        return found


def in_text(expr) -> str:
    """A formula as text, with exp(1) for what is easily read as an expectation."""
    return str(expr.xreplace({sympy.E: sympy.Symbol("exp(1)")}))


def _exponent(rational: Rational, t):
    return rational.spelled(rational.definitions[t].args[0])


def _without_positive(expr, probabilities: set):
    """What has the sign of a formula, where powers of p and 1 − p are positive."""
    over, under = sympy.fraction(sympy.together(expr))
    content, factors = sympy.factor_list(over * under)
    sign, kept = sympy.sign(content), []
    for factor, power in factors:
        if any(sympy.expand(factor + s * end) == 0 for p in probabilities for end in (p, p - 1) for s in (1, -1)):
            below = any(sympy.expand(factor - p + 1) == 0 or sympy.expand(factor + p) == 0 for p in probabilities)
            sign *= (-1) ** power if below else 1
        else:
            kept.append(factor ** (2 - power % 2))
    return sign * sympy.Mul(*kept)


def _tidied(expr):
    """With 1 − p in place of p − 1 in products."""
    powers = [f.as_base_exp() for f in sympy.Mul.make_args(expr)]
    sign, factors = sympy.Integer(1), []
    for base, power in powers:
        c, rest = base.as_coeff_Add() if isinstance(base, sympy.Add) else (sympy.Integer(0), base)
        if c == -1 and rest.is_Symbol and power.is_Integer:
            sign *= (-1) ** power
            base = 1 - rest
        factors.append(base**power)
    return sign * sympy.Mul(*factors)


def essential(rational: Rational, expr) -> Any:
    """What decides the sign of a formula in the variables: without denominators and factors that are positive."""
    element = rational.element(expr).reduced()
    below = sympy.Mul(*(rational.field.factors[i].as_expr() ** (k % 2) for i, k in element.powers.items()))
    content, factors = sympy.factor_list(element.numer.as_expr() * below)
    sign = 1 if content > 0 else -1
    kept = [f ** (2 - k % 2) for f, k in factors if not surely_positive(f)]  # a square may be 0
    return _in_exponentials(rational, sign * sympy.Mul(*kept))


def _in_exponentials(rational: Rational, expr):
    """θ > 0 is e^θ > 1: so that what says the same is the same."""
    powers, by_exponent = [], {d.args[0]: t for t, d in rational.definitions.items()
                               if isinstance(d, sympy.exp) and t in rational.field.symbols}
    for term in sympy.Add.make_args(expr):
        c, rest = term.as_coeff_Mul()
        if not c.is_Integer or rest not in by_exponent:
            return expr
        powers.append(by_exponent[rest] ** c)
    over, under = sympy.fraction(sympy.Mul(*powers))
    return over - under

"""Formulas as rational functions, in which equal ones are one: the exponentials of parameters are variables.

e^(2θ + φ) is t², where t = e^θ, times s = e^φ; what is no rational function else, such as sin θ, is a variable too. Two
rational functions that are equal as such are equal as functions. The reverse fails only where variables are related,
so what is not seen to be 0 may still be.

Where a formula is made of cases, |θ| or max(a, b), it is that of the case which a point lies in. What was decided is
kept: the formula holds wherever it is decided so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sympy

from scg.export.proofs.conditions import SIGNS, oriented
from scg.export.proofs.factored import Fraction, Fractions
from scg.export.proofs.limits import Limits, NoFormula, NotFinite, OutOfRange
from scg.export.proofs.points import Numbers, sign_at

TIE = 1e-11  # what lies so close is looked at more closely
_FINEST = 64  # fractions of an exponent with a larger denominator have variables of their own

NO_POLYNOMIAL = "A term of the estimator reads a uniform in a function that is no polynomial of it."
ADVICE = ("Use another estimator or baseline, or numbers: s.variance(\"theta\").evaluate(values), "
          "scg.verify(f, values).")


class Rational:
    """Formulas as they are near one point.

    Parameters
    ----------
    numbers : callable
        The number of a parameter, an input, data or a state, by its symbol.
    limits : Limits

    Attributes
    ----------
    decided : dict of expression to set of int
        Which signs formulas in the variables may have where this holds.
    at_edge : bool
        Whether a value of some draw has probability 0 at the point.
    """

    def __init__(self, numbers: Numbers, limits: Limits):
        self._numbers_of, self._limits = numbers, limits
        self._variables: dict[Any, sympy.Dummy] = {}
        self.definitions: dict[sympy.Dummy, Any] = {}
        self._numbers: dict[Any, float] = {}
        self._memo: dict[Any, Any] = {}
        self._elements: dict[Any, Any] = {}
        self.decided: dict[Any, frozenset[int]] = {}
        self.at_edge = False
        self.free: list[sympy.Dummy] = []
        self.field: Any = None

    # --- variables ----------------------------------------------------------------------------------------------
    def variable(self, name: str) -> sympy.Dummy:
        """A variable that stands for nothing else: noise, or another replicate's mean."""
        new = sympy.Dummy(name)
        self.free.append(new)
        return new

    def _standing_for(self, key, definition, number: float, positive: bool = False) -> sympy.Dummy:
        if key not in self._variables:
            if not math.isfinite(number):
                raise OutOfRange(self._limits.refusal(f"{self.shown(definition)} is not finite."))
            new = sympy.Dummy(f"x{len(self._variables)}", positive=True) if positive else sympy.Dummy(
                f"x{len(self._variables)}")
            self._variables[key], self.definitions[new], self._numbers[new] = new, definition, number
        return self._variables[key]

    # --- what formulas are in the variables ---------------------------------------------------------------------
    def of(self, expr):
        """A formula in the variables."""
        if expr not in self._memo:
            self._memo[expr] = self._of(expr)
        return self._memo[expr]

    def _of(self, e):
        if e.is_Integer or e.is_Rational:
            return e
        if e.is_Float:
            return sympy.Rational(e)
        if e in self.free or e in self.definitions:
            return e
        if e.is_NumberSymbol:
            return self._standing_for(e, e, float(e), True)
        if isinstance(e, (sympy.Symbol, sympy.Indexed)):
            return self._standing_for(e, e, float(self._numbers_of(e)))
        if e in (sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
            raise NotFinite(self._limits)
        if isinstance(e, sympy.Add):
            return sympy.Add(*map(self.of, e.args))
        if isinstance(e, sympy.Mul):
            return sympy.Mul(*map(self.of, e.args))
        if isinstance(e, sympy.exp):
            return self._exp(self.of(e.args[0]))
        if isinstance(e, sympy.Pow):
            return self._power(e)
        if isinstance(e, sympy.Piecewise):
            return self.of(next(value for value, condition in e.args if self.holds(condition)))
        rule = next((rule for kind, rule in _RULES.items() if isinstance(e, kind)), None)
        return self._function(e) if rule is None else rule(self, e)

    def _exp(self, arg):
        factors = []
        for term in sympy.Add.make_args(sympy.expand(arg)):
            c, rest = term.as_coeff_Mul()
            log = self.definitions.get(rest)
            if isinstance(log, sympy.log) and c.is_Integer:
                factors.append(log.args[0] ** c)
            elif c.q > _FINEST:
                factors.append(self._exponential(term))
            elif term != 0:
                factors.append(self._exponential(rest) ** c)
        return sympy.Mul(*factors)

    def _exponential(self, m) -> sympy.Dummy:
        try:
            number = math.exp(self.number(m))
        except OverflowError:
            number = math.inf
        return self._standing_for(("exp", m), sympy.exp(m), number, True)

    def _power(self, e):
        base, exponent = e.args
        if exponent.is_Integer:
            below = self.of(base)
            if below == 0 and exponent < 0:
                raise NotFinite(self._limits)
            return below**exponent
        if exponent.is_Rational or exponent.is_Float:
            power = sympy.Rational(exponent)
            below = self.of(base)
            if below.is_Rational and below >= 0 and (below**power).is_Rational:
                return below**power
            if self.number(below) < 0.0:
                raise OutOfRange(self._limits.refusal(f"It has a root of {self.shown(below)}, which is negative."))
            root = self._standing_for(("root", below, power.q), below ** sympy.Rational(1, power.q),
                                      self.number(below) ** (1 / power.q), True)
            return root**power.p
        return self._exp(self.of(exponent) * self.of(sympy.log(base)))

    def _log(self, e):
        arg = self.of(e.args[0])
        if arg == 1:
            return sympy.Integer(0)
        if self.number(arg) <= 0.0:
            raise OutOfRange(self._limits.refusal(f"It has a logarithm of {self.shown(arg)}, which is not positive."))
        over, under = sympy.fraction(sympy.together(arg))
        terms = [sign * power * self._log_of(factor) for part, sign in ((over, 1), (under, -1))
                 for factor, power in self._factors(part)]
        return sympy.Add(*terms)

    def _factors(self, part) -> list[tuple]:
        """Factors that are surely positive, with their powers; or all as one."""
        if part == 1:
            return []
        if part.is_number:
            return [(part, 1)]
        whole, back = _with_whole_powers(part)
        content, found = sympy.factor_list(whole)
        factors = [(f.xreplace(back), k) for f, k in found]
        if content > 0 and all(surely_positive(f) for f, _ in factors):
            return [*([(content, 1)] if content != 1 else []), *factors]
        return [(part, 1)]

    def _log_of(self, factor):
        if factor.is_Pow and factor.exp.is_Rational:
            return factor.exp * self._log_of(factor.base)
        meant = self.definitions.get(factor)
        if isinstance(meant, sympy.exp):
            return meant.args[0]
        number = self.number(factor)
        if number <= 0.0:
            raise OutOfRange(self._limits.refusal(f"It has log({self.shown(factor)}), of what is not positive."))
        return self._standing_for(("log", factor), sympy.log(factor), math.log(number))

    def _function(self, e):
        args = [self.of(a) for a in e.args]
        found = e.func(*args)
        if found.is_Rational:
            return found
        number = float(sympy.N(e.func(*(sympy.Float(self.number(a), 20) for a in args))))
        return self._standing_for(found, found, number)

    # --- cases ----------------------------------------------------------------------------------------------------
    def sign(self, e) -> int:
        """The sign of a formula at the point, which is decided."""
        x = self.of(e)
        sign = self._sign_of(x)
        self._decide(x, {sign})
        return sign

    def side(self, e) -> int:
        """1 or −1, on which side of 0 a formula is, of what is the same on both sides at 0 itself."""
        x = self.of(e)
        side = 1 if self._sign_of(x) >= 0 else -1
        self._decide(x, {side, 0})
        return side

    def same(self, x) -> bool:
        """Whether a formula in the variables is 0 at the point; this is decided only if it is."""
        if self._sign_of(x):
            return False
        self._decide(x, {0})
        return True

    def _sign_of(self, x) -> int:
        """Of a formula in the variables."""
        if x.is_Rational:
            return int(sympy.sign(x))
        number = self.number(x)
        if abs(number) > TIE:
            return 1 if number > 0 else -1
        found = sign_at(self.spelled(x), self._numbers_of)
        if found is None:
            raise OutOfRange(self._limits.refusal(f"{self.shown(x)} is no real number."))
        return found

    def _decide(self, x, signs: Iterable[int]) -> None:
        if not x.is_Rational:
            x, found = oriented(x, signs)
            self.decided[x] = found & self.decided.get(x, SIGNS)

    def holds(self, condition) -> bool:
        """Whether a condition holds at the point, which is decided."""
        if condition in (sympy.true, sympy.false):
            return bool(condition)
        if isinstance(condition, sympy.Not):
            return not self.holds(condition.args[0])
        if isinstance(condition, sympy.And):
            return all(self.holds(a) for a in condition.args)
        if isinstance(condition, sympy.Or):
            return any(self.holds(a) for a in condition.args)
        if isinstance(condition, sympy.core.relational.Relational):
            x = self.of(condition.lhs - condition.rhs)
            by_sign = {s: bool(condition.func(sympy.Integer(s), 0)) for s in SIGNS}
            found = by_sign[self._sign_of(x)]
            self._decide(x, [s for s in SIGNS if by_sign[s] == found])
            return found
        if isinstance(condition, sympy.logic.boolalg.BooleanFunction):
            return bool(condition.func(*(sympy.sympify(self.holds(a)) for a in condition.args)))
        raise self._limits.refusal(f"It is decided by {condition}, of which nothing is known.")

    def _largest(self, e, sign: int):
        best, *others = e.args
        for other in others:
            if sign * self.side(other - best) > 0:
                best = other
        return self.of(best)

    def _floor(self, e):
        x = self.of(e.args[0])
        if x.is_Rational:
            return sympy.floor(x)
        nearest = sympy.Integer(math.floor(self.number(x) + 0.5))
        k = nearest if self._sign_of(x - nearest) >= 0 else nearest - 1
        self._decide(x - k, {0, 1})
        self._decide(x - k - 1, {-1})
        return k

    def _tanh(self, e):
        t = self._exp(2 * self.of(e.args[0]))
        return (t - 1) / (t + 1)

    # --- numbers ------------------------------------------------------------------------------------------------
    def number(self, x) -> float:
        """A formula in the variables at the point."""
        if x not in self._numbers:
            self._numbers[x] = self._number(x)
        return self._numbers[x]

    def _number(self, x) -> float:
        if x.is_Rational:
            return float(x)
        if isinstance(x, sympy.Add):
            return math.fsum(self.number(a) for a in x.args)
        if isinstance(x, sympy.Mul):
            return math.prod(self.number(a) for a in x.args)
        if isinstance(x, sympy.Pow):
            try:
                return self.number(x.args[0]) ** float(x.args[1])
            except (ZeroDivisionError, OverflowError):
                return math.inf
        raise self._limits.refusal(NO_POLYNOMIAL, ADVICE, kind=NoFormula)

    # --- as one ---------------------------------------------------------------------------------------------------
    def settle(self, exprs: Iterable[Any], more: Iterable[sympy.Dummy] = ()) -> None:
        """Fix the variables: those of these formulas. Exponents become whole."""
        exprs = [*exprs, *self.decided]
        finest: dict[Any, int] = {}
        for e in exprs:
            for power in e.atoms(sympy.Pow):
                if power.exp.is_Rational and power.base in self.definitions:
                    finest[power.base] = math.lcm(finest.get(power.base, 1), int(power.exp.q))
        self._whole = {x: x**q for x, q in finest.items() if q > 1}
        used = set().union(*(e.free_symbols for e in exprs), more)
        order = [*(x for x in self.free if x in used), *(x for x in self.definitions if x in used)]
        self.field = Fractions(order or [sympy.Dummy("one")], self._limits)  # which need one
        self._places = {x: self.field.of(self.field.ring.gens[i]) for i, x in enumerate(order)}
        self.definitions = {x: meant.xreplace(self._whole) for x, meant in self.definitions.items()}
        for x, q in finest.items():
            if q > 1:
                self.definitions[x] = self.definitions[x] ** sympy.Rational(1, q)

    def element(self, expr) -> Fraction:
        """A formula in the variables as an element of their field."""
        return self._converted(expr.xreplace(self._whole))

    def _converted(self, e) -> Fraction:
        if e not in self._elements:
            if e.is_Rational:
                found = self.field.of(sympy.QQ(e.p, e.q))
            elif isinstance(e, sympy.Add):
                found = sum(map(self._converted, e.args), self.field.zero)
            elif isinstance(e, sympy.Mul):
                found = math.prod(map(self._converted, e.args), start=self.field.one)
            elif isinstance(e, sympy.Pow):
                found = self._converted(e.args[0]) ** int(e.args[1])
            else:
                found = self._places[e]
            self._elements[e] = found
        return self._elements[e]

    # --- back ---------------------------------------------------------------------------------------------------
    def spelled(self, expr, found: Mapping[Any, Any] | None = None):
        """A formula without the variables; `found` has what some stand for instead."""
        meant = dict(found or {})
        for x, definition in self.definitions.items():
            if x not in meant:
                meant[x] = definition.xreplace(meant)
        return expr.xreplace(meant)

    def shown(self, expr) -> str:
        """A formula as text."""
        return str(self.spelled(expr))


def _with_whole_powers(expr) -> tuple[Any, dict]:
    """A formula with variables for the roots in it, and what these stand for."""
    finest: dict[Any, int] = {}
    for power in expr.atoms(sympy.Pow):
        if power.exp.is_Rational and power.base.is_Symbol:
            finest[power.base] = math.lcm(finest.get(power.base, 1), int(power.exp.q))
    roots = {x: sympy.Dummy(x.name, positive=x.is_positive) for x, q in finest.items() if q > 1}
    return (expr.xreplace({x: root ** finest[x] for x, root in roots.items()}),
            {root: x ** sympy.Rational(1, finest[x]) for x, root in roots.items()})


def surely_positive(factor) -> bool:
    """Whether all its variables are, and it only adds and multiplies."""
    terms = sympy.Add.make_args(sympy.expand(factor))
    return all(x.is_positive for x in factor.free_symbols) and all(t.as_coeff_Mul()[0] > 0 for t in terms)


_RULES: dict[type, Callable[[Rational, Any], Any]] = {
    sympy.log: Rational._log,
    sympy.Abs: lambda r, e: r.of(e.args[0]) * r.side(e.args[0]),
    sympy.sign: lambda r, e: sympy.Integer(r.sign(e.args[0])),
    sympy.Heaviside: lambda r, e: sympy.Rational(1 + r.sign(e.args[0]), 2),
    sympy.KroneckerDelta: lambda r, e: sympy.Integer(int(r.holds(sympy.Eq(*e.args)))),
    sympy.Max: lambda r, e: r._largest(e, 1), sympy.Min: lambda r, e: r._largest(e, -1),
    sympy.floor: Rational._floor, sympy.tanh: Rational._tanh,
}  # fmt: skip

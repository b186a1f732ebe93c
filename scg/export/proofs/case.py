"""One case of a question: everything as rational functions near a point, and where they hold."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Any

import sympy

from scg.export.proofs.conditions import SIGNS, Conditions, oriented, without_implied
from scg.export.proofs.factored import Fraction
from scg.export.proofs.moments import Moments
from scg.export.proofs.paths import noise_paths, site_paths
from scg.export.proofs.points import Numbers, sign_at, value_at
from scg.export.proofs.question import Element, Question
from scg.export.proofs.rational import Rational
from scg.export.proofs.shown import essential
from scg.export.sympy.calculus import unstop


def _rates(factors: Sequence[Any], cost, symbol):
    """The derivative of a product of probabilities and a cost."""
    parts = [*factors, cost]
    slopes = [unstop(sympy.diff(part, symbol)) for part in parts]
    return sympy.Add(*(sympy.Mul(slope, *parts[:k], *parts[k + 1:]) for k, slope in enumerate(slopes) if slope != 0))


class Case:
    """The formulas of a question as they are at a point, and wherever the same is decided.

    Attributes
    ----------
    conditions : mapping of expression to set of int
        Where they hold: of which signs these formulas in the parameters are.
    """

    def __init__(self, question: Question, point: Numbers):
        self.question, self.point, limits = question, point, question.limits
        self.rational = rational = Rational(point, limits)
        paths = noise_paths(question.order, rational, limits)
        limits.size = f" for {len(paths)} paths of the noise"
        means = {x: rational.variable("mean") for x in question.means}
        self._n = rational.variable("n") if isinstance(question.group, sympy.Symbol) else question.group
        written: dict[Any, list] = {}
        for element, by_part in question.gradients.items():
            for part, expr in by_part.items():
                written[element, part] = self._along(expr.xreplace(means), paths)
        others = [self._along(question.means[x], paths) for x in means]
        exact: dict[Element, list] = {element: [] for element in question.elements}
        chances = []
        factors, all_values = site_paths(question.converter, question.site_order, limits)
        # differentiated before values are put in: of numbers sympy knows that min(0, max(0, θ)) is 0, and has no kink
        rates = {element: _rates(factors, question.cost, question.symbol(element)) for element in question.elements}
        for k, values in enumerate(all_values):
            limits.check(k, "the sites")
            chances.append(rational.of(sympy.Mul(*(factor.xreplace(values) for factor in factors))))
            for element, terms in exact.items():
                terms.append(rational.of(rates[element].xreplace(values)))
        more = [self._n] if isinstance(self._n, sympy.Dummy) else []
        ends = [e for p in paths for e in (*p.lengths, *(x for pair in p.read.values() for x in pair))]
        rational.settle([*ends, *chances, *(e for es in (*written.values(), *others, *exact.values()) for e in es)],
                        more)
        self._means = list(means.values())
        self._written = {key: list(map(rational.element, es)) for key, es in written.items()}
        self._others = [list(map(rational.element, es)) for es in others]
        self._exact = exact
        self._moments = Moments(rational, paths, limits)
        self._paths = len(paths)
        self._conditions()

    def _along(self, expr, paths) -> list:
        found: list = []
        for path in paths:
            self.question.limits.check(len(found), "the noise")
            found.append(self.rational.of(expr.xreplace(path.values)))
        return found

    # --- where it holds -----------------------------------------------------------------------------------------
    def _conditions(self) -> None:
        found: dict[Any, frozenset[int]] = {}
        self._in_variables: dict[Any, Any] = {}
        for e, signs in self.rational.decided.items():
            if self.rational.element(e):  # else it is 0 everywhere
                e, signs = oriented(essential(self.rational, e), signs)
                spelled = self.rational.spelled(e)
                self._in_variables[spelled] = e
                found[spelled] = signs & found.get(spelled, SIGNS)
        self.conditions: Conditions = without_implied({e: s for e, s in found.items() if not e.is_Rational})

    def holds(self, point: Numbers) -> bool:
        """Whether a point lies in it."""
        return all(sign_at(e, point) in signs for e, signs in self.conditions.items())

    def relations(self, conditions: Conditions) -> tuple:
        """Conditions as they are read, on formulas that its own are on."""
        return tuple(self.question.shown.condition(self.rational, self._in_variables[e], signs)
                     for e, signs in conditions.items())

    # --- what is asked ------------------------------------------------------------------------------------------
    def expectation(self, element: Element):
        """The estimator's expectation, as an element of the field."""
        return self._moments.expectation(self._sum(element, None), self._means, self._others)

    def gradient(self, element: Element):
        """The derivative of the expected cost."""
        return sum(map(self.rational.element, self._exact[element]), self.rational.field.zero)

    def variance(self, element: Element, part: str | None = None):
        """The variance of the estimate from one group of replicates (one, if nothing couples them), or of a part."""
        n = self.rational.element(self._n) if isinstance(self._n, sympy.Dummy) else self._n
        return self._moments.variance(self._sum(element, part), self._means, self._others, n)

    def _sum(self, element: Element, part: str | None) -> list:
        parts = [along for (e, name), along in self._written.items() if e == element and part in (None, name)]
        zeros = [self.rational.field.zero] * self._paths
        return [sum(values, self.rational.field.zero) for values in zip(*parts)] if parts else zeros

    def number(self, found: Fraction, numbers: Numbers, group: int | None = None, digits: int = 30) -> Decimal:
        """An element of the field at a point, to so many digits."""
        with localcontext(prec=digits + 10):
            return found.at([self._at(x, numbers, group, digits + 10) for x in self.rational.field.symbols])

    def _at(self, x, numbers: Numbers, group: int | None, digits: int) -> Decimal:
        if x == self._n:
            return Decimal(2 if group is None else group)
        meant = self.rational.definitions.get(x)
        return Decimal(0 if meant is None else str(value_at(self.rational.spelled(meant), numbers, digits)))

    def shown(self, found: list[Any]) -> list[Any]:
        """Elements of the field as people read them."""
        size = {self._n: self.question.group} if isinstance(self._n, sympy.Dummy) else {}
        return [e.xreplace(size) for e in self.question.shown.of(self.rational, found)]

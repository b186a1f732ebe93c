"""A certificate: the estimator's expectation is the gradient of the expected cost, as an identity in the parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import sympy

from scg.export.proofs.case import Case
from scg.export.proofs.cases import Cases, alike, cases_of, cover
from scg.export.proofs.points import Numbers
from scg.export.proofs.question import Element
from scg.export.proofs.shown import in_text
from scg.export.sympy.to_sympy import deep
from scg.run.values import Values
from scg.surrogate.derivation import Derivation

CHECKS = 5  # points at which what is not seen to be 0 is looked at
DIGITS = 40
ZERO = Decimal("1e-25")  # of the gradient's size, with so many digits
LONGEST = 400  # parts of a formula that is printed


@dataclass(frozen=True)
class Line:
    """What is found of one element of a param where `conditions` hold.

    Attributes
    ----------
    conditions : tuple of sympy relations
        Empty: it is found of all parameters that there are.
    estimator, gradient, difference : sympy.Expr
        The estimator's expectation, the gradient of the expected cost, and the first without the second.
    zero : bool or None
        Whether the difference is 0: proved; None if that is only seen at points, to 25 digits.
    """

    conditions: tuple[Any, ...]
    estimator: Any
    gradient: Any
    difference: Any
    zero: bool | None


@dataclass(frozen=True)
class Certificate:
    """What the exact expectation of an estimator is, and what it should be; `str` of it reads as a proof.

    Attributes
    ----------
    proved : bool or None
        Whether all differences are 0, as identities in the parameters. False: the estimator is biased. None: they are 0
        at points at random, but were not simplified to 0.
    lines : dict of str to tuple of Line
        By element of a param, ``"theta"`` or ``"W[0, 1]"``: one, or one for each case.
    everywhere : bool
        Whether the cases are all that there are; else they are those that points at random, and the values, fall into.
    definitions : dict of Symbol to expression
        What symbols stand for that are not the graph's: p = σ(θ).
    """

    graph: str
    proved: bool | None
    lines: Mapping[str, tuple[Line, ...]]
    everywhere: bool
    definitions: Mapping[Any, Any]
    cases: Cases = field(repr=False, compare=False)

    def off(self, expected: Mapping[str, np.ndarray], rows: Iterable[Values], states: Mapping[str, Any]) -> float:
        """By how much its expectation differs from one in numbers, the mean over rows, relative to that one's size."""
        worst, rows = 0.0, list(rows)
        for element in self.cases.question.elements:
            name, index = element
            found = 0.0
            for row in rows:
                case, point = self.cases.at(row, states)
                found += float(case.number(case.expectation(element), point)) / len(rows)
            size = 1.0 + float(np.max(np.abs(expected[name])))
            worst = max(worst, abs(found - float(expected[name][index])) / size)
        return worst

    def __str__(self) -> str:
        title = {True: "is", False: "is not", None: "is, at all points that were tried,"}[self.proved]
        where = "" if self.everywhere else ", in the cases below"
        lines = [f"The estimator's expectation {title} the gradient of the expected cost of {self.graph}{where}."]
        for name, found in self.lines.items():
            lines.append(name)
            for line in found:
                if line.conditions:
                    lines.append("  where " + ", ".join(map(in_text, line.conditions)))
                word = "difference" if line.zero is not False else "bias"
                lines += [f"  E[estimator]  {_cut(line.estimator)}", f"  ∇E[cost]      {_cut(line.gradient)}",
                          f"  {word:<12}  {_cut(line.difference)}"]
        lines += [f"where {p} = {meant}" for p, meant in self.definitions.items()]
        return "\n".join(lines)


def _cut(expr) -> str:
    if sum(1 for _ in itertools.islice(sympy.preorder_traversal(expr), LONGEST)) == LONGEST:
        return "a long formula; see .lines"
    return in_text(expr)


def certify(derivation: Derivation, rows: Iterable[Values] = ()) -> Certificate:
    """The certificate of a derivation, biased or not; the cases of the values in `rows` are among its cases.

    Raises
    ------
    ExactError
        If the graph is not finite, or too large.
    """
    cases = cases_of(derivation)
    question = cases.question
    known = cases.all(rows)
    lines = {question.named(element): tuple(_lines(cases, known, element)) for element in question.elements}
    zeros = [line.zero for found in lines.values() for line in found]
    proved = False if False in zeros else None if None in zeros else True
    return Certificate(derivation.graph.name, proved, lines, cover(known), dict(question.shown.definitions), cases)


def _lines(cases: Cases, known: Sequence[Case], element: Element) -> Iterator[Line]:
    together = alike(known, [_found(cases, case, element) for case in known])
    for found, places in together:
        for where in places if len(together) > 1 or not cover(known) else [()]:
            yield Line(where, *found)


def _found(cases: Cases, case: Case, element: Element) -> tuple[Any, Any, Any, bool | None]:
    """The expectation, the gradient and their difference, and whether that is 0."""
    with deep():
        estimator, gradient = case.expectation(element), case.gradient(element)
        difference = estimator - gradient
        a, b, c = case.shown([estimator, gradient, difference])
        zero = not difference or (None if _vanishes(cases, case, difference, gradient) else False)
        return a, b, c, zero


def _vanishes(cases: Cases, case: Case, difference, gradient) -> bool:
    """Whether a difference is 0 at points of the case, to 25 digits."""
    more: Iterator[Numbers] = (point for point in map(cases.somewhere, range(100 * CHECKS)) if case.holds(point))
    for point in itertools.chain([case.point], itertools.islice(more, CHECKS)):
        off, size = (abs(case.number(e, point, digits=DIGITS)) for e in (difference, gradient))
        if not off <= ZERO * (1 + size):
            return False
    return True

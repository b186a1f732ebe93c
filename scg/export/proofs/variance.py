"""The exact variance of an estimator, as a formula and a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy

from scg.expectation.fed_kernel import worlds_draw
from scg.expectation.law import expected_by_kernel
from scg.expectation.spread import variance_by_kernel
from scg.export.proofs.case import Case
from scg.export.proofs.cases import Cases, alike, cases_of, cover
from scg.export.proofs.limits import NoFormula
from scg.export.proofs.shown import in_text
from scg.export.sympy.to_sympy import deep
from scg.run.values import bind
from scg.surrogate.derivation import Derivation


class Variance:
    """The variance of what is averaged: the contribution of one replicate, or the mean of a leave-one-out group of n.

    Attributes
    ----------
    formula : sympy.Expr or sympy.Array
        In the parameters, and n if the size of the groups is left open; of an array param, an array of formulas. It is
        a Piecewise where there are cases, without a value in those that were not found.
    parts : dict of str to sympy.Expr or sympy.Array
        The variances of what the costs, and each term of the surrogate, contribute; what the formula is more (or less)
        than their sum is covariance.
    group : int, Symbol or None
        n; None if nothing couples replicates.
    definitions : dict of Symbol to expression
        What symbols stand for that are not the graph's: p = σ(θ).
    """

    def __init__(self, derivation: Derivation, name: str, cases: Cases):
        self._derivation, self._cases, self.name = derivation, cases, name
        self._shape = derivation.leaves.params[name].shape
        self.group = cases.question.group
        self._why: NoFormula | None = None
        try:
            self._written = self._all()
        except NoFormula as why:
            if self.group is not None:  # only the formulas show that it is linear in means over others
                raise
            self._why = why

    def _all(self) -> tuple[Any, Mapping[str, Any], Mapping[Any, Any]]:
        """The formulas of the whole and of its parts, and what their symbols stand for."""
        question, self._known = self._cases.question, self._cases.all()
        parts = {part for (n, _), by in question.gradients.items() if n == self.name for part in by}
        whole = self._formulas(None)
        by_part = {part: self._formulas(part) for part in question.parts if part in parts}
        return whole, by_part, dict(question.shown.definitions)

    def _read(self):
        if self._why is not None:
            raise self._why
        return self._written

    @property
    def formula(self) -> Any:
        """See above.

        Raises
        ------
        ExactError
            If there are only numbers: `evaluate` has them.
        """
        return self._read()[0]

    @property
    def parts(self) -> Mapping[str, Any]:
        """See above."""
        return self._read()[1]

    @property
    def definitions(self) -> Mapping[Any, Any]:
        """See above."""
        return self._read()[2]

    @property
    def covariance(self):
        """Twice the covariances of the parts: the formula without the sum of the parts."""
        return sympy.factor(self.formula - sum(self.parts.values())) if not self._shape else (
            self.formula - sum(self.parts.values(), 0 * self.formula)).applyfunc(sympy.factor)

    def _formulas(self, part: str | None):
        found = [self._formula((self.name, index), part) for index in np.ndindex(self._shape)]
        return sympy.Array(found, self._shape) if self._shape else found[0]

    def _formula(self, element, part: str | None):
        pieces = [(formula, sympy.Or(*(sympy.And(*where) for where in places))) for formula, places in alike(
            self._known, [self._found(case, element, part) for case in self._known])]
        if cover(self._known):
            pieces[-1] = (pieces[-1][0], sympy.true)
        return pieces[0][0] if pieces[0][1] == sympy.true else sympy.Piecewise(*pieces)

    def _found(self, case: Case, element, part: str | None):
        with deep():
            (shown,) = case.shown([case.variance(element, part)])
            return shown

    def evaluate(self, values: Mapping[str, Any], *, group: int | None = None,
                 state: Mapping[str, Any] | None = None) -> Any:
        """The variance at numbers: of a call's gradient, times its number of replicates per row, or of groups.

        It is that of the kernel that runs, fed with all its noise: where floats round to one side of a tie, as
        0.1 + 0.2 > 0.3, it is of that side.

        Parameters
        ----------
        values : dict of str to array_like
            As for a call. With several rows it is the variance of the mean over rows.
        group : int, optional
            The size of leave-one-out groups, where the graph leaves it open.
        state : dict, optional

        Returns
        -------
        float or array
            In the param's shape.

        Raises
        ------
        ExactError
            If rows share draws, or a group's size is missing.
        """
        question = self._cases.question
        size = self._size(group)
        rows = len(list(bind(self._derivation.leaves, values).by_row()))
        if rows > 1 and (shared := self._shared()):
            raise question.limits.refusal(f'{rows} rows share the draws of site "{shared}".',
                                          "Give the values of one row.")
        if worlds_draw(self._derivation):
            found = self._checked(values, size, state)
        else:
            found = variance_by_kernel(self._derivation, values, size, state)[self.name]
        return found if self._shape else float(found)

    def _checked(self, values: Mapping[str, Any], size: int | None, state: Mapping[str, Any] | None) -> np.ndarray:
        """By the formulas, where these have the kernel's expectation."""
        expected = expected_by_kernel(self._derivation, values, "numpy", state).grad[self.name]
        means = self.by_formula(values, size, state, Case.expectation)
        if not np.allclose(means, expected, rtol=1e-9, atol=1e-12):
            raise self._cases.question.limits.refusal(
                "At these values floats round to one side of a tie of decimals, and the formulas are of decimals.",
                "Move the values off the tie.")
        return self.by_formula(values, size, state)

    def by_formula(self, values: Mapping[str, Any], group: int | None = None, state: Mapping[str, Any] | None = None,
                   asked: Callable[[Case, Any], Any] = Case.variance) -> np.ndarray:
        """What the formulas are at numbers, taken as the decimal fractions that they look like."""
        rows = list(bind(self._derivation.leaves, values).by_row())
        total = np.zeros(self._shape)
        for row in rows:
            case, point = self._cases.at(row, state)
            for index in np.ndindex(self._shape):
                total[index] += float(case.number(asked(case, (self.name, index)), point, group))
        return total / len(rows) ** (2 if asked is Case.variance else 1)

    def _size(self, group: int | None) -> int | None:
        if not isinstance(self.group, sympy.Symbol):
            return self.group
        if group is None or group < 2:
            raise self._cases.question.limits.refusal(
                f"The size of leave-one-out groups is open, and group={group}.",
                'Say it: s.variance("theta").evaluate(values, group=4), or scg.LeaveOneOut(group=4).')
        return group

    def _shared(self) -> str | None:
        """A site whose draws the rows share."""
        return next((p.name for p in self._derivation.site_nodes
                     if not any(ax.name == "row" for ax in p.node.axes)), None)

    def __str__(self) -> str:
        of = "one replicate" if self.group is None else f"the mean of a group of {self.group} replicates"
        title = f"Variance of the gradient of {self._derivation.graph.name} in {self.name}, {of}:"
        if self._why is not None:
            return f"{title}\n  numbers only; {self._why}"
        lines = [title, f"  {in_text(self.formula)}"]
        if len(self.parts) > 1:
            lines += [f"  {part}: {in_text(formula)}" for part, formula in self.parts.items()]
        return "\n".join(lines + [f"where {p} = {meant}" for p, meant in self.definitions.items()])

    def __repr__(self) -> str:
        return str(self)


def variance(derivation: Derivation, name: str) -> Variance:
    """The variance of the gradient with respect to a param of a derivation.

    Raises
    ------
    ExactError
        If the graph is not finite, or too large for formulas.
    """
    cases = cases_of(derivation)
    question = cases.question
    if name not in {n for n, _ in question.elements}:
        raise question.limits.refusal(f'"{name}" is no param of a cost.', "Ask for the variance of a param's gradient.")
    return Variance(derivation, name, cases)

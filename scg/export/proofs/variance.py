"""The exact variance of an estimator, as a formula and a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy

from scg.export.proofs.case import Case
from scg.export.proofs.cases import Cases, alike, cases_of, cover
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
        question, self._known = cases.question, cases.all()
        self.group = question.group
        self.formula = self._formulas(None)
        parts = {part for (n, _), by in question.gradients.items() if n == name for part in by}
        self.parts: Mapping[str, Any] = {part: self._formulas(part) for part in question.parts if part in parts}
        self.definitions: Mapping[Any, Any] = dict(question.shown.definitions)

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
        rows = list(bind(self._derivation.leaves, values).by_row())
        if len(rows) > 1 and (shared := self._shared()):
            raise question.limits.refusal(f'{len(rows)} rows share the draws of site "{shared}".',
                                          "Give the values of one row.")
        total = np.zeros(self._shape)
        for row in rows:
            case, point = self._cases.at(row, state)
            for index in np.ndindex(self._shape):
                found = case.variance((self.name, index))
                total[index] += float(case.number(found, point, size)) / len(rows) ** 2
        return total if self._shape else float(total)

    def _size(self, group: int | None) -> int | None:
        if not isinstance(self.group, sympy.Symbol):
            return group
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
        lines = [f"Variance of the gradient of {self._derivation.graph.name} in {self.name}, {of}:",
                 f"  {in_text(self.formula)}"]
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
        If the graph is not finite, or too large.
    """
    cases = cases_of(derivation)
    question = cases.question
    if name not in {n for n, _ in question.elements}:
        raise question.limits.refusal(f'"{name}" is no param of a cost.', "Ask for the variance of a param's gradient.")
    return Variance(derivation, name, cases)

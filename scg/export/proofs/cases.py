"""The cases of a question: which there are, as far as points at random tell, and which one a point lies in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from scg.export.proofs.case import Case
from scg.export.proofs.limits import OutOfRange
from scg.export.proofs.points import At, Somewhere
from scg.export.proofs.question import Question
from scg.export.proofs.rational import Numbers, Rational
from scg.export.sympy.to_sympy import deep
from scg.run.values import Values
from scg.surrogate.derivation import Derivation

POINTS = 24  # at random, by which cases are looked for
TRIES = 400  # to find a point at which parameters of distributions are in their range
MOST = 8
NEAR = 1e-7  # values at which two cases meet are looked at from nearby


def cases_of(derivation: Derivation) -> Cases:
    """The cases of a derivation, found once."""
    found = derivation.__dict__.get("_cases")
    if found is None:
        found = Cases(Question(derivation))
        object.__setattr__(derivation, "_cases", found)
    found.question.limits.begin()
    return found


class Cases:
    """Of one question.

    Parameters
    ----------
    question : Question
    """

    def __init__(self, question: Question):
        self.question = question
        self._found: list[Case] = []

    @cached_property
    def all(self) -> tuple[Case, ...]:
        """Those that points at random fall into.

        Raises
        ------
        ExactError
            If there are too many.
        """
        for k in range(POINTS):
            if (case := self._somewhere(k)) is not None:
                self._found.append(case)
            if len(self._found) > MOST:
                raise self.question.limits.refusal(f"Its formulas differ in more than {MOST} cases.")
            if not self._found[0].conditions:
                break
        return tuple(self._found)

    @property
    def everywhere(self) -> bool:
        """Whether no point lies in none of them."""
        cases = self.all
        decided = {min((str(e), str(-e))) for case in cases for e in case.spelled}
        return len(cases) == 2 ** len(decided)

    def _somewhere(self, k: int) -> Case | None:
        """The case of the k-th point, if it is a new one."""
        last: OutOfRange | None = None
        for number in range(TRIES):
            point = Somewhere(k * TRIES + number)
            try:
                return None if any(case.holds(point) for case in self._found) else self._case(point)
            except OutOfRange as why:
                last = why
        assert last is not None
        raise last.refusal

    def _case(self, numbers: Numbers) -> Case:
        with deep():
            return Case(self.question, Rational(numbers, self.question.limits))

    def at(self, row: Values, states: Mapping[str, Any] | None = None) -> tuple[Case, At]:
        """The case of a row of a call's values, and these as numbers.

        Raises
        ------
        ExactError
            If they lie where several cases meet, none of which was found at random.
        """
        point = At(self.question.converter, self.question.derivation, row, states)
        known = next((case for case in [*self.all, *self._found] if case.holds(point)), None)
        if known is None:
            rng = np.random.default_rng(1)
            try:
                known = self._case(lambda symbol: point(symbol) + NEAR * float(rng.uniform(0.5, 1.0)))
            except OutOfRange as why:
                raise why.refusal from None
            self._found.append(known)
        return known, point

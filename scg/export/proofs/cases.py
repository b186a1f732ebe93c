"""The cases of a question: which there are, as far as points at random tell, and which one a point lies in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scg.export.proofs.case import Case
from scg.export.proofs.conditions import everywhere, merged, root_of
from scg.export.proofs.limits import NotFinite, OutOfRange
from scg.export.proofs.points import At, Moved, Numbers, Somewhere
from scg.export.proofs.question import Question
from scg.export.sympy.to_sympy import deep
from scg.run.values import Values
from scg.surrogate.derivation import Derivation

POINTS = 24  # at random, by which cases are looked for
TRIES = 400  # to find a point at which parameters of distributions are in their range
MOST_NOT_FINITE = 12  # of these, at which it is not finite on some path
MOST = 8


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
        self._asked: list[Case] = []
        self._searched = False
        self._why: OutOfRange | None = None
        c, leaves = question.converter, question.derivation.leaves
        self._given = frozenset(c.leaf(name, index) for name, node in {**leaves.inputs, **leaves.rows}.items()
                                for index in np.ndindex(node.shape))

    def somewhere(self, seed: int) -> Somewhere:
        """A point at random."""
        return Somewhere(seed, self._given)

    def all(self, rows: Iterable[Values] = ()) -> tuple[Case, ...]:
        """Those that points at random fall into, or next to them, and those of rows of a call's values.

        Raises
        ------
        ExactError
            If there is none.
        """
        self._search()
        asked = [self.at(row)[0] for row in rows]
        if not self._found and not asked:
            assert self._why is not None
            raise self._why.refusal
        return tuple(dict.fromkeys([*self._found, *asked]))

    def _cover(self) -> bool:
        return cover(self._found)

    def _search(self) -> None:
        if self._searched:
            return
        self._searched = True
        for k in range(POINTS):
            if self._why is None and len(self._found) < MOST and not self._cover():
                self._try(k)
        waiting = list(self._found)
        while waiting and not self._cover():
            case = waiting.pop(0)
            for point in _about(case):
                if len(self._found) < MOST and self.question.limits.leisure and not self._known(point):
                    with contextlib.suppress(OutOfRange):
                        self._found.append(self._case(point, inside=True))
                        waiting.append(self._found[-1])

    def _try(self, k: int) -> None:
        """Look for the case of the k-th point, if it is a new one."""
        last: OutOfRange | None = None
        not_finite = 0
        for number in range(TRIES):
            point = self.somewhere(k * TRIES + number)
            try:
                if not self._known(point):
                    self._found.append(self._case(point))
                return
            except OutOfRange as why:
                last = why
                not_finite += isinstance(why, NotFinite)
                if not_finite == MOST_NOT_FINITE:
                    break
        self._why = last

    def _known(self, point: Numbers) -> Case | None:
        return next((case for case in [*self._found, *self._asked] if case.holds(point)), None)

    def _case(self, point: Numbers, inside: bool = False) -> Case:
        """The case of a point; with `inside`, of none at which a probability has just become 0."""
        with deep():
            found = Case(self.question, point)
        if inside and found.rational.at_edge and frozenset({0}) in found.conditions.values():
            raise OutOfRange(self.question.limits.refusal("A probability is 0 there."))
        return found

    def at(self, row: Values, states: Mapping[str, Any] | None = None) -> tuple[Case, At]:
        """The case of a row of a call's values, and these as numbers.

        Raises
        ------
        ExactError
            If something is not defined there.
        """
        self._search()
        point = At(self.question.converter, self.question.derivation, row, states)
        known = self._known(point)
        if known is None:
            try:
                known = self._case(point)
            except OutOfRange as why:
                raise why.refusal from None
            self._asked.append(known)
        return known, point


def _about(case: Case) -> Iterator[Numbers]:
    """Points at the edges of a case, and beyond them."""
    for e in case.conditions:
        found = root_of(e)
        if found is not None and found[1].is_Rational:
            symbol, root, _ = found
            yield from (Moved(case.point, symbol, number) for number in (root, root + 1, root - 1))


def cover(cases: Iterable[Case]) -> bool:
    """Whether each point lies in one of them."""
    return everywhere([case.conditions for case in cases])


def alike(cases: Sequence[Case], found: Sequence[Any]) -> list[tuple[Any, list[tuple]]]:
    """What was found in each case, once if it is the same in several; with the relations of which one must hold."""
    groups: dict[Any, list[Case]] = {}
    for case, value in zip(cases, found):
        groups.setdefault(value, []).append(case)
    together = []
    for value, of in groups.items():
        places = []
        for conditions in merged(case.conditions for case in of):
            own = next(case for case in of if conditions.keys() <= case.conditions.keys())
            places.append(own.relations(conditions))
        together.append((value, places))
    return together

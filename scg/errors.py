"""The errors that `scg` raises, and their one form.

Every error is an `SCGError` whose text has four parts, in this order: *where* (the user's file and line, the node),
*what* was asked, *why* it cannot be, *what would work*. Checkers collect problems and raise once (`raise_all`).
This module knows nobody else in the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar


def printable(text: str) -> str:
    """A text with what cannot be printed in one line (ends of lines, marks, halves of characters) as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def in_a_row(words: Sequence[str]) -> str:
    """Some words, with "and" before the last."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def brief(value, most: int = 40) -> str:
    """A number as an error shows it: Python writes none of more than a few thousand digits."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= most else text[:most] + "…"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in four parts.

    Parameters
    ----------
    where : str
        The user's line and the node, e.g. ``'model.py:14, sample "k"'``; empty if there is no such place.
    what, why, fix : str
        What was asked, why it cannot be, and what would work.
    """

    where: str
    what: str
    why: str
    fix: str

    def __str__(self) -> str:
        location = f"{self.where}: " if self.where else ""
        return " ".join(part for part in (f"{location}{self.what}", self.why, self.fix) if part)


class SCGError(Exception):
    """Base of every error of the package.

    Parameters
    ----------
    where, what, why, fix : str
        The four parts of the message; see `Problem`.
    """

    def __init__(self, where: str = "", what: str = "", why: str = "", fix: str = ""):
        self.problems: tuple[Problem, ...] = (Problem(where, what, why, fix),)
        super().__init__(str(self.problems[0]))

    def __reduce__(self):  # keeps the four parts when an error crosses a process boundary
        first = self.problems[0]
        return _rebuild, (type(self), first.where, first.what, first.why, first.fix, self.problems)


def _rebuild(kind, where, what, why, fix, problems):
    error = kind(where, what, why, fix)
    error.problems = problems
    error.args = ("\n".join(str(p) for p in problems),)
    return error


_Error = TypeVar("_Error", bound=SCGError)


def extended(error: _Error, advice: str) -> _Error:
    """An error whose last problem has more advice."""
    *others, last = error.problems
    first, *_ = problems = (*others, replace(last, fix=f"{last.fix} {advice}"))
    return _rebuild(type(error), first.where, first.what, first.why, first.fix, problems)


class DeclarationError(SCGError):
    """A graph that cannot be declared so: a name used twice, an unknown name, nodes of two graphs."""


class ShapeError(DeclarationError):
    """Shapes that do not fit each other."""


class NodeUseError(SCGError, TypeError):
    """A node used where Python or NumPy needs a number: ``if node:``, ``float(node)``, ``np.array([node])``.

    Or a distribution used where a value is needed: ``scg.Normal(0.0, 1.0) + 1``.
    """


class NodeAttributeError(NodeUseError, AttributeError):
    """An attribute or method that nodes do not have."""


class UnknownAttribute(SCGError, AttributeError):
    """An attribute that a graph, a compiled function or an estimate does not have."""


class UnknownName(SCGError, KeyError):
    """A name that results, or what holds results, do not have."""

    __str__ = Exception.__str__  # a KeyError's text is the repr of its key


class EstimatorError(SCGError):
    """An estimator that would be wrong, or is not defined, for the site it was asked for."""


class BaselineError(EstimatorError):
    """A baseline that depends on the sample whose signal it is subtracted from."""


class ConditionError(EstimatorError):
    """A differentiated path through something that has no derivative (Condition 1 of Schulman et al. 2015)."""


class CapabilityError(EstimatorError, AttributeError):
    """A parameter or capability that a family of distributions does not have."""


class CallError(SCGError, ValueError):
    """Values that a compiled function cannot be called with."""


class NonFiniteError(SCGError, ArithmeticError):
    """An estimate that is not finite; the message names the node where it first appeared."""


class ExactError(SCGError):
    """A graph that `scg.exact` cannot enumerate or integrate."""


class LawError(SCGError, AssertionError):
    """A family, op, estimator or baseline of one's own that breaks a law of its kind; see `scg.extend.check`."""


class InternalError(SCGError, AssertionError):
    """A pass broke an invariant of the graph: a bug of this package, never of its user."""


def raise_all(problems: Sequence[tuple[type[SCGError], Problem]]) -> None:
    """Raise one error for all collected problems, of the first one's class; return if there is none."""
    if not problems:
        return
    kind, first = problems[0]
    raise _rebuild(kind, first.where, first.what, first.why, first.fix, tuple(dict.fromkeys(p for _, p in problems)))

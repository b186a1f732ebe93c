"""For how many steps the effect of a chain's draw on later costs is followed."""

from __future__ import annotations

from scg.errors import EstimatorError
from scg.ir.location import here
from scg.ops.shapes import is_whole

STEPS = 30  # unless a number is given


def check_steps(given: int | None, asked: str, said: str) -> None:
    """Refuse a number of steps that is none; `said` is what it is.

    Raises
    ------
    EstimatorError
    """
    if given is not None and not (is_whole(given) and given >= 0):
        raise EstimatorError(str(here() or ""), f"{asked} was asked for.", f"It is {said}.",
                             "Use a whole number from 0.")


def steps_of(given: int | None) -> int:
    """A number of steps that was given, or the default."""
    return STEPS if given is None else int(given)

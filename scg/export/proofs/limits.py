"""How much is enumerated as formulas, and what is said where that is too little."""

from __future__ import annotations

import time

from scg.errors import ExactError

MOST_PATHS = 4096  # of the noise, or of the sites
SECONDS = 60.0  # for all cases of one question
LEISURE = 10.0  # of these, after which no more cases are looked for
ASKED = "Exact formulas over the noise were asked for."
INSTEAD = "Use a smaller graph; scg.verify(f, values) and scg.exact(g, values) take numbers, on larger ones."


class NoFormula(ExactError):
    """What an estimator contributes is no rational function of what is known, though numbers of it may be had."""


class OutOfRange(Exception):
    """A point at which something is not defined, such as a distribution or a logarithm; with the error that says so."""

    def __init__(self, refusal: ExactError):
        super().__init__()
        self.refusal = refusal


class NotFinite(OutOfRange):
    """A point at which a cost, or a term of the estimator, is not finite on one of the paths."""

    def __init__(self, limits: Limits):
        super().__init__(limits.refusal(
            "A cost, or a term of the estimator, is not finite on one of the paths.",
            "Keep costs finite for all values of the draws. Values of a call, at which they are, are tried too by "
            "scg.verify(f, values, symbolic=True); scg.verify(f, values) takes numbers."))


class Limits:
    """Counts paths and time.

    Parameters
    ----------
    where : str
        Of what they are, for errors.
    """

    def __init__(self, where: str):
        self.where, self.size, self._begun = where, "", time.monotonic()

    def begin(self, size: str = "") -> None:
        """From now on it is counted how long it takes; `size` says of what."""
        self.size, self._begun = size, time.monotonic()

    def check(self, paths: int, what: str) -> None:
        """Refuse what would take too long.

        Raises
        ------
        ExactError
        """
        if paths > MOST_PATHS:
            raise self.refusal(f"There are more than {MOST_PATHS} paths of {what}.")
        if time.monotonic() - self._begun > SECONDS:
            raise self.refusal(f"It takes more than {SECONDS:.0f} s{self.size}.")

    @property
    def leisure(self) -> bool:
        """Whether there is time for what need not be."""
        return time.monotonic() - self._begun < LEISURE

    def refusal(self, why: str, advice: str = INSTEAD, where: str = "",
                kind: type[ExactError] = ExactError) -> ExactError:
        """The error that says why not."""
        return kind(where or self.where, ASKED, why, advice)

"""The mean signal of the other replicates."""

from __future__ import annotations

from dataclasses import dataclass

from scg.baselines.baseline import Baseline, Subtracted
from scg.errors import BaselineError
from scg.ir.location import here
from scg.ops.measure import leave_one_out
from scg.ops.shapes import is_whole


@dataclass(frozen=True)
class LeaveOneOut(Baseline):
    """The mean of Q̂ over the other replicates of a group (RLOO).

    Parameters
    ----------
    group : int, optional
        Replicates in a group, at least 2; it must divide the number of samples. By default the size that another site's
        baseline was given, if one was; else all samples of a row up to 64, or balanced groups of 32 to 64 consecutive
        ones.

    References
    ----------
    Salimans & Knowles 2014; Kool et al. 2019.
    """

    group: int | None = None
    couples = True

    def __post_init__(self):
        if self.group is not None and (not is_whole(self.group) or self.group < 2):
            raise BaselineError(str(here() or ""), f"LeaveOneOut(group={self.group!r}) was asked for.",
                                "A group needs at least two replicates: one is left out.", "Use a whole number from 2.")

    def value(self, site, signal):
        return Subtracted(leave_one_out(signal, None if self.group is None else int(self.group)))

    def reason(self) -> str:
        return "its baseline is the mean of the other replicates, which are independent of this one"

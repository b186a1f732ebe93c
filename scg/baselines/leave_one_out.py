"""The mean signal of the other replicates, or of the other draws along an axis of the site."""

from __future__ import annotations

from dataclasses import dataclass

from scg.baselines.baseline import Baseline, Subtracted, along_axis
from scg.errors import BaselineError
from scg.ir.location import here
from scg.ops.measure import leave_one_out
from scg.ops.others import mean_of_others
from scg.ops.shapes import is_whole


@dataclass(frozen=True)
class LeaveOneOut(Baseline):
    """The mean of Q̂ over the other replicates of a group (RLOO), or over the other draws along an axis of the site.

    Parameters
    ----------
    group : int, optional
        Replicates in a group, at least 2; it must divide their number in a row. By default the size that another site's
        baseline was given, if one was; else all replicates of a row up to 64, or balanced groups of 32 to 64
        consecutive ones.
    axis : int, optional
        A dimension of the site's draws, as in ``shape=K``: not replicates are compared then, but the draws along it.
        Each must have costs of its own there, as under a mean over K samples: every cost is a sum of parts each of
        which is made of the draws of one index. Were a part made of two, each would be in the other's baseline.

    References
    ----------
    Salimans & Knowles 2014; Kool et al. 2019.
    """

    group: int | None = None
    axis: int | None = None

    def __post_init__(self):
        if self.group is not None and (not is_whole(self.group) or self.group < 2):
            raise BaselineError(str(here() or ""), f"LeaveOneOut(group={self.group!r}) was asked for.",
                                "A group needs at least two replicates: one is left out.", "Use a whole number from 2.")
        if self.axis is not None and not is_whole(self.axis):
            raise BaselineError(str(here() or ""), f"LeaveOneOut(axis={self.axis!r}) was asked for.",
                                "It is a dimension of the site's draws.", "Use a whole number, such as 0.")
        if self.axis is not None and self.group is not None:
            raise BaselineError(str(here() or ""), f"{self!r} was asked for.",
                                "Along an axis it is the draws of one replicate that are compared.",
                                "Give group= or axis=, not both.")

    @property
    def couples(self) -> bool:  # type: ignore[override]
        return self.axis is None

    def along(self, site):
        return None if self.axis is None else (along_axis(self, site, self.axis),)

    def value(self, site, signal):
        if self.axis is None:
            return Subtracted(leave_one_out(signal, None if self.group is None else int(self.group)))
        dim = along_axis(self, site, self.axis)
        joined = next((part for part in site.parts if dim not in part.shares.dims), None)
        if joined is not None:
            raise BaselineError(
                site.where, f"{self!r} was asked for as a baseline.",
                f'The draws along axis {dim} have no costs of their own in "{joined.cost}"'
                f"{joined.why and f': {joined.why}'}.",
                "Write the cost as a sum, or a mean, of parts that are made of one draw each; or use LeaveOneOut().")
        return Subtracted(mean_of_others(signal, site.signal_axis(dim)))

    def reason(self) -> str:
        if self.axis is not None:
            return "its baseline is the mean over the other draws along an axis, of costs that are made of these"
        return "its baseline is the mean of the other replicates, which are independent of this one"

    def __repr__(self) -> str:
        given = {name: value for name in ("group", "axis") if (value := getattr(self, name)) is not None}
        return f"LeaveOneOut({', '.join(f'{name}={value}' for name, value in given.items())})"

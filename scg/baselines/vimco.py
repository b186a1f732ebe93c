"""The bound of the other samples as the baseline of each: VIMCO."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

from scg.baselines.baseline import Baseline, Subtracted, along_axis
from scg.errors import BaselineError
from scg.functions import concatenate, logmeanexp, logsumexp
from scg.ir.location import here
from scg.ir.node import Node
from scg.ops.others import mean_of_others, others
from scg.ops.reduce import total
from scg.ops.shapes import is_whole
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.log_sums import LogSum
from scg.surrogate.mark import Name


@dataclass(frozen=True)
class VIMCO(Baseline):
    """For each of K samples along an axis, the bound log (1/K) Σ wₖ with another weight in the place of its own.

    That weight is the mean of the others'. The costs hold the bound as ``-scg.logmeanexp(log_w, axis)``, in which the
    weight of index k is made of the site's draws of index k; with whatever scale.

    Parameters
    ----------
    axis : int
        The dimension of the site's draws along which the samples lie, as in ``shape=K``.
    mean : str
        ``"geometric"`` or ``"arithmetic"``.

    References
    ----------
    Mnih & Rezende 2016.
    """

    axis: int = 0
    mean: str = "geometric"

    def __post_init__(self):
        if not is_whole(self.axis):
            raise BaselineError(str(here() or ""), f"VIMCO(axis={self.axis!r}) was asked for.",
                                "It is a dimension of the site's draws.", "Use a whole number, such as 0.")
        if self.mean not in ("geometric", "arithmetic"):
            raise BaselineError(str(here() or ""), f"VIMCO(mean={self.mean!r}) was asked for.",
                                "It is the mean of the other samples' weights.", 'Use "geometric" or "arithmetic".')

    def along(self, site):
        return (along_axis(self, site, self.axis),)

    def value(self, site, signal):
        dim = along_axis(self, site, self.axis)
        found = site.log_sums(dim)
        if not found:
            others = [d for d in range(len(site.draws)) if d != dim and site.log_sums(d)]
            raise BaselineError(
                site.where, f"{self!r} was asked for as a baseline.",
                f"No cost is linear in a log Σ exp whose summands are each made of the draws of one index along axis "
                f"{dim}.", f"Give axis={others[0]}: along it they are." if others else
                "Write the bound as -scg.logmeanexp(log_w, axis), with one weight for each draw along the axis; or use "
                "LeaveOneOut().")
        if site.credit != (dim,):
            raise BaselineError(
                site.where, f"{self!r} was asked for as a baseline.",
                f"Draws have signals of their own along dimensions {', '.join(map(str, site.credit))}, and the bounds "
                f"are summed over all but {dim}.", 'Use ScoreFunction(…, credit="steps").')
        parts = [self._without_its_own(bound) for cost in found for bound in cost.sums]
        b = broadcast_to(reduce(add, [*parts, *(cost.rest for cost in found)]), signal.shape)
        meaning = f"<costs> with the {self.mean} mean of the other draws' weights in the place of that of @"
        return Subtracted(site.called(Name("B(@)", r"\hat{B}_{@[]}", meaning), b))

    def _without_its_own(self, bound: LogSum) -> Node:
        """For each index along the axis, the part of the cost where another weight stands in the place of its own."""
        x, axis, beside = bound.exponents, bound.axis, others(bound.exponents, bound.axis)
        shape = (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :])
        instead = mean_of_others(x, axis) if self.mean == "geometric" else logmeanexp(beside, axis=axis + 1)
        found = logsumexp(concatenate([beside, reshape(instead, shape)], axis=axis + 1), axis=axis + 1)
        found = found if bound.weight is None else found * bound.weight
        return total(found, axis=tuple(d for d in range(x.ndim) if d != axis))

    def reason(self) -> str:
        return "its baseline is the bound with the mean weight of the other draws in the place of a draw's own"

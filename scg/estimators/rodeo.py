"""RODEO: the score function, with control variates from an operator that takes any function to one of mean 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from scg.errors import Problem
from scg.estimators.double_cv import DoubleCV
from scg.ir.axes import Axis
from scg.ir.node import Node, constant
from scg.ops.control import stop_gradient
from scg.ops.measure import axis_to_event, leave_one_out, replace_draw
from scg.ops.reduce import total
from scg.ops.structure import reshape
from scg.surrogate.control_variate import weight, with_variance
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.mark import FLIPPED, Name
from scg.surrogate.site import Site
from scg.surrogate.stand_in import StandIn, check_surrogate

OTHER = Name("p(<value> | <given>)", r"p(<value> \mid <given>)", also="the probability of each by itself")
H = Name("h(@)", "h_{@}", also="what other replicates' derivatives say of the costs")
H_FLIPPED = Name("h(@ ← <value>)", r"h_{@}(@[] \leftarrow <value>)",
                 also="the same where one draw of @ is its other value")


@dataclass(frozen=True, eq=False)
class RODEO(DoubleCV):
    """+ log p · ⊥(Q̂ − LOO(Q̂ + A h)) + A(⊥h log p), A h(x) = (1/D) Σᵢ p(x̄ᵢ) (h(x₋ᵢ, x̄ᵢ) − h(x)): one of D bits flipped.

    x̄ᵢ is the other value of the bit. A h has the mean 0 for any h, and so has what A makes of h times the score. Here
    h(y) = η (y − x′) · Q′(x′), in the mean over other replicates x′, plus a function of one's own: expansions by the
    slopes at their draws, so that costs are evaluated at the draws only.

    Parameters
    ----------
    surrogate : callable, optional
        A function that is added to h; see `LAX`. It is evaluated once for each bit.
    eta, group : optional
        As of `DoubleCV`.

    References
    ----------
    Shi, Zhou, Hwang, Titsias & Mackey 2022, with the Barker operator of one site, and h linear in the slopes.
    """

    surrogate: Callable[[Node], Any] | None = field(default=None, kw_only=True)
    requires = ("log_odds", "log_prob")
    reference = "Shi, Zhou, Hwang, Titsias & Mackey 2022"

    def __post_init__(self):
        super().__post_init__()
        check_surrogate(self, self.surrogate)

    def weighing(self, site: Site) -> Weighing:
        return Weighing()

    def objection(self, site: Site) -> Problem | None:
        if site.steps:
            return Problem(site.where, self.asked(site), "Inside a scan its operator is not known.", self.remedy(site))
        return super().objection(site)

    def rewrite(self, site: Site) -> Draft:
        eta, x, count = weight(site, self.eta), site.value, prod(site.draws)
        other = site.called(OTHER, site.of(lambda dist, x: dist.probability(1.0 - x)), 1.0 - x, FLIPPED) / count
        slope = leave_one_out(site.slope, self.group)
        here = eta * (total(slope * x) - leave_one_out(total(site.slope * x), self.group))
        flipped = here + eta * slope * (1.0 - 2.0 * x)
        operated = total(other * slope * (1.0 - 2.0 * x))
        if self.surrogate is not None:
            at_draw, at_others = _of_one_s_own(site, StandIn(site, self, self.surrogate))
            here, flipped = here + at_draw, flipped + at_others
        here, flipped = site.called(H, here), site.called(H_FLIPPED, flipped, 1.0 - x, FLIPPED)
        others = leave_one_out(site.cost, self.group) + eta * leave_one_out(operated, self.group)
        log_p, log_odds = total(site.log_prob), site.log_odds
        moved = total(stop_gradient(other * flipped) * (log_p + log_odds * (1.0 - 2.0 * stop_gradient(x))))
        control = moved - stop_gradient(total(other) * here) * log_p
        return with_variance(site, total(site.score * stop_gradient(site.cost - others)) + control)

    def reason(self, site: Site) -> str:
        return "flipped and drawn bits change places with equal chances, so what the operator makes has the mean 0"


def _of_one_s_own(site: Site, function: StandIn) -> tuple[Node, Node]:
    """A function at the draws, and with each of them flipped."""
    axis = Axis(f"{site.name} flipped", prod(site.draws))
    flipped = function.of(replace_draw(site.value, 1.0 - constant(site.value), axis))
    return function.of(site.value), reshape(axis_to_event(flipped, axis), site.draws)

"""The double control variate: leave-one-out, and an expansion by the slopes at the other replicates' draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scg.baselines import LeaveOneOut
from scg.estimators.estimator import Estimator
from scg.ops.control import stop_gradient
from scg.ops.measure import leave_one_out, of_others
from scg.ops.reduce import total
from scg.surrogate.control_variate import check_weight, weight, with_variance
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True, eq=False)
class DoubleCV(Estimator):
    """+ log p · ⊥(Q̂ − ηt − LOO(Q̂ − ηt)) + μ · ⊥(η LOO(Q′)), t = (x − μ) · LOO(Q′): LOO are means of other replicates.

    Q′ is the slope of the costs at the draw, in which later draws that have no path stay as they are: whatever it is,
    that of other replicates does not depend on the draw, and t then has the mean 0. In sums over draws that share a
    signal t is the sum.

    Parameters
    ----------
    eta : float or Node, optional
        η; by default it is learned: the param "site eta" minimises the variance of what a replicate contributes.
    group : int, optional
        Number of replicates in a group, as of `LeaveOneOut`.

    References
    ----------
    Titsias & Shi 2022, eq. 10, whose α is −η.
    """

    eta: Any = None
    group: int | None = None
    requires = ("log_prob", "mean")
    advised = False
    reference = "Titsias & Shi 2022"

    def __post_init__(self):
        check_weight(type(self).__name__, self.eta)
        LeaveOneOut(self.group)

    def rewrite(self, site: Site) -> Draft:
        eta, slope = weight(site, self.eta), of_others(site.slope, self.group)
        t, cost = site.per_signal((site.value - site.mean) * slope), site.cost
        others = leave_one_out(cost, self.group) - eta * leave_one_out(t, self.group)
        term = total(site.score * stop_gradient(cost - eta * t - others)) + total(
            site.mean * stop_gradient(eta * slope))
        return with_variance(site, term)

    def reason(self, site: Site) -> str:
        if not site.has_slope:
            return ("its second control variate is 0, as no cost has a slope in the draws, and only leave-one-out is "
                    f"left{f': {site.family.smoother}' if site.family.smoother else ''}")
        return "both control variates are made of other replicates' costs and slopes, and what they move is added back"

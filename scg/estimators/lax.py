"""LAX: the score function, with a function of the draw as control variate, whose path derivative is added back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scg.errors import Problem
from scg.estimators.estimator import Estimator
from scg.ir.node import Node
from scg.ops.control import stop_gradient
from scg.surrogate.control_variate import check_weight, weight, with_variance
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site
from scg.surrogate.stand_in import StandIn, check_surrogate


@dataclass(frozen=True, eq=False)
class LAX(Estimator):
    """+ log p · ⊥(Q̂ − η c(x)) + x · ⊥(η c′(x)): c stands for the costs, x is differentiated along its path.

    Of the costs only values are asked, so they may be any functions. Whatever c is, the estimate is unbiased; it is
    learned, with η, by minimising the variance of the gradient in the site's own parameters.

    Parameters
    ----------
    surrogate : callable, optional
        ``c(x)``, a scalar node that is made of x, a node like the site's value, and of params of yours: those that no
        cost is made of are learned. It may read what the site does not influence, such as data and parents. In loops
        it is a number for each step, of x of the step. By default it is a net of one hidden layer, whose params the
        site brings: "site W_surrogate_1" and so on.
    eta : float or Node, optional
        η; by default 1, since the net learns its own scale. None learns it: the param "site eta".

    References
    ----------
    Grathwohl, Choi, Wu, Roeder & Duvenaud 2018, eq. 7 and §3.1.
    """

    surrogate: Callable[[Node], Any] | None = None
    eta: Any = 1.0
    requires = ("log_prob", "reparameterise")
    advised = False
    replays = False
    reference = "Grathwohl, Choi, Wu, Roeder & Duvenaud 2018"

    def __post_init__(self):
        check_weight("LAX", self.eta)
        check_surrogate(self, self.surrogate)

    def weighing(self, site: Site) -> Weighing:
        return super().weighing(site) if self.surrogate is None else Weighing()

    def objection(self, site: Site) -> Problem | None:
        if site.family.support.integral:
            return Problem(site.where, self.asked(site), f"The draws of {site.family.__name__} are "
                           f"{site.family.support.text}, which have no path.", self.remedy(site))
        return super().objection(site)

    def rewrite(self, site: Site) -> Draft:
        eta, path = weight(site, self.eta), site.of_value(lambda dist, x: dist.reparameterise(x.args[-1]))
        c = StandIn(site, self, self.surrogate).at(site.value)
        term = (site.score * stop_gradient(site.cost - eta * c.value)).sum() + (
            path * stop_gradient(eta * c.slope)).sum()
        return with_variance(site, term)

    def reason(self, site: Site) -> str:
        return "what the surrogate takes off in the mean of the score, its own path derivative adds"

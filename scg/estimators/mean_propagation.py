"""Mean propagation: a net of means in the place of draws."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class MeanPropagation(Estimator):
    """The mean in the sample's place, given the means upstream: nothing is drawn. Costs and gradients are biased.

    Right where costs, and the parameters of later sites, are linear in the sample. The costs must be differentiable at
    the mean, which is off the support of a discrete site; the compiler checks it.

    References
    ----------
    The mean field of a sigmoid belief net: Saul, Jaakkola & Jordan 1996. AP1 in Shekhovtsov, Yanush & Flach 2020.
    """

    unbiased = False
    requires = ("mean",)
    passes_gradient = True
    reference = "Saul, Jaakkola & Jordan 1996; Shekhovtsov, Yanush & Flach 2020 (AP1)"

    def rewrite(self, site: Site) -> Draft:
        site.check_path(lambda dist, x, noise: dist.mean, "at the site's mean")
        return site.to_be_replaced(lambda dist, x, noise: dist.mean)

    def reason(self, site: Site) -> str:
        why = "the mean stands for the draw, which is right for costs that are linear in it"
        return "; ".join(filter(None, [why, site.assumption]))

"""The ½-estimator."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator
from scg.ops.control import stop_gradient
from scg.ops.structure import reshape
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class Half(Estimator):
    """The sample with the derivative (x − c) ∂ log p(x), with c in the middle of the support: ½ of a Bernoulli draw.

    x + (x − c) · (log p − ⊥log p) stands for it downstream: the score, weighed by a step of the costs' tangent from
    the middle to the sample. Of a Bernoulli draw that is the derivative of the mean over 2p(x). It is biased, but right
    for one draw and costs that are quadratic in it.

    References
    ----------
    Gregor, Danihelka, Mnih, Blundell & Wierstra 2014; Gu, Levine, Sutskever & Mnih 2016, §4.
    """

    unbiased = False
    requires = ("log_prob", "support_values")
    passes_gradient = True
    replays = False
    reference = "Gregor, Danihelka, Mnih, Blundell & Wierstra 2014; Gu, Levine, Sutskever & Mnih 2016"

    def rewrite(self, site: Site) -> Draft:
        middle = site.dist.support_values().mean(axis=0)

        def scored(dist, x, noise):
            log_p = dist.score_form(x)
            log_p = reshape(log_p, (*log_p.shape, *(1,) * (x.ndim - log_p.ndim)))
            return x + (x - middle) * (log_p - stop_gradient(log_p))

        return site.to_be_replaced(scored)

    def reason(self, site: Site) -> str:
        why = ("the tangent of the costs at the draw stands for their difference from those in the middle of the "
               "support")
        return "; ".join(filter(None, [why, site.assumption]))

"""The straight-through estimator."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator
from scg.ops.control import stop_gradient
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """The sample with the derivative of its mean: x + (μ − ⊥μ) stands for it downstream. It is biased.

    Right where the costs are linear in the sample (and between the values of a Bernoulli variable every function is
    taken for the tangent at the one that was drawn).

    References
    ----------
    Hinton 2012, lecture 15b; Bengio, Léonard & Courville 2013; with the derivative of the mean, Raiko et al. 2015.
    """

    unbiased = False
    requires = ("mean",)
    passes_gradient = True
    replays = False
    reference = "Hinton 2012; Bengio, Léonard & Courville 2013; Raiko et al. 2015"

    def rewrite(self, site: Site) -> Draft:
        return site.to_be_replaced(lambda dist, x, noise: x + (dist.mean - stop_gradient(dist.mean)))

    def reason(self, site: Site) -> str:
        why = "the derivative of the mean stands for that of the sample, which is right for costs that are linear in it"
        return "; ".join(filter(None, [why, site.assumption]))

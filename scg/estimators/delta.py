"""The delta method: score or path, with a second-order expansion about the mean as control variate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.ir.node import Node
from scg.ops.arithmetic import whole_power
from scg.ops.control import stop_gradient
from scg.ops.reduce import total
from scg.surrogate.control_variate import check_weight, weight, with_variance
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.site import Site

CENTRE = Name("μ(@)", r"\mu_{@[]}")
PATH = Name("g(@)", r"g_{@[]}", also="@, as a function of parameters and noise")


@dataclass(frozen=True, eq=False)
class Delta(Estimator):
    """+ log p · ⊥(Q̂ − ηh(x)) + η (μ · ⊥Q′(μ) + ½ v · ⊥Q″(μ)), h(x) = Q(μ) + Q′(μ)(x − μ) + ½ Q″(μ)(x − μ)².

    μ and v are the mean and variance, and Q″ the diagonal of the Hessian. With `pathwise` it is the path that is
    corrected: + x · ⊥(Q′(x) − ηh′(x)) in place of the first term. Costs that are quadratic in each draw leave no
    variance at η = 1. It is unbiased for any η that does not depend on the draw.

    Parameters
    ----------
    pathwise : bool
        Whether the draw is differentiated along its path, or scored.
    eta : float or Node, optional
        η; by default it is learned: the param "site eta" minimises the variance of the gradient in the site's own
        parameters.

    References
    ----------
    Paisley, Blei & Jordan 2012; with paths, Miller, Foti, D'Amour & Adams 2017.
    """

    pathwise: bool = False
    eta: Any = None
    requires = ("log_prob", "mean", "variance")
    differentiates = True
    advised = False
    evaluations = "1, and 1 at the mean with second derivatives"
    reference = "Paisley, Blei & Jordan 2012; Miller, Foti, D'Amour & Adams 2017"

    def __post_init__(self):
        check_weight("Delta", self.eta)
        if not isinstance(self.pathwise, bool):
            raise EstimatorError(str(here() or ""), f"Delta(pathwise={brief(self.pathwise)}) was asked for.",
                                 "It says whether the draw is differentiated along its path.", "Use True or False.")

    def objection(self, site: Site) -> Problem | None:
        if self.pathwise and (site.family.support.integral or not site.family.can("reparameterise")):
            return Problem(site.where, self.asked(site), f"{site.family.__name__} has no differentiable path from its "
                           "parameters to its samples.", f"Use Delta(). {self.advice(site)}".strip())
        return super().objection(site)

    def rewrite(self, site: Site) -> Draft:
        q, _, slope, bend = site.curved(lambda dist, x, noise: dist.mean, "at the site's mean", CENTRE)
        eta, mean = weight(site, self.eta), site.mean
        variance = site.of_value(lambda dist, x: dist.variance)
        added = mean * stop_gradient(eta * slope) + 0.5 * variance * stop_gradient(eta * bend)
        return with_variance(site, self._first(site, eta, q, slope, bend) + total(added))

    def _first(self, site: Site, eta: Node, q: Node, slope: Node, bend: Node) -> Node:
        """The estimator that is corrected, less its control variate."""
        if self.pathwise:
            _, x, along = site.linearised(lambda dist, x, noise: dist.reparameterise(noise), "at the draw", PATH)
            return total(x * stop_gradient(along - eta * (slope + bend * (x - site.mean))))
        off = site.value - site.mean
        h = q + site.per_signal(slope * off + 0.5 * bend * whole_power(off, 2))
        return total(site.score * stop_gradient(site.cost - eta * h))

    def reason(self, site: Site) -> str:
        why = "what the expansion takes off in the mean, the gradient of its own mean adds"
        return "; ".join(filter(None, [why, site.assumption]))

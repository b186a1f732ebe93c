"""Local expectation gradients: each draw summed out with the others as they are."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator
from scg.ops.control import stop_gradient
from scg.ops.measure import axis_sum
from scg.ops.reduce import total
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class LocalExpectation(Estimator):
    """+ Σᵥ p(v) · ⊥(Q(v) − Q) per draw: its own randomness is integrated; the rest is sampled, under common noise.

    The p(v) add up to 1, so Q, the costs as they were drawn, adds nothing to the gradient: costs that do not change
    with the draw are not weighed.

    References
    ----------
    Titsias & Lázaro-Gredilla 2015; Tokui & Sato 2017 (RAM).
    """

    requires = ("log_prob", "support_values")
    scores = False  # it takes the probabilities themselves
    evaluations = "support size per draw"
    reference = "Titsias & Lázaro-Gredilla 2015; Tokui & Sato 2017"

    def rewrite(self, site: Site) -> Draft:
        axis = site.values
        q = site.each(lambda dist, x, noise: dist.values_along(axis), "support")
        gap = stop_gradient(q) - stop_gradient(site.each_as_drawn())
        term = axis_sum(total(site.chances * gap), (axis.name,))
        return site.draft.with_term(site.name, term)

    def reason(self, site: Site) -> str:
        return ("each draw is summed over its whole support, with the site's other draws as they are, and later sites "
                "replayed")

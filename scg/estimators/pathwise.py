"""The pathwise, or reparameterisation, estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from scg.errors import Problem
from scg.estimators.estimator import Estimator
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site

if TYPE_CHECKING:
    from scg.distributions.distribution import Distribution


@dataclass(frozen=True)
class Pathwise(Estimator):
    """The sample as a differentiable function T(ε, η) of its parameters and of noise that does not depend on them.

    Everything from the site to the costs must be continuous; the compiler checks it.

    References
    ----------
    Glasserman 1991; Kingma & Welling 2014; Schulman et al. 2015, §2.1.
    """

    requires: ClassVar[tuple[str, ...]] = ("reparameterise",)
    passes_gradient = True
    replays = False
    reference = "Glasserman 1991; Kingma & Welling 2014"

    @classmethod
    def offer(cls, family: type[Distribution]) -> str | None:
        return None if family.support.integral else super().offer(family)

    def objection(self, site: Site) -> Problem | None:
        if site.family.support.integral:
            costs = " and ".join(f'cost "{name}"' for name in site.influenced) or "anything"
            return Problem(
                site.where, f"{self} cannot differentiate {costs} through {site.family.__name__}.",
                f"Its samples are {site.family.support.text}, so the path derivative is zero almost everywhere and the "
                "estimate would be biased.", self.remedy(site))  # fmt: skip
        return super().objection(site)

    def rewrite(self, site: Site) -> Draft:
        return site.to_be_replaced(lambda dist, x, noise: dist.reparameterise(noise))

    def reason(self, site: Site) -> str:
        paths = ("every path from the site to a cost, or to the distribution of a site with an estimator of its own, "
                 "is continuous")
        return "; ".join(filter(None, [paths, site.assumption]))

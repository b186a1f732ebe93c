"""The score function, or likelihood-ratio, estimator."""

from __future__ import annotations

from dataclasses import dataclass

from scg.baselines.baseline import Baseline, check_baseline
from scg.estimators.estimator import Estimator
from scg.ops.control import stop_gradient
from scg.ops.reduce import total
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class ScoreFunction(Estimator):
    """+ log p · ⊥(Q̂ − b): the costs that the site influences weight the gradient of its log-probability.

    Parameters
    ----------
    baseline : Baseline, optional
        Subtracted from Q̂; it must not depend on the replicate's own sample. None by default.

    References
    ----------
    Glynn 1990; Williams 1992; Schulman et al. 2015, Theorems 1 and 2.
    """

    baseline: Baseline | None = None
    requires = ("log_prob",)
    subtracts = True
    replays = False
    reference = "Glynn 1990; Williams 1992; Schulman et al. 2015"

    def __post_init__(self):
        check_baseline(self.baseline)

    def weighing(self, site: Site) -> Weighing:
        found = super().weighing(site)
        return found if self.baseline is None else self.baseline.weighing(site, found)

    def rewrite(self, site: Site) -> Draft:
        signal, draft = site.cost, site.draft
        if self.baseline is not None:
            signal, draft = self.baseline.taken_from(signal, site)
        term = total(site.score * stop_gradient(signal))
        return draft.with_term(site.name, term)

    def verdict(self, site: Site) -> tuple[str, str]:
        if self.baseline is not None and not self.baseline.unbiased:
            return "biased", self.baseline.reason()
        return super().verdict(site)

    def reason(self, site: Site) -> str:
        base = f"; {self.baseline.reason()}" if self.baseline else ""
        return f"its support does not depend on what is differentiated{base}"

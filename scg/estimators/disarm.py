"""DisARM, or U2G: two antithetic draws, and what both together tell of the noise averaged out."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator
from scg.functions import abs, sigmoid, stop_gradient
from scg.surrogate.draft import Draft
from scg.surrogate.several_sites import Together
from scg.surrogate.site import Site


@dataclass(frozen=True)
class DisARM(Estimator):
    """+ a · ⊥(½ (Q(b) − Q(b̃)) (b − b̃) σ(|a|)): b̃ is drawn from 1 − u where b is drawn from u, and a are the log-odds.

    All draws of the site, and of the sites that stand together with it, are replaced at once. The sign is that for
    b = 1[u < p]; exchanging the two draws changes both factors'.

    References
    ----------
    Dong, Mnih & Tucker 2020; Yin, Ho, Yan, Qian & Zhou 2020 (U2G).
    """

    scope = "together"
    requires = ("log_odds",)
    scores = True
    evaluations = "2"
    reference = "Dong, Mnih & Tucker 2020; Yin, Ho, Yan, Qian & Zhou 2020"

    def rewrite(self, sites: Together) -> Draft:
        draft = sites.draft
        for site in sites:
            gap = stop_gradient(sites.replay(lambda site, dist, x: x, site) - sites.replay(Site.antithetic, site))
            log_odds = site.log_odds
            apart = site.of(lambda dist, x, site=site: x - site.antithetic(dist, x))
            weight = stop_gradient(0.5 * apart * sigmoid(abs(log_odds)))
            draft = draft.with_term(site.name, (site.per_signal(log_odds * weight) * gap).sum())
        return draft

    def reason(self, site: Site) -> str:
        return "both draws have the site's distribution, and ARM is averaged over what they do not tell of the noise"

"""Augment–REINFORCE–merge: the noise that two antithetic draws share weighs the difference of their costs."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator
from scg.functions import stop_gradient
from scg.surrogate.draft import Draft
from scg.surrogate.several_sites import Together
from scg.surrogate.site import Site


@dataclass(frozen=True)
class ARM(Estimator):
    """+ a · ⊥((Q(b̃) − Q(b)) (u − ½)): b is drawn from u and b̃ from 1 − u, and a are the log-odds.

    All draws of the site, and of the sites that stand together with it, are replaced at once: two evaluations for all.
    The sign is that for b = 1[u < p].

    References
    ----------
    Yin & Zhou 2019.
    """

    scope = "together"
    requires = ("log_odds",)
    scores = True
    evaluations = "2"
    reference = "Yin & Zhou 2019"

    def rewrite(self, sites: Together) -> Draft:
        draft = sites.draft
        for site in sites:
            gap = stop_gradient(sites.replay(Site.antithetic, site) - sites.replay(lambda site, dist, x: x, site))
            log_odds = site.log_odds
            weight = stop_gradient(site.uniform - 0.5)
            draft = draft.with_term(site.name, (site.per_signal(log_odds * weight) * gap).sum())
        return draft

    def reason(self, site: Site) -> str:
        return "given the noise, the difference of two antithetic draws has the score function's expectation"

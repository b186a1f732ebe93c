"""Augment–REINFORCE–merge: the noise that two antithetic draws share weighs the difference of their costs."""

from __future__ import annotations

from dataclasses import dataclass

from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.functions import stop_gradient
from scg.ir.location import here
from scg.surrogate.draft import Draft
from scg.surrogate.several_sites import Together
from scg.surrogate.site import Site


@dataclass(frozen=True)
class ARM(Estimator):
    """+ a · ⊥((Q(b̃) − Q(b)) (u − ½)): b is drawn from u and b̃ from 1 − u, and a are the log-odds.

    All draws of the site, and of the sites that stand together with it, are replaced at once: two evaluations for all.
    The sign is that for b = 1[u < p].

    Parameters
    ----------
    noise : str
        ``"common"``: later sites are replayed under their own noise, which lowers the variance; ``"fresh"``: under
        independent streams, as in the paper.

    References
    ----------
    Yin & Zhou 2019.
    """

    noise: str = "common"
    scope = "together"
    requires = ("log_odds",)
    scores = True
    evaluations = "2"
    reference = "Yin & Zhou 2019"

    def __post_init__(self):
        if self.noise not in ("common", "fresh"):
            raise EstimatorError(str(here() or ""), f"ARM(noise={brief(self.noise)}) was asked for.",
                                 "It says under which noise later sites are replayed.", 'Use "common" or "fresh".')

    def objection(self, site: Site) -> Problem | None:
        missing = super().objection(site)
        if missing is None and site.steps and self.noise == "fresh":
            return Problem(site.where, self.asked(site), "The site is drawn in the steps of a loop, whose replays "
                           "share their noise.", "Use ARM().")
        return missing

    def rewrite(self, sites: Together) -> Draft:
        draft, tag = sites.draft, "" if self.noise == "common" else "antithetic replay"
        for site in sites:
            other = sites.replay(Site.antithetic, site, fresh=tag)
            gap = stop_gradient(other - sites.replay(lambda site, dist, x: x, site))
            log_odds = site.log_odds
            weight = stop_gradient(site.uniform - 0.5)
            draft = draft.with_term(site.name, (site.per_signal(log_odds * weight) * gap).sum())
        return draft

    def reason(self, site: Site) -> str:
        return "given the noise, the difference of two antithetic draws has the score function's expectation"

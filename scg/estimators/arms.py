"""ARMS: several antithetic draws of a binary site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scg.errors import EstimatorError, brief
from scg.estimators.carms import check_count, coupled
from scg.estimators.estimator import Estimator
from scg.functions import stop_gradient
from scg.ir.axes import Axis
from scg.ir.location import here
from scg.ir.node import constant
from scg.ops.measure import axis_sum
from scg.surrogate.coupled_draws import CoupledDraws
from scg.surrogate.draft import Draft
from scg.surrogate.mark import CHANCE, VALUE, Name
from scg.surrogate.normal_copula import NormalDraws
from scg.surrogate.several_sites import Together
from scg.surrogate.site import Site

RATIO = Name("r(@)", "r_{@[]}", "the product of the probabilities of 0 and of 1, over that of a 0 and a 1 in two of "
             "the coupled draws of @, in this order")
_COPULAS: dict[str, Any] = {"dirichlet": CoupledDraws, "gaussian": NormalDraws}


@dataclass(frozen=True)
class ARMS(Estimator):
    """+ a · ⊥(p (1 − p)/P(0, 1) · 1/(n − 1) Σᵢ (Q(zᵢ) − Q̄) (zᵢ − p)): n coupled draws, a are the log-odds, p = σ(a).

    P(0, 1) is the probability that of two draws the first is 0 and the other 1; Q̄ is the mean of the Q(zᵢ). All draws
    of the site, and of the sites that stand together with it, are replaced at once. Of n = 2 it is `DisARM`.

    Parameters
    ----------
    n : int
        How many draws, from 2 to 10; the first is the sample.
    copula : str
        ``"dirichlet"``, or ``"gaussian"``: normal numbers with correlations −1/(n − 1). Of the latter's draws only
        pairs are known in closed form, so that `scg.verify` cannot tell.

    References
    ----------
    Dimitriev & Zhou 2021 (ARMS).
    """

    n: int = 4
    copula: str = "dirichlet"
    scope = "together"
    requires = ("log_odds", "support_values")
    scores = True
    advised = False
    evaluations = "n + 1"
    reference = "Dimitriev & Zhou 2021 (ARMS)"

    def __post_init__(self):
        check_count("ARMS", self.n)
        if not isinstance(self.copula, str) or self.copula not in _COPULAS:
            raise EstimatorError(str(here() or ""), f"ARMS(copula={brief(self.copula)}) was asked for.",
                                 "It says how the draws are coupled.", 'Use "dirichlet" or "gaussian".')

    def rewrite(self, sites: Together) -> Draft:
        draft, axis = sites.draft, Axis(f"{sites.sites[0].name} coupled", self.n)
        draws = {site: _COPULAS[self.copula](site, axis) for site in sites}
        for site in sites:
            q = stop_gradient(sites.replay(lambda site, dist, x: draws[site].value(dist, x), site, coupled(self.n)))
            q = q - stop_gradient(sites.replay(lambda site, dist, x: x, site))  # what does not change is not compared
            value = site.of_value(draws[site].value)
            chance = site.called(CHANCE, site.of(lambda dist, x: dist.probability(1.0)), constant(1.0))
            off = site.called(VALUE, value, value, coupled(self.n)) - chance
            weight = site.called(RATIO, draws[site].ratio_of_two()) * stop_gradient(off) / (self.n - 1.0)
            term = site.per_signal(site.log_odds * weight) * (q - axis_sum(q, (axis.name,)) / float(self.n))
            draft = draft.with_term(site.name, axis_sum(term.sum(), (axis.name,)))
        return draft

    def reason(self, site: Site) -> str:
        return ("each of the draws has the site's distribution, and pairs are weighted by the probability with which "
                "independent draws would be such a pair, over their own")

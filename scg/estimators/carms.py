"""CARMS: several coupled draws of a categorical site."""

from __future__ import annotations

from dataclasses import dataclass

from scg.errors import EstimatorError, brief
from scg.estimators.estimator import Estimator
from scg.functions import stop_gradient
from scg.ir.axes import Axis
from scg.ir.location import here
from scg.ops.measure import axis_sum
from scg.ops.shapes import is_whole
from scg.surrogate.coupled_draws import CoupledDraws
from scg.surrogate.draft import Draft
from scg.surrogate.mark import SCORE_OF_VALUE, Name
from scg.surrogate.several_sites import Together
from scg.surrogate.site import Site

MOST = 10
RATIO = Name("r(<worlds>)", "r_{@[]}", "the product of the probabilities of <worlds>, over that of both in this order; "
             "0 where they are the same value")


@dataclass(frozen=True)
class CARMS(Estimator):
    """+ 1/(n (n−1)) Σ_{i≠j} log p(zᵢ) · ⊥(r(zᵢ, zⱼ) (Q(zᵢ) − Q(zⱼ))): n coupled draws are compared with each other.

    r(a, b) = p(a) p(b) / P(a, b) makes up for their keeping apart. The copula is Dirichlet, over an order of the values
    that is drawn anew; zᵢ is a draw of all elements, and of all sites that stand together. For two values it is `ARMS`.

    Parameters
    ----------
    n : int
        How many draws, from 2 to 10; the first is the sample.

    References
    ----------
    Dimitriev & Zhou 2021 (CARMS).
    """

    n: int = 3
    scope = "together"
    requires = ("log_prob", "support_values")
    advised = False
    evaluations = "n + 1"
    reference = "Dimitriev & Zhou 2021 (CARMS)"

    def __post_init__(self):
        check_count("CARMS", self.n)

    def rewrite(self, sites: Together) -> Draft:
        draft, axis = sites.draft, Axis(f"{sites.sites[0].name} coupled", self.n)
        other = Axis(f"{axis.name} (other)", self.n)
        draws = {site: CoupledDraws(site, axis) for site in sites}
        for site in sites:
            own, said = draws[site], coupled(self.n)
            q = sites.replay(lambda site, dist, x: draws[site].value(dist, x), site, said)
            another = said._replace(text="@*'", meaning="another of these draws")
            q_other = site.renamed(q, axis, other, own.value, another)
            gap = stop_gradient(q) - stop_gradient(q_other)
            log_p = site.of(lambda dist, x, own=own: dist.log_prob(own.value(dist, x)))
            log_p = site.called(SCORE_OF_VALUE, log_p, site.of_value(own.value), said)
            term = site.per_signal(log_p * site.called(RATIO, own.ratio(other))) * gap / (self.n * (self.n - 1.0))
            draft = draft.with_term(site.name, axis_sum(term.sum(), (axis.name, other.name)))
        return draft

    def reason(self, site: Site) -> str:
        return ("each of the draws has the site's distribution, and pairs are weighted by the probability with which "
                "independent draws would be such a pair, over their own")


def coupled(n: int) -> Name:
    """What the draws are called in formulas."""
    return Name("@*", "@[]^{(<world>)}", f"each of {n} coupled draws, of which @ is the first")


def check_count(estimator: str, n: object) -> None:
    """Refuse a number of draws that there cannot be.

    Raises
    ------
    EstimatorError
    """
    if not is_whole(n) or not 2 <= n <= MOST:  # type: ignore[operator]
        raise EstimatorError(str(here() or ""), f"{estimator}(n={brief(n)}) was asked for.",
                             "It is how many draws are compared with each other.",
                             f"Use a whole number from 2 to {MOST}.")

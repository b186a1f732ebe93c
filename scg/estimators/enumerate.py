"""Summing a site out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.ops.shapes import is_whole
from scg.surrogate.by_steps import OTHERWISE
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site

if TYPE_CHECKING:
    from scg.distributions.distribution import Distribution

MOST_POINTS = 1 << 16
LARGEST = 1 << 53  # counts beyond are no numbers of their own in float64


@dataclass(frozen=True)
class Enumerate(Estimator):
    """The site removed: every downstream cost c → Σᵥ p(v)·c|v, every downstream term t → Σᵥ ⊥p(v)·t|v.

    Parameters
    ----------
    upto : int, optional
        For families on the integers from 0: sum the values 0 … upto only. The estimate is then biased by what lies
        above, at most P(X > upto) times the largest cost there.

    References
    ----------
    Rao–Blackwellisation by complete summation.
    """

    upto: int | None = None
    requires = ("log_prob",)
    scores = False  # it takes the probabilities themselves
    always = True
    sums_out = True
    evaluations = "support size to the power of the draws that are summed over together"
    reference = "Rao–Blackwellisation"

    def __post_init__(self):
        if self.upto is not None and (not is_whole(self.upto) or not 0 <= self.upto < LARGEST):
            raise EstimatorError(str(here() or ""), f"Enumerate(upto={brief(self.upto)}) was asked for.",
                                 "It is the largest value that is summed over.",
                                 f"Use a whole number from 0; at most {MOST_POINTS:,} values are summed over.")

    @classmethod
    def offer(cls, family: type[Distribution]) -> str | None:
        if family.can("support_values"):
            return "Enumerate()"
        return "Enumerate(upto=…)" if family.support.integral else None

    def objection(self, site: Site) -> Problem | None:
        missing = super().objection(site)
        if missing:
            return missing
        count = self._count(site)
        if count is None:
            fix = ("Use Enumerate(upto=…), which is biased by what it leaves out." if site.family.support.integral
                   else self.advice(site))
            return Problem(site.where, self.asked(site),
                           f"{site.family.__name__} takes infinitely many values: {site.family.support.text}.", fix)
        values = self.values_of(site) if count <= MOST_POINTS else None
        every = math.prod((*site.steps, *site.draws))
        draws, why = (every, "") if values is None else site.summed_together(values)
        if draws and count > 1 and draws * math.log(count) > math.log(MOST_POINTS) * (1.0 + 1e-9):
            points = count**draws if draws < 60 and count < LARGEST else f"{count}^{draws}"
            steps = " its steps" if site.steps and draws == every else ""
            return Problem(site.where, self.asked(site),
                           f"The site has {points} values in all{steps}, more than "
                           f"{MOST_POINTS}{f', which are summed over together: {why}' if why else ''}.",
                           self._of_fewer(site, draws))
        return self._both_ways(site)

    def _of_fewer(self, site: Site, draws: int) -> str:
        """What would work where there are too many values."""
        if site.family.can("support_values"):
            instead = "Use LocalExpectation(), which sums out one draw at a time"
            too = "; or give Enumerate() to the sites that draw the next state, too, if they have few values"
            return f"{instead}{f'{too}; or {OTHERWISE}' if site.steps else ''}."
        most = next(n for n in range(MOST_POINTS, 0, -1) if n**draws <= MOST_POINTS) - 1 if draws < 16 else 0
        advised = self.advice(site)
        if most <= 0:
            return advised
        return f"{f'{advised[:-1]}, or' if advised else 'Use'} Enumerate(upto={most}) or less."

    def _both_ways(self, site: Site) -> Problem | None:
        """The objection where a site of the same scan influences this one and is influenced by it.

        Its terms weigh what it drew with costs. In the worlds of this site its draws lead to the world's probability,
        so that a baseline, which is another number in each world, is no longer independent of them.
        """
        terms = {term.site for term in site.draft.terms}
        others = [name for name in site.interdependent if name in terms]
        if not others:
            return None
        return Problem(site.where, self.asked(site),
                       f'Site "{others[0]}" influences it and is influenced by it through a carry of the scan.',
                       "Use LocalExpectation(), which sums out one step at a time.")

    def _count(self, site: Site) -> int | None:
        """How many values are summed over in a draw; nothing is made to count them."""
        values = site.dist.support_values()
        if values is None and self.upto is not None and site.family.support.integral:
            return int(self.upto) + 1
        return None if values is None else len(values)

    def values_of(self, site: Site) -> np.ndarray | None:
        values = site.dist.support_values()
        if values is None and self.upto is not None and site.family.support.integral:
            return np.arange(self.upto + 1, dtype=float) if self.upto < MOST_POINTS else None
        return values

    def rewrite(self, site: Site) -> Draft:
        values = self.values_of(site)
        assert values is not None
        return site.to_be_summed_out(values)

    def verdict(self, site: Site) -> tuple[str, str]:
        if site.dist.support_values() is None:
            return "biased", (f"values above {self.upto} are left out: the error is at most their probability times "
                              "the largest cost there")
        return super().verdict(site)

    def reason(self, site: Site) -> str:
        return "the site is summed over its whole support"

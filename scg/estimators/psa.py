"""Path sample-analytic gradients: flips of single draws, whose effect goes on as changes of probabilities."""

from __future__ import annotations

from dataclasses import dataclass

from scg.analysis.affine import bend
from scg.distributions.distribution import Distribution
from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.functions import sigmoid, stop_gradient
from scg.ir.location import here
from scg.ir.node import Node
from scg.ir.printer import title
from scg.ops.randomness import distribution_of
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.mark import FLIPPED, Name
from scg.surrogate.site import Site

CHANCE = Name("p(@ | <given>)", r"p(@[] \mid <given>)", also="the probability of each draw by itself")


@dataclass(frozen=True)
class PSA(Estimator):
    """+ p(b) · ⊥(λ) per draw, with λ = H(b) − H(flip b): H are the costs, and these terms of the layers that b moves.

    For layers of Bernoulli draws with affine logits. One draw is flipped at a time. The draws of later layers are held,
    and so are their λ; what a flip does to them is Σ λ · (the change of the probability of each draw). So the last
    layer is summed out draw by draw, which is exact. In earlier layers a flip changes the next layer's draws one at a
    time, never together: that is biased where several are moved.

    Parameters
    ----------
    averaged : bool
        Where a layer moves no other, average the gradient in what the costs are made of besides over its flips too:
        + Σ ⊥((1 − p(b))/n) · (Q(flip b) − Q(b)), n the number of its draws. The costs are then differentiated in the
        worlds of all flips.

    References
    ----------
    Shekhovtsov, Yanush & Flach 2020.
    """

    averaged: bool = False
    unbiased = False
    requires = ("log_odds",)
    scores = False  # it takes the probabilities themselves
    evaluations = "1, and 1 of what is downstream of a layer, up to the next, for each of its draws"
    reference = "Shekhovtsov, Yanush & Flach 2020"

    def __post_init__(self):
        if not isinstance(self.averaged, bool):
            raise EstimatorError(str(here() or ""), f"PSA(averaged={brief(self.averaged)}) was asked for.",
                                 "It says whether other gradients are averaged over flips.", "Use True or False.")

    def weighing(self, site: Site) -> Weighing:
        return super().weighing(site)._replace(held=True)

    def objection(self, site: Site) -> Problem | None:
        missing = super().objection(site)
        if missing is not None:
            return missing
        if site.steps:
            return Problem(site.where, self.asked(site), "It is for layers, and the site is drawn in the steps of a "
                           "loop.", self._instead(site, "Write the steps as a Python loop, each a layer; or u"))
        for later in site.moved_draws:
            found = bend(distribution_of(later).log_odds, site.node, site.held)
            if found is not None:
                why = (f'The logits of "{later.attrs.site}" are not affine in its draws: on the way stands the '
                       f"{title(found)} at {found.source}. To flip a draw is then no rank-one change of them.")
                return Problem(site.where, self.asked(site), why, self._instead(site, "U"))
        return None

    def _instead(self, site: Site, begin: str) -> str:
        """What else would work."""
        return begin + self.remedy(site).removeprefix("U")

    def rewrite(self, site: Site) -> Draft:
        chance = site.called(CHANCE, site.of(_chance))
        flipped = site.each(lambda dist, x, noise: 1.0 - x, "flip", said=FLIPPED)
        change = site.each_as_drawn() - flipped
        weight = stop_gradient(change)
        draft = site.draft.with_term(site.name, (chance * weight).sum(), passed=weight)
        if not self.averaged or site.moved_draws or not change.size:
            return draft
        return draft.with_term(site.name, -(stop_gradient((1.0 - chance) / change.size) * change).sum())

    def verdict(self, site: Site) -> tuple[str, str]:
        return ("biased" if site.moved_draws else "unbiased"), self.reason(site)

    def reason(self, site: Site) -> str:
        moved = dict.fromkeys(n.attrs.site for n in site.moved_draws)
        if not moved:
            return "each draw is summed over its two values, with the site's other draws as they are"
        names = " and ".join(f'"{name}"' for name in moved)
        return (f"what a flip does to the draws of {names} is taken for the sum of what it does to each of them, with "
                "the others as they are")


def _chance(dist: Distribution, x: Node) -> Node:
    """The probability of what was drawn; by log-odds, which a flip changes by a constant, where these are finite."""
    if any(name in dist.edges for name in dist.params):
        return dist.probability(x)
    return sigmoid((2.0 * x - 1.0) * dist.log_odds)

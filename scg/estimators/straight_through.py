"""The straight-through estimator."""

from __future__ import annotations

from dataclasses import dataclass

from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.ops.control import stop_gradient
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class StraightThrough(Estimator):
    """The sample with the derivative of its mean: x + (μ − ⊥μ) stands for it downstream. It is biased.

    Right where the costs are linear in the sample (and between the values of a Bernoulli variable every function is
    taken for the tangent at the one that was drawn).

    Parameters
    ----------
    derivative : bool
        Take the derivative of the mean. Without it, the log-odds a of a binary draw have its derivative as it comes:
        x + (a − ⊥a). That leaves out the factor p(1 − p), and is no gradient of anything, but its sign is right where
        costs are linear.

    References
    ----------
    Hinton 2012, lecture 15b; Bengio, Léonard & Courville 2013; with the derivative of the mean, Raiko et al. 2015.
    """

    derivative: bool = True
    unbiased = False
    requires = ("mean",)
    passes_gradient = True
    replays = False
    reference = "Hinton 2012; Bengio, Léonard & Courville 2013; Raiko et al. 2015"

    def __post_init__(self):
        if not isinstance(self.derivative, bool):
            raise EstimatorError(str(here() or ""), f"StraightThrough(derivative={brief(self.derivative)}) was asked "
                                 "for.", "It says whether the derivative of the mean is taken.", "Use True or False.")

    def objection(self, site: Site) -> Problem | None:
        missing = super().objection(site)
        if missing is None and not (self.derivative or site.family.can("log_odds")):
            return Problem(site.where, self.asked(site), f"{site.family.__name__} has no log-odds that would have the "
                           "derivative as it comes.", "Use StraightThrough(), which takes the derivative of the mean.")
        return missing

    def rewrite(self, site: Site) -> Draft:
        def through(dist, x, noise):
            smooth = dist.mean if self.derivative else dist.log_odds
            return x + (smooth - stop_gradient(smooth))

        return site.to_be_replaced(through)

    def reason(self, site: Site) -> str:
        why = "the derivative in the draw is handed to its log-odds as it is"
        if self.derivative:
            why = ("the derivative of the mean stands for that of the draw, which is right for costs that are linear "
                   "in it")
        return "; ".join(filter(None, [why, site.assumption]))

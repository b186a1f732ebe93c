"""The Gumbel–softmax, or Concrete, relaxation."""

from __future__ import annotations

from dataclasses import dataclass

from scg.errors import EstimatorError, brief
from scg.estimators.estimator import Estimator, check_temperature
from scg.ir.location import here
from scg.ir.node import Node
from scg.surrogate.draft import Draft
from scg.surrogate.replacement import moved_by
from scg.surrogate.site import Site


@dataclass(frozen=True)
class GumbelSoftmax(Estimator):
    """A smooth function of the parameters and of noise stands for the sample. It is biased.

    Parameters
    ----------
    temperature : float
        Of the relaxation, above 0: the lower, the closer to the sample, and the larger the variance.
    straight_through : bool
        Keep the sample's value, and take the derivative of the relaxation only. Otherwise the costs too are those of
        relaxed samples.

    References
    ----------
    Maddison, Mnih & Teh 2017; Jang, Gu & Poole 2017.
    """

    temperature: float = 0.5
    straight_through: bool = False
    unbiased = False
    requires = ("latent", "relaxed")
    passes_gradient = True
    reference = "Maddison, Mnih & Teh 2017; Jang, Gu & Poole 2017"

    def __post_init__(self):
        check_temperature("GumbelSoftmax", self.temperature)
        if not isinstance(self.straight_through, bool):
            asked = f"GumbelSoftmax(straight_through={brief(self.straight_through)}) was asked for."
            raise EstimatorError(str(here() or ""), asked, "It says whether the sample's value is kept.",
                                 "Use True or False.")

    def rewrite(self, site: Site) -> Draft:
        def relaxed(dist, x: Node, noise: Node) -> Node:
            return dist.relaxed(dist.latent(x, noise), self.temperature)

        if self.straight_through:
            return site.to_be_replaced(lambda dist, x, noise: moved_by(x, relaxed(dist, x, noise)))
        site.check_path(relaxed, "at its relaxed value")
        return site.to_be_replaced(relaxed)

    def reason(self, site: Site) -> str:
        why = ("the derivative of a relaxed draw stands for that of the draw" if self.straight_through else
               "a relaxed draw stands for the draw")
        return "; ".join(filter(None, [why, site.assumption]))

"""Gumbel–Rao: straight-through Gumbel–softmax, averaged over what the draw does not tell of the noise."""

from __future__ import annotations

from dataclasses import dataclass

from scg.errors import EstimatorError, brief
from scg.estimators.estimator import Estimator, check_temperature
from scg.functions import stop_gradient
from scg.ir.axes import Axis
from scg.ir.location import here
from scg.ir.node import Node
from scg.ops.leaves import derived
from scg.ops.measure import axis_sum
from scg.surrogate.draft import Draft
from scg.surrogate.replacement import moved_by
from scg.surrogate.site import Site


@dataclass(frozen=True)
class GumbelRao(Estimator):
    """x + (ȳ − ⊥ȳ), ȳ = (1/k) Σᵢ softmax((log p + gᵢ)/λ), gᵢ being noise drawn anew given the draw. It is biased.

    Costs are those of the draws; only relaxed values are computed k times. Its mean is that of
    ``GumbelSoftmax(temperature, straight_through=True)``, and its variance is no larger. The noise is held as the
    parameters move: it is not differentiated through the draw that it is given.

    Parameters
    ----------
    temperature : float
        λ, above 0.
    k : int
        How many times noise is drawn given the draw, from 1.

    References
    ----------
    Paulus, Maddison & Krause 2021, eq. 9; Maddison, Tarlow & Minka 2014 for the noise given the draw.
    """

    temperature: float = 0.5
    k: int = 10
    unbiased = False
    requires = ("natural", "latent_given", "relaxed")
    passes_gradient = True
    replays = False
    reference = "Paulus, Maddison & Krause 2021"

    def __post_init__(self):
        check_temperature("GumbelRao", self.temperature)
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise EstimatorError(str(here() or ""), f"GumbelRao(k={brief(self.k)}) was asked for.",
                                 "It is how many times noise is drawn given the draw.", "Use a whole number from 1.")

    def rewrite(self, site: Site) -> Draft:
        copies = Axis(f"{site.name} copy", self.k)

        def averaged(dist, x: Node, noise: Node) -> Node:
            given = dist.latent_given(x, derived(noise, "given", axes=(copies,)))
            relaxed = dist.relaxed(moved_by(stop_gradient(given), dist.natural), self.temperature)
            return moved_by(x, axis_sum(relaxed, (copies.name,)) / self.k)

        return site.to_be_replaced(averaged)

    def reason(self, site: Site) -> str:
        why = "the derivative of relaxed draws, averaged given the draw, stands for that of the draw"
        return "; ".join(filter(None, [why, site.assumption]))

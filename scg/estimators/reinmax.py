"""ReinMax: straight-through of second order."""

from __future__ import annotations

from dataclasses import dataclass

from scg.estimators.estimator import Estimator, check_temperature
from scg.ir.node import Node
from scg.surrogate.draft import Draft
from scg.surrogate.replacement import moved_by
from scg.surrogate.site import Site


@dataclass(frozen=True)
class ReinMax(Estimator):
    """2 J(½(π_λ + x)) f′(x) − ½ J(π) f′(x): Heun's method between the values, in place of one slope. It is biased.

    J(m) is the derivative of the mean π in the log-probabilities, where the mean is m; π_λ is the mean with these
    divided by λ, and x the draw. Right where λ = 1 and the costs are quadratic in each draw of a site that no other
    site is drawn given: then f(y) − f(x) is (y − x)·(f′(x) + f′(y))/2.

    Parameters
    ----------
    temperature : float
        λ, above 0.

    References
    ----------
    Liu, Dong, Liu, Yu & Gao 2023, eq. 7 and algorithm 2.
    """

    temperature: float = 1.0
    unbiased = False
    requires = ("natural", "mean_moved", "relaxed")
    passes_gradient = True
    replays = False
    reference = "Liu, Dong, Liu, Yu & Gao 2023"

    def __post_init__(self):
        check_temperature("ReinMax", self.temperature)

    def rewrite(self, site: Site) -> Draft:
        def second_order(dist, x: Node, noise: Node) -> Node:
            between = 0.5 * (dist.relaxed(dist.natural, self.temperature) + x)
            return moved_by(x, 2.0 * dist.mean_moved(between) - 0.5 * dist.mean)

        return site.to_be_replaced(second_order)

    def reason(self, site: Site) -> str:
        why = ("a slope between the mean and the draw stands for that of the draw, which is right for costs that "
               "are quadratic in it")
        return "; ".join(filter(None, [why, site.assumption]))

"""Simultaneous perturbation: finite differences along one random direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scg.errors import EstimatorError, Problem
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.whole_graph import Whole


@dataclass(frozen=True)
class SPSA(Estimator):
    """Δ · (F(θ + cΔ) − F(θ − cΔ)) / 2c, with signs Δ drawn anew in each replicate, and both runs under one noise.

    For a whole graph: costs and sites are only evaluated, whatever they are. It is biased by O(c²), and where draws
    jump its variance is O(1/c).

    Parameters
    ----------
    step : float
        c, above 0.

    References
    ----------
    Spall 1992.
    """

    step: float = 0.01
    scope = "graph"
    unbiased = False
    evaluations = "2"
    reference = "Spall 1992"

    def __post_init__(self):
        if isinstance(self.step, bool) or not (isinstance(self.step, (int, float)) and 0.0 < self.step < float("inf")):
            raise EstimatorError(str(here() or ""), f"SPSA(step={self.step!r}) was asked for.",
                                 "It is by how much the parameters are moved.", "Use a number above 0.")

    def objection(self, whole: Any) -> Problem | None:
        return None

    def rewrite(self, whole: Whole) -> Draft:
        signs = {name: whole.signs(name, "direction") for name in whole.targets}
        there, back = (whole.moved({name: c * d for name, d in signs.items()}, _called(sign, self.step))
                       for sign, c in (("+", self.step), ("-", -self.step)))
        slope = (there - back) / (2.0 * self.step)
        return whole.with_gradients({name: slope * d for name, d in signs.items()})

    def reason(self, whole: Any) -> str:
        return f"the slope between θ + cΔ and θ − cΔ, c = {self.step:g}, stands for the derivative"


def _called(sign: str, step: float) -> Name:
    return Name(f"F(θ {sign} {step:g} Δ)", rf"F(\theta {sign} {step:g}\,\Delta)",
                f"the sum of the costs where {'' if sign == '+' else '-'}{step:g} times its direction is added to each "
                "param, under the same noise")

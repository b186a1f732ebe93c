"""Simultaneous perturbation: finite differences along one random direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scg.errors import EstimatorError, Problem
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.ir.node import Node
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.whole_graph import Whole, is_distance


@dataclass(frozen=True, eq=False)
class SPSA(Estimator):
    """Δ · (F(θ + cΔ) − F(θ − cΔ)) / 2c, with signs Δ drawn anew in each replicate, and both runs under one noise.

    For a whole graph: costs and sites are only evaluated, whatever they are. It is biased by O(c²), and where draws
    jump its variance is O(1/c).

    Parameters
    ----------
    step : float or Node
        c, above 0. A node of an input of yours, ``SPSA(g.input("gain"))``, may fall from call to call, as the gains
        c/(k + 1)^0.101 of Spall 1998 do beside steps of a/(A + k + 1)^0.602.

    References
    ----------
    Spall 1992; Spall 1998, *Implementation of the simultaneous perturbation algorithm*, for the gains.
    """

    step: Any = 0.01
    scope = "graph"
    unbiased = False
    evaluations = "2"
    reference = "Spall 1992"

    def __post_init__(self):
        if not isinstance(self.step, Node) and not is_distance(self.step):
            raise EstimatorError(str(here() or ""), f"SPSA(step={self.step!r}) was asked for.",
                                 "It is by how much the parameters are moved.",
                                 "Use a number above 0, or a node of an input.")

    def objection(self, whole: Any) -> Problem | None:
        return None

    def rewrite(self, whole: Whole) -> Draft:
        signs = {name: whole.signs(name, "direction") for name in whole.targets}
        there, back = (whole.moved({name: c * d for name, d in signs.items()}, _called(sign, self._said))
                       for sign, c in (("+", self.step), ("-", -self.step)))
        slope = (there - back) / (2.0 * self.step)
        return whole.with_gradients({name: slope * d for name, d in signs.items()})

    def reason(self, whole: Any) -> str:
        return f"the slope between θ + cΔ and θ − cΔ, c = {self._said}, stands for the derivative"

    @property
    def _said(self) -> str:
        return "c" if isinstance(self.step, Node) else f"{self.step:g}"


def _called(sign: str, step: str) -> Name:
    return Name(f"F(θ {sign} {step} Δ)", rf"F(\theta {sign} {step}\,\Delta)",
                f"the sum of the costs where {'' if sign == '+' else '-'}{step} times its own signs are added to each "
                "param, under the same noise; the argument stands for all params")

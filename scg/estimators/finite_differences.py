"""Finite differences in every param, under common noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scg.errors import EstimatorError, Problem
from scg.estimators.estimator import Estimator
from scg.ir.axes import Axis
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ops.measure import axis_to_event, event_to_axis
from scg.ops.structure import reshape
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.whole_graph import Whole, is_distance


@dataclass(frozen=True)
class FiniteDifferences(Estimator):
    """(F(θ + c eᵢ) − F(θ − c eᵢ)) / 2c for each element i of the params, with all runs under one noise.

    For a whole graph: costs and sites are only evaluated, whatever they are. It is there for comparison, and for few
    params: each element takes two runs. It is biased by O(c²), and where draws jump its variance is O(1/c).

    Parameters
    ----------
    step : float
        c, above 0.

    References
    ----------
    Glasserman & Yao 1992, on common random numbers.
    """

    step: float = 0.01
    scope = "graph"
    unbiased = False
    evaluations = "2 per parameter"
    reference = "Glasserman & Yao 1992"

    def __post_init__(self):
        if not is_distance(self.step):
            raise EstimatorError(str(here() or ""), f"FiniteDifferences(step={self.step!r}) was asked for.",
                                 "It is by how much each parameter is moved.", "Use a number above 0.")

    def objection(self, whole: Any) -> Problem | None:
        return None

    def rewrite(self, whole: Whole) -> Draft:
        sizes = {name: target.size for name, target in whole.targets.items()}
        size, at = sum(sizes.values()), 0
        if not size:
            return whole.with_gradients({})
        axis, rows = Axis("moved", size), np.eye(size)
        units: dict[str, Node] = {}
        for name, target in whole.targets.items():
            own = rows[:, at : at + sizes[name]].reshape(size, *target.shape)
            units[name], at = event_to_axis(constant(own), axis), at + sizes[name]
        there, back = (whole.moved({name: c * e for name, e in units.items()}, _called(sign, self.step))
                       for sign, c in (("+", self.step), ("-", -self.step)))
        slopes, found, at = axis_to_event((there - back) / (2.0 * self.step), axis), {}, 0
        for name, target in whole.targets.items():
            found[name], at = reshape(slopes[at : at + sizes[name]], target.shape), at + sizes[name]
        return whole.with_gradients(found)

    def reason(self, whole: Any) -> str:
        return f"the slope between θ + c eᵢ and θ − c eᵢ, c = {self.step:g}, stands for the derivative"


def _called(sign: str, step: float) -> Name:
    return Name(f"F(θ {sign} {step:g} eᵢ)", rf"F(\theta {sign} {step:g}\,e_i)",
                f"the sum of the costs where {'' if sign == '+' else '-'}{step:g} is added to element i of that "
                "param, under the same noise")

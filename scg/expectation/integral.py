"""An integral over all draws of a graph, with the sizes of what was summed up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Integral:
    """Values by name from one rule: the whole cost, each cost, and the gradients; and the sizes of what they sum up.

    A size is the sum of the absolute values of all paths' contributions, element by element: rounding is a matter of
    it, and not of the sum, nor of other sums beside it. Where sites were `eliminated`, paths are not told apart, and
    the size of everything is that of the largest of these values; likewise of a chain, which has so many `states`.
    """

    cost: float
    costs: Mapping[str, float]
    grad: Mapping[str, np.ndarray]
    cost_size: float
    costs_size: Mapping[str, float]
    grad_size: Mapping[str, np.ndarray]
    eliminated: bool = False
    states: int = 0

    @classmethod
    def summed(cls, cost: float, costs: Mapping[str, float], grad: Mapping[str, np.ndarray],
               states: int = 0) -> Integral:
        """What is known without telling paths apart."""
        largest = max([sum(map(abs, costs.values())), *(float(np.max(np.abs(g), initial=0.0)) for g in grad.values())])
        return cls(cost, costs, grad, largest, dict.fromkeys(costs, largest),
                   {name: np.full(g.shape, largest) for name, g in grad.items()}, not states, states)

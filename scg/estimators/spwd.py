"""Simultaneous perturbation weak derivatives: two phantom chains for all params at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scg.differentiate.directional import derivative_along
from scg.estimators.estimator import Estimator
from scg.functions import minimum, sign
from scg.ir.node import Node, as_real, constant
from scg.ops.reduce import total
from scg.ops.structure import indicators, prefix_sum
from scg.surrogate.phantoms import Begun, Pairs
from scg.surrogate.stationary import Stationary
from scg.surrogate.switched import Switch, Switched


@dataclass(frozen=True)
class SPWD(Pairs, Estimator):
    """v · s C (Σₜ e(Yₜ⁺) − e(Yₜ⁻)): a random direction v of signs, and two phantom chains for its weak derivative.

    For the stationary mean of a chain. The derivative of the transition along v is Σᵢ cᵢ (δ(wᵢ⁺) − δ(wᵢ⁻)), over its
    draws i. One of them is picked with probability |cᵢ| / C, C = Σᵢ |cᵢ|, and s is its sign; from there the phantoms Y⁺
    and Y⁻ run under common noise until they meet. E v vᵀ = 1, so two phantoms give an estimate of all derivatives.

    Parameters
    ----------
    truncation : int, optional
        For how many steps K phantoms are followed after the transition that parts them. Those that have not met by then
        are given up, which biases the gradient; `r.coupling` says how many. By default 30, and the call is refused if
        more than half of them have not met.

    References
    ----------
    Flynn & Vázquez-Abad 2019.
    """

    scope = "graph"
    stationary = True
    cuts_off = True
    unbiased = False
    evaluations = "1 chain and 2 phantom chains"
    reference = "Flynn & Vázquez-Abad 2019"

    @property
    def said(self) -> str:
        return ("the mean, over the pairs of phantom chains of a run, of the sign of @ in a random direction of signs, "
                "times the total rate at which the draws of a step move along that direction and the sign of that of "
                "the draw in which the two chains differ, which is picked by these rates, times what the costs of the "
                f"one exceed those of the other by, in the step in which they part and the next {self.steps}; where a "
                "cost is made of @ itself, its derivative is added")

    def begin(self, chain: Stationary, switched: Switched, step: Node) -> Begun:
        directions = chain.directions(step)
        along = {chain.targets[name]: v.times(1.0) for name, v in directions.items()}
        weights = switched.joined(lambda s: s.coefficient * _slope(s, along, switched.finite))
        ends = prefix_sum(abs(weights))
        mass, at = ends[-1], chain.uniform("switch", step)
        last = minimum(total(as_real(ends <= at * mass)), float(switched.size - 1))
        picked = indicators(last, switched.size)
        signed = total(picked * sign(weights)) * mass
        plus, minus = switched.phantoms(picked)
        return Begun(plus, minus, lambda gap: {name: v.times(signed * gap) for name, v in directions.items()},
                     lambda gap: signed * gap)


def _slope(switch: Switch, along: dict[Node, Node], finite: list[Node]) -> Node:
    found = derivative_along(switch.eta, along, finite)
    return constant(np.zeros(switch.eta.shape)) if found is None else found

"""Weak derivatives of a chain's transition, with a pair of phantom chains for every draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scg.differentiate.reverse_mode import gradients
from scg.estimators.estimator import Estimator
from scg.ir.axes import Axis
from scg.ir.node import Node, constant
from scg.ops.control import stop_gradient
from scg.ops.measure import axis_to_event, event_to_axis
from scg.ops.reduce import total
from scg.surrogate.phantoms import Begun, Pairs
from scg.surrogate.stationary import Stationary
from scg.surrogate.switched import Switched


@dataclass(frozen=True)
class Phantoms(Pairs, Estimator):
    """Σᵢ ∂ηᵢ cᵢ (Σₜ e(Yₜ⁺) − e(Yₜ⁻)), over the draws i of a transition: two phantom chains for each.

    For the stationary mean of a chain; it is what ``WeakDerivative()`` stands for there. No direction is drawn, so its
    variance does not grow with the number of params; its time grows with that of the draws.

    Parameters
    ----------
    truncation : int, optional
        As for `SPWD`.

    References
    ----------
    Pflug 1989; Heidergott & Vázquez-Abad 2000.
    """

    scope = "graph"
    stationary = True
    cuts_off = True
    unbiased = False
    evaluations = "1 chain, and 2 phantom chains per draw"
    reference = "Pflug 1989; Heidergott & Vázquez-Abad 2000"

    @property
    def said(self) -> str:
        return ("the mean, over the steps of a run in which phantom chains part, of the sum over the draws of the step "
                "of the derivative in @ of the weight of the draw's weak derivative, times what the costs of the chain "
                "from its first value exceed those of the chain from its second by, in that step and the next "
                f"{self.steps}; where a cost is made of @ itself, its derivative is added")

    def begin(self, chain: Stationary, switched: Switched, step: Node) -> Begun:
        axis = Axis("phantom", switched.size)
        plus, minus = switched.phantoms(event_to_axis(constant(np.eye(switched.size)), axis))

        def weigh(gap: Node) -> dict[str, Node]:
            weights = switched.joined(lambda s: s.coefficient) * axis_to_event(gap, axis)
            joined = total(switched.joined(lambda s: s.eta) * stop_gradient(weights))
            found = gradients({joined: constant(1.0)}, chain.leaves, ("row", "lane"), finite=switched.finite)
            return {name: g for name, g in zip(chain.targets, found) if g is not None}

        return Begun(plus, minus, weigh)

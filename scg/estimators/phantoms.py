"""Weak derivatives of a chain's transition, with a pair of phantom chains for every draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scg.differentiate.reverse_mode import gradients
from scg.errors import Problem
from scg.estimators.estimator import Estimator
from scg.estimators.spwd import check_truncation
from scg.ir.axes import Axis
from scg.ir.node import Node, constant
from scg.ops.control import stop_gradient
from scg.ops.measure import axis_to_event, event_to_axis
from scg.ops.reduce import total
from scg.surrogate.draft import Draft
from scg.surrogate.phantoms import STEPS, Begun, by_phantoms, objection
from scg.surrogate.stationary import Stationary
from scg.surrogate.switched import Switched


@dataclass(frozen=True)
class Phantoms(Estimator):
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

    truncation: int | None = None
    scope = "graph"
    stationary = True
    unbiased = False
    evaluations = "2 phantom chains per draw"
    reference = "Pflug 1989; Heidergott & Vázquez-Abad 2000"

    def __post_init__(self):
        check_truncation(self.truncation, f"Phantoms(truncation={self.truncation!r})")

    def objection(self, chain: Stationary) -> Problem | None:
        return objection(chain, f"{self} was asked for.", self.steps)

    @property
    def steps(self) -> int:
        """For how many steps phantoms are followed."""
        return STEPS if self.truncation is None else int(self.truncation)

    def rewrite(self, chain: Stationary) -> Draft:
        def begin(switched: Switched, step: Node) -> Begun:
            axis = Axis("phantom", switched.size)
            plus, minus = switched.phantoms(event_to_axis(constant(np.eye(switched.size)), axis))

            def weigh(gap: Node) -> dict[str, Node]:
                weights = switched.joined(lambda s: s.coefficient) * axis_to_event(gap, axis)
                joined = total(switched.joined(lambda s: s.eta) * stop_gradient(weights))
                found = gradients({joined: constant(1.0)}, chain.leaves, ("row", "lane"), finite=switched.finite)
                return {name: g for name, g in zip(chain.targets, found) if g is not None}

            return Begun(plus, minus, weigh)

        return by_phantoms(chain, self.steps, begin, self.truncation is not None)

    def reason(self, chain: Stationary) -> str:
        return (f"the chain starts {chain.transition.burn_in} steps before it counts, and phantoms that have not met "
                f"after {self.steps} steps are given up (see r.coupling)")

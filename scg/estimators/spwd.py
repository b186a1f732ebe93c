"""Simultaneous perturbation weak derivatives: two phantom chains for all params at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scg.differentiate.directional import derivative_along
from scg.errors import EstimatorError, Problem
from scg.estimators.estimator import Estimator
from scg.functions import minimum, sign
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant
from scg.ops.reduce import total
from scg.ops.structure import indicators, prefix_sum
from scg.surrogate.draft import Draft
from scg.surrogate.phantoms import STEPS, Begun, by_phantoms, objection
from scg.surrogate.stationary import Stationary
from scg.surrogate.switched import Switch, Switched


def check_truncation(given: int | None, asked: str) -> None:
    """Refuse a number of steps that is none.

    Raises
    ------
    EstimatorError
    """
    whole = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
    if given is not None and not (whole and given >= 0):
        raise EstimatorError(str(here() or ""), f"{asked} was asked for.",
                             "It is for how many steps phantom chains are followed.", "Use a whole number from 0.")


@dataclass(frozen=True)
class SPWD(Estimator):
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

    truncation: int | None = None
    scope = "graph"
    stationary = True
    unbiased = False
    evaluations = "2 phantom chains"
    reference = "Flynn & Vázquez-Abad 2019"

    def __post_init__(self):
        check_truncation(self.truncation, f"SPWD(truncation={self.truncation!r})")

    def objection(self, chain: Stationary) -> Problem | None:
        return objection(chain, f"{self} was asked for.", self.steps)

    @property
    def steps(self) -> int:
        """For how many steps phantoms are followed."""
        return STEPS if self.truncation is None else int(self.truncation)

    def rewrite(self, chain: Stationary) -> Draft:
        def begin(switched: Switched, step: Node) -> Begun:
            signs = chain.directions(step)
            along = {chain.targets[name]: v for name, v in signs.items()}
            weights = switched.joined(lambda s: s.coefficient * _slope(s, along, switched.finite))
            ends = prefix_sum(abs(weights))
            mass, at = ends[-1], chain.uniform("switch", step)
            last = minimum(total(as_real(ends <= at * mass)), float(switched.size - 1))
            picked = indicators(last, switched.size)
            signed = total(picked * sign(weights)) * mass
            plus, minus = switched.phantoms(picked)
            return Begun(plus, minus, lambda gap: {name: signed * gap * v for name, v in signs.items()})

        return by_phantoms(chain, self.steps, begin, self.truncation is not None)

    def reason(self, chain: Stationary) -> str:
        return (f"the chain starts {chain.transition.burn_in} steps before it counts, and phantoms that have not met "
                f"after {self.steps} steps are given up (see r.coupling)")


def _slope(switch: Switch, along: dict[Node, Node], finite: list[Node]) -> Node:
    found = derivative_along(switch.eta, along, finite)
    return constant(np.zeros(switch.eta.shape)) if found is None else found

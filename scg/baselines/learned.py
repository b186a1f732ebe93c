"""A node of the graph's own params as baseline, which they learn."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from scg.baselines.baseline import Baseline, Subtracted, of_each_draw
from scg.errors import BaselineError
from scg.functions import maximum, sqrt, stop_gradient
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ir.printer import expression
from scg.ops.leaves import state
from scg.ops.measure import expect
from scg.surrogate.draft import Objective, StateUpdate
from scg.surrogate.mark import Name

_LEFT = "of what the baseline left of the costs that weigh @, averaged over earlier calls"
CENTRE = Name("level(@)", r"\ell_{@[]}", f"the mean {_LEFT}")
SPREAD = Name("spread(@)", r"s_{@[]}", f"the mean square {_LEFT}")


@dataclass(frozen=True, eq=False)
class Learned(Baseline):
    """A prediction of Q̂ from what the site does not influence; its params minimise the squared error (Q̂ − c − b)².

    These are the params that `node` is made of and no cost is; their gradients come back in ``r.grad``.

    Parameters
    ----------
    node : Node
        b, of scalar shape; inside a scan's step it is one number a step.
    centre : bool
        Subtract c too, the mean of Q̂ − b over earlier calls.
    scale : bool
        Divide the difference by max(1, √v), where v is the mean of (Q̂ − b − c)² over earlier calls. The gradients
        through the site are then smaller by that factor, and biased.
    decay : float
        Weight of the past in these two averages.

    References
    ----------
    Mnih & Gregor 2014 (NVIL), whose averages have this call's costs in them already; here they are read before.
    """

    node: Node
    centre: bool = False
    scale: bool = False
    decay: float = 0.8

    def __post_init__(self):
        constant(self.node)  # refuses what is no node and no number
        if isinstance(self.decay, bool) or not (isinstance(self.decay, Real) and 0.0 <= self.decay <= 1.0):
            raise BaselineError(str(here() or ""), f"Learned(decay={self.decay!r}) was asked for.",
                                "It is the weight of the past in an average.", "Use a number from 0 to 1.")

    @property
    def unbiased(self) -> bool:
        return not self.scale

    def along(self, site):
        return of_each_draw(site, self.node)

    def value(self, site, signal) -> Subtracted:
        states: list[StateUpdate] = []
        predicted = self.of_site(site, self.node)
        left = stop_gradient(signal) - predicted
        if self.centre:
            centre = self._averaged(site, "mean", left, 0.0, states, CENTRE)
            predicted, left = predicted + centre, left - centre
        variance = self._averaged(site, "variance", left * left, 1.0, states, SPREAD) if self.scale else None
        divisor = None if variance is None else maximum(1.0, sqrt(variance))
        return Subtracted(predicted, tuple(states), (self._objective(site, left),), divisor)

    def _objective(self, site, left: Node) -> Objective:
        said = f"the square of what the baseline leaves of the costs that weigh {site.name}"
        return Objective(f"{site.name} baseline", (left * left).sum(), said=said)

    def _averaged(self, site, what: str, node: Node, initial: float, states: list[StateUpdate], said: Name) -> Node:
        """The average of the node over earlier calls."""
        name = f"{site.name} {what}"
        old = site.called(said, state(site.node.owner, name, node.shape), brought=True)
        states.append(StateUpdate(name, old, initial, self.decay * old + (1.0 - self.decay) * expect(node)))
        return old

    def reason(self) -> str:
        if not self.scale:
            return "its baseline does not depend on the site's own draw"
        return ("what weighs the score is divided by max(1, √v), v its variance in earlier calls: what is estimated is "
                "the gradient, divided by that number")

    def __repr__(self) -> str:
        options = "".join(f", {name}=True" for name in ("centre", "scale") if getattr(self, name))
        return f"Learned({expression(constant(self.node))}{options})"

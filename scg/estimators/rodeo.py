"""RODEO: the score function, with control variates from an operator that takes any function to one of mean 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from scg.errors import EstimatorError, brief
from scg.estimators.double_cv import DoubleCV
from scg.functions import tanh
from scg.ir.axes import Axis
from scg.ir.location import here as where
from scg.ir.node import Node, constant
from scg.nn import glorot
from scg.ops.arithmetic import choose
from scg.ops.control import stop_gradient
from scg.ops.measure import axis_to_event, event_to_axis, leave_one_out, of_others
from scg.ops.reduce import total
from scg.ops.shapes import is_whole
from scg.ops.structure import broadcast_to, reshape, stack, transpose
from scg.surrogate.control_variate import weight, with_variance
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.mark import FLIPPED, Name
from scg.surrogate.site import Site
from scg.surrogate.stand_in import StandIn, check_surrogate

OTHER = Name("p(<value> | <given>)", r"p(<value> \mid <given>)", also="the probability of each by itself")
H = Name("h(@)", "h_{@}", also="what other replicates' derivatives say of the costs")
H_FLIPPED = Name("h(@ ← <value>)", r"h_{@}(@[] \leftarrow <value>)",
                 also="the same where one draw of @ is its other value")
HIDDEN = Name("W1(@)", r"W_{1,@}", "the weights of the hidden layer of H")
BIASES = Name("b1(@)", r"b_{1,@}", "the biases of the hidden layer of H")
LAST = Name("W2(@)", r"W_{2,@}", "the weights of the last layer of H")


@dataclass(frozen=True, eq=False)
class RODEO(DoubleCV):
    """+ log p · ⊥(Q̂ − LOO(Q̂ + A l)) + A(⊥h log p), A h(x) = (1/D) Σᵢ p(x̄ᵢ) (h(x₋ᵢ, x̄ᵢ) − h(x)): one of D bits flipped.

    x̄ᵢ is the other value of the bit. A h has the mean 0 for any h, and so has what A makes of h times the score. l(y) =
    η (y − x′) · Q′(x′), in the mean over other replicates x′, expands the costs by the slopes at their draws; h is l
    and, as is asked for, a net of such means, H(Q̂(x′), (y − x′) · Q′(x′)), or a function of one's own. So costs are
    evaluated at the draws only. In loops a step's bits are flipped given the steps before.

    Parameters
    ----------
    eta, group : optional
        As of `DoubleCV`.
    units : int
        Of the hidden layer of H, whose params the site brings: "site W_rodeo_1" and so on. It starts at 0; 0, the
        default, is no net.
    surrogate : callable, optional
        A function that is added to h; see `LAX`. It is evaluated once for each bit.

    References
    ----------
    Shi, Zhou, Hwang, Titsias & Mackey 2022, with the Barker operator of one site, and a surrogate of means.
    """

    units: int = field(default=0, kw_only=True)
    surrogate: Callable[[Node], Any] | None = field(default=None, kw_only=True)
    requires = ("log_odds", "log_prob")
    reference = "Shi, Zhou, Hwang, Titsias & Mackey 2022"

    def __post_init__(self):
        super().__post_init__()
        check_surrogate(self, self.surrogate)
        if not is_whole(self.units) or self.units < 0:
            raise EstimatorError(str(where() or ""), f"RODEO(units={brief(self.units)}) was asked for.",
                                 "It is how many hidden units the net has.", "Use a whole number; 0 is no net.")

    def weighing(self, site: Site) -> Weighing:
        return Weighing()

    def rewrite(self, site: Site) -> Draft:
        x, flip = site.value, 1.0 - 2.0 * site.value
        other = site.called(OTHER, site.of(lambda dist, x: dist.probability(1.0 - x)), 1.0 - x, FLIPPED)
        other = other / float(prod(site.draws))
        eta, slope, costs = weight(site, self.eta), of_others(site.slope, self.group), site.cost
        near = site.per_signal(slope * x) - of_others(site.per_signal(site.slope * x), self.group)
        here = eta * near
        flipped = _of_each(site, here) + eta * slope * flip
        others = leave_one_out(costs, self.group) + eta * leave_one_out(
            site.per_signal(other * slope * flip), self.group)
        if self.units:
            net = _Net(site, of_others(costs, self.group), self.units)
            here, flipped = here + net(near), flipped + net(_of_each(site, near) + slope * flip)
        if self.surrogate is not None:
            at_draw, at_others = _of_one_s_own(site, StandIn(site, self, self.surrogate))
            here, flipped = here + at_draw, flipped + at_others
        here, flipped = site.called(H, here), site.called(H_FLIPPED, flipped, 1.0 - x, FLIPPED)
        log_p = site.per_signal(site.log_prob)
        of_flipped = _of_each(site, log_p) + site.log_odds * (1.0 - 2.0 * stop_gradient(x))
        moved = total(stop_gradient(other * flipped) * of_flipped)
        control = moved - total(stop_gradient(site.per_signal(other) * here) * log_p)
        return with_variance(site, total(site.score * stop_gradient(costs - others)) + control)

    def reason(self, site: Site) -> str:
        return "flipped and drawn bits change places with equal chances, so what the operator makes has the mean 0"


class _Net:
    """H of the mean of other replicates' costs, a signal, and of what their slopes say."""

    def __init__(self, site: Site, costs: Node, units: int):
        self._site, self._costs = site, costs
        self._weights = site.param("W_rodeo_1", (2, units), glorot, HIDDEN)
        self._biases = site.param("b_rodeo_1", (units,), said=BIASES)
        self._last = site.param("W_rodeo_2", (units,), said=LAST)

    def __call__(self, change: Node) -> Node:
        costs = self._costs if change.ndim == self._costs.ndim else _of_each(self._site, self._costs)
        both = stack([broadcast_to(costs, change.shape), change], axis=-1)
        return tanh(both @ self._weights + self._biases) @ self._last


def _of_each(site: Site, signal: Node) -> Node:
    """A signal of a step, for each of its draws."""
    if not site.steps:
        return signal
    return broadcast_to(reshape(signal, (*site.steps, *(1,) * len(site.draws))), (*site.steps, *site.draws))


def _of_one_s_own(site: Site, function: StandIn) -> tuple[Node, Node]:
    """A function at the draws, and with each of them flipped."""
    axis = Axis(f"{site.name} flipped", prod(site.draws))
    mine = np.eye(axis.size).reshape((axis.size, *(1,) * len(site.steps), *site.draws))
    flipped = function.of(choose(event_to_axis(constant(mine), axis) != 0.0, 1.0 - site.value, site.value))
    found = axis_to_event(flipped, axis)  # the draws first, then the steps
    return function.of(site.value), reshape(transpose(found, (*range(1, found.ndim), 0)), (*site.steps, *site.draws))

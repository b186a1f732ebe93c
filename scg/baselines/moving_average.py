"""An exponential moving average of the signal over calls."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from scg.baselines.baseline import Baseline, Subtracted
from scg.errors import BaselineError
from scg.ir.location import here
from scg.ops.leaves import state
from scg.ops.measure import expect
from scg.surrogate.draft import StateUpdate
from scg.surrogate.mark import Name


@dataclass(frozen=True)
class MovingAverage(Baseline):
    """The average of Q̂ over *earlier* calls, with exponentially falling weights.

    The value of earlier calls is read before it is updated with the mean of this one: folding this call's costs in
    first would make the baseline depend on the samples, and shrink the gradient.

    Parameters
    ----------
    decay : float
        Weight of the past, from 0 (last call only) to 1 (never updated).
    """

    decay: float = 0.9

    def __post_init__(self):
        if isinstance(self.decay, bool) or not (isinstance(self.decay, Real) and 0.0 <= self.decay <= 1.0):
            raise BaselineError(str(here() or ""), f"MovingAverage(decay={self.decay!r}) was asked for.",
                                "It is the weight of the past in an average.", "Use a number from 0 to 1.")

    def value(self, site, signal):
        name = f"{site.name} moving average"
        meaning = (f"the average over earlier calls of the costs that weigh @, "
                   f"where a call has {self.decay:g} times the weight of the next")
        old = site.called(Name("M(@)", r"M_{@[]}", meaning), state(site.node.owner, name, signal.shape), brought=True)
        new = self.decay * old + (1.0 - self.decay) * expect(signal)
        return Subtracted(old, (StateUpdate(name, old, 0.0, new),))

    def reason(self) -> str:
        return "its baseline is an average over earlier calls, read before this call updates it"

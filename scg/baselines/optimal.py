"""For each draw the constant that makes the variance least."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from scg.baselines.baseline import Baseline, Subtracted
from scg.errors import BaselineError
from scg.ir.location import here
from scg.ops.arithmetic import choose
from scg.ops.leaves import state
from scg.ops.measure import expect
from scg.ops.reduce import total
from scg.surrogate.draft import StateUpdate
from scg.surrogate.mark import Name


@dataclass(frozen=True)
class Optimal(Baseline):
    """E[(x − μ)² Q̂] / E[(x − μ)²] of each draw x with mean μ, two averages over *earlier* calls.

    x − μ is the score of a binary draw in its log-odds, and of others in the parameter that multiplies them: of a
    normal draw in its mean, of a Poisson draw in the logarithm of its rate. For the gradient in that parameter no other
    constant leaves less variance. Averages of earlier calls are read before they are updated with those of this one.

    Parameters
    ----------
    decay : float
        Weight of the past, from 0 (last call only) to 1 (never updated).

    References
    ----------
    Bengio, Léonard & Courville 2013, Corollary 1; Weaver & Tao 2001.
    """

    decay: float = 0.9

    def __post_init__(self):
        if isinstance(self.decay, bool) or not (isinstance(self.decay, Real) and 0.0 <= self.decay <= 1.0):
            raise BaselineError(str(here() or ""), f"Optimal(decay={self.decay!r}) was asked for.",
                                "It is the weight of the past in an average.", "Use a number from 0 to 1.")

    def along(self, site):
        if not site.family.can("mean"):
            raise BaselineError(site.where, f"{self!r} was asked for as a baseline.",
                                f"{site.family.__name__} has no mean from which draws could differ.",
                                "Use MovingAverage(), or give the family a mean.")
        return tuple(range(len(site.draws)))

    def value(self, site, signal):
        off = site.value - site.of_value(lambda dist, x: dist.mean)
        square = off * off
        own = len(site.steps) + len(site.draws)
        weight = total(square, axis=tuple(range(own, square.ndim))) if square.ndim > own else square
        both, states = [], []
        for what, node in (("squared score times costs", weight * signal), ("squared score", weight)):
            name = f"{site.name} {what}"
            old = state(site.node.owner, name, signal.shape)
            states.append(StateUpdate(name, old, 0.0, self.decay * old + (1.0 - self.decay) * expect(node)))
            both.append(old)
        costs, squares = both
        known = squares > 0.0
        best = choose(known, costs / choose(known, squares, 1.0), 0.0)
        meaning = ("the average over earlier calls of the costs that weigh @, where a draw has as weight the square of "
                   f"how far it is from its mean, and a call {self.decay:g} times the weight of the next")
        return Subtracted(site.called(Name("B(@)", r"B_{@[]}", meaning), best), tuple(states))

    def reason(self) -> str:
        return ("its baseline is made of averages over earlier calls, read before this call updates them")

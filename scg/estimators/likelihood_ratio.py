"""Likelihood ratios of a chain's draws, over a window of later costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from scg.errors import Problem
from scg.estimators.estimator import Estimator
from scg.functions import maximum
from scg.ir.node import Node, constant
from scg.surrogate.draft import Draft
from scg.surrogate.scored import objection
from scg.surrogate.stationary import Stationary
from scg.surrogate.steps import check_steps, steps_of


@dataclass(frozen=True)
class LikelihoodRatio(Estimator):
    """∂ log p(xₜ) · (Σₖ e(Yₜ₊ₖ) − (L + 1) ē), k = 0, …, L: each step's score weighs the costs of a window.

    For the stationary mean of a chain. ē is the mean of the costs before the step, so that it is independent of what is
    scored. A copy of the chain lags L steps behind and draws the same words: neither time nor memory depend on L.

    Parameters
    ----------
    window : int, optional
        How many steps L after its own a draw is weighed with. What it does to later costs is left out, which biases the
        gradient; the variance grows with L. By default 30.

    References
    ----------
    Glynn 1990; Glynn & L'Ecuyer 1995.
    """

    window: int | None = None
    scope = "graph"
    stationary = True
    cuts_off = True
    unbiased = False
    evaluations = "2 chains"
    reference = "Glynn 1990; Glynn & L'Ecuyer 1995"

    def __post_init__(self):
        check_steps(self.window, f"LikelihoodRatio(window={self.window!r})",
                    "how many later steps a draw is weighed with")

    def objection(self, chain: Stationary) -> Problem | None:
        if self.steps >= chain.transition.horizon:
            return Problem(chain.transition.line, f"{self} was asked for.",
                           f"Each draw is weighed with the costs of {self.steps + 1} steps, and the horizon is "
                           f"{chain.transition.horizon}.", "Use a larger horizon=, or a smaller window=.")
        return objection(chain, f"{self} was asked for.")

    @property
    def steps(self) -> int:
        """How many later steps a draw is weighed with."""
        return steps_of(self.window)

    def rewrite(self, chain: Stationary) -> Draft:
        tr, k, ahead = chain.transition, len(chain.transition.carries), float(self.steps)
        chain.scored_by = str(self)
        begun, past = chain.warmed()
        front, window, weighs = begun, constant(0.0), 1.0 if tr.burn_in else 0.0
        if self.steps:
            front, sums = chain.ended(begun, tr.burn_in, self.steps)
            window = reduce(add, sums[: len(tr.costs)])

        def step(carries: Sequence[Node], t: Node):
            lags, leads, (window, before) = carries[:k], carries[k : 2 * k], carries[2 * k :]
            led, moved = tr.at(leads, t + ahead), tr.at(lags, t)
            window = window + led.cost
            usual = before / maximum(t - float(tr.burn_in) + weighs, 1.0)
            grads = chain.by_score(moved, lags, window - (ahead + 1.0) * usual)
            return [*moved.state, *led.state, window - moved.cost, before + moved.cost], moved, grads

        blocks, length = chain.batches(tr.horizon - self.steps, self.steps + 1)
        return chain.with_run(chain.run([*begun, *front, window, past], blocks, length,
                                        lambda state, t: chain.block(state, t, length, step), blocks * length),
                              "the mean, over the steps of a run, of the derivative in @ of log p of the draws of the "
                              f"step, times the costs of it and of the next {self.steps} steps less "
                              f"{self.steps + 1} times the mean of those before it; where a cost is made of @ itself, "
                              "its derivative is added")

    def reason(self, chain: Stationary) -> str:
        return (f"{chain.transition.beginning}, and what a draw does to costs "
                f"more than {self.steps} steps later is left out")

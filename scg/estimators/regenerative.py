"""Likelihood ratios over the cycles of a chain that comes back to one state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add, and_
from typing import Any

import numpy as np

from scg.errors import Problem
from scg.estimators.estimator import Estimator
from scg.functions import maximum
from scg.ir.check import Check
from scg.ir.node import Node, as_real, constant
from scg.ops.arithmetic import choose
from scg.ops.reduce import amin
from scg.surrogate.draft import Draft
from scg.surrogate.scored import objection
from scg.surrogate.stationary import BATCHES, Block, Stationary
from scg.surrogate.transition import Transition, looped

IDLE = 2  # batches before the first that is scored: the mean of the cost is that of the last but one and all before

_SAID = ("the mean, over the steps of a run, of the costs of the step less their mean in earlier batches, times the "
         "sum of the derivatives in @ of log p of all draws since the chain was last in the state at which it begins "
         "anew; where a cost is made of @ itself, its derivative is added")


@dataclass(frozen=True, eq=False)
class Regenerative(Estimator):
    """(e(Xₜ) − ē) · Σₛ ∂ log p(xₛ), s from the chain's last visit to a state up to t.

    For the stationary mean of a chain that comes back to one state: from there on it does not know what was before, so
    that no earlier score is needed. The run is in 32 batches. ē is the mean of the costs of all batches up to the last
    but one, which is as good as independent of the scores; the first two batches are not scored.

    Parameters
    ----------
    state : array_like, or a tuple, list or dict of these, optional
        As the chain's step is given it; by default the one that the chain starts from. Choose one that is visited
        often: the variance grows with the length of cycles. A call in which they are not shorter than a batch is
        refused, since scores older than a batch bias the gradient.

    References
    ----------
    Reiman & Weiss 1989; Glynn 1990.
    """

    state: Any = None
    scope = "graph"
    stationary = True
    unbiased = False
    evaluations = "1 chain"
    reference = "Reiman & Weiss 1989; Glynn 1990"

    def objection(self, chain: Stationary) -> Problem | None:
        tr, asked = chain.transition, f"{self} was asked for."
        if self.state is not None and tr.state_given(self.state) is None:
            shapes = " and ".join(str(n.shape) for n in tr.inits)
            return Problem(tr.line, asked, f"The chain's state has the shape {shapes}, and this is none.",
                           "Give one as the chain's init= is given.")
        if tr.horizon < BATCHES:
            return Problem(tr.line, asked, f"The run is divided into {BATCHES} batches, and the horizon is "
                           f"{tr.horizon}.", "Use a larger horizon=.")
        return objection(chain, asked)

    def rewrite(self, chain: Stationary) -> Draft:
        tr, k = chain.transition, len(chain.transition.carries)
        given = tr.inits if self.state is None else tr.state_given(self.state) or ()
        chain.scored_by = str(self)
        blocks, length = chain.batches(tr.horizon)
        names = list(chain.by_score(chain.typical, tr.carries))

        def scored(carries: Sequence[Node], t: Node):
            state, visits, traces = carries[:k], carries[k], carries[k + 1 :]
            there, moved = reduce(and_, (amin(as_real(x == at)) > 0.5 for x, at in zip(state, given))), tr.at(state, t)
            scores = chain.by_score(moved, state).values()
            traces = [choose(there, 0.0, z) + score for z, score in zip(traces, scores)]
            return [*moved.state, visits + as_real(there), *traces], moved

        def block(carries: Sequence[Node], t: Node) -> Block:
            number = (t - float(tr.burn_in)) / float(length)
            *state, older, newer = carries
            usual = older / maximum((number - 1.0) * float(length), 1.0)
            counts = as_real(number >= float(IDLE))

            def step(carries: Sequence[Node], t: Node):
                after, moved = scored(carries, t)
                weight = counts * (moved.cost - usual)
                return after, moved, {name: weight * z for name, z in zip(names, after[k + 1 :])}

            found = chain.block(state, t, length, step, counts)
            return replace(found, state=[*found.state, newer, newer + reduce(add, found.costs)])

        begun = [*tr.inits, constant(0.0), *(constant(np.zeros(chain.targets[name].shape)) for name in names)]
        if tr.burn_in:
            begun, _ = looped(tr.burn_in, begun, lambda carries, t: (scored(carries, t)[0], []), tr.called)
        run = chain.run([*begun, constant(0.0), constant(0.0)], blocks, length, block, blocks * length, IDLE)
        return chain.with_run(run, _SAID).with_checks([self._visited(tr, run.state[k], length)])

    def _visited(self, tr: Transition, visits: Node, length: int) -> Check:
        where = "the one that it starts from" if self.state is None else f"{self.state}"
        steps = tr.burn_in + tr.horizon
        return Check(Problem(
            tr.line, f"{self} was asked for.", f"In at least one of the chains the state was {where} at fewer than 1 "
            f"of {length} steps, or never: cycles are not shorter than 1/{BATCHES} of the horizon.",
            "Give a state= that the chain comes back to more often, or a larger horizon=; or use LikelihoodRatio() or "
            "SPWD()."), as_real(visits * float(length) < float(steps)))

    def reason(self, chain: Stationary) -> str:
        return (f"{chain.transition.beginning}, and the mean of the costs is "
                f"independent of the scores only as far as its cycles are shorter than 1/{BATCHES} of the horizon")

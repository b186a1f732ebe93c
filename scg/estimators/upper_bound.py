"""The majorising surrogate: an upper bound of the expected cost, which touches it where the draws are from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from scg.analysis.stops import hidden, hiding
from scg.errors import Problem
from scg.estimators.estimator import Estimator
from scg.ir.check import Check
from scg.ir.node import as_real, constant
from scg.ops.reduce import total
from scg.surrogate.draft import Draft
from scg.surrogate.drawn_elsewhere import DrawnElsewhere
from scg.surrogate.mark import Mark, Name
from scg.surrogate.whole_graph import Whole

BOUND = Name("M(@)", "M(@)", "@ times (1 + log p - log q), where p is the probability of the draws that it is made of, "
             "and q that at the params from which all of them are drawn")


@dataclass(frozen=True)
class UpperBound(Estimator):
    """Σ_c ĉ · (1 + Σ_w log p(w; θ) − log p(w; θ old)), with all draws from θ old; w are the sites that influence c.

    For costs that are never positive its mean is no less than the expected cost at θ, and equals it at θ = θ old, where
    the gradients are the same, too: so a step that lowers the bound lowers the expected cost by as much at least.
    ``r.cost`` and ``r.grad`` are those of the bound. Beside each param "theta" there is one "theta old", which is given
    its value with the others and is not differentiated. It rests on x ≥ 1 + log x, x being the ratio of the
    probabilities.

    The params may move costs through draws only, which is checked when it is compiled; and no cost may be positive, in
    any replicate, which is checked at each call: subtract what it never exceeds.

    References
    ----------
    Schulman, Heess, Weber & Abbeel 2015, appendix B; Hunter & Lange 2004.
    """

    scope = "graph"
    unbiased = False
    evaluations = "1"
    reference = "Schulman, Heess, Weber & Abbeel 2015, appendix B"

    def objection(self, whole: Any) -> Problem | None:
        there = DrawnElsewhere(whole, "old")
        for cost, by in there.directly():
            return Problem(whole.where(cost), f"{self} was asked for.", f'"{by}" moves the cost "{cost}" without a '
                           "draw in between: at other params it is another cost, of which this is no bound.",
                           f'Leave "{by}" out of wrt=.')
        for site_node, by in there.moving_supports():
            return Problem(site_node.where, f"{self} was asked for.", f'"{by}" moves the bounds of its support: draws '
                           "from one value are impossible at another.", f'Leave "{by}" out of wrt=; or, for a gradient '
                           "without a bound, use WeakDerivative() there.")
        return None

    def rewrite(self, whole: Whole) -> Draft:
        there, bounds, checks = DrawnElsewhere(whole, "old"), {}, []
        for name, cost in there.costs.items():
            bounds[name] = cost * (1.0 + reduce(add, there.ratios_of(name), constant(0.0)))
            whole.marks.append(Mark(name, BOUND, bounds[name], whole=True))
            checks.append(Check(Problem(
                whole.where(name), f"{self} was asked for.", f'The cost "{name}" was above 0 in at least one '
                "replicate; there the inequality is the other way round, and nothing is bounded.",
                "Subtract from it a number that it never exceeds."), total(as_real(cost > 0.0))))
        return there.with_costs(bounds, checks)

    def reason(self, whole: Any) -> str:
        said = "cost and gradient are those of an upper bound of the expected cost, which touches it at the old params"
        stops = [h for of in hidden(list(whole.draft.costs.values()), whole.targets, lambda node: False) for h in of]
        return f"{said}; {hiding(stops, whole.targets)}" if stops else said

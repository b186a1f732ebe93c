"""Sum and sample: the most probable values summed, and one of the others drawn."""

from __future__ import annotations

from dataclasses import dataclass

from scg.distributions.distribution import Distribution
from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.ir.node import Node
from scg.ops.arithmetic import choose
from scg.ops.measure import axis_sum
from scg.ops.reduce import total
from scg.ops.shapes import is_whole
from scg.ops.structure import stack
from scg.surrogate.draft import Draft
from scg.surrogate.joint_values import JointValues, too_many
from scg.surrogate.mark import Name
from scg.surrogate.site import Site

MOST = 64
WEIGHT = Name("R(<worlds>)", "R_{@[]}", "1 if <worlds> is summed; if it is the one that is drawn, the probability of "
              "all that are not summed, over its own")


@dataclass(frozen=True)
class SumAndSample(Estimator):
    """+ Σ_{s∈C} p(s) · ⊥Q(s) + p(v) · ⊥(P(not C)/p(v) · Q(v)): C are the k − 1 most probable values, v one of the rest.

    v is drawn from the distribution given that it is not in C. Values are those of all draws that share a signal; of
    k = 1 it is the score function, of all values exact.

    Parameters
    ----------
    k : int
        How many values costs are asked for at, from 1 to 64; all of them if there are no more.

    References
    ----------
    Liu, Regier, Tripuraneni, Jordan & McAuliffe 2019.
    """

    k: int = 2
    requires = ("log_prob", "support_values")
    joint = True
    advised = False
    evaluations = "k + 1"
    reference = "Liu, Regier, Tripuraneni, Jordan & McAuliffe 2019"

    def __post_init__(self):
        if not is_whole(self.k) or not 1 <= self.k <= MOST:
            raise EstimatorError(str(here() or ""), f"SumAndSample(k={brief(self.k)}) was asked for.",
                                 "It is how many values are looked at: all but one are summed.",
                                 f"Use a whole number from 1 to {MOST}.")

    def objection(self, site: Site) -> Problem | None:
        return super().objection(site) or too_many(site, self, "Use LocalExpectation(), which sums out one draw at a "
                                                   "time, or ScoreFunction(scg.LeaveOneOut()).")  # fmt: skip

    def rewrite(self, site: Site) -> Draft:
        meaning = f"each of {self.k} values of @: the most probable, which are summed, and one drawn from the rest"
        values = JointValues(site, self.k, _largest_and_one, meaning)
        weighed = values.weighed(values.costs()) * values.weights(_inverse, WEIGHT, values.axis)
        term = axis_sum(total(values.probability * weighed), (values.axis.name,))
        return site.draft.with_term(site.name, term)

    def reason(self, site: Site) -> str:
        return "the most probable values are summed, and one of the others is drawn and weighted by what they all have"


def _largest_and_one(values: JointValues, dist: Distribution, x: Node) -> list[Node]:
    """The marks of the most probable values, in order, and of a last one that is drawn."""
    p, found = values.chances(dist), []
    left = 1.0 + 0.0 * p
    for _ in range(values.count - 1):
        found.append(values.largest(p, left))
        left = left - found[-1]
    return [*found, values.one_of(p, left, x, "one of the others")]


def _inverse(p: Node, others: Node) -> Node:
    """1 for what is summed; for the last one that was drawn, how much probability it stands for, over its own."""
    last = p[-1]
    drawn = choose(last > 0.0, (last + others) / last, 0.0)
    return stack([*(1.0 + 0.0 * p[i] for i in range(len(p) - 1)), drawn])

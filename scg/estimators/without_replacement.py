"""The unordered set estimator: several values that are drawn without replacement."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from scg.distributions.distribution import Distribution
from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.ir.axes import Axis
from scg.ir.location import here
from scg.ir.node import Node
from scg.ops.arithmetic import choose
from scg.ops.indices import take
from scg.ops.measure import axis_sum
from scg.ops.reduce import total
from scg.ops.shapes import is_whole
from scg.ops.structure import stack
from scg.surrogate.draft import Draft
from scg.surrogate.joint_values import JointValues, too_many
from scg.surrogate.mark import Name
from scg.surrogate.site import Site

MOST = 10
RATIO = Name("R(<worlds>)", "R_{@[]}", "the probability that these values are drawn if <worlds> is the first, "
             "over that in any order")
SHARES = Name("B(<worlds>)", "B_{@[]}", "for the pair <worlds>: the probability of its second, times that of drawing "
              "the rest of these values once both are out, over that of drawing all but the first once that is out; "
              "where both are one value, its probability")


@dataclass(frozen=True)
class WithoutReplacement(Estimator):
    """+ Σ_{s∈S} p(s) · ⊥(R(S, s) (Q(s) − B(S, s))): S are k different values, of which the sample is the first.

    R(S, s) = P(S∖s | s is taken out) / P(S) are the ratios of the probabilities that these values are the set that is
    drawn. B(S, s) = Σ_{s′∈S} p(s′) R(S∖s, s′) Q(s′), with R(S∖s, s) = 1, is the same estimate of E[Q] when s was
    drawn. Values are those of all draws that share a signal; of k = 1 it is the score function, of all values exact.

    Parameters
    ----------
    k : int
        How many values are drawn, at most 10; all of them if there are no more.
    baseline : bool
        Whether B is subtracted. It needs a second value.

    References
    ----------
    Kool, van Hoof & Welling 2020.
    """

    k: int = 2
    baseline: bool = True
    requires = ("log_prob", "support_values")
    joint = True
    advised = False
    evaluations = "k + 1"
    reference = "Kool, van Hoof & Welling 2020"

    def __post_init__(self):
        if not is_whole(self.k) or not 1 <= self.k <= MOST:
            raise EstimatorError(str(here() or ""), f"WithoutReplacement(k={brief(self.k)}) was asked for.",
                                 "It is how many values are drawn: their sets are summed over.",
                                 f"Use a whole number from 1 to {MOST}.")
        if not isinstance(self.baseline, bool):
            raise EstimatorError(str(here() or ""),
                                 f"WithoutReplacement(baseline={brief(self.baseline)}) was asked for.",
                                 "It says whether the values are compared with each other.", "Use True or False.")

    def objection(self, site: Site) -> Problem | None:
        return super().objection(site) or too_many(site, self, "Use LocalExpectation(), which sums out one draw at a "
                                                   "time, or ScoreFunction(scg.LeaveOneOut()).")  # fmt: skip

    def rewrite(self, site: Site) -> Draft:
        meaning = f"each of {self.k} different values of @, drawn one after the other: it, and what would come next"
        values = JointValues(site, self.k, in_turn, meaning)
        axis, other = values.axis, Axis(f"{values.axis.name} (other)", values.count)
        q = values.costs()
        gap = values.weighed(q, compared=self.baseline and values.count > 1)
        if self.baseline and values.count > 1:
            shares = values.weights(_shares, SHARES, axis, other)
            another = values.weighed(values.other_costs(q, other), compared=True)
            gap = gap - axis_sum(shares * another, (other.name,))
        term = axis_sum(total(values.probability * (values.weights(_ratios, RATIO, axis) * gap)), (axis.name,))
        return site.draft.with_term(site.name, term)

    def reason(self, site: Site) -> str:
        return "given the set of values, it is the mean of the score function of the first that was drawn"


def in_turn(values: JointValues, dist: Distribution, x: Node) -> list[Node]:
    """The marks of the value that was drawn, and of others, one after the other from what is left."""
    p, found = values.chances(dist), [values.drawn(x)]
    left = 1.0 - found[0]
    for i in range(1, values.count):
        found.append(values.one_of(p, left, x, f"choice {i:02}"))
        left = left - found[-1]
    return found


def _ratios(p: Node, others: Node) -> Node:
    """R(S, s)."""
    none, one, *_ = _chances_of_rest(p, others)
    return one / none


def _shares(p: Node, others: Node) -> Node:
    """p(s′) R(S∖s, s′), the first dimension that of s."""
    _, one, two = _chances_of_rest(p, others)[:3]
    k = len(p)
    at = {pair: i for i, pair in enumerate(combinations(range(k), 2))}
    rows = [stack([p[j] if i == j else p[j] * two[at[min(i, j), max(i, j)]] / one[i] for j in range(k)])
            for i in range(k)]
    return stack(rows)


def _chances_of_rest(p: Node, others: Node) -> list[Node]:
    """For sets of 0, 1, 2 … of the k values: the probability that, these taken out, the rest is drawn next.

    From larger sets A to smaller ones, H(A) = Σ_{t∉A} p(t) / P(not A) · H(A ∪ t), for the next one is t with p(t)/P(not
    A). Sets of one size are in the order of `combinations`. Where nothing is left to be drawn any ratio would do.
    """
    k, found = len(p), [stack([1.0 + 0.0 * p[0]])]
    for size in range(k - 1, -1, -1):
        sets, larger = (list(combinations(range(k), n)) for n in (size, size + 1))
        at = {s: i for i, s in enumerate(larger)}
        rest = np.array([[t for t in range(k) if t not in s] for s in sets])
        after = np.array([[at[tuple(sorted((*s, t)))] for t in r] for s, r in zip(sets, rest)])
        next_one = take(p, rest)
        left = total(next_one, axis=1, keepdims=True) + others
        share = choose(left > 0.0, next_one / left, 1.0 / (k - size))
        found.append(total(share * take(found[-1], after), axis=1))
    return found[::-1]

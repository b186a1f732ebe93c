"""What the user's stopped gradients make of each cost's gradient: a verdict on the cost, beside those on the sites."""

from __future__ import annotations

from collections.abc import Container, Mapping

from scg.analysis.differentials import Differentials
from scg.analysis.own_scores import weighed_scores
from scg.analysis.polynomial_arrays import Unproved
from scg.analysis.stops import Hidden, has_stops, hidden, hiding, lines_of
from scg.errors import in_a_row
from scg.ir.node import Node
from scg.ops.reduce import total
from scg.strategy import Assignment, through
from scg.verdict import CostVerdict

MOST_APART = 8  # sources that are looked at one by one, where nothing is found of all together
IN_EVERY_REPLICATE, IN_THE_MEAN = "in every replicate", "in the mean"


def cost_verdicts(costs: Mapping[str, Node], sources: Mapping[str, Node], assigned: Mapping[str, Assignment],
                  moved: Container[str]) -> dict[str, CostVerdict]:
    """Verdicts on the costs whose gradient the user's stopped gradients change, or would if it did not cancel.

    So are those told of that are written as policy losses: their gradient may not be what is expected.

    Parameters
    ----------
    costs : dict of str to Node
    sources : dict of str to Node
        What is differentiated with respect to, by name.
    assigned : dict of str to Assignment
        The sites' estimators.
    moved : container of str
        The sites into whose parameters a derivative flows.
    """
    found = hidden(list(costs.values()), sources, through(assigned))
    told = {name: _policy_loss(cost, moved) for name, cost in costs.items()}
    return {name: verdict for (name, cost), stops in zip(costs.items(), found)
            if (verdict := _verdict(cost, sources, stops) if stops else told[name]) is not None}


def _policy_loss(cost: Node, moved: Container[str]) -> CostVerdict | None:
    """What is said of log p of a draw that a stopped value of that draw multiplies."""
    for site, stop in weighed_scores([cost]) if has_stops([cost]) else ():
        if site in moved:
            return CostVerdict("unbiased", f'log p of its own draw of "{site}" is multiplied by what scg.stop_gradient '
                               f"holds at {stop.source}: the gradient is that of the mean of this product. For the "
                               "policy gradient make the reward itself the cost", noted=True)
    return None


def _verdict(cost: Node, sources: Mapping[str, Node], stops: tuple[Hidden, ...]) -> CostVerdict:
    where = _cancels(cost, list(sources.values()))
    if where:
        lines = in_a_row(lines_of(stops))
        return CostVerdict("unbiased", f"what scg.stop_gradient hides at {lines} adds up to 0 {where}")
    return CostVerdict("biased", f"{hiding(stops, sources)}: the gradient is that with what is stopped held constant, "
                                 "and is not known to be that of the expected cost")


def _cancels(cost: Node, sources: list[Node]) -> str:
    """Where the gradient is proved to be what it would be without the stopped gradients; empty if it is not.

    With c the cost, ∇ its gradient with draws as numbers, and log p of a draw, what is hidden is

        ∇c − ∇c held + Σ c (∇ log p − ∇ log p held).

    A score, ∇ log p, has the mean 0 given the draws that do not depend on its own, so it may be weighed by any function
    of these. The score function stands here for all estimators, for it finds the gradient whatever ⊥ there is on the
    sites' values.
    """
    asked = [sources, *([source] for source in sources if 1 < len(sources) <= MOST_APART)]
    found = _hidden_in(cost, asked[0])
    if found or len(asked) == 1:
        return found
    each = [_hidden_in(cost, one) for one in asked[1:]]
    return "" if "" in each else max(each, key=len)


def _hidden_in(cost: Node, sources: list[Node]) -> str:
    """The same of these sources together."""
    graph = Differentials(sources)
    try:
        known = graph(total(cost))
    except Unproved:
        return ""
    return {None: "", True: IN_EVERY_REPLICATE, False: IN_THE_MEAN}[graph.balanced(known)]

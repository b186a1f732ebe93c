"""What the user's stopped gradients make of each cost's gradient: a verdict on the cost, beside those on the sites."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scg.analysis.identity import same
from scg.analysis.influence import sites
from scg.analysis.reach import sum_of
from scg.analysis.stops import Hidden, hidden, hiding, looked_through, written_plainly
from scg.differentiate.reverse_mode import gradients
from scg.errors import SCGError
from scg.estimators import ScoreFunction
from scg.ir.node import Node, constant
from scg.passes.surrogate import build
from scg.strategy import Assignment, through
from scg.verdict import CostVerdict


def cost_verdicts(costs: Mapping[str, Node], sources: Mapping[str, Node],
                  assigned: Mapping[str, Assignment]) -> dict[str, CostVerdict]:
    """Verdicts on the costs whose gradient the user's stopped gradients change, or would if it did not cancel.

    Parameters
    ----------
    costs : dict of str to Node
    sources : dict of str to Node
        What is differentiated with respect to, by name.
    assigned : dict of str to Assignment
        The sites' estimators.
    """
    found = hidden(list(costs.values()), sources, through(assigned))
    return {name: _verdict(cost, sources, stops) for (name, cost), stops in zip(costs.items(), found) if stops}


def _verdict(cost: Node, sources: Mapping[str, Node], stops: tuple[Hidden, ...]) -> CostVerdict:
    if _cancels(cost, sources):
        lines = " and ".join(dict.fromkeys(str(h.stop.source) for h in stops))
        return CostVerdict("unbiased", f"what scg.stop_gradient hides at {lines} adds up to 0 in every replicate")
    return CostVerdict("biased", f"{hiding(stops, sources)}: the gradient is that with what is stopped held constant, "
                                 "and is not known to be that of the expected cost")


def _cancels(cost: Node, sources: Mapping[str, Node]) -> bool:
    """Whether the gradient is proved to be what it would be without the stopped gradients, in every replicate.

    Both are taken under the score function, which finds the gradient whatever ⊥ there is on the sites' values.
    """
    cost, *given = written_plainly([cost, *sources.values()])
    whole, *moved = looked_through([cost, *given])
    try:
        held, all_of_it = _estimator(cost, given), _estimator(whole, moved)
    except SCGError:
        return False  # a site that has no score, or a jump
    return all(same(a, b) for a, b in zip(held, all_of_it))


def _estimator(cost: Node, sources: list[Node]) -> list[Node]:
    site_nodes = tuple(sites([cost]))
    scored = {site_node.name: Assignment(ScoreFunction(), "policy") for site_node in site_nodes}
    draft, _ = build({"": cost}, sources, site_nodes, scored)
    whole = written_plainly([sum_of([*draft.costs.values(), *(t.node for t in draft.terms)])])[0]
    found = gradients({whole: constant(1.0)}, sources, ("row", "lane"))
    return [constant(np.zeros(x.shape)) if g is None else g for x, g in zip(sources, found)]

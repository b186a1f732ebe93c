"""The expected costs of a finite graph with too many paths to walk: every site is summed out, by elimination.

What is summed is what an estimator that sums sites out makes of the costs. So this is no second opinion on that one
where all sites are given it; it is one on all others, and on the kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scg.analysis.influence import SiteNode
from scg.errors import ConditionError, EstimatorError, ExactError
from scg.estimators import ESTIMATORS
from scg.ir.check import Check
from scg.ir.node import Node
from scg.passes.surrogate import build
from scg.strategy import Assignment
from scg.surrogate.by_steps import OTHERWISE


def summed_out(costs: Mapping[str, Node], params: Sequence[Node],
               site_nodes: Sequence[SiteNode]) -> tuple[Mapping[str, Node], Sequence[Check]]:
    """The expected costs as functions of the params, and what must hold.

    Raises
    ------
    ExactError
        If too many values are summed over together.
    """
    rule = next(cls for cls in ESTIMATORS.values() if cls.sums_out)()
    assigned = {p.name: Assignment(rule, "strategy") for p in site_nodes}
    try:
        draft, _ = build(costs, params, site_nodes, assigned)
    except (EstimatorError, ConditionError) as why:
        first = why.problems[0]
        loops = any(p.scan is not None for p in site_nodes)
        raise ExactError(first.where, "scg.exact was asked for.",
                         f"The graph has too many paths, and cannot be summed out site by site: {first.why}",
                         f"Use scg.compile and many samples{f'; or {OTHERWISE}' if loops else ''}.") from why
    return draft.costs, draft.checks

"""The rule of a chain that is chosen by measuring: ``strategy="auto"`` of a chain.

In: a graph with a chain, values, options. Out: the rule, and the comparison that says why. No rule for a stationary
mean is unbiased: the chain starts some steps before it counts, and some rules leave out what a draw does later than
that. So those are compared that have no other bias. Each is held to the exact gradient where the chain has few states,
else to the most exact estimate of those that leave out nothing, or hardly anything. Of the rules of which no bias is
seen then, that with the least variance times time is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scg.comparison import Comparison, compared
from scg.derive import derive
from scg.errors import EstimatorError, UnknownName
from scg.estimators.estimator import ESTIMATORS, Estimator
from scg.progress import Steps

STEPS, MOST, LEAST = 200_000, 500, 32  # of all chains of a measured call, and how many chains there are


def of_chain(graph, values: Mapping[str, Any], options: dict[str, Any]) -> tuple[Estimator, dict[str, Comparison]]:
    """The rule with the least variance times time at some values, and what was measured, by site.

    Parameters
    ----------
    graph : Graph
    values : dict of str to array_like
        As for a call.
    options : dict
        Of `scg.compile`.

    Raises
    ------
    EstimatorError
        If no rule can be used, or what each cuts off is seen.
    """
    tr = graph.transition
    rules: dict[str, Any] = {repr(rule): rule for rule in (cls() for cls in ESTIMATORS.values() if _may_be_tried(cls))}
    rows = max((len(values[name]) for name in graph.rows if name in values), default=1)
    samples = min(max(STEPS // ((tr.burn_in + tr.horizon) * max(rows, 1)), LEAST), MOST)
    with Steps(len(rules), f'strategy="auto" for graph "{graph.name}"', "rule") as shown:
        def say(label: str) -> None:
            shown.at(f"{label} is compiled")
            shown.done()

        found = compared(graph, rules, values, samples, 0, {**options, "order": 1, "stderr": True}, say=say)
    try:
        rule = rules[found.best]
    except UnknownName as why:
        said = "; ".join(f"{label}: {reason}" for label, reason in found.refused.items())
        raise EstimatorError(tr.line, 'strategy="auto" was asked for.', f"{why.problems[0].why} {said}".strip(),
                             why.problems[0].fix) from why
    verdicts = derive(graph, rule, wrt=options["wrt"], costs=options["costs"]).verdicts
    return rule, {name: found for name, v in verdicts.items() if v.influenced}


def _may_be_tried(cls: type[Estimator]) -> bool:
    """Whether a rule is for chains, or follows paths, and has no bias of its own."""
    return cls.stationary or (cls.passes_gradient and cls.unbiased and cls.advised)

"""The strategy that is chosen by measuring: ``strategy="auto"``.

In: a graph, values, options. Out: an estimator for each site, and the comparisons that say why. Sites are gone through
in their order, once: at each, the estimators that are unbiased there are compared while the others stay, and the one
with the least variance times time stands from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scg.baselines import LeaveOneOut
from scg.comparison import Compared, Comparison, compared
from scg.derive import derive
from scg.errors import DeclarationError, EstimatorError
from scg.estimators.estimator import ESTIMATORS, Estimator
from scg.initial import initial_values
from scg.ir.location import here
from scg.surrogate.derivation import Derivation

AUTO = "auto"
SAMPLES = 2000
POLICY = "the policy"


def chosen(graph, values: Mapping[str, Any] | None, options: dict[str, Any]) -> tuple[dict, dict[str, Comparison]]:
    """The estimators of a graph's sites with the least variance times time at some values.

    Parameters
    ----------
    graph : Graph
    values : dict of str to array_like, optional
        As for a call; by default what ``f.init(0)`` returns.
    options : dict
        Of `scg.compile`.

    Returns
    -------
    strategy : dict of str to Estimator
        Of those sites at which something else than the policy's choice was better.
    measured : dict of str to Comparison
        By site.

    Raises
    ------
    EstimatorError
        If the graph is a chain.
    DeclarationError
        If there are no values at which it could be measured.
    """
    if graph.transition is not None:
        raise EstimatorError(graph.transition.line, 'strategy="auto" was asked for.',
                             "It chooses among unbiased estimators, site by site. One rule is for all sites of a "
                             "chain, and each cuts something off.",
                             'Compare rules, as scg.compare(g, {"spwd": scg.SPWD(), "path": scg.Pathwise(), '
                             '"phantoms": scg.WeakDerivative()}, values), and take one as the strategy.')
    first = derive(graph, None, wrt=options["wrt"], costs=options["costs"])
    at = _values(first, values)
    strategy: dict[str | tuple[str, ...], Estimator] = {}
    measured: dict[str, Comparison] = {}
    standing: dict[str, Compared] = {}  # what was compiled and stands from then on
    for site, verdict in first.verdicts.items():
        others = _candidates(graph, site, verdict.estimator) if verdict.differentiated else []
        if not others or verdict.origin == "site":  # what the declaration says was meant
            continue
        tried = {POLICY: dict(strategy), **{repr(e): {**strategy, site: e} for e in others}}
        measured[site] = compared(graph, tried, at, SAMPLES, 0, {**options, "order": 1, "stderr": True}, standing)
        best = measured[site].best
        standing = {POLICY: measured[site][best]}
        if best != POLICY:
            strategy[site] = tried[best][site]
    return strategy, measured


def _candidates(graph, site: str, chosen: Estimator | None) -> list[Estimator]:
    """What may be tried at a site: all that is unbiased, for one site, and needs no number that is not known."""
    family = graph.sites[site].family
    found: list[Estimator] = []
    for cls in ESTIMATORS.values():
        if cls.scope == "graph" or not (cls.unbiased and cls.advised) or cls.offer(family) != f"{cls.__name__}()":
            continue
        found.append(cls().with_baseline(LeaveOneOut()))
    return [e for e in found if e != chosen]


def _values(first: Derivation, values: Mapping[str, Any] | None) -> Mapping[str, Any]:
    graph = first.graph
    if values is not None:
        return values
    missing = [name for name in (*graph.params, *graph.inputs, *graph.rows) if name not in graph.inits]
    if missing:
        raise DeclarationError(str(here() or ""), 'strategy="auto" was asked for.',
                               f"Variances are measured at some values, and {' and '.join(missing)} "
                               f"{'has' if len(missing) == 1 else 'have'} none to start from.",
                               "Give values=, as for a call, or each param an init=.")
    return initial_values(graph.name, {name: (graph.params[name].shape, init) for name, init in graph.inits.items()}, 0)

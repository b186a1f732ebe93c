"""The strategy that is chosen by measuring: ``strategy="auto"``.

In: a graph, values, options. Out: an estimator for each site, and the comparisons that say why. Sites are gone through
in their order, once: at each, the estimators that are unbiased there are tried while the others stay, first interpreted
(`scg.shortlist`), then those that may be the best compiled, and the one with the least variance times time stands from
then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scg.baselines import LeaveOneOut
from scg.chain_rules import of_chain
from scg.comparison import GIVEN, Comparison, Made, compared, values_of
from scg.derive import derive
from scg.errors import DeclarationError
from scg.estimators.estimator import ESTIMATORS, Estimator
from scg.function import function_of
from scg.initial import initial_values
from scg.ir.location import here
from scg.progress import Steps
from scg.run.values import bound
from scg.shortlist import Standing, shortlist
from scg.strategy import Strategy
from scg.surrogate.derivation import Derivation
from scg.verdict import CostVerdict, SiteVerdict

AUTO = "auto"
SAMPLES, REPLICATES, FEWEST = 2000, 100_000, 64  # of a measured call: at most, in all, and at least
POLICY = "the policy"


def chosen(graph, values: Mapping[str, Any] | None,
           options: dict[str, Any]) -> tuple[Strategy, dict[str, Comparison]]:
    """The estimators of a graph's sites with the least variance times time at some values; or a chain's rule.

    Parameters
    ----------
    graph : Graph
    values : dict of str to array_like, optional
        As for a call; by default what ``f.init(0)`` returns.
    options : dict
        Of `scg.compile`.

    Returns
    -------
    strategy : dict of str to Estimator, or Estimator
        Of those sites at which something else than the policy's choice was better; or the rule of a chain.
    measured : dict of str to Comparison
        By site.

    Raises
    ------
    EstimatorError
        If no rule can be taken for the graph's chain.
    DeclarationError
        If there are no values at which it could be measured.
    """
    if graph.transition is not None:
        return of_chain(graph, _values(graph, values), options)
    first = derive(graph, None, wrt=options["wrt"], costs=options["costs"])
    at = _values(graph, values)
    others = {site: _candidates(graph, site, verdict.estimator) for site, verdict in first.verdicts.items()
              if verdict.differentiated and verdict.origin != "site"}  # what the declaration says was meant
    measuring = _Measuring(first, at, {**options, "order": 1, "stderr": True})
    with Steps(sum(map(bool, others.values())), f'strategy="auto" for graph "{graph.name}"', "site") as shown:
        for site in filter(others.get, others):
            measuring.at(site, others[site], lambda what, site=site: shown.at(f'site "{site}": {what}'))
            shown.done()
    return measuring.strategy, measuring.measured


class _Measuring:
    """What was chosen so far, and what was measured.

    Parameters
    ----------
    first : Derivation
        Under the policy.
    values : dict of str to array_like
    options : dict
    """

    def __init__(self, first: Derivation, values: Mapping[str, Any], options: dict[str, Any]):
        self._graph, self._values, self._options = first.graph, values, options
        self._biased = _biased({**first.verdicts, **first.of_costs})  # by what the user wrote
        self.strategy: dict[str | tuple[str, ...], Estimator] = {}
        self.measured: dict[str, Comparison] = {}
        f = function_of(first, {**options, "backend": "numpy", "strategy": None})
        leaves = [leaf for leaf in f._layout.leaves if leaf.role in GIVEN]
        self._rows = bound(f._layout.name, leaves, f._layout.dtype, values_of(f, values))[1]
        self._standing = Standing(POLICY, {POLICY: Made(f, 0.0, False)})

    def at(self, site: str, others: Sequence[Estimator], say: Callable[[str], None]) -> None:
        """Choose at a site."""
        tried: dict[str, Strategy] = {POLICY: dict(self.strategy),
                                      **{repr(e): {**self.strategy, site: e} for e in others}}
        listed = shortlist(self._graph, tried, self._standing, self._values, self._rows, self._options,
                           lambda label: say(f"{label} is tried"))
        samples = min(SAMPLES, max(FEWEST, REPLICATES // self._rows))
        found = compared(self._graph, {label: tried[label] for label in listed.made}, self._values, samples, 0,
                         self._options, listed.made, lambda label: say(f"{label} is compiled"), exactly=False)
        found.refused |= listed.refused
        found.ruled_out |= listed.ruled_out
        best = found.least([label for label, one in found.items() if _biased(one.function.verdict) <= self._biased])
        self.measured[site] = found
        self._standing = Standing(POLICY, {POLICY: listed.interpreted[best]},
                                  {POLICY: Made(found[best].function, found[best].compiling, True)})
        if best != POLICY:
            self.strategy[site] = next(e for e in others if repr(e) == best)


def _biased(verdicts: Mapping[str, SiteVerdict | CostVerdict]) -> frozenset[str]:
    """Sites and costs whose verdict is biased."""
    return frozenset(name for name, v in verdicts.items() if v.status != "unbiased")


def _candidates(graph, site: str, chosen: Estimator | None) -> list[Estimator]:
    """What may be tried at a site: all that is unbiased, for one site, and needs no number that is not known."""
    family = graph.sites[site].family
    found: list[Estimator] = []
    for cls in ESTIMATORS.values():
        if cls.scope == "graph" or not (cls.unbiased and cls.advised) or cls.offer(family) != f"{cls.__name__}()":
            continue
        found.append(cls().with_baseline(LeaveOneOut()))
    return [e for e in found if e != chosen]


def _values(graph, values: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if values is not None:
        return values
    missing = [name for name in (*graph.params, *graph.inputs, *graph.rows) if name not in graph.inits]
    if missing:
        raise DeclarationError(str(here() or ""), 'strategy="auto" was asked for.',
                               f"Variances are measured at some values, and {' and '.join(missing)} "
                               f"{'has' if len(missing) == 1 else 'have'} none to start from.",
                               "Give values=, as for a call, or each param an init=.")
    return initial_values(graph.name, {name: (graph.params[name].shape, init) for name, init in graph.inits.items()}, 0)

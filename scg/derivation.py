"""From a declared graph to its surrogate: the first half of the pipeline, which needs no backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scg.analysis.influence import SiteNode, sites
from scg.draft import Draft
from scg.errors import DeclarationError
from scg.ir.location import here
from scg.ir.node import Node
from scg.passes.check import check
from scg.passes.surrogate import SiteVerdict, build
from scg.strategy import Strategy, assign


@dataclass(frozen=True)
class Derivation:
    """What the compiler derived.

    Attributes
    ----------
    graph : Graph
    places : tuple of SiteNode
        The sites in topological order.
    draft : Draft
        Costs and terms of the surrogate.
    verdicts : dict of str to SiteVerdict
    form : str
        ``"log"`` or ``"ratio"``.
    """

    graph: object
    places: tuple[SiteNode, ...]
    draft: Draft
    verdicts: Mapping[str, SiteVerdict]
    form: str

    @property
    def surrogate(self):
        """The surrogate as an object that can be read, printed and differentiated."""
        from scg.surrogate import Surrogate

        return Surrogate(self)

    def roots(self) -> list[Node]:
        """Costs and terms: what is summed and differentiated."""
        return [*self.draft.costs.values(), *(t.node for t in self.draft.terms)]


def derive(graph, strategy: Strategy = None, *, form: str = "log") -> Derivation:
    """Check the graph, assign estimators, and let them rewrite costs and terms.

    Raises
    ------
    SCGError
        Whatever the checks and estimators refuse.
    """
    if form not in ("log", "ratio"):
        raise DeclarationError(str(here() or ""), f"form={form!r} was asked for.", "A surrogate has two forms.",
                               'Use "log" or "ratio".')
    check(graph)
    costs = dict(graph.costs)
    places = tuple(sites(list(costs.values())))
    declared = {name: site.estimator for name, site in graph.sites.items()}
    params = list(graph.params.values())
    assigned = assign(list(costs.values()), params, places, strategy, declared)
    draft, verdicts = build(costs, params, places, assigned, form)
    return Derivation(graph, places, draft, verdicts, form)

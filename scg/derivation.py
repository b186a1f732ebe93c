"""From a declared graph to its surrogate: the first half of the pipeline, which needs no backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scg.analysis.influence import SiteNode, sites
from scg.draft import Draft
from scg.errors import DeclarationError
from scg.ir.flat import nodes_of, remade, to_bytes
from scg.ir.location import here
from scg.ir.node import Node
from scg.ir.printer import title
from scg.ir.traverse import ancestors
from scg.ops.control import without_names
from scg.passes.check import check
from scg.passes.surrogate import SiteVerdict, build
from scg.stopped import CostVerdict, cost_verdicts
from scg.strategy import Assignment, Strategy, asked_for, assign


@dataclass(frozen=True)
class Derivation:
    """What the compiler derived.

    Attributes
    ----------
    graph : Graph
        As it was declared by then.
    places : tuple of SiteNode
        The sites in topological order.
    draft : Draft
        Costs and terms of the surrogate.
    verdicts : dict of str to SiteVerdict
    form : str
        ``"log"`` or ``"ratio"``.
    targets : dict of str to Node
        What is differentiated with respect to; a param that is not there counts as an input.
    of_costs : dict of str to CostVerdict
        Verdicts on the costs in whose way a stopped gradient of the user's stands.
    """

    graph: Any
    places: tuple[SiteNode, ...]
    draft: Draft
    verdicts: Mapping[str, SiteVerdict]
    form: str
    targets: Mapping[str, Node]
    of_costs: Mapping[str, CostVerdict] = field(default_factory=dict)

    def __reduce__(self):
        parts, home = dict(self.__dict__), self.graph.home
        return _again, (to_bytes(parts, nodes_of(parts, home), home), home)

    @property
    def surrogate(self):
        """The surrogate as an object that can be read, printed and differentiated."""
        from scg.surrogate import Surrogate

        return Surrogate(self)

    def roots(self) -> list[Node]:
        """Costs and terms: what is summed and differentiated."""
        return [*self.draft.costs.values(), *(t.node for t in self.draft.terms)]


def _again(data: bytes, home) -> Derivation:
    return Derivation(**remade(data, home))


def derive(graph, strategy: Strategy = None, *, form: str = "log", wrt: Sequence[str] | None = None) -> Derivation:
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
    graph = graph.as_it_is()
    targets = _targets(graph, wrt)
    costs, targets = _apart(graph, targets)
    places = tuple(sites(list(costs.values())))
    declared = {name: site.estimator for name, site in graph.sites.items()}
    chosen = asked_for(strategy, declared)
    assigned = assign(list(costs.values()), places, chosen)
    draft, verdicts = build(costs, list(targets.values()), places, assigned, form)
    return Derivation(graph, places, draft, _with_idle(graph, verdicts, chosen), form, targets,
                      cost_verdicts(costs, targets, assigned))


def _apart(graph, targets: Mapping[str, Node]) -> tuple[dict[str, Node], dict[str, Node]]:
    """The costs and targets, with named nodes that are no targets as the expressions that they name."""
    kept = {node.id for node in targets.values()}
    roots = [*graph.costs.values(), *targets.values()]
    new = iter(without_names(roots, lambda node: node.id not in kept and graph.named_inside(node)))
    return {name: next(new) for name in graph.costs}, {name: next(new) for name in targets}


def _with_idle(graph, verdicts: Mapping[str, SiteVerdict], chosen: Mapping[str, Assignment]):
    """Verdicts on the sites too that no cost depends on."""
    out = dict(verdicts)
    for name in graph.sites:
        if name not in out:
            estimator, origin = chosen.get(name, (None, "policy"))
            out[name] = SiteVerdict("unbiased", "no cost depends on it", estimator, origin, (), False)
    return out


def _targets(graph, wrt: Sequence[str] | None) -> dict[str, Node]:
    """Params and nodes by the names in `wrt`; all params by default."""
    if wrt is None:
        return dict(graph.params)
    if not isinstance(wrt, (str, Node, Iterable)):
        raise DeclarationError(str(here() or ""), f"wrt={wrt!r} was given.", "That is no name.",
                               "Give a tuple of names of params or nodes.")
    names = (wrt,) if isinstance(wrt, (str, Node)) else tuple(wrt)
    return {str(name): _target(graph, name) for name in names}


def _target(graph, name: str) -> Node:
    node = graph.nodes.get(name) if isinstance(name, str) else None
    place = str(here() or "")
    if isinstance(name, Node):
        names = [known for known, node in graph.nodes.items() if node is name]
        fix = (f'Write wrt="{names[0]}".' if names else
               'Name it in this graph, n = g.node("n", …), use n in the costs, and write wrt="n".')
        raise DeclarationError(place, f"wrt was given the {title(name)}.", "It takes names.", fix)
    if node is None:
        raise DeclarationError(place, f'wrt names "{name}".', "The graph has no param or node of that name.",
                               f"Its params and nodes are: {', '.join(graph.nodes) or 'none'}.")
    varies = {ax.name for ax in node.axes}
    why, fix = "", "Name params, inputs, data, or nodes that no sample reaches."
    if "lane" in varies:
        why = "It depends on samples, so it differs from replicate to replicate, and so would the gradient."
    if name in graph.per_step:
        why = "It is declared inside a scan's step, and has a value per step."
    if why:
        raise DeclarationError(place, f'wrt names "{name}".', why, fix)
    if node.op.name == "named" and graph.named_inside(node):
        used = ancestors(graph.costs.values())
        if node.id not in used and node.args[0].id in used:
            raise DeclarationError(place, f'wrt names "{name}".', "The costs do not use what g.node returned, but the "
                                   "expression that it was given, which is another node.",
                                   f'Write n = g.node("{name}", …), and use n.')
    return node

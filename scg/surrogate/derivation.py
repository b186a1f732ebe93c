"""What the compiler derived of a graph: its surrogate, the verdicts, and what is differentiated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

from scg.analysis.influence import SiteNode
from scg.analysis.made_of import MadeOf
from scg.ir.flat import nodes_of, remade, to_bytes
from scg.ir.node import Node
from scg.surrogate.draft import Draft
from scg.verdict import CostVerdict, SiteVerdict


class Leaves(NamedTuple):
    """The leaves that a call gives values for, by name."""

    name: str
    params: Mapping[str, Node]
    inputs: Mapping[str, Node]
    rows: Mapping[str, Node]


@dataclass(frozen=True)
class Derivation:
    """What the compiler derived.

    Attributes
    ----------
    graph : Graph
        As it was declared by then.
    site_nodes : tuple of SiteNode
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
    narrow : tuple of str
        What is said of poles that paths are kept from by a tiny number only.
    """

    graph: Any
    site_nodes: tuple[SiteNode, ...]
    draft: Draft
    verdicts: Mapping[str, SiteVerdict]
    form: str
    targets: Mapping[str, Node]
    of_costs: Mapping[str, CostVerdict] = field(default_factory=dict)
    narrow: tuple[str, ...] = ()

    def __reduce__(self):
        parts, home = {f.name: getattr(self, f.name) for f in fields(self)}, self.graph.home
        return _again, (to_bytes(parts, nodes_of(parts, home), home), home)

    @cached_property
    def leaves(self) -> Leaves:
        """What a call is given: the graph's params, inputs and data, and the params that estimators bring."""
        brought = {p.name: p.leaf for p in self.draft.params}
        return Leaves(self.graph.name, {**self.graph.params, **brought}, self.graph.inputs, self.graph.rows)

    @cached_property
    def auxiliary(self) -> Mapping[str, Node]:
        """The params that objectives are made of and no cost is, by name."""
        if not self.draft.objectives:
            return {}
        made_of = MadeOf()
        below, model = (frozenset().union(*map(made_of, nodes)) for nodes in (
            [o.node for o in self.draft.objectives], self.graph.costs.values()))
        return {name: x for name, x in self.leaves.params.items() if x.id in below - model}

    @cached_property
    def idle(self) -> tuple[str, ...]:
        """The leaves among `targets` that no cost is made of."""
        made_of = MadeOf()
        below = frozenset[int]().union(*map(made_of, self.graph.costs.values()))
        return tuple(name for name, x in self.moved.items() if x.op.kind == "leaf" and x.id not in below)

    @property
    def moved(self) -> Mapping[str, Node]:
        """What is differentiated with respect to and is not auxiliary: its gradients are of costs and terms."""
        return {name: x for name, x in self.targets.items() if name not in self.auxiliary}

    def roots(self) -> list[Node]:
        """Costs and terms: what is summed and differentiated."""
        return [*self.draft.costs.values(), *(t.node for t in self.draft.terms)]


def _again(data: bytes, home) -> Derivation:
    return Derivation(**remade(data, home))

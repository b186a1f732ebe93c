"""A whole graph whose draws are from other params than those that are asked about, and the ratios of probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from scg.analysis.influence import SiteNode
from scg.analysis.made_of import MadeOf
from scg.analysis.reach import Reach
from scg.analysis.smoothness import Flow
from scg.errors import EstimatorError
from scg.ir.check import Check
from scg.ir.node import Node
from scg.ir.traverse import Substitution
from scg.ops.leaves import param
from scg.ops.reduce import total
from scg.surrogate.draft import Brought, Draft
from scg.surrogate.feeding import feed_sites, leaf_of, parameters
from scg.surrogate.site_in_scan import view

if TYPE_CHECKING:
    from scg.surrogate.whole_graph import Whole


class DrawnElsewhere:
    """The graph drawn at params "theta what" in place of each target "theta".

    Parameters
    ----------
    whole : Whole
    what : str
    """

    def __init__(self, whole: Whole, what: str):
        self._whole, self._what = whole, what
        self._flow = Flow(dict.fromkeys(whole.targets.values(), 1), lambda node: False)
        self._targets = {node.id: name for name, node in whole.targets.items()}

    # --- what may be asked ------------------------------------------------------------------------------------------
    def directly(self) -> Iterator[tuple[str, str]]:
        """Costs that a target moves without a draw in between, and that target."""
        costs = self._whole.draft.costs
        for name, fed in zip(costs, feed_sites(list(costs.values()), leaf_of, self._flow)):
            yield from ((name, by) for by in self._made_of(fed))

    def moving_supports(self) -> Iterator[tuple[SiteNode, str]]:
        """Sites of which a target moves the bounds of the support, given the draws before it, and that target."""
        for site_node in self._whole.site_nodes:
            for name, node in parameters(site_node).items():
                if name in site_node.node.attrs.family.support.moving:
                    fed = feed_sites([node], leaf_of, self._flow)[0]
                    yield from ((site_node, by) for by in self._made_of(fed))

    def _made_of(self, node: Node) -> list[str]:
        return [name for leaf, name in self._targets.items() if leaf in MadeOf()(node)]

    # --- what there is ----------------------------------------------------------------------------------------------
    @cached_property
    def params(self) -> dict[str, Brought]:
        """Where draws are from, by the names of the targets.

        Raises
        ------
        EstimatorError
            If the graph has something of such a name.
        """
        found, owner = {}, self._whole.owner
        for name, target in self._whole.targets.items():
            new = f"{name} {self._what}"
            if new in owner.nodes or new in owner.costs:
                raise EstimatorError(self._whole.where(name), f'"{new}" was to be given a value.',
                                     "The graph has something of that name.", "Rename it.")
            found[name] = Brought(param(owner, new, target.shape), owner.inits.get(name))
        return found

    @cached_property
    def _there(self) -> Substitution:
        new = Substitution()
        for name, brought in self.params.items():
            new.put(self._whole.targets[name], brought.leaf)
        return new

    @property
    def costs(self) -> dict[str, Node]:
        """The costs of these draws."""
        return {name: self._there(cost) for name, cost in self._whole.draft.costs.items()}

    @property
    def values(self) -> dict[str, Node]:
        """The draws, by the names of the sites."""
        return {name: self._there(value) for name, value in self._whole.draft.values.items()}

    @cached_property
    def log_ratios(self) -> dict[str, Node]:
        """Of each site that a target moves: log p of these draws at the targets, less that where they are from."""
        nothing, found = Draft({}), {}
        for site_node in self._whole.site_nodes:
            log_p = total(view(site_node, nothing, lambda node: False).log_prob)
            here = self._here([log_p])[0]
            if self._made_of(here):
                found[site_node.name] = here - self._there(log_p)
        return found

    def _here(self, roots: list[Node]) -> list[Node]:
        """What they are of these draws, at the targets."""
        return feed_sites(roots, lambda site_node: self.values[site_node.name], self._flow)

    def ratios_of(self, cost: str) -> list[Node]:
        """`log_ratios` of the sites that influence the cost."""
        costs, reach = self._whole.draft.costs, Reach(site_node.name for site_node in self._whole.site_nodes)
        return [ratio for site, ratio in self.log_ratios.items() if cost in reach.influenced(site, costs)]

    def checks(self) -> list[Check]:
        """What must hold: where draws are from, and of them at the targets."""
        held = self._whole.draft.checks
        here = self._here([c.node for c in held])
        both = [*((c, self._there(c.node)) for c in held), *zip(held, here)]
        return [replace(c, node=node, drawn=False, index=None) for c, node in dict.fromkeys(both)]

    def with_costs(self, costs: Mapping[str, Node], checks: list[Check]) -> Draft:
        """The draft of other costs, which are made of these draws."""
        draft = replace(self._whole.draft, costs=dict(costs), values=self.values, checks=(*self.checks(), *checks))
        return draft.with_params(self.params.values()).with_marks(self._whole.marks)

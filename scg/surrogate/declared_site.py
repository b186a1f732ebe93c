"""A site as it is declared, and the costs that it influences: what does not depend on how it is weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

import numpy as np

from scg.analysis.influence import SiteNode
from scg.analysis.reach import Reach, vouched_at
from scg.distributions.distribution import Distribution
from scg.errors import EstimatorError
from scg.ir.axes import Axis
from scg.ir.check import Check
from scg.ir.node import Node
from scg.ir.printer import short
from scg.ops.arithmetic import choose
from scg.ops.control import held, resting
from scg.ops.leaves import param
from scg.ops.randomness import distribution_of, uniform
from scg.ops.structure import broadcast_to
from scg.ops.termination import as_declared
from scg.surrogate.draft import Brought, Draft, Replay
from scg.surrogate.mark import CHANCE, LOG_ODDS, MEAN, Mark, Name
from scg.surrogate.masked_site import MaskedSite
from scg.surrogate.redrawn import Drawn
from scg.surrogate.replacement import draws_of


class DeclaredSite(MaskedSite):
    """A site of the graph, as the estimators see it in the current draft.

    Parameters
    ----------
    site_node : SiteNode
        Its sample node in the draft.
    draft : Draft
        What is rewritten.
    flows : callable
        ``flows(node) -> bool``: whether a derivative flows to the node from a parameter under the whole strategy.
    form : str
        ``"log"`` or ``"ratio"``: how the surrogate writes the score.
    reach : Reach, optional
        What is found of the costs, shared with the other sites of a derivation.
    """

    steps: tuple[int, ...] = ()
    origin: str = "strategy"  # who chose its estimator
    tried = False  # whether other estimators are tried, to see what could be advised

    def __init__(self, site_node: SiteNode, draft: Draft, flows: Callable[[Node], bool], form: str = "log",
                 reach: Reach | None = None):
        self.name, self.node, self.site_node, self.draft = site_node.name, site_node.node, site_node, draft
        self._flows, self.form, self._reach = flows, form, reach or Reach([site_node.name])
        self.checks_in_worlds: list[Check] = []  # what must hold in the worlds that were asked for
        self.brought: list[Brought] = []  # params that were asked for
        self.marks: list[Mark] = []  # names for what was asked for
        self.replays: list[Replay] = []  # the costs in other worlds, as they were asked for
        self._summed_apart: dict[bytes, Draft | str] = {}
        self.obstructed: Callable[[], bool] = lambda: False  # whether derivatives in its value miss a part
        self.later: Callable[[], Mapping[Drawn, bool]] = dict  # paths it moves; whether in its own step, in a scan's

    def afresh(self) -> Self:
        """The same site, of which nothing was asked yet."""
        found = type(self)(self.site_node, self.draft, self._flows, self.form, self._reach)
        found.flow, found.origin, found.tried = self.flow, self.origin, self.tried
        found.obstructed, found.later = self.obstructed, self.later
        return found

    def called(self, name: Name, node: Node, value: Node | None = None, said: Name | None = None,
               brought: bool = False) -> Node:
        """The node, which has that name in formulas; see `Mark` for what stands for the draws in its worlds."""
        if brought:  # a param has a name already
            self.marks = [m for m in self.marks if not (m.brought and m.node is node)]
        self.marks.append(Mark(self.name, name, node, value, said, brought))
        return node

    # --- what it is -------------------------------------------------------------------------------------------------
    @property
    def dist(self) -> Distribution:
        """Its distribution at its parameter nodes."""
        return distribution_of(self.node)

    @property
    def family(self) -> Any:
        """Its family."""
        return self.node.attrs.family

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one step's values: that of the draws, and the dimensions of one draw."""
        return self.node.shape

    @property
    def draws(self) -> tuple[int, ...]:
        """The shape of one step's draws."""
        return draws_of(self.node)

    @cached_property
    def where(self) -> str:
        """The first part of an error message."""
        return self.site_node.where

    def put_out(self, node: Node) -> Node | None:
        """A node from inside the step in which the site is drawn, step by step; None if it is from elsewhere."""
        return None

    def of(self, quantity: Callable[[Distribution, Node], Node]) -> Node:
        """A quantity of each draw, from the distribution and the drawn value, of shape ``(*steps, *draws)``."""
        return broadcast_to(quantity(self.dist, self.node), self.draws)

    def of_value(self, value: Callable[[Distribution, Node], Node]) -> Node:
        """A value like the drawn one, from the distribution and that, of shape ``(*steps, *shape)``."""
        return broadcast_to(value(self.dist, self.node), self.shape)

    def of_group(self, quantity: Callable[[Distribution, Node], Node]) -> Node:
        """A quantity of the draws of one step together, of any shape that begins with no steps: these stand first."""
        return quantity(self.dist, self.node)

    @property
    def value(self) -> Node:
        """The drawn value."""
        return self.of_value(lambda dist, x: x)

    @property
    def of_loops(self) -> Node:
        """The drawn value, inside loops with a dimension for each of them."""
        return self.value

    def by_step(self, node: Node) -> Node:
        """A node that has a dimension for each loop that the site stands in, with one for the steps of all."""
        return node

    @cached_property
    def uniform(self) -> Node:
        """The uniform behind each draw of a family that is a step function of one."""
        return self.of(lambda dist, x: uniform(x.args[-1], fine=False))

    @cached_property
    def log_prob(self) -> Node:
        """log p of each draw, in the form in which it is scored."""
        return self.of(lambda dist, x: self._resting(dist).score_form(x))

    def _resting(self, dist: Distribution) -> Distribution:
        """The distribution, into whose parameters no derivative flows where they are at an edge, and stay there."""
        if not self.masks or not dist.edges:
            return dist
        return type(dist)(**{name: resting(node, *dist.edges[name]) if name in dist.edges else node
                             for name, node in dist.params.items()})

    @property
    def mean(self) -> Node:
        """The mean of each draw, given the parameters, of the shape of the value."""
        return self.called(MEAN, self.of_value(lambda dist, x: dist.mean))

    @property
    def log_odds(self) -> Node:
        """The log-odds of each draw of a binary family."""
        return self.called(LOG_ODDS, self.of(self._log_odds))

    def _log_odds(self, dist: Distribution, x: Node) -> Node:
        """0 where an outcome is certain, and stays it: what they multiply is 0 there."""
        found = dist.log_odds
        return choose(abs(held(found)) < np.inf, found, 0.0) if self.masks else found

    @property
    def chances(self) -> Node:
        """The probability of each draw's each value, along the axis of `values`."""
        axis = self.values
        of_each = self.of(lambda dist, x: dist.probabilities(axis))
        return self.called(CHANCE, of_each, self.dist.values_along(axis))

    @property
    def values(self) -> Axis:
        """An axis with a world for each of the values of its family."""
        return Axis(f"{self.name} value", len(self.dist.support_values()))

    def flows_into(self, parameter: str) -> bool:
        """Whether a derivative flows into that parameter of the distribution."""
        return self.flows(self.parameter(parameter))

    def flows(self, node: Node) -> bool:
        """Whether a derivative flows into a node of the site's, step by step."""
        return self._flows(node)

    def parameter(self, name: str) -> Node:
        """A parameter of the distribution, step by step."""
        return self.dist.params[name]

    def spelled(self, name: str) -> str:
        """A parameter of the distribution in print, as it was declared."""
        return short(as_declared(self.node).params[name])

    @property
    def given(self) -> str:
        """All parameters of the distribution in print."""
        return " and ".join(f"{name} = {self.spelled(name)}" for name in self.dist.params)

    @property
    def differentiated(self) -> bool:
        """Whether a derivative flows into any parameter of the distribution."""
        return any(self.flows_into(name) for name in self.dist.params)

    def param(self, what: str, shape: tuple[int, ...] = (), init: Any = 0.0, said: Name | None = None) -> Node:
        """A param of the estimator's own, "site what", that starts at `init` and minimises an objective of the draft.

        `said` is what it is called in formulas; by default ``what(site)``.

        Raises
        ------
        EstimatorError
            If the graph has something of that name.
        """
        name, graph = f"{self.name} {what}", self.node.owner or self.site_node.anchor.owner
        if name in getattr(graph, "nodes", {}) or name in getattr(graph, "costs", {}):
            raise EstimatorError(self.where, f'A param named "{name}" was to be learned.',
                                 "The graph has something of that name.", "Rename it.")
        leaf = param(graph, name, shape)
        self.brought.append(Brought(leaf, init))
        word = what.replace("_", r"\_").replace(" ", r"\ ")
        return self.called(said or Name(f"{what}(@)", rf"\mathrm{{{word}}}_{{@}}", "what the estimator brings"), leaf,
                           brought=True)

    # --- its costs --------------------------------------------------------------------------------------------------
    @cached_property
    def influenced(self) -> dict[str, Node]:
        """The costs downstream of the site."""
        return self._reach.influenced(self.name, self.draft.costs)

    def _depends(self, node: Node) -> bool:
        """Whether the node depends on what the site draws."""
        return bool(self._reach.draws.any(node) & self._reach.draws.bits[self.name])

    @property
    def assumption(self) -> str:
        """What the user vouches to be continuous between the site and its costs, in words; empty if nothing."""
        if not self._reach.vouched(self.influenced.values()):
            return ""
        found = vouched_at(list(self.influenced.values()))
        marked = dict.fromkeys(str(n.source) for n in found if self.site_node.scan is not None or self._depends(n))
        return f"assuming, as you vouch, that what is marked at {' and '.join(marked)} is continuous" if marked else ""

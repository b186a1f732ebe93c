"""A whole graph, as a rule that rewrites all of it sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from scg.analysis.influence import SiteNode
from scg.analysis.reach import sum_of
from scg.differentiate.reverse_mode import gradients
from scg.distributions import Bernoulli
from scg.ir.axes import LANE, ROW, union
from scg.ir.check import Check
from scg.ir.node import Node, as_real, constant, where
from scg.ir.traverse import Substitution, topological
from scg.ops.control import stop_gradient
from scg.ops.leaves import own_stream
from scg.ops.measure import axis_sum
from scg.ops.randomness import sample
from scg.surrogate.draft import Draft, Replay
from scg.surrogate.mark import DIRECTION, Mark, Name


class Whole:
    """The costs of a graph, and what they are differentiated with respect to.

    Parameters
    ----------
    draft : Draft
        What is rewritten.
    targets : dict of str to Node
        What gradients are asked for, by name, of what costs are made of.
    site_nodes : sequence of SiteNode
        The sites of the graph.
    owner : Graph
    """

    def __init__(self, draft: Draft, targets: Mapping[str, Node], site_nodes: Sequence[SiteNode], owner):
        self.draft, self.targets, self.site_nodes, self.owner = draft, dict(targets), tuple(site_nodes), owner
        self.checks_in_worlds: list[Check] = []  # what must hold in the worlds that were asked for
        self.marks: list[Mark] = []  # names for what was asked for
        self.replays: list[Replay] = []  # the costs in other worlds, as they were asked for

    @property
    def cost(self) -> Node:
        """The sum of all costs."""
        return sum_of(self.draft.costs.values())

    def where(self, cost: str) -> str:
        """The first part of an error message about a cost, or a target."""
        return where(self.owner.costs.get(cost, self.targets.get(cost)))

    def signs(self, name: str, what: str) -> Node:
        """1 or −1 for each element of a target, anew in each replicate; `what` tells them from others of the target."""
        target = self.targets[name]
        axes = union(target.axes, (LANE,) if self._shared else (ROW, LANE) if self.owner.rows else (LANE,))
        stream = own_stream(self.owner, name, what, target.shape, axes)
        site = f"{name} {what}"
        while site in self.owner.nodes:  # of the user's, who may call anything so
            site += "'"
        found = 2.0 * sample(site, Bernoulli(probs=0.5), stream) - 1.0
        self.marks.append(Mark(name, DIRECTION, found))
        return found

    @property
    def _shared(self) -> bool:
        """Whether there are sites that all rows share: then what is drawn beside them is shared too."""
        return not all(ax in p.node.axes for p in self.site_nodes for ax in ((ROW,) if self.owner.rows else ()))

    def moved(self, by: Mapping[str, Node], said: Name | None = None) -> Node:
        """The sum of all costs where so much is added to the targets, under the same noise; it is called `said`."""
        draws = self.draft.of_draws
        new = Substitution()
        for node in topological(list(self.targets.values())):
            for name, target in self.targets.items():
                if target is node and name in by:
                    new.put(node, as_real(new(node)) + by[name])
        costs = [new(cost) for cost in self.draft.costs.values()]
        self.checks_in_worlds += [_where_moved(c, new(c.node), tuple(by)) for c in draws if new(c.node) is not c.node]
        found = sum_of(costs)
        self.replays.append(Replay("", tuple(costs)))
        self.marks += [] if said is None else [Mark("", said, found)]
        return found

    def with_gradients(self, numbers: Mapping[str, Node]) -> Draft:
        """The draft whose gradients are these numbers: costs are stopped, and each target x has a term Σ x · ⊥number.

        Of a target that others are made of, what flows to it from their terms is taken off.
        """
        costs = {name: stop_gradient(cost) for name, cost in self.draft.costs.items()}
        draft = replace(self.draft, costs=costs)
        rank = {node.id: i for i, node in enumerate(topological(list(self.targets.values())))}
        for name in sorted(numbers, key=lambda name: -rank[self.targets[name].id]):  # those downstream come first
            target, number = self.targets[name], numbers[name]
            terms = sum_of(t.node for t in draft.terms)
            (flowing,) = gradients({terms: constant(1.0)}, [target], ("row", "lane"))
            number = number if flowing is None else number - flowing
            draft = draft.with_term(name, (target * stop_gradient(number)).sum())
        return draft.with_checks(self.checks_in_worlds).with_marks(self.marks).with_replays(self.replays)


def is_distance(step: object) -> bool:
    """Whether params can be moved by it: a number above 0."""
    return isinstance(step, (int, float)) and not isinstance(step, bool) and 0.0 < step < float("inf")


def _where_moved(check: Check, node: Node, names: tuple[str, ...]) -> Check:
    """What must hold where these targets are moved, in every world if there are several."""
    worlds = tuple(ax.name for ax in node.axes if not ax.statistical and ax not in check.node.axes)
    node = axis_sum(node, worlds) if worlds else node
    said = check.problem
    why = f"{said.why.removesuffix('.')}, where the estimator has moved {' and '.join(names)}."
    return replace(check, node=node, drawn=False, problem=replace(said, why=why, fix=f"Let it move less. {said.fix}"))

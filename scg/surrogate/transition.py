"""A declared Markov transition: one step of a chain, and the mean of its costs over a long run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.influence import sites
from scg.ir.axes import union
from scg.ir.node import Node, constant
from scg.ir.traverse import downstream, substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.control import stop_gradient
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.reduce import total
from scg.ops.scan import begin, out

UNROLLED = ("Write the scan as a Python loop in the step, with a name for each of its sites, or use SPSA(), which "
            "needs values of the costs only.")

Body = Callable[[Sequence[Node], Node], tuple[Sequence[Node], Sequence[Node]]]
"""``body(state, step) -> (new state, what the step adds to the sums)``."""


class Moved(NamedTuple):
    """A transition taken: the new state, and the costs by name."""

    state: tuple[Node, ...]
    costs: Mapping[str, Node]

    @property
    def nodes(self) -> list[Node]:
        """State and costs."""
        return [*self.state, *self.costs.values()]

    @property
    def cost(self) -> Node:
        """The sum of the costs."""
        return reduce(add, self.costs.values())

    @property
    def draws(self) -> list[Node]:
        """The sample nodes, those upstream first."""
        return [n for n in topological(self.nodes) if n.op is sample_op]

    def with_nodes(self, nodes: Sequence[Node]) -> Moved:
        """With other nodes, in the order of `nodes`."""
        k = len(self.state)
        return Moved(tuple(nodes[:k]), dict(zip(self.costs, nodes[k:])))

    def held(self) -> Moved:
        """With its draws as numbers: what still depends on a parameter does so besides through them."""
        return self.with_nodes(substitute(self.nodes, {x: stop_gradient(x) for x in self.draws}))

    def moving(self, moves: Callable[[Node], bool]) -> list[Node]:
        """Those of which a parameter moves; of the families of others nothing is asked."""
        return [x for x in self.draws if any(moves(p) for p in distribution_of(x).params.values())]

    def scored(self, moves: Callable[[Node], bool]) -> Node:
        """The log-probability of the draws that move, which are numbers, in the form in which it is scored."""
        log_p = [total(distribution_of(x).score_form(x)) for x in self.moving(moves)]
        return substitute([reduce(add, log_p, constant(0.0))], {x: stop_gradient(x) for x in self.draws})[0]


@dataclass(frozen=True)
class Transition:
    """One step of a chain, over the leaves `step` and `carries`.

    Attributes
    ----------
    step : Node
        The leaf that stands for the number of the step, from the first one of burn-in.
    carries, new_carries : tuple of Node
        The state before the step and after it.
    costs : dict of str to Node
        Scalars of that step.
    inits : tuple of Node
        The state that the chain starts from.
    burn_in, horizon : int
        Steps of which nothing is asked, and steps over which means are taken after those.
    line : str
        Where it was declared.
    outline : int, or nested tuples, lists and dicts of int
        The structure that a user's state has, with the number of each carry.
    """

    step: Node
    carries: tuple[Node, ...]
    new_carries: tuple[Node, ...]
    costs: Mapping[str, Node]
    inits: tuple[Node, ...]
    burn_in: int
    horizon: int
    line: str
    outline: Any

    def rewritten(self, costs: Sequence[str], rewrite: Callable[[list[Node]], list[Node]]) -> Transition:
        """With those costs only, and with what a step computes rewritten."""
        new = rewrite([*self.new_carries, *(self.costs[name] for name in costs)])
        k = len(self.carries)
        return Transition(self.step, self.carries, tuple(new[:k]), dict(zip(costs, new[k:])), self.inits,
                          self.burn_in, self.horizon, self.line, self.outline)

    @property
    def called(self) -> tuple[str, ...]:
        """The user's names of the parts of a state, empty where there is none."""
        return tuple(carry.attrs.called for carry in self.carries)

    @property
    def still(self) -> list[str]:
        """The costs that are made neither of the state nor of draws, so that each step's is the stationary mean."""
        moving = downstream([self.step, *self.carries], [*self.costs.values()])
        return [name for name, cost in self.costs.items() if cost.id not in moving and not sites([cost])]

    @property
    def hidden(self) -> list[str]:
        """The sites that are drawn in a scan inside of the step: what their draws hand on is not seen."""
        moved = self.at(self.carries, self.step)
        seen = {x.attrs.site for x in moved.draws}
        return [s.name for s in sites(moved.nodes) if s.name not in seen]

    @property
    def beginning(self) -> str:
        """Why means over its horizon are not those of its stationary law, in words."""
        return f"the chain starts {self.burn_in} steps before it counts"

    def state_given(self, state: Any) -> list[Node] | None:
        """A state of literals, as the user writes it, by carry; None if it is none of this chain."""
        leaves = _leaves(state, self.outline)
        if leaves is None or [np.shape(x) for x in leaves] != [n.shape for n in self.inits]:
            return None
        return [constant(np.asarray(x, dtype=float)) for x in leaves]

    def at(self, state: Sequence[Node], step: Node) -> Moved:
        """The transition from a state, with the noise of that step."""
        leaves = dict(zip((self.step, *self.carries), (step, *state)))
        return Moved(self.new_carries, self.costs).with_nodes(
            substitute([*self.new_carries, *self.costs.values()], leaves))

    def means(self) -> dict[str, Node]:
        """The mean of each cost over the horizon."""

        def body(state: Sequence[Node], step: Node):
            moved = self.at(state, step)
            counted = step >= float(self.burn_in)
            return moved.state, [choose(counted, c, 0.0) if self.burn_in else c for c in moved.costs.values()]

        called = (*self.called, *(f"sum_{name}" for name in self.costs))
        _, sums = looped(self.burn_in + self.horizon, self.inits, body, called)
        return {name: node / float(self.horizon) for name, node in zip(self.costs, sums)}


def _leaves(tree: Any, outline: Any) -> list | None:
    """What stands in the places of the outline's numbers, in their order; None if the structure is another."""
    keys: Any
    if isinstance(outline, Mapping):
        keys = list(outline)
        if not (isinstance(tree, Mapping) and tree.keys() == outline.keys()):
            return None
    elif isinstance(outline, (tuple, list)):
        keys = range(len(outline))
        if not (isinstance(tree, (tuple, list)) and len(tree) == len(outline)):
            return None
    else:
        return None if outline is None else [tree]
    parts = [_leaves(tree[key], outline[key]) for key in keys]
    return None if None in parts else [leaf for part in parts for leaf in part or ()]


def looped(length: int, state: Sequence[Node], body: Body, called: Sequence[str] = ()) -> tuple[list[Node], list[Node]]:
    """The state after so many steps, and the sums of what each adds; nothing is kept of any step.

    Parameters
    ----------
    length : int
        From 1.
    state : sequence of Node
    body : callable
    called : sequence of str, optional
        Names of what is carried, from the first on.
    """
    axes = [n.axes for n in state]
    while True:  # a step may vary along more than what it starts from
        first = begin(length, state, (), axes=axes)
        new, added = body(first.carries, first.step)
        wider = [union(a, n.axes) for a, n in zip(axes, new)]
        if wider == axes:
            break
        axes = wider
    added = [constant(a) for a in added]
    zeros = [constant(np.zeros(a.shape)) for a in added]
    loop = begin(length, [*state, *zeros], (), axes=[*axes, *(a.axes for a in added)], called=called)
    k = len(first.carries)
    new = substitute([*new, *added], dict(zip((first.step, *first.carries), (loop.step, *loop.carries[:k]))))
    sums = [so_far + more for so_far, more in zip(loop.carries[k:], new[k:])]
    closed = loop.close(new_carries=(*new[:k], *sums))
    found = [out(closed, i) for i in range(len(loop.carries))]
    return found[:k], found[k:]

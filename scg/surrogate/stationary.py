"""A chain, as the rules for stationary means see it.

The run is divided into blocks, one after another; a rule says what a block adds to the gradient, and may carry a state
of its own along. Sums over blocks are all that is kept, so memory does not grow with the horizon. Their squares are
kept too: the blocks of one chain are the batches of its standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from operator import add
from typing import NamedTuple

import numpy as np

from scg.analysis.influence import SiteNode
from scg.differentiate.reverse_mode import gradients
from scg.errors import Problem
from scg.ir.axes import LANE, ROW, Axes, union
from scg.ir.check import Check
from scg.ir.node import Node, as_real, constant
from scg.ops.contract import outer
from scg.ops.control import stop_gradient
from scg.ops.leaves import own_stream
from scg.ops.randomness import below, distribution_of, uniform
from scg.ops.reduce import total
from scg.surrogate.domains import domain_checks
from scg.surrogate.draft import MANY_MOMENTS, Draft, Measured
from scg.surrogate.edges import edge_checks, settled
from scg.surrogate.mark import Mark, Name
from scg.surrogate.site_in_scan import view
from scg.surrogate.transition import UNROLLED, Moved, Transition, looped
from scg.surrogate.whole_graph import Whole

BATCHES = 32  # into which a run is divided at least, where that can be chosen, for the errors of a single chain
Step = Callable[[Sequence[Node], Node], tuple[Sequence[Node], Moved, dict[str, Node]]]
"""``step(carries, number) -> (new carries, the transition, an estimate by target)``."""


@dataclass(frozen=True)
class Block:
    """What a block of steps comes to.

    Attributes
    ----------
    state : sequence of Node
        After it: the chain's, and what else the rule carries.
    costs : sequence of Node
        Sums over its steps, in the order of the chain's costs.
    grads : dict of str to Node
        By target, an estimate of the derivative of the mean; their mean over blocks is the gradient's estimate.
    checks : sequence of Node
        Sums over its steps, in the order of `Stationary.checks`.
    sums : sequence of Node
        What else is summed over the blocks.
    squares : dict of str to Node
        By target, the square of each of its elements, where all have one.
    """

    state: Sequence[Node]
    costs: Sequence[Node]
    grads: Mapping[str, Node]
    checks: Sequence[Node]
    sums: Sequence[Node] = ()
    squares: Mapping[str, Node] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run that is over: means of costs, gradients, and sums; the variances of these means by batches.

    Of gradients of very many elements no variance is kept: it would cost more than they do.
    """

    costs: Mapping[str, Node]
    grads: Mapping[str, Node]
    variances: Mapping[str, Node]
    sums: Sequence[Node]
    batches: int
    state: Sequence[Node]
    checks: tuple[Check, ...] = field(default=())


class Direction(NamedTuple):
    """1 or −1 for each element of a target: signs of these, or of a matrix' rows and columns."""

    signs: Sequence[Node]

    def times(self, weight: Node | float) -> Node:
        """The direction times a number."""
        first = weight * self.signs[0]
        return first if len(self.signs) == 1 else outer(first, self.signs[1])


class Stationary(Whole):
    """The chain of a graph, what is asked of its costs, and what they are differentiated with respect to.

    Parameters
    ----------
    transition : Transition
    draft, targets, site_nodes, owner
        As for `Whole`.
    """

    def __init__(self, transition: Transition, draft: Draft, targets: Mapping[str, Node],
                 site_nodes: Sequence[SiteNode], owner):
        super().__init__(draft, targets, site_nodes, owner)
        self.transition = transition
        self.scored_by = ""  # who multiplies scores of its draws, in words

    @property
    def leaves(self) -> list[Node]:
        """What is differentiated."""
        return list(self.targets.values())

    @property
    def statistical(self) -> Axes:
        """Axes along which what is drawn beside the chain differs."""
        return (LANE,) if self._shared or not self.owner.rows else (ROW, LANE)

    @cached_property
    def typical(self) -> Moved:
        """A transition from a state of which nothing is known."""
        return self.transition.at(self.transition.carries, self.transition.step)

    def moves(self, node: Node) -> bool:
        """Whether a derivative flows into a node of the transition."""
        return any(g is not None for g in gradients({total(node): constant(1.0)}, self.leaves))

    def site_where(self, draw: Node) -> str:
        """The first part of an error message about a site of the chain."""
        return next(s.where for s in self.site_nodes if s.name == draw.attrs.site)

    # --- what is beside the draws ------------------------------------------------------------------------------------
    def carried_by_path(self) -> Problem | None:
        """The objection that the state depends on what is differentiated besides through draws."""
        held = self.typical.held()
        paths = gradients({total(n): constant(1.0) for n in held.state}, self.leaves)
        names = [name for name, g in zip(self.targets, paths) if g is not None]
        hidden = self.transition.hidden
        if names:
            how = f"the state that the step returns depends on {' and '.join(names)} besides through its draws"
            fix = ("Hand on what was drawn, and compute the rest from it in the next step; or use Pathwise() where the "
                   "costs are smooth in all draws and the state, or SPSA().")
        elif hidden:
            how, fix = f'a scan inside of the step has sites of its own, "{hidden[0]}" first', UNROLLED
        else:
            return None
        return Problem(self.transition.line, "The derivative of a stationary mean was asked for.",
                       f"This rule sees what the draws of a step hand on, and {how}.", fix)

    def by_path(self, moved: Moved) -> dict[str, Node]:
        """The derivative of a step's costs with its draws as they are, by those targets for which there is one."""
        found = gradients({moved.held().cost: constant(1.0)}, self.leaves, ("row", "lane"))
        return {name: g for name, g in zip(self.targets, found) if g is not None}

    def by_score(self, moved: Moved, state: Sequence[Node], weight: Node | float = 1.0) -> dict[str, Node]:
        """A weight times the score of a transition's draws, given its state, by those targets that move their law."""
        scored = moved.scored(self.moves)
        finite = [*state, *(p for x in moved.draws for p in distribution_of(x).params.values())]
        found = gradients({scored: constant(weight)}, self.leaves, ("row", "lane"), finite=finite)
        return {name: g for name, g in zip(self.targets, found) if g is not None}

    # --- noise of the rule's own -------------------------------------------------------------------------------------
    def directions(self, step: Node) -> dict[str, Direction]:
        """For each target a direction v of that step, E v vᵀ = 1.

        Those of a matrix are products of a sign for its row and one for its column, which are as uncorrelated as signs
        of its elements; so a direction's product with a vector is made of few numbers, and so is a sum of directions.
        """
        return {name: Direction([self._signs(name, f"direction {i}" if i else "direction", (size,), step)
                                 for i, size in enumerate(target.shape)])
                if target.ndim == 2 else Direction([self._signs(name, "direction", target.shape, step)])
                for name, target in self.targets.items()}

    def _signs(self, name: str, what: str, shape: tuple[int, ...], step: Node) -> Node:
        return 2.0 * as_real(below(self._stream(name, what, shape, step), constant(0.5))) - 1.0

    def uniform(self, what: str, step: Node) -> Node:
        """A uniform number of that step."""
        return uniform(self._stream(next(iter(self.transition.costs)), what, (), step))

    def _stream(self, name: str, what: str, shape: tuple[int, ...], step: Node) -> Node:
        axes = union(self.statistical, self.targets[name].axes if name in self.targets else ())
        return own_stream(self.owner, name, what, shape, axes, step)

    # --- runs --------------------------------------------------------------------------------------------------------
    def checks(self, moved: Moved) -> tuple[Check, ...]:
        """What must hold of the parameters of a transition's draws; if they are scored, that none is at an edge."""
        drawn = [SiteNode(x.attrs.site, x, None) for x in moved.draws]
        found = domain_checks(dict(moved.costs), drawn)
        if not self.scored_by:
            return found
        scored = [view(p, Draft(moved.costs), self.moves) for p in drawn]
        edges = [c for site in scored for c in edge_checks(site, self.scored_by, "Use SPWD() or WeakDerivative().")]
        return (*found, *settled(edges, self.leaves))

    def failures(self, moved: Moved) -> list[Node]:
        """The checks of a transition, as numbers to be summed over steps."""
        return [c.node for c in self.checks(moved)]

    def ended(self, state: Sequence[Node], first: Node | int, steps: int) -> tuple[list[Node], list[Node]]:
        """The state after so many steps from step `first` on, and the sums of costs and of failed checks."""
        def body(carries: Sequence[Node], i: Node):
            moved = self.transition.at(carries, first + i)
            return moved.state, [*moved.costs.values(), *self.failures(moved)]

        return looped(steps, state, body, self.transition.called)

    def warm(self) -> list[Node]:
        """The state after burn-in."""
        return self.warmed()[0]

    def warmed(self) -> tuple[list[Node], Node]:
        """The state after burn-in, and the mean of the costs during it; 0 if there was none."""
        start, steps = list(self.transition.inits), self.transition.burn_in
        if not steps:
            return start, constant(0.0)
        state, sums = self.ended(start, 0, steps)
        return state, reduce(add, sums[: len(self.transition.costs)]) / float(steps)

    def batches(self, steps: int, least: int = 1) -> tuple[int, int]:
        """Of so many steps, the number of batches, of at least `least` steps each, and how many steps each has."""
        length = min(max(steps // BATCHES, least), steps)
        return steps // length, length

    def block(self, state: Sequence[Node], first: Node, length: int, step: Step,
              counts: Node | float = 1.0) -> Block:
        """So many steps from `first` on, of a rule that has an estimate of the derivative for each of them.

        What a step adds by its costs' own dependence on params `counts` (1 or 0).
        """
        shapes: list[int] = []
        names: list[str] = []

        def body(carries: Sequence[Node], i: Node):
            after, moved, grads = step(carries, first + i)
            for name, path in self.by_path(moved).items():
                grads[name] = grads[name] + counts * path if name in grads else counts * path
            names[:] = grads
            shapes[:] = [len(moved.costs), len(self.checks(moved))]
            return after, [*moved.costs.values(), *self.failures(moved), *grads.values()]

        after, sums = looped(length, state, body, self.transition.called)
        costs, checks, grads = _split(sums, [*shapes, len(names)])
        return Block(after, costs, {name: g / float(length) for name, g in zip(names, grads)}, checks)

    def run(self, state: Sequence[Node], blocks: int, length: int, block: Callable[[Sequence[Node], Node], Block],
            counted: int, idle: int = 0) -> Run:
        """So many blocks of so many steps; the rest of the horizon adds to the means of the costs alone.

        Parameters
        ----------
        state : sequence of Node
            The chain's after burn-in, and then what the rule carries.
        blocks, length : int
        block : callable
            ``block(state, step) -> Block``, from the state before that step.
        counted : int
            Number of steps whose costs the blocks have summed together.
        idle : int
            Of how many blocks, the first ones, the gradients are 0, and do not count.
        """
        tr, names = self.transition, list(self.targets)
        shapes: list[int] = []
        known = [name for name in names if self.targets[name].size <= MANY_MOMENTS]

        def body(carries: Sequence[Node], p: Node):
            found = block(carries, p * float(length) + float(tr.burn_in))
            whole = reduce(add, found.costs) / float(counted // blocks)
            grads = {name: found.grads.get(name, constant(np.zeros(self.targets[name].shape))) for name in names}
            squares = [found.squares.get(name, grads[name] * grads[name]) for name in known]
            shapes[:] = [len(found.costs), len(found.checks), len(found.sums)]
            return found.state, [*found.costs, *found.checks, *found.sums, *grads.values(), whole, *squares,
                                 whole * whole]

        final, sums = looped(blocks, state, body, self.transition.called)
        costs, checks, more, grads, whole = _split(sums, [*shapes, len(names) + 1, len(known) + 1])
        k, rest = len(tr.carries), tr.horizon - counted
        if rest:
            tail = self.ended(final[:k], tr.burn_in + counted, rest)[1]
            costs = [a + b for a, b in zip(costs, tail)]
            checks = [a + b for a, b in zip(checks, tail[len(costs):])]
        counts = {**dict.fromkeys(names, blocks - idle), "": blocks}
        means = {name: g / float(counts[name]) for name, g in zip(counts, grads)}
        spread = {name: (s / float(counts[name]) - means[name] * means[name]) / float(max(counts[name] - 1, 1))
                  for name, s in zip([*known, ""], whole)}
        problems = self.checks(self.typical)
        return Run({name: c / float(tr.horizon) for name, c in zip(tr.costs, costs)},
                   {name: means[name] for name in names}, spread, more, blocks - idle, final,
                   tuple(replace(c, node=n, drawn=False) for c, n in zip(problems, checks)))

    def with_run(self, run: Run, said: str, measured: Sequence[Measured] = ()) -> Draft:
        """The draft whose costs and gradients are those of a run; `said` is what the latter are, in words."""
        self.marks += [Mark(name, Name("D(@)", "D_{@[]}", said), found) for name, found in run.grads.items()]
        self.draft = replace(self.draft, costs=run.costs, checks=(*self.draft.checks, *run.checks))
        batches = [Measured("batches", name, stop_gradient(v)) for name, v in run.variances.items()]
        return replace(self.with_gradients(run.grads), measured=(*batches, *measured), batches=run.batches)


def _split(nodes: Sequence[Node], sizes: Sequence[int]) -> list[list[Node]]:
    ends = np.cumsum(sizes)
    return [list(nodes[end - size : end]) for size, end in zip(sizes, ends)]

"""The stationary law of a chain of few states: its mean cost, and the derivative of that, without sampling.

From the state that the chain starts from, all that it can reach are found, by every path of a step's draws. With P the
matrix of transitions, π its law, π P = π, and c the expected costs of a step, the mean is m = π c. What a start in a
state adds to the costs in the long run is h, (I − P) h = c − m (Poisson's equation), and

    ∂m = π (∂c + ∂P h)

(Schweitzer 1968; Puterman 1994, chapter 8): the gradient of one step's expectation, from a state of law π, of its cost
and h of the state after it, in which π and h are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import mul
from typing import NamedTuple

import numpy as np

from scg import backend
from scg.analysis.influence import SiteNode, sites
from scg.analysis.integers import index_checks
from scg.analysis.reach import sum_of
from scg.analysis.smoothness import Flow
from scg.analysis.stops import looked_through
from scg.differentiate.directional import derivative_along
from scg.differentiate.reverse_mode import gradients
from scg.errors import CallError, ExactError, raise_all
from scg.ir.axes import LANE
from scg.ir.check import Check
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute
from scg.ops.leaves import feed
from scg.ops.measure import expect
from scg.ops.randomness import distribution_of
from scg.ops.reduce import total
from scg.run.values import Values
from scg.surrogate.domains import domain_checks
from scg.surrogate.feeding import densities, feed_sites, leaf_of
from scg.surrogate.few_states import MOST_STATES, States, in_parts, side_by_side
from scg.surrogate.replacement import all_combinations, draws_of
from scg.surrogate.transition import Transition

MOST_WAYS = 1 << 21  # from all states, along all draws of a step
AT_ONCE = 1 << 16  # ways that are evaluated together
ASKED = "The exact stationary mean of a chain was asked for."
INSTEAD = "Use scg.compile and many samples."


class Long(NamedTuple):
    """In the long run: the mean of each cost, the gradient of their sum, and how many states the chain has."""

    costs: dict[str, float]
    grad: dict[str, np.ndarray]
    states: int


class Ways(NamedTuple):
    """Steps from states: these by number, the paths of the draws, the states after, probabilities, costs by way."""

    start: np.ndarray
    path: np.ndarray
    after: np.ndarray
    chance: np.ndarray
    costs: np.ndarray


@dataclass(frozen=True)
class Step:
    """One step of a chain as a function of leaves: those of the state before it, and of the draws that it makes.

    Attributes
    ----------
    before, after : sequence of Node
        The state.
    costs : sequence of Node
    chance : Node
        The probability of the draws.
    params : dict of str to Node
        What is differentiated.
    draws : dict of str to array
        By site, its values in every path.
    paths : int
        How many there are.
    checks : sequence of Check
        What must hold.
    """

    before: Sequence[Node]
    after: Sequence[Node]
    costs: Sequence[Node]
    chance: Node
    params: Mapping[str, Node]
    draws: Mapping[str, np.ndarray]
    paths: int
    checks: Sequence[Check]

    @cached_property
    def _moving(self) -> list[Node]:
        """The derivative of the probability in some direction: 0 where no param moves it, as good as surely."""
        rng = np.random.default_rng(5)
        found = derivative_along(self.chance, {p: constant(rng.normal(size=p.shape)) for p in self.params.values()})
        return [] if found is None else [found]

    def ways(self, bound: Values, states: np.ndarray) -> Ways:
        """All steps from the states, one a row, that can be taken or become so as a param moves.

        Raises
        ------
        CallError
            If what must hold does not in one of them.
        """
        start, path = np.divmod(np.arange(len(states) * self.paths), self.paths)
        roots = [*self.after, *self.costs, self.chance, *self._moving, *(c.node for c in self.checks)]
        found = _by_lane(roots, bound, self.fed(states[start], path), len(start))
        k, n = len(self.after), len(self.after) + len(self.costs)
        m = n + 1 + len(self._moving)
        chance, may = found[n], np.any([x != 0.0 for x in found[n:m]], axis=0)
        raise_all([(CallError, c.problem) for c, failed in zip(self.checks, found[m:]) if np.any(failed[may] != 0.0)])
        after = side_by_side(found[:k])[may]
        return Ways(start[may], path[may], after, chance[may], np.reshape(found[k:n], (n - k, len(start)))[:, may])

    def fed(self, states: np.ndarray, path: np.ndarray) -> dict[str, np.ndarray]:
        """What is fed where these states, one a row, take these paths."""
        fed = {n.attrs.name: x for n, x in zip(self.before, in_parts(states, self.before))}
        return {**fed, **{name: values[path] for name, values in self.draws.items()}}


def in_the_long_run(graph, bound: Values) -> Long:
    """The stationary mean of a graph's chain, exactly; the mean over its rows.

    Raises
    ------
    ExactError
        If its states are too many, if they move with a param, or if it has several laws.
    CallError
        If a value is out of range in a state that it reaches.
    """
    found = [_of_one(graph, row) for row in bound.by_row()]
    part = 1.0 / len(found)
    return Long({name: sum(f.costs[name] for f in found) * part for name in graph.costs},
                {name: np.asarray(sum(f.grad[name] for f in found) * part) for name in graph.params},
                max(f.states for f in found))


def _of_one(graph, bound: Values) -> Long:
    tr = graph.transition
    step = _step(graph, tr.carries, tr.new_carries, [tr.costs[name] for name in graph.costs])
    begun = _step(graph, (), tr.inits, []).ways(bound, np.zeros((1, 0))).after
    states, ways, target = _explored(tr, step, begun, bound)
    n = len(states)
    move, paid = np.zeros((n, n)), np.zeros((len(ways.costs), n))
    np.add.at(move, (ways.start, target), ways.chance)
    for row, cost in zip(paid, ways.costs):
        np.add.at(row, ways.start, np.where(ways.chance != 0.0, ways.chance * cost, 0.0))
    law = _law(tr, move)
    means = paid @ law
    ahead = np.linalg.solve(np.eye(n) - move + law, paid.sum(axis=0) - means.sum())  # π h = 0
    return Long(dict(zip(graph.costs, map(float, means))), _gradient(step, bound, states, ways, law, ahead[target]), n)


def _step(graph, before: Sequence[Node], after: Sequence[Node], costs: Sequence[Node]) -> Step:
    """What leads from the leaves `before` to what stands after, with nothing stopped in it."""
    tr = graph.transition
    leaves = [feed(f"(state {i})", n.shape, (LANE,)) for i, n in enumerate(before)]
    roots = substitute(looked_through([*after, *costs]), dict(zip((tr.step, *before), (constant(0.0), *leaves))))
    drawn = sites(roots)
    flow = Flow(dict.fromkeys(graph.params.values(), 1), lambda node: not node.attrs.family.support.integral)
    checks = [*domain_checks(dict(zip(map(str, range(len(roots))), roots)), drawn), *index_checks(roots)]
    chances = densities(roots, drawn, flow)
    draws, paths = _all_draws(tr.line, drawn)
    fed = feed_sites([*roots, *chances, *(c.node for c in checks)], leaf_of, flow)
    k, n, m = len(after), len(roots), len(roots) + len(chances)
    if before:
        _refuse_moving(graph, fed[:k])
    return Step(leaves, fed[:k], fed[k:n], reduce(mul, fed[n:m], constant(1.0)), graph.params, draws, paths,
                [replace(c, node=node) for c, node in zip(checks, fed[m:])])


def _all_draws(line: str, drawn: Sequence[SiteNode]) -> tuple[dict[str, np.ndarray], int]:
    """By site its values in every path of one step, and how many paths there are."""
    grids: dict[str, np.ndarray] = {}
    many = 0.0
    for p in drawn:
        values, shape = distribution_of(p.node).support_values(), p.steps + draws_of(p.node)
        if values is None:
            raise ExactError(p.where, ASKED, f'Site "{p.name}" is drawn from {p.node.attrs.family.__name__}, which '
                             "takes infinitely many values.", INSTEAD)
        many += math.prod(shape) * math.log2(max(len(values), 1))
        if many > math.log2(MOST_WAYS) + 1e-12:
            raise ExactError(line, ASKED, f"The draws of one step have more than {MOST_WAYS:,} values together.",
                             INSTEAD)
        grids[p.name] = all_combinations(values, shape)
    paths, inner, found = math.prod(map(len, grids.values())), 1, {}
    for name, grid in reversed(grids.items()):
        found[name] = grid[np.arange(paths) // inner % len(grid)]
        inner *= len(grid)
    return found, paths


def _refuse_moving(graph, after: Sequence[Node]) -> None:
    flowing = gradients({total(n): constant(1.0) for n in after}, list(graph.params.values()))
    names = [name for name, g in zip(graph.params, flowing) if g is not None]
    if names:
        raise ExactError(graph.transition.line, ASKED, "The state that the step returns moves with "
                         f"{' and '.join(names)} besides through its draws, so that it has no states to be counted.",
                         "Hand on what was drawn, and compute the rest from it in the next step.")


def _explored(tr: Transition, step: Step, begun: np.ndarray, bound: Values) -> tuple[np.ndarray, Ways, np.ndarray]:
    """The states that can be reached, the ways between them, and the number of the state to which each leads."""
    states = States()
    states.number(begun)
    most, found, target = min(MOST_STATES, MOST_WAYS // step.paths), [], []
    done, at_once = 0, max(AT_ONCE // step.paths, 1)
    while done < len(states):
        now = states.rows(done, done + at_once)
        ways = step.ways(bound, now)
        if not np.all(np.isfinite(ways.after)):
            raise ExactError(tr.line, ASKED, "A state that the chain can reach is not finite.", INSTEAD)
        found.append(ways._replace(start=ways.start + done))
        target.append(states.number(ways.after))
        done += len(now)
        if len(states) > most:
            raise ExactError(tr.line, ASKED, f"It reaches more than {most:,} states.", INSTEAD)
    whole = Ways(*(np.concatenate(parts, axis=-1 if name == "costs" else 0)
                   for name, *parts in zip(Ways._fields, *found)))
    return states.rows(), whole, np.concatenate(target)


def _law(tr: Transition, move: np.ndarray) -> np.ndarray:
    """The stationary law of a matrix of transitions."""
    ways = move > 0.0
    at, n = 0, len(move)
    while True:  # on to where some state before cannot be reached from, until there is none
        here, back = _reached(ways, at), _reached(ways.T, at)
        onward = np.flatnonzero(here & ~back)
        if not len(onward):
            break
        at = onward[0]
    if not np.all(back):
        raise ExactError(tr.line, ASKED, "It has several sets of states that it never leaves once it is there, and a "
                         "law on each of them. Rules of chains compare steps within one, and say 0 of what params and "
                         "draws do to which one is reached.", "Begin it in one of these, and let it reach no other.")
    closed = np.flatnonzero(here)
    system = np.eye(len(closed)) - move[np.ix_(closed, closed)].T
    system[-1] = 1.0
    law = np.zeros(n)
    law[closed] = np.linalg.solve(system, np.eye(len(closed))[-1])
    return law


def _reached(ways: np.ndarray, start: int) -> np.ndarray:
    """Which states can be reached from one of them, itself among them."""
    seen = np.zeros(len(ways), dtype=bool)
    new = seen.copy()
    new[start] = True
    while new.any():
        seen |= new
        new = ways[new].any(axis=0) & ~seen
    return seen


def _gradient(step: Step, bound: Values, states: np.ndarray, ways: Ways, law: np.ndarray,
              ahead: np.ndarray) -> dict[str, np.ndarray]:
    """Of one step's expected costs, and of what the state after it adds in the long run, from a state of the law."""
    later = feed("(ahead)", (), (LANE,))
    params = list(step.params.values())
    found = gradients({step.chance * (sum_of(step.costs) + later): constant(1.0)}, params)
    out = {name: np.zeros(p.shape) for name, p in step.params.items()}
    moving = [(name, g) for name, g in zip(step.params, found) if g is not None]
    (taken,) = np.nonzero(law[ways.start])
    for at in np.array_split(taken, -(-len(taken) // AT_ONCE)):
        weights = law[ways.start[at]]
        fed = {**step.fed(states[ways.start[at]], ways.path[at]), "(ahead)": ahead[at]}
        for (name, _), x in zip(moving, _evaluated([expect(g) for _, g in moving], bound, fed, len(at), weights)):
            out[name] = out[name] + x * weights.sum()
    return out


def _by_lane(roots: Sequence[Node], bound: Values, fed: Mapping[str, np.ndarray], lanes: int) -> list[np.ndarray]:
    """The values of nodes, lane first."""
    found = []
    for node, array in zip(roots, _evaluated(roots, bound, fed, lanes)):
        names = [ax.name for ax in node.axes]
        array = np.take(array, 0, axis=names.index("row")) if "row" in names else array
        found.append(array if "lane" in names else np.broadcast_to(array, (lanes, *node.shape)))
    return found


def _evaluated(roots: Sequence[Node], bound: Values, fed: Mapping[str, np.ndarray], lanes: int,
               weights: np.ndarray | None = None) -> list[np.ndarray]:
    numpy = backend.load("numpy")
    return numpy.evaluate(roots, numpy.Evaluation(bound.arrays, {"row": 1, "lane": lanes}, fed=fed, measure=None
                                                  if weights is None else weights / weights.sum()))

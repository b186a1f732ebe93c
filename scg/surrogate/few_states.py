"""Loops whose steps make their next state of the state and of draws: which states these are, and what leads where.

From where a loop begins, the states that it can reach are found by every joint value of a step's draws. Where they are
few, the loop is a Markov chain over them, whatever is drawn in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import mul

import numpy as np

from scg import backend
from scg.analysis.influence import sites
from scg.ir.axes import LANE, Axis
from scg.ir.node import Node, as_real, constant
from scg.ir.traverse import substitute, topological
from scg.ops.leaves import feed
from scg.ops.measure import axis_to_event, event_to_axis
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.reduce import product
from scg.ops.scan import Opened
from scg.ops.structure import reshape
from scg.surrogate.replacement import all_combinations, draws_of

MOST_STATES = 1 << 12
MOST_WAYS = 1 << 20  # from all states, along all draws of a step; in all steps, where these differ
MOST_PAIRS = 1 << 22  # of a state and its draws with the state after; in all steps, where these differ
NOWHERE = -1  # where the loop is over, or a state is never left


class Unknown(Exception):
    """The states are not known before a call, or they are too many: why, in words."""


class States:
    """States, numbered in the order in which they were found."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._rows: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._rows)

    def number(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of states, one a row; those that are new are put to the others."""
        rows = rows + 0.0  # no −0
        first, which = _different(rows)
        for row in rows[first]:
            if row.tobytes() not in self._numbers:
                self._numbers[row.tobytes()] = len(self._rows)
                self._rows.append(row)
        return np.array([self._numbers[row.tobytes()] for row in rows[first]], dtype=np.int64)[which]

    def rows(self, start: int = 0, end: int | None = None) -> np.ndarray:
        """The states from one number to another, one a row."""
        return np.stack(self._rows[start:end])


def _different(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of equal rows the first one's number, and for each row which of those it is."""
    which = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T:  # so many at most as there are rows: no product of theirs is too large
        values, there = np.unique(column, return_inverse=True)
        which = np.unique(which * len(values) + there, return_inverse=True)[1]
    return np.unique(which, return_index=True)[1], which


def in_parts(states: np.ndarray, leaves: Sequence[Node]) -> list[np.ndarray]:
    """States, one a row, as arrays of the shapes of the leaves that they are made of."""
    parts = np.split(states, np.cumsum([n.size for n in leaves])[:-1], axis=1)
    return [x.reshape(-1, *n.shape) for n, x in zip(leaves, parts)]


def side_by_side(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays that have a lane first as states, one a row."""
    return np.concatenate([x.reshape(len(x), -1) for x in parts], axis=1)


@dataclass(frozen=True)
class Moves:
    """The states of a loop, and where its draws lead from each.

    Attributes
    ----------
    axis : Axis
        Along which the states are.
    begun : Node
        How likely the loop begins in each.
    tables : dict of Node
        By carry, its value in each state.
    target : array of int, (steps, states, ways)
        The state after each combination of the draws, or `NOWHERE`; of one step, if all are alike.
    """

    axis: Axis
    begun: Node
    tables: Mapping[Node, Node]
    target: np.ndarray

    @property
    def leading(self) -> np.ndarray:
        """For each step, which states and draws lead to which states: a matrix of ones and zeros.

        Raises
        ------
        Unknown
            If it is too large.
        """
        steps, ways = len(self.target), self.target[0].size
        if steps * ways * self.axis.size > MOST_PAIRS:
            raise Unknown(f"the state that a step hands on takes {self.axis.size:,} values, to which {ways:,} ways "
                          "lead: too many for a table of them")
        return (self.target.reshape(steps, ways, 1) == np.arange(self.axis.size)).astype(float)

    def handed_on(self, weight: Node, now: Sequence[Axis], leading: Node) -> Node:
        """Weights of states and draws as those of the states after: each is the sum over what leads there."""
        for axis in reversed((self.axis, *now)):
            weight = axis_to_event(weight, axis)
        flat = reshape(weight, (prod(axis.size for axis in (self.axis, *now)),))
        return event_to_axis(flat @ leading, self.axis)


def moves_of(name: str, opened: Opened, state: Sequence[int], draws: Mapping[Node, np.ndarray],
             over: Node | None) -> Moves:
    """The states of a loop's carries, and what leads from one to another.

    Parameters
    ----------
    name : str
        Of the axis.
    opened : Opened
        The loop, where it is not over.
    state : sequence of int
        Which carries.
    draws : dict of Node to array
        By sample node of the step, its joint values.
    over : Node, optional
        Whether the step ends the loop.

    Raises
    ------
    Unknown
    """
    step = _Step(opened, state, draws, over)
    found = _by_step(step) if step.varies else _alike(step)
    states, target = found
    leaves = [opened.carries[i] for i in state]
    axis = Axis(name, len(states))
    tables = {leaf: event_to_axis(constant(part), axis) for leaf, part in zip(leaves, in_parts(states.rows(), leaves))}
    begun = event_to_axis(constant(np.arange(len(states)) == 0.0), axis)
    if len(step.begun) > 1:  # of whole numbers
        begun = reduce(mul, [product(as_real(abs(tables[leaf] - opened.inits[i]) < 0.5))
                             for leaf, i in zip(leaves, state)])
    return Moves(axis, as_real(begun), tables, target)


def moved_by_a_call(nodes: Sequence[Node], known: Sequence[Node] = ()) -> bool:
    """Whether nodes are made of other leaves than literals, and these: params, data, noise."""
    mine = {n.id for n in known}
    return any(n.op.kind == "leaf" and not n.is_const and n.id not in mine for n in topological(nodes))


class _Step:
    """What one step makes of states, as functions of fed leaves."""

    def __init__(self, opened: Opened, state: Sequence[int], draws: Mapping[Node, np.ndarray], over: Node | None):
        self.steps, self.opened = opened.length, opened
        before = [opened.carries[i] for i in state]
        self.before = [feed(f"(state {i})", n.shape, (LANE,)) for i, n in enumerate(before)]
        self._draws = {feed(f"(draw {i})", x.shape, (LANE,)): grid for i, (x, grid) in enumerate(draws.items())}
        self._number = feed("(step)", (), (LANE,))
        self._xs = {feed(f"(x {i})", x.shape, (LANE,)): a for i, (x, a) in enumerate(zip(opened.xs, opened.arrays))
                    if a.is_const}
        xs = [x for x, a in zip(opened.xs, opened.arrays) if a.is_const]
        leaves = dict(zip((*before, *draws, opened.step, *xs), (*self.before, *self._draws, self._number, *self._xs)))
        new = [opened.new_carries[i] for i in state] + ([] if over is None else [over])
        self._ends = over is not None
        self._new = substitute(new, leaves)
        if sites(self._new):
            raise Unknown(f'the state that a step hands on is made of draws of site "{sites(self._new)[0].name}"')
        if moved_by_a_call(self._new, [*leaves.values()]):
            raise Unknown("the state that a step hands on is made of what is known at a call only")
        self.varies = any(n is self._number or n in self._xs for n in topological(self._new))
        self.begun = _begun([opened.inits[i] for i in state])
        self.ways = prod(len(grid) for grid in draws.values())

    def after(self, states: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The states after a step from these, along all draws, and whether the loop goes on there."""
        start, way = np.divmod(np.arange(len(states) * self.ways), self.ways)
        fed = {n.attrs.name: x[start] for n, x in zip(self.before, in_parts(states, self.before))}
        fed |= _along(self._draws, way)
        fed["(step)"] = np.full(len(start), float(step))
        for leaf, array in self._xs.items():
            fed[leaf.attrs.name] = np.broadcast_to(array.attrs.array[step], (len(start), *leaf.shape))
        found = _evaluated(self._new, fed, len(start))
        goes_on = np.ones(len(start), dtype=bool)
        if self._ends:
            goes_on = found.pop() == 0.0
        return side_by_side(found), goes_on


def _along(draws: Mapping[Node, np.ndarray], way: np.ndarray) -> dict[str, np.ndarray]:
    """What is fed of draws, by leaf, on each way: of the first the value changes last."""
    found, inner = {}, prod(map(len, draws.values()))
    for leaf, grid in draws.items():
        inner //= len(grid)
        found[leaf.attrs.name] = grid[way // inner % len(grid)]
    return found


def _begun(inits: Sequence[Node]) -> np.ndarray:
    """The states that a loop may begin in, one a row: made of literals, or of what is drawn before it.

    Raises
    ------
    Unknown
    """
    drawn = [n for n in topological(inits) if n.op is sample_op]
    leaves = {n: feed(f"(draw {i})", n.shape, (LANE,)) for i, n in enumerate(drawn)}
    fed = substitute(inits, leaves)
    left = {n.id for n in topological(fed)}
    draws, ways = {}, 1
    for n, leaf in leaves.items():
        if leaf.id in left:
            values = distribution_of(n).support_values()
            ways *= 0 if values is None else len(values) ** prod(draws_of(n))
            if not 0 < ways <= MOST_STATES:
                raise Unknown(f'the loop begins in too many states, drawn as site "{n.attrs.site}"')
            draws[leaf] = np.broadcast_to(all_combinations(values, draws_of(n)), (
                len(values) ** prod(draws_of(n)), *n.shape))
    if sites(fed) or moved_by_a_call(fed, [*draws]):
        raise Unknown("the state that the loop begins in is known at a call only")
    found = side_by_side(_evaluated(fed, _along(draws, np.arange(ways)), ways))
    if draws and np.any(found != np.floor(found)):
        raise Unknown("the state that the loop begins in is drawn, and is no whole number")
    return found


def _alike(step: _Step) -> tuple[States, np.ndarray]:
    """The states, and where each leads, where all steps are alike: found as the loop would come to them."""
    states, target, done = States(), [], 0
    states.number(step.begun)
    for _ in range(step.steps):
        if done == len(states):
            break
        now = states.rows(done)
        target.append(_numbers(states, step, now, 0))
        done += len(now)
    target.append(np.full((len(states) - done, step.ways), NOWHERE))  # come to by the last step
    return states, np.concatenate(target)[None]


def _by_step(step: _Step) -> tuple[States, np.ndarray]:
    """The same where steps differ: from each state that one of them begins in."""
    states, found = States(), []
    now = states.number(step.begun)
    order = range(step.steps)
    for number in reversed(order) if step.opened.reverse else order:
        target = _numbers(states, step, states.rows()[now], number)
        found.append((number, now, target))
        now = np.unique(target[target != NOWHERE])
        if step.steps * len(states) * step.ways > MOST_WAYS:
            raise _too_many(MOST_WAYS // (step.steps * step.ways))
    whole = np.full((step.steps, len(states), step.ways), NOWHERE)
    for number, start, target in found:
        whole[number, start] = target
    return states, whole


def _numbers(states: States, step: _Step, now: np.ndarray, number: int) -> np.ndarray:
    """Where states lead, by way."""
    after, goes_on = step.after(now, number)
    if not np.all(np.isfinite(after[goes_on])):
        raise Unknown("a state that the loop can reach is not finite")
    target = np.full(len(after), NOWHERE)
    if np.any(goes_on):
        target[goes_on] = states.number(after[goes_on])
    most = min(MOST_STATES, MOST_WAYS // step.ways)
    if len(states) > most:
        raise _too_many(most)
    return target.reshape(len(now), step.ways)


def _too_many(most: int) -> Unknown:
    return Unknown(f"the state that a step hands on takes more than {most:,} values")


def _evaluated(roots: Sequence[Node], fed: Mapping[str, np.ndarray], lanes: int) -> list[np.ndarray]:
    """The values of nodes that are made of fed leaves, lane first."""
    numpy = backend.load("numpy")
    arrays = numpy.evaluate([as_real(n) for n in roots], numpy.Evaluation({}, {"row": 1, "lane": lanes}, fed=fed))
    return [a if n.axes else np.broadcast_to(a, (lanes, *n.shape)) for n, a in zip(roots, arrays)]

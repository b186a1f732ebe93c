"""A site of a loop summed out step by step: the forward recursion of a hidden Markov model.

Where all that a step hands on of its draw is made of that draw, and not of what the step before handed on, the draws
are a Markov chain. Then the loop carries, for each value that the draw of the step before may have, its probability,
and what was handed on with it; a step makes of these those of its own draw's values. What it puts out is summed over
both draws, so it may be any function of them; outside, costs must be linear in what is put out, or be made of what the
last step handed on. Time is linear in the number of steps.

Where a step draws an array, and each element of what is put out, handed on, or given to the next draws is made of one
draw, or linear in what is, all draws are such chains side by side: each has probabilities of its own.

References
----------
Rabiner 1989 (forward probabilities).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from math import prod
from operator import add

import numpy as np

from scg.analysis.dependence import Dependence
from scg.ir.axes import Axis
from scg.ir.node import Node, as_real, constant, make
from scg.ir.traverse import Substitution, ancestors, downstream, substitute
from scg.ops.arithmetic import add_op, choose
from scg.ops.control import stop_gradient
from scg.ops.leaves import placeholder
from scg.ops.measure import axis_sum, event_to_axis, renamed
from scg.ops.randomness import distribution_of
from scg.ops.reduce import product
from scg.ops.scan import open_scan, out, scan_op, stacked
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.draws_apart import gathered, marks_of, single, where_joined, which_draw
from scg.surrogate.in_loops import drawn_in
from scg.surrogate.parts import linear_ends
from scg.surrogate.replacement import draws_of


class NotMarkov(Exception):
    """The loop cannot be summed step by step: why, in words."""


class Forward:
    """A scan in which a site is drawn, as the recursion over the values of the site.

    Parameters
    ----------
    scan : Node
    site : str
    grid : array
        The values of all draws of a step together; or those of each, if they are told `apart`.
    apart : bool

    Raises
    ------
    NotMarkov
    """

    def __init__(self, scan: Node, site: str, grid: np.ndarray, apart: bool):
        self.opened = open_scan(scan)
        self._now, self._before = Axis(f"{site} support", len(grid)), Axis(f"{site} before", len(grid))
        x = drawn_in(self.opened, site)
        if x is None:
            raise NotMarkov("it is drawn in a loop inside the loop")
        self._sums, self._handed = self._roles(x)
        self._draws = draws_of(x) if apart else ()
        self._told = self._told_apart(site, x) if apart else None
        self._leaves = {c: placeholder(c.attrs.name, c.shape, (*c.axes, self._before), c.kind)
                        for c in self._handed.values()}
        v = broadcast_to(event_to_axis(constant(grid), self._now), x.shape)
        self._worlds = Substitution({**self._leaves, x: v})
        chance = broadcast_to(distribution_of(x).probability(v), draws_of(x))
        self._chance = self._worlds(chance if apart else product(chance))
        self._alpha = placeholder(f"{self.opened.step.attrs.name} forward {site}", self._draws, (self._before,))
        self._ys: list[Node] = []

    def _told_apart(self, site: str, x: Node) -> Dependence:
        """Which draws the elements of the step's nodes are made of, where what is handed on is so draw by draw."""
        o, k, draws = self.opened, len(self._draws), self._draws
        handed = {c: marks_of(draws, c.shape) for c in self._handed.values() if c.shape[:k] == draws}
        known = Dependence(site, marks=marks_of(draws, x.shape), given=handed)
        for node, like in [(x, x), *((o.new_carries[i], c) for i, c in self._handed.items())]:
            if not single(known(node)):
                raise NotMarkov(where_joined(node, known))
            if like.shape[:k] != draws or np.any(np.asarray(known(node), object) & ~marks_of(draws, like.shape)):
                raise NotMarkov("what a step hands on of a draw is not in the place of that draw")
        return known

    def _roles(self, x: Node) -> tuple[dict[int, Node], dict[int, Node]]:
        """The carries that add up what is made of draws, and those that hand them on, by number."""
        o = self.opened
        below = o.downstream([x])
        moved = {i: c for i, c in enumerate(o.carries) if c.id in below}
        sums = {i: c for i, c in moved.items() if self._added(i) is not None
                and c.id not in ancestors([*o.ys, *x.args, *(n for j, n in enumerate(o.new_carries) if j != i)])}
        handed = {i: c for i, c in moved.items() if i not in sums}
        cut = placeholder(f"{o.step.attrs.name} cut", x.shape, x.axes)
        news = substitute([o.new_carries[i] for i in handed], {x: cut})
        behind = downstream(handed.values(), news)
        if any(new.id in behind for new in news):
            raise NotMarkov("what a step hands on is made of what was handed on to it, and not of its draw alone")
        return sums, handed

    def _added(self, i: int) -> Node | None:
        """What a step adds to a carry, if that is all it does to it."""
        c, waiting = self.opened.carries[i], [self.opened.new_carries[i]]
        parts: list[Node] = []
        while waiting:
            node = waiting.pop()
            if node.op is add_op and node.shape == c.shape and c.id in ancestors([node]):
                waiting += [*node.args]
            else:
                parts.append(node)
        others = [n for n in parts if n is not c]
        if len(others) != len(parts) - 1 or c.id in ancestors(others):
            return None
        return reduce(add, others) if others else None

    # --- what is put out --------------------------------------------------------------------------------------------
    def mean(self, y: Node, stopped: bool) -> Node:
        """The expectation of a node of the step, where the step's and the one before's draws are summed over."""
        known = self._told
        if known is None:
            return self._mean(self._worlds(y), None, stopped)
        ends = linear_ends(y, lambda n: bool(known.any(n)), lambda n: single(known(n)))
        found = {end: self._mean(self._worlds(end), self._which(end), stopped) for end in ends if known.any(end)}
        return self._mean(self._worlds(substitute([y], found)[0]), None, stopped)

    def _which(self, node: Node) -> np.ndarray:
        """The draw that each element of a node of the step is made of, by number, or -1."""
        assert self._told is not None
        return which_draw(node, self._told)

    def _mean(self, y: Node, which: np.ndarray | None, stopped: bool) -> Node:
        """The expectation of a table; `which` draw each element is made of, if draws are told apart."""
        y = as_real(y)
        here = tuple(ax.name for ax in (self._before, self._now) if ax in y.axes)
        if not here:
            return y
        if which is None and self._told is not None:
            return axis_sum(y, here) / float(self._now.size ** len(here))  # equal in all worlds
        weight = self._joint if self._now.name in here else self._alpha
        if self._before.name not in here and self._handed:
            weight = axis_sum(weight, (self._before.name,))
        if not self._handed and here == (self._now.name,):
            weight = self._chance
        weight = stop_gradient(weight) if stopped else weight
        return axis_sum(self._of_each(weight, which) * y, here)

    def _of_each(self, weight: Node, which: np.ndarray | None) -> Node:
        """A weight of each draw that the elements of a node are made of."""
        if which is None:
            return weight
        worlds = prod(ax.size or 1 for ax in (self._before, self._now) if ax in weight.axes)
        return gathered(weight, which, 1.0 / worlds)

    def shown(self, y: Node) -> Node:
        """The node where the draws may come about, and else 0."""
        which = None if self._told is None else self._which(y)
        y = as_real(self._worlds(y))
        possible = self._of_each(self._joint, which) != 0.0
        return choose(possible, y, 0.0) if {self._before, self._now} & {*y.axes} else y

    @property
    def _joint(self) -> Node:
        return self._alpha * self._chance if self._handed else self._chance

    def put_out(self, y: Node) -> int:
        """The number among the scan's outputs under which the recursion puts out a node of the step."""
        self._ys.append(y)
        return len(self.opened.carries) + bool(self._handed) + len(self._ys) - 1

    def close(self) -> Node:
        """The recursion's scan: the carries as they were, then the probabilities, then what is put out."""
        o, size = self.opened, self._before.size
        new = []
        for i, (c, old) in enumerate(zip(o.carries, o.new_carries)):
            if i in self._handed:
                new.append(self._renamed(self._worlds(old)))
            elif i in self._sums:
                new.append(c + self.mean(self._added(i), False))  # type: ignore[arg-type]
            else:
                new.append(old)
        inits = [event_to_axis(broadcast_to(reshape(a, (1, *a.shape)), (size, *a.shape)), self._before)
                 if i in self._handed else a for i, a in enumerate(o.inits)]
        carries = [self._leaves.get(c, c) for c in o.carries]
        if self._handed:
            carries.append(self._alpha)
            first = np.eye(size)[0].reshape((size, *(1,) * len(self._draws)))
            inits.append(event_to_axis(constant(np.broadcast_to(first, (size, *self._draws))), self._before))
            new.append(self._renamed(axis_sum(self._joint, (self._before.name,))))
        return o.close(carries=tuple(carries), inits=tuple(inits), new_carries=tuple(new), ys=tuple(self._ys))

    def _renamed(self, node: Node) -> Node:
        """What is known of each value of this step's draw, for the step that follows."""
        if self._now in node.axes:
            return renamed(node, self._now, self._before)
        return event_to_axis(broadcast_to(reshape(node, (1, *node.shape)), (self._before.size, *node.shape)),
                             self._before)

    def last(self, scan: Node, node: Node, stopped: bool, which: Callable[[], np.ndarray | None]) -> Node:
        """The expectation of a node made of what the last step handed on; `which` says of which draw each element."""
        if self._before not in node.axes:
            return node
        alpha = out(scan, len(self.opened.carries))
        weight = self._of_each(stop_gradient(alpha) if stopped else alpha, which())
        return axis_sum(weight * as_real(node), (self._before.name,))

    def is_sum(self, node: Node) -> bool:
        """Whether it is the last value of a carry that adds up."""
        return node.op is not scan_op and node.attrs in self._sums

    # --- what is outside of the loop --------------------------------------------------------------------------------
    def inside(self, node: Node, depends: set[int]) -> Node:
        """What a node that has a value for each step is made of in the step.

        Raises
        ------
        NotMarkov
        """
        if node.id not in depends:
            return self._along(node)
        if stacked(node):
            return self.opened.ys[node.attrs - len(self.opened.carries)]
        if node.op.combines is not None and 0 not in node.attrs:  # of the elements of a step
            return make(node.op, (self.inside(node.args[0], depends),), tuple(d - 1 for d in node.attrs))
        of_steps = node.ndim and node.shape[0] == self.opened.length  # steps stay the first dimension, if they stay
        if not of_steps or node.op.kind != "elementwise" or any(
                a.id in depends and a.ndim != node.ndim for a in node.args):
            raise NotMarkov("a cost is made of the draws of several steps at once")
        args = [self.inside(a, depends) if a.ndim == node.ndim else a for a in node.args]
        return make(node.op, tuple(args), node.attrs)

    def _along(self, array: Node) -> Node:
        if array.shape[0] == 1:
            return array[0]
        leaf = placeholder(f"{self.opened.step.attrs.name} along {array.id}", array.shape[1:], array.axes, array.kind)
        self.opened = replace(self.opened, xs=(*self.opened.xs, leaf), arrays=(*self.opened.arrays, array))
        return leaf

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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from math import prod
from operator import add
from typing import NamedTuple

import numpy as np

from scg.analysis.dependence import Dependence
from scg.analysis.fixed import may_mask
from scg.analysis.reals import Reals
from scg.ir.axes import Axes, Axis
from scg.ir.node import Node, as_real, constant, make
from scg.ir.traverse import Substitution, ancestors, downstream, substitute, topological
from scg.ops.arithmetic import add_op, choose
from scg.ops.control import stop_gradient
from scg.ops.leaves import placeholder
from scg.ops.measure import axis_sum, event_to_axis, renamed
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.reduce import product, sum_op
from scg.ops.scan import Opened, open_scan, out, out_op, scan_op, stacked
from scg.ops.structure import broadcast_to
from scg.ops.termination import mask_of, where_over
from scg.surrogate.draws_apart import gathered, marks_of, single, where_joined, which_draw
from scg.surrogate.in_loops import drawn_in, holds
from scg.surrogate.parts import linear_ends
from scg.surrogate.replacement import draws_of
from scg.surrogate.step_tables import StepTables, along_all


class NotMarkov(Exception):
    """The loop cannot be summed step by step: why, in words."""


class Finite(NamedTuple):
    """A site that is summed out.

    Attributes
    ----------
    name : str
    grid : array
        The values of all draws of a step together; or those of each, if they are told apart.
    fixed : callable, optional
        Where elements of a node stay as they are, if its distribution may exclude values (see `Masks.masked`).
    """

    name: str
    grid: np.ndarray
    fixed: Callable[[Node], Node | None] | None = None


class Forward:
    """A scan in which sites are drawn, as the recursion over their values.

    Parameters
    ----------
    scan : Node
    sites : sequence of Finite
        Those of one step are summed over together.
    apart : bool
        Whether the draws of an array, of one site, are told apart.
    opening : callable
        How the scan is opened.

    Raises
    ------
    NotMarkov
    """

    def __init__(self, scan: Node, sites: Sequence[Finite], apart: bool, opening: Callable[[Node], Opened] = open_scan):
        self._scan, self.opened = scan, opening(scan)
        self._whole = self.opened
        drawn = {s.name: drawn_in(self.opened, s.name) for s in sites}
        if any(x is None and holds(scan, name) for name, x in drawn.items()):
            raise NotMarkov("it is drawn in a loop inside the loop")
        at = {n.attrs.site: i for i, n in enumerate(topological(self.opened.outputs)) if n.op is sample_op}
        sites = sorted((s for s in sites if s.name in at), key=lambda s: at[s.name])  # those upstream first
        self._names = [s.name for s in sites]
        self._over = self._ending([x for x in drawn.values() if x is not None])
        if self._over is not None:
            if apart:
                raise NotMarkov("until= asks of all draws of a step whether the loop is over")
            self.opened = self._where_it_goes_on()
        self._xs: list[Node] = [_first(drawn_in(self.opened, name), drawn[name]) for name in self._names]
        self._now = [Axis(f"{s.name} support", len(s.grid)) for s in sites]
        self._before = [Axis(f"{s.name} before", len(s.grid)) for s in sites]
        self._sums, self._handed, self._made_of = self._roles(sites)
        self._kept = sorted({j for made in self._made_of.values() for j in made})
        self._draws = draws_of(self._xs[0]) if apart else ()
        self._told = self._told_apart(self._names[0], self._xs[0]) if apart else None
        self._leaves = {c: placeholder(c.attrs.name, c.shape, (*c.axes, *self._of(self._before, self._made_of[i])),
                                       c.kind) for i, c in self._handed.items()}
        values = [broadcast_to(event_to_axis(constant(s.grid), axis), x.shape)
                  for s, axis, x in zip(sites, self._now, self._xs)]
        self._worlds = Substitution({**self._in_worlds(), **dict(zip(self._xs, values))})
        tag, before = f"{self.opened.step.attrs.name} forward", self._of(self._before, self._kept)
        self._alpha = placeholder(f"{tag} {' '.join(self._names)}", self._draws, before)
        self._may = placeholder(f"{tag} may be {' '.join(self._names)}", self._draws, before)
        self._masks, self._step = False, StepTables(())
        self._tables([s.fixed for s in sites], values)
        self._ys: list[Node] = []

    def _tables(self, fixed: Sequence[Callable[[Node], Node | None] | None], values: Sequence[Node]) -> None:
        """The factors of a step: what is carried, and the probabilities of the draws."""
        apart, before = self._told is not None, self._of(self._before, self._kept)
        dists = [distribution_of(x) for x in self._xs]
        masked = [dist.masked(v, given) if given and may_mask(dist, dist.params) else None
                  for dist, v, given in zip(dists, values, fixed)]
        self._masks = any(m is not None for m in masked) or (self._looks_beyond and not _defined(self._scan))
        self._step = StepTables((*before, *self._now))
        if self.carried:
            self._step.put(before, self._alpha, self._may if self._masks else None)
        for axis, dist, x, v, m in zip(self._now, dists, self._xs, values, masked):
            chance = broadcast_to(dist.probability(v), draws_of(x))
            chance = self._worlds(chance if apart else product(chance))
            may = constant(1.0) if m is None else self._worlds(product(as_real(broadcast_to(~m, draws_of(x)))))
            self._step.put((axis,), chance, may if self._masks else None)

    @property
    def states(self) -> Axes:
        """Along which the loop has states that are no draws."""
        return ()

    def _in_worlds(self) -> Mapping[Node, Node]:
        """What stands for the carries that hand draws on."""
        return self._leaves

    @property
    def _looks_beyond(self) -> bool:
        """Whether a step may be computed of what it is never handed."""
        return self._over is not None

    @staticmethod
    def _of(axes: Sequence[Axis], sites: Sequence[int]) -> tuple[Axis, ...]:
        return tuple(axes[j] for j in sites)

    @property
    def carried(self) -> bool:
        """Whether the loop carries probabilities: of what was handed on, and that it is not over."""
        return bool(self._handed) or self._over is not None

    # --- an end before the last step --------------------------------------------------------------------------------
    def _ending(self, draws: Sequence[Node]) -> int | None:
        """The carry that says whether the loop is over, if something that the draws move waits for it."""
        o, i = self.opened, mask_of(self.opened)
        if i is None:
            return None
        below = o.downstream(draws)
        return i if any(c.id in below for c in o.carries) else None

    def _where_it_goes_on(self) -> Opened:
        """The loop's step, where it is not over."""
        o, k = self._whole, len(self._whole.carries)
        new = where_over(o.outputs, o.carries[self._over], False)  # type: ignore[index]
        return replace(o, new_carries=tuple(new[:k]), ys=tuple(new[k:]))

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

    def _moved(self) -> tuple[dict[int, Node], dict[int, Node]]:
        """The carries that add up what is made of draws, and those that hand them on."""
        o, over = self.opened, self._over
        below = o.downstream(self._xs)
        moved = {i: c for i, c in enumerate(o.carries) if c.id in below and i != over}
        sums = {i: c for i, c in moved.items() if self._added(i) is not None and c.id not in ancestors(
            [*o.ys, *(a for x in self._xs for a in x.args), *(n for j, n in enumerate(o.new_carries) if j != i)])}
        return sums, {i: c for i, c in moved.items() if i not in sums}

    def _roles(self, sites: Sequence[Finite]) -> tuple[dict[int, Node], dict[int, Node], dict[int, tuple[int, ...]]]:
        """The carries that add up what is made of draws, those that hand them on, and the sites these are made of."""
        o = self.opened
        sums, handed = self._moved()
        cuts = [placeholder(f"{o.step.attrs.name} cut {j}", x.shape, x.axes) for j, x in enumerate(self._xs)]
        news = substitute([o.new_carries[i] for i in handed], dict(zip(self._xs, cuts)))
        behind = downstream(handed.values(), news)
        if any(new.id in behind for new in news):
            own = "its draw" if len(self._xs) == 1 else "its draws"
            raise NotMarkov(f"what a step hands on is made of what was handed on to it, and not of {own} alone")
        made = [{n.id for n in topological([new])} for new in news]
        return sums, handed, {i: tuple(j for j, cut in enumerate(cuts) if cut.id in ids)
                              for i, ids in zip(handed, made)}

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
    def mean(self, y: Node, stopped: bool, lenient: bool = False) -> Node:
        """The expectation of a node of the step, where the step's and the one before's draws are summed over.

        Where the loop is over it must be made of nothing that was drawn; or, if `lenient`, does not count there.
        """
        if self._over is None:
            return self._of_step(y, stopped)
        mask = self._whole.carries[self._over]
        (here,), (ended,) = where_over([y], mask, False), where_over([y], mask, True)
        found = self._of_step(here, stopped)
        if ended.is_const and not np.any(ended.attrs.array):
            return found
        if self._varies(ended):
            if lenient:
                return found
            raise NotMarkov("what a step puts out where the loop is over is made of what was drawn before")
        left = 1.0 - axis_sum(self._alpha, tuple(ax.name for ax in self._step.of(self._alpha)))
        return found + (stop_gradient(left) if stopped else left) * as_real(ended)

    def _varies(self, node: Node) -> bool:
        """Whether a node of the step is made of what the loop carries, or of the draws."""
        carries = {c.id for c in self._whole.carries}
        return any(n.id in carries or (n.op is sample_op and n.attrs.site in self._names) for n in topological([node]))

    def _of_step(self, y: Node, stopped: bool) -> Node:
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
        here = self._step.of(y)
        if not here and self._over is None:
            return y
        names = tuple(ax.name for ax in here)
        if which is None and self._told is not None:
            return axis_sum(y, names) / float(prod(ax.size for ax in here))  # equal in all worlds
        if self._masks:
            y = choose(self._step.may_be(here) != 0.0, y, 0.0)
        weight = self._step.chance(here, self._over is not None)
        weight = stop_gradient(weight) if stopped else weight
        return axis_sum(self._of_each(weight, which) * y, names)

    def _of_each(self, weight: Node, which: np.ndarray | None) -> Node:
        """A weight of each draw that the elements of a node are made of."""
        if which is None:
            return weight
        return gathered(weight, which, 1.0 / prod(ax.size or 1 for ax in self._step.of(weight)))

    def shown(self, y: Node) -> Node:
        """The node where the draws may come about, and else 0."""
        if self._over is not None:
            (y,) = where_over([y], self._whole.carries[self._over], False)
        which = None if self._told is None else self._which(y)
        y = as_real(self._worlds(y))
        here = self._step.of(y)
        if not here:
            return y
        return choose(self._of_each(self._step.chance(here, self._over is not None), which) != 0.0, y, 0.0)

    def put_out(self, y: Node) -> int:
        """The number among the scan's outputs under which the recursion puts out a node of the step."""
        self._ys.append(y)
        return len(self.opened.carries) + self.carried * (1 + self._masks) + len(self._ys) - 1

    def close(self) -> Node:
        """The recursion's scan: the carries as they were, then the probabilities, then what is put out."""
        o = self.opened
        new = []
        for i, (c, old) in enumerate(zip(o.carries, o.new_carries)):
            if i in self._handed:
                new.append(self._handed_on(i, old))
            elif i in self._sums:
                new.append(c + self._of_step(self._added(i), False))  # type: ignore[arg-type]
            else:
                new.append(c if i == self._over else old)
        inits = [self._handed_first(i, a) if i in self._handed else a for i, a in enumerate(o.inits)]
        carries = [self._leaves.get(c, c) for c in o.carries]
        if self.carried:
            begin = self._begin()
            goes_on = () if self._over is None else (1.0 - as_real(self._worlds(o.new_carries[self._over])),)
            for leaf, found in zip((self._alpha, self._may), self._weights(goes_on)[: 1 + self._masks]):
                carries.append(leaf)
                inits.append(begin)
                new.append(found if leaf is self._alpha else as_real(found != 0.0))
        return o.close(carries=tuple(carries), inits=tuple(inits), new_carries=tuple(new), ys=tuple(self._ys))

    def _begin(self) -> Node:
        """How likely each value is where the loop begins: one world stands for what it begins with."""
        kept = self._of(self._before, self._kept)
        first = np.zeros([ax.size for ax in kept])
        first[(0,) * len(kept)] = 1.0
        begin = constant(np.broadcast_to(first.reshape((*first.shape, *(1,) * len(self._draws))),
                                         (*first.shape, *self._draws)))
        for axis in kept:
            begin = event_to_axis(begin, axis)
        return begin

    def _handed_on(self, i: int, new: Node) -> Node:
        """What is handed on to the next step, for each value of the draws that it is made of."""
        return self._renamed(self._possible(self._worlds(new)), self._made_of[i])

    def _handed_first(self, i: int, init: Node) -> Node:
        """The same of what the loop begins with."""
        return along_all(init, self._of(self._before, self._made_of[i]))

    def _weights(self, goes_on: Sequence[Node]) -> tuple[Node, Node]:
        """How likely each value is, for the next step, where the loop goes on; and not 0 where it may come about."""
        ends = self._of(self._now, self._kept)
        return (self._renamed(self._step.chance(ends, True, goes_on), self._kept),
                self._renamed(self._step.may_be(ends, goes_on), self._kept))

    def _possible(self, node: Node) -> Node:
        """What is handed on by values that may come about, and do not end the loop; of the others it is 0."""
        here = self._step.of(node)
        return choose(self._step.may_be(here) != 0.0, node, 0.0) if self._masks and here else node

    def _renamed(self, node: Node, sites: Sequence[int]) -> Node:
        """What is known of each value of this step's draws, for the step that follows."""
        for j in sites:
            if self._now[j] in node.axes:
                node = renamed(node, self._now[j], self._before[j])
            else:
                node = along_all(node, (self._before[j],))
        return node

    def last(self, scan: Node, node: Node, stopped: bool, which: Callable[[], np.ndarray | None]) -> Node:
        """The expectation of a node made of what the last step handed on; `which` says of which draw each element.

        If the loop may end before, of a loop that did not.
        """
        here = tuple(ax for ax in self._before if ax in node.axes)
        if not here and self._over is None:
            return node
        alpha = out(scan, len(self.opened.carries))
        left = tuple(ax.name for ax in alpha.axes if ax in self._before and ax not in here)
        if self._masks and here:
            node = choose(axis_sum(out(scan, len(self.opened.carries) + 1), left) != 0.0, node, 0.0)
        alpha = axis_sum(alpha, left)
        weight = self._of_each(stop_gradient(alpha) if stopped else alpha, which())
        return axis_sum(weight * as_real(node), tuple(ax.name for ax in here))

    def where_it_ends(self, end: Node, stopped: bool, shown: bool) -> int | None:
        """The output that has a node of the last carries where a step ends the loop, and else 0; None if none may."""
        if self._over is None:
            return None
        o = self.opened
        here = {n: o.new_carries[n.attrs] for n in topological([end])
                if n.op is out_op and n.args[0] is self._scan}
        (y,) = substitute([end], here)
        ends = as_real(self._worlds(o.new_carries[self._over]))
        if shown:
            return self.put_out(self.shown(y))
        return self.put_out(self._mean(choose(ends != 0.0, as_real(self._worlds(y)), 0.0), None, stopped))

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
            return self._whole.ys[node.attrs - len(self.opened.carries)]
        if (node.op is sum_op or node.op.combines is not None) and 0 not in node.attrs:  # of the elements of a step
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


def _defined(scan: Node) -> bool:
    """Whether all that a step computes are numbers, whatever was handed on: also what ended the loop."""
    inside = Reals().inside(scan)
    return all(inside(n) for n in topological(scan.attrs.outputs) if n.kind == "real")


def _first(found: Node | None, otherwise: Node | None) -> Node:
    """The first that is there."""
    node = otherwise if found is None else found
    assert node is not None
    return node

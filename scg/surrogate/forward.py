"""A site of a loop summed out step by step: the forward recursion of a hidden Markov model.

Where all that a step hands on of its draw is made of that draw, and not of what the step before handed on, the draws
are a Markov chain. Then the loop carries, for each value that the draw of the step before may have, its probability,
and what was handed on with it; a step makes of these those of its own draw's values. What it puts out is summed over
both draws, so it may be any function of them; outside, costs must be linear in what is put out, or be made of what the
last step handed on. Time is linear in the number of steps.

References
----------
Rabiner 1989 (forward probabilities).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np

from scg.ir.axes import Axis
from scg.ir.node import Node, as_real, constant, make
from scg.ir.traverse import Substitution, ancestors, downstream, substitute, topological, unknown
from scg.ops.arithmetic import add_op, choose
from scg.ops.control import stop_gradient
from scg.ops.leaves import placeholder
from scg.ops.measure import axis_sum, event_to_axis, renamed
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.reduce import product
from scg.ops.scan import Opened, open_scan, out, scan_op, stacked
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.parts import linear_ends


class NotMarkov(Exception):
    """The loop cannot be summed step by step: why, in words."""


class Forward:
    """A scan in which a site is drawn, as the recursion over the values of the site.

    Parameters
    ----------
    scan : Node
    site : str
    grid : array
        The values of all draws of a step together.

    Raises
    ------
    NotMarkov
    """

    def __init__(self, scan: Node, site: str, grid: np.ndarray):
        self.opened = open_scan(scan)
        self._now, self._before = Axis(f"{site} support", len(grid)), Axis(f"{site} before", len(grid))
        x = drawn_in(self.opened, site)
        if x is None:
            raise NotMarkov("it is drawn in a loop inside the loop")
        self._sums, self._handed = self._roles(x)
        self._leaves = {c: placeholder(c.attrs.name, c.shape, (*c.axes, self._before), c.kind)
                        for c in self._handed.values()}
        self._worlds = Substitution({**self._leaves, x: event_to_axis(constant(grid), self._now)})
        chance = distribution_of(x).probability(event_to_axis(constant(grid), self._now))
        self._chance = self._worlds(product(chance))
        self._alpha = placeholder(f"{self.opened.step.attrs.name} forward {site}", (), (self._before,))
        self._ys: list[Node] = []

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
        y = as_real(self._worlds(y))
        here = tuple(ax.name for ax in (self._before, self._now) if ax in y.axes)
        if not here:
            return y
        weight = self._joint if self._now.name in here else self._alpha
        if self._before.name not in here and self._handed:
            weight = axis_sum(weight, (self._before.name,))
        if not self._handed and here == (self._now.name,):
            weight = self._chance
        return axis_sum((stop_gradient(weight) if stopped else weight) * y, here)

    def shown(self, y: Node) -> Node:
        """The node where the draws may come about, and else 0."""
        y = as_real(self._worlds(y))
        return choose(self._joint != 0.0, y, 0.0) if {self._before, self._now} & {*y.axes} else y

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
            inits.append(event_to_axis(constant(np.eye(size)[0]), self._before))
            new.append(self._renamed(axis_sum(self._joint, (self._before.name,))))
        return o.close(carries=tuple(carries), inits=tuple(inits), new_carries=tuple(new), ys=tuple(self._ys))

    def _renamed(self, node: Node) -> Node:
        """What is known of each value of this step's draw, for the step that follows."""
        if self._now in node.axes:
            return renamed(node, self._now, self._before)
        return event_to_axis(broadcast_to(reshape(node, (1, *node.shape)), (self._before.size, *node.shape)),
                             self._before)

    def last(self, scan: Node, node: Node, stopped: bool) -> Node:
        """The expectation of a node that is made of what the last step handed on."""
        if self._before not in node.axes:
            return node
        alpha = out(scan, len(self.opened.carries))
        return axis_sum((stop_gradient(alpha) if stopped else alpha) * as_real(node), (self._before.name,))

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
        if node.op.kind != "elementwise" or any(a.id in depends and a.ndim != node.ndim for a in node.args):
            raise NotMarkov("a cost is made of the draws of several steps at once")
        args = [self.inside(a, depends) if a.ndim == node.ndim else a for a in node.args]
        return make(node.op, tuple(args), node.attrs)

    def _along(self, array: Node) -> Node:
        if array.shape[0] == 1:
            return array[0]
        leaf = placeholder(f"{self.opened.step.attrs.name} along {array.id}", array.shape[1:], array.axes, array.kind)
        self.opened = replace(self.opened, xs=(*self.opened.xs, leaf), arrays=(*self.opened.arrays, array))
        return leaf


def drawn_in(opened: Opened, site: str) -> Node | None:
    """The sample node of a site in the steps of a loop."""
    return next((n for n in topological(opened.outputs) if n.op is sample_op and n.attrs.site == site), None)


class Recursions:
    """Roots, with the draws of a site in scans summed out step by step.

    Parameters
    ----------
    scans : sequence of Node
        Those that the site is drawn in.
    site : str
    grid : array

    Raises
    ------
    NotMarkov
    """

    def __init__(self, scans: Sequence[Node], site: str, grid: np.ndarray):
        self._of = {scan: Forward(scan, site, grid) for scan in scans}
        self._moved: dict[int, frozenset[Node]] = {}
        self._moved.update((scan.id, frozenset()) for scan in scans)

    def moved(self, node: Node) -> frozenset[Node]:
        """Those scans that it is made of."""
        known = self._moved
        for n in unknown([node], known):
            if self._enough(n):
                known[n.id] = frozenset([n.args[0]])
            else:
                known[n.id] = frozenset().union(*(known[a.id] for a in n.args))
        return known[node.id]

    def ends(self, roots: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        """Which root is linear in which nodes."""
        for i, root in enumerate(roots):
            if self.moved(root):
                for end in linear_ends(root, lambda n: bool(self.moved(n)), self._enough):
                    yield i, end

    def _enough(self, node: Node) -> bool:
        return node.op is not scan_op and bool(node.args) and node.args[0] in self._of

    def summed(self, roots: Sequence[Node], stopped: Sequence[bool], shown: Sequence[bool]) -> list[Node]:
        """The expectations of the roots; `stopped` if probabilities are not differentiated, `shown` in their worlds."""
        places: dict[tuple[Node, bool, bool], tuple[Node, int | Node]] = {}
        by_root: list[dict[Node, tuple[Node, bool, bool]]] = [{} for _ in roots]
        pairs = [(i, root) for i, root in enumerate(roots) if shown[i] and self.moved(root)]
        pairs += [(i, end) for i, end in self.ends(roots) if not shown[i]]
        for i, end in pairs:
            key = (end, stopped[i], shown[i])
            by_root[i][end] = key
            if key not in places:
                places[key] = self._place(*key)
        closed = {scan: forward.close() for scan, forward in self._of.items() if any(
            scan is place[0] for place in places.values())}
        known = {key: self._taken(closed, scan, what, key) for key, (scan, what) in places.items()}
        return [substitute([root], {end: known[key] for end, key in by_root[i].items()})[0] if by_root[i] else root
                for i, root in enumerate(roots)]

    def _place(self, end: Node, stopped: bool, shown: bool) -> tuple[Node, int | Node]:
        """The scan an end is made of, and the output that is its expectation; or the end, made of its last carries."""
        (scan, *others) = self.moved(end)
        forward = self._of[scan]
        if others:
            raise NotMarkov("a cost is made of two loops at once")
        depends = {n.id for n in topological([end]) if self.moved(n)}
        outs = [n for n in topological([end]) if n.id in depends and self._enough(n)]
        if not any(stacked(n) for n in outs):
            if any(forward.is_sum(n) for n in outs) and (len(depends) > 1 or shown):
                raise NotMarkov("a cost is not linear in what the steps add up")
            return scan, end
        if not all(stacked(n) for n in outs):
            raise NotMarkov("a cost is made of what is put out and of what the last step hands on at once")
        y = forward.inside(end, depends)
        return scan, forward.put_out(forward.shown(y) if shown else forward.mean(y, stopped))

    def _taken(self, closed: Mapping[Node, Node], scan: Node, what: int | Node, key: tuple[Node, bool, bool]) -> Node:
        new = closed[scan]
        if isinstance(what, int):
            return out(new, what)
        forward = self._of[scan]
        (end,) = substitute([what], {n: out(new, n.attrs) for n in topological([what])
                                     if self._enough(n) and n.args[0] is scan})
        return end if key[2] else forward.last(new, end, key[1])

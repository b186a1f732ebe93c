"""Roots outside of loops, where draws of a site in their steps are summed out step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from scg.analysis.dependence import Dependence
from scg.ir.axes import Axes
from scg.ir.node import Node
from scg.ir.traverse import substitute, topological, unknown
from scg.ops.reduce import total
from scg.ops.scan import Opened, open_scan, out, scan_op, stacked
from scg.surrogate.draft import Draft
from scg.surrogate.draws_apart import marks_of, which_draw
from scg.surrogate.forward import Finite, Forward, NotMarkov
from scg.surrogate.parts import linear_ends


class Place(NamedTuple):
    """Where the expectation of an end is.

    Attributes
    ----------
    scan : Node
        The loop that it is made of.
    what : int or Node
        The output that is its expectation; or the end, made of what the last step hands on.
    ended : int, optional
        The output that has what the end is, where a step before the last one ends the loop.
    """

    scan: Node
    what: int | Node
    ended: int | None = None


class Asked(NamedTuple):
    """How a root is asked for.

    Attributes
    ----------
    stopped : bool
        Whether probabilities are not differentiated.
    shown : bool
        Whether it is wanted as it is, in the worlds that may come about.
    lenient : bool
        Whether it does not matter where a loop is over.
    """

    stopped: bool
    shown: bool
    lenient: bool


class Recursions:
    """Roots, with the draws of sites in scans summed out step by step.

    Parameters
    ----------
    scans : sequence of Node
        Those that the sites are drawn in.
    sites : sequence of Finite
        Those of a step are summed over together.
    apart : tuple, optional
        The shape of what a step draws, and that of its draws, if those of one site are told apart.
    opening : callable
        How a scan is opened.
    recursion : type
        What is made of each.

    Raises
    ------
    NotMarkov
    """

    def __init__(self, scans: Sequence[Node], sites: Sequence[Finite],
                 apart: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
                 opening: Callable[[Node], Opened] = open_scan, recursion: type[Forward] = Forward):
        self._of = {scan: recursion(scan, sites, apart is not None, opening) for scan in scans}
        self._told = Dependence(sites[0].name, marks=marks_of(apart[1], apart[0])) if apart else None
        self._moved: dict[int, frozenset[Node]] = {}
        self._moved.update((scan.id, frozenset()) for scan in scans)

    @property
    def states(self) -> Axes:
        """The states of the loops, of which each has a probability of its own, if that is how they are summed out."""
        return max((forward.states for forward in self._of.values()), key=lambda axes: prod(ax.size for ax in axes))

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

    def summed_out_of(self, draft: Draft) -> Draft:
        """The draft without the site: costs c → E c; terms, and what must hold, likewise, with ⊥p for p."""
        if any(self.moved(t.passed) for t in draft.terms if t.passed is not None):
            raise NotMarkov("draws upstream of another site's are weighed with those of that site held")
        draft = replace(draft, marks=tuple(
            m for m in draft.marks if not any(self.moved(n) for n in (m.node, m.value) if n is not None)))
        roots, costs, checks = draft.roots(), len(draft.costs), len(draft.checks)
        first, last = len(roots) - len(draft.shown()), len(roots) - len(draft.replayed())
        asked = [Asked(i >= costs, first <= i < last, i >= first - checks) for i in range(len(roots))]
        return draft.with_roots(self.summed(roots, asked))

    def summed(self, roots: Sequence[Node], asked: Sequence[Asked]) -> list[Node]:
        """The expectations of the roots."""
        places: dict[tuple[Node, Asked], Place] = {}
        by_root: list[dict[Node, tuple[Node, Asked]]] = [{} for _ in roots]
        pairs = [(i, root) for i, root in enumerate(roots) if asked[i].shown and self.moved(root)]
        pairs += [(i, end) for i, end in self.ends(roots) if not asked[i].shown]
        for i, end in pairs:
            key = (end, asked[i])
            by_root[i][end] = key
            if key not in places:
                places[key] = self._place(*key)
        closed = {scan: forward.close() for scan, forward in self._of.items() if any(
            scan is place.scan for place in places.values())}
        known = {key: self._taken(closed[place.scan], place, key[1]) for key, place in places.items()}
        return [substitute([root], {end: known[key] for end, key in by_root[i].items()})[0] if by_root[i] else root
                for i, root in enumerate(roots)]

    def _place(self, end: Node, asked: Asked) -> Place:
        (scan, *others) = self.moved(end)
        forward = self._of[scan]
        if others:
            raise NotMarkov("a cost is made of two loops at once")
        depends = {n.id for n in topological([end]) if self.moved(n)}
        outs = [n for n in topological([end]) if n.id in depends and self._enough(n)]
        if not any(stacked(n) for n in outs):
            if any(forward.is_sum(n) for n in outs):
                if len(depends) > 1 or asked.shown:
                    raise NotMarkov("a cost is not linear in what the steps add up")
                return Place(scan, end)
            return Place(scan, end, forward.where_it_ends(end, asked.stopped, asked.shown))
        if not all(stacked(n) for n in outs):
            raise NotMarkov("a cost is made of what is put out and of what the last step hands on at once")
        y = forward.inside(end, depends)
        return Place(scan, forward.put_out(
            forward.shown(y) if asked.shown else forward.mean(y, asked.stopped, asked.lenient)))

    def _taken(self, new: Node, place: Place, asked: Asked) -> Node:
        if isinstance(place.what, int):
            return out(new, place.what)
        (end,) = substitute([place.what], {n: out(new, n.attrs) for n in topological([place.what])
                                           if self._enough(n) and n.args[0] is place.scan})
        if asked.shown:
            return end if place.ended is None else out(new, place.ended)
        forward = self._of[place.scan]
        left = end if forward.is_sum(end) else forward.last(
            new, end, asked.stopped, lambda: self._which(place.what))  # type: ignore[arg-type]
        return left if place.ended is None else left + total(out(new, place.ended), axis=0)

    def _which(self, end: Node) -> np.ndarray | None:
        return None if self._told is None else which_draw(end, self._told)

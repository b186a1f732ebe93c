"""Roots outside of loops, where draws of a site in their steps are summed out step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from scg.analysis.dependence import Dependence
from scg.ir.node import Node
from scg.ir.traverse import substitute, topological, unknown
from scg.ops.scan import out, scan_op, stacked
from scg.surrogate.draft import Draft
from scg.surrogate.draws_apart import marks_of, which_draw
from scg.surrogate.forward import Forward, NotMarkov
from scg.surrogate.parts import linear_ends


class Recursions:
    """Roots, with the draws of a site in scans summed out step by step.

    Parameters
    ----------
    scans : sequence of Node
        Those that the site is drawn in.
    site : str
    draws : tuple of int
        The shape of what a step draws.
    grid : array
        The values of all draws of a step together; or those of each, if they are told `apart`.
    apart : bool

    Raises
    ------
    NotMarkov
    """

    def __init__(self, scans: Sequence[Node], site: str, shape: tuple[int, ...], draws: tuple[int, ...],
                 grid: np.ndarray, apart: bool):
        self._of = {scan: Forward(scan, site, grid, apart) for scan in scans}
        self._told = Dependence(site, marks=marks_of(draws, shape)) if apart else None
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

    def summed_out_of(self, draft: Draft) -> Draft:
        """The draft without the site: costs c → E c; terms, and what must hold, likewise, with ⊥p for p."""
        if any(self.moved(t.passed) for t in draft.terms if t.passed is not None):
            raise NotMarkov("draws upstream of another site's are weighed with those of that site held")
        draft = replace(draft, marks=tuple(
            m for m in draft.marks if not any(self.moved(n) for n in (m.node, m.value) if n is not None)))
        roots, costs = draft.roots(), len(draft.costs)
        first, last = len(roots) - len(draft.shown()), len(roots) - len(draft.replayed())
        return draft.with_roots(self.summed(roots, [i >= costs for i in range(len(roots))],
                                            [first <= i < last for i in range(len(roots))]))

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
        return end if key[2] else forward.last(new, end, key[1], lambda: self._which(what))

    def _which(self, end: Node) -> np.ndarray | None:
        return None if self._told is None else which_draw(end, self._told)

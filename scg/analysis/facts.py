"""What is known of nodes, each from what is known of its arguments: the walk, and the bodies of loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, Self, TypeVar

from scg.ir.node import Node, facts_of
from scg.ops.leaves import placeholder_op
from scg.ops.scan import Opened, ScanBody

T = TypeVar("T")


class Facts(Generic[T]):
    """A fact of each node that is asked about; subclasses say of which kind, and how it follows.

    Nodes do not change, so what holds of one whatever stands around it is kept with it: whoever asks again need not
    walk. Inside the body of a scan that runs it depends on what the placeholders stand for, and is kept here.

    Parameters
    ----------
    leaves : dict of int to fact, optional
        Those of placeholders, by id: inside the body of a scan.
    """

    def __init__(self, leaves: Mapping[int, T] | None = None):
        self._known: dict[int, T] = dict(leaves or {})
        self._inside: dict[Any, Self] = {}
        self._kept = type(self) if leaves is None else None

    def __call__(self, node: Node) -> T:
        known, kind, waiting = self._known, self._kept, [node]
        while waiting:  # what is known is not walked again
            n = waiting[-1]
            if n.id in known:
                waiting.pop()
            elif kind is not None and kind in (kept := facts_of(n)):
                known[n.id] = kept[kind]
                waiting.pop()
            elif missing := [a for a in self._needed(n) if a.id not in known]:
                waiting += missing
            else:
                known[n.id] = found = self._of(n)
                if kind is not None:
                    facts_of(n)[kind] = found
                waiting.pop()
        return known[node.id]

    def inside(self, scan: Node) -> Self:
        """The same in the body of a scan: of every step."""
        kept = self._inside if self._kept is None else facts_of(scan)
        key = scan.id if self._kept is None else (self._kept, "inside")
        if key not in kept:
            body: ScanBody = scan.attrs
            start = {leaf.id: self(a) for leaf, a in zip((*body.carries, *body.consts, *body.xs), scan.args)}
            start[body.step.id] = self._of_step(body)
            kept[key] = self._through(start, body, scan)
        return kept[key]

    def in_steps(self, opened: Opened) -> Self:
        """The same in the step of a loop that is not closed yet: of every step."""
        outside = zip((*opened.carries, *opened.xs), (*opened.inits, *opened.arrays))
        start = {leaf.id: self(a) for leaf, a in outside}
        return self._through(start | {opened.step.id: self._of_step(opened)}, opened)

    def _through(self, start: dict[int, T], body: ScanBody | Opened, scan: Node | None = None) -> Self:
        """The facts of every step, from those of the first one: what carries turn into joins what they began with."""
        while True:
            inner = self._within(start, scan)
            after = {c.id: self._joined(start[c.id], inner(new)) for c, new in zip(body.carries, body.new_carries)}
            if all(start[leaf] == found for leaf, found in after.items()):
                return inner
            start.update(after)

    # --- what a kind of fact says -----------------------------------------------------------------------------------
    def _of(self, node: Node) -> T:
        """The fact of a node, those that it needs being known."""
        raise NotImplementedError

    def _needed(self, node: Node) -> Iterable[Node]:
        """The nodes whose facts must be known before."""
        return node.args

    def _of_step(self, body: ScanBody | Opened) -> T:
        """The fact of the number of a step."""
        raise NotImplementedError

    def _joined(self, before: T, after: T) -> T:
        """What is known of a carry of which this is known before and after a step."""
        raise NotImplementedError

    def _within(self, leaves: Mapping[int, T], scan: Node | None) -> Self:
        """Facts of the same kind inside a body."""
        return type(self)(leaves)


class InsideAStep(Facts[bool]):
    """Whether a node stands inside a scan's step, if nobody says of which: see `scg.ops.scan.OUTSIDE`."""

    def _of(self, node: Node) -> bool:
        return node.op is placeholder_op or any(self._known[a.id] for a in node.args)


class Certainties(Facts[bool]):
    """Facts that are certain or not: a carry's is if it is so at first, and every step keeps it so."""

    def _of_step(self, body: ScanBody | Opened) -> bool:
        return True

    def _joined(self, before: bool, after: bool) -> bool:
        return before and after

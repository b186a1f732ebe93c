"""What is certain of a node's range: enough to leave out checks that cannot fail, and poles that cannot be reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from scg.analysis.facts import Facts, T
from scg.ir.constraints import Constraint
from scg.ir.interval import ANY, ENDLESS, Interval
from scg.ir.looks import together
from scg.ir.node import Node
from scg.ops.scan import Opened, ScanBody, out_op


class Ranges(Facts[Interval]):
    """The interval of each node that is asked about."""

    def _of(self, node: Node) -> Interval:
        if node.op is out_op:
            scan, index = node.args[0], node.attrs
            inside = self.inside(scan)
            result = inside(scan.attrs.outputs[index])
            return result.hull(self(scan.args[index])) if index < len(scan.attrs.carries) else result
        known = [self._known[a.id] for a in node.args]
        return self._somewhere(node, known) if node.op.bounds is None else node.op.bounds(node, *together(known))

    def _somewhere(self, node: Node, known: Sequence[Interval]) -> Interval:
        """Where a node is of whose op nothing is known: it is a real number, or a call is refused."""
        return ANY

    def _of_step(self, body: ScanBody | Opened) -> Interval:
        return Interval(0.0, max(body.length - 1.0, 0.0), False, False)

    def _joined(self, before: Interval, after: Interval) -> Interval:
        return _widened(before, after)

    def _through(self, start: dict[int, Interval], body: ScanBody | Opened, scan: Node | None = None) -> Ranges:
        """What one step makes is taken as it is, and only what goes on from there is widened: of a draw the support."""
        first = self._within(start, scan)
        after = {c.id: start[c.id].hull(first(new)) for c, new in zip(body.carries, body.new_carries)}
        return super()._through(start | after, body, scan)


class EndlessRanges(Ranges):
    """The same where infinities are no errors, as in masked logits: an op may give one where it is not defined."""

    def _somewhere(self, node: Node, known: Sequence[Interval]) -> Interval:
        return ANY if node.op.kind == "leaf" or node.op.is_defined(node, *known) else ENDLESS


class FromRanges(Facts[T]):
    """Facts that follow from where arguments lie, too.

    Parameters
    ----------
    leaves : dict of int to fact, optional
        Those of placeholders, by id: inside the body of a scan.
    ranges : Ranges, optional
    """

    of_ranges: ClassVar[type[Ranges]] = Ranges  # where nothing else is given

    def __init__(self, leaves: Mapping[int, T] | None = None, ranges: Ranges | None = None):
        super().__init__(leaves)
        self._ranges = ranges or self.of_ranges()

    def _within(self, leaves: Mapping[int, T], scan: Node | None) -> Self:
        return type(self)(leaves, self._ranges if scan is None else self._ranges.inside(scan))


def _widened(before: Interval, after: Interval) -> Interval:
    """An interval that holds both, and that cannot grow forever: an end that moves goes to 0 or to infinity."""
    if before.holds(after):
        return before
    both = before.hull(after)
    low = both.low if both.low == before.low else 0.0 if both.low >= 0 else -math.inf
    high = both.high if both.high == before.high else 0.0 if both.high <= 0 else math.inf
    return Interval(low, high, both.positive if low == 0 else both.low_open or math.isinf(low),
                    both.negated().positive if high == 0 else both.high_open or math.isinf(high), both.nonzero)


def holds(constraint: Constraint, node: Node) -> bool:
    """Whether every value of the node that a computer finds, if it is a real number, satisfies the constraint."""
    if node.is_const:
        return node.attrs.ask("passes", constraint.test)
    return constraint.certain(Ranges()(node))

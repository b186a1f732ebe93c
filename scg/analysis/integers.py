"""Which nodes have whole numbers for values, and what must hold of those that index.

There are three answers: whole for certain; whole if the data and inputs that it is made of are, which a call looks at
where the node indexes something; and neither. A carry of a loop is whole if its first value is, and what a step makes
of it is whenever the carries are: the largest set of carries for which that holds.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from scg.analysis.facts import Facts
from scg.errors import Problem, ShapeError
from scg.functions import floor
from scg.ir.check import Check
from scg.ir.node import FUNCTIONS, Node, as_real, constant, make, where
from scg.ir.printer import short
from scg.ir.refused_uses import using
from scg.ir.said import said
from scg.ir.traverse import topological
from scg.ops.arithmetic import choose, index_op, where_op
from scg.ops.leaves import data_op, input_op, placeholder_op
from scg.ops.randomness import sample_op
from scg.ops.reduce import total
from scg.ops.scan import Opened, ScanBody, open_scan, out_op, scan_op


class Whole(enum.IntEnum):
    """Whether a node's values are whole numbers."""

    NO = 0
    IF_GIVEN = 1  # if the data and inputs are
    CERTAIN = 2


class Integers(Facts[Whole]):
    """Whether nodes are whole."""

    def _of(self, n: Node) -> Whole:
        if n.is_const:
            return Whole.CERTAIN if n.attrs.ask("whole") else Whole.NO
        if n.op is sample_op:
            return Whole.CERTAIN if n.attrs.family.support.integral else Whole.NO
        if n.op in (data_op, input_op):
            return Whole.IF_GIVEN
        if n.op is placeholder_op:
            return Whole(n.attrs.whole)
        if n.op is out_op:
            scan, index = n.args[0], n.attrs
            inside = self.inside(scan)(scan.attrs.outputs[index])
            return min(inside, self(scan.args[index])) if index < len(scan.attrs.carries) else inside
        integral = n.op.is_integral(n)
        if integral == "always" or n.kind == "bool":
            return Whole.CERTAIN
        return min((self._known[a.id] for a in n.args), default=Whole.NO) if integral == "closed" else Whole.NO

    def _of_step(self, body: ScanBody | Opened) -> Whole:
        return Whole.CERTAIN

    def _joined(self, before: Whole, after: Whole) -> Whole:
        return min(before, after)


def through_carries(start: Mapping[int, Whole], body: ScanBody | Opened) -> Integers:
    """The body of a loop whose leaves are as `start` says when it begins."""
    return Integers()._through(dict(start), body)


def integral(node: Node) -> bool:
    """Whether the node's values are integers for certain."""
    return Integers()(node) is Whole.CERTAIN


# --- indices ---------------------------------------------------------------------------------------------------------
def checked_index(k: Node, size: int, use: str) -> Node:
    """`k`, or if it is whole only if the data and inputs are: a node that is NaN where it is no index.

    Parameters
    ----------
    k : Node
    size : int
        Of the dimension that is indexed.
    use : str
        What it is used for, in words.

    Raises
    ------
    ShapeError
        If its values need not be integers whatever is given, or are known to leave the dimension.
    """
    whole = Integers()(k)
    if whole is Whole.NO:
        raise ShapeError(using(k), f"{use}, by {short(k)}.", "Its values need not be integers.",
                         "Give it a sample of integer support, data or inputs, what sums, products and choices make of "
                         "these, or scg.floor of the node.")
    low, high = _least_and_most(k)
    if k.size and (low < 0 or high >= size):
        raise ShapeError(
            using(k), f"{use}, by {short(k)}.", f"Its values run from {low:g} to {high:g}.",
            f"Make the size {high + 1:g}, or give it integers from 0 to {size - 1}.")
    if whole is Whole.CERTAIN:
        return k
    inside = (k >= 0.0) & (k < float(size))
    valid = (k == floor(k)) & inside
    return said(make(index_op, (choose(valid, k, constant(np.nan)),), (size, use)), "{0}", k)


def _least_and_most(k: Node) -> tuple[float, float]:
    """Two values that are sure to be taken: the ends of a literal or a finite support, or what bounds allow at best."""
    from scg.analysis.bounds import Ranges
    from scg.ops.randomness import distribution_of

    values = None
    if k.is_const:
        values = k.attrs.array
    elif k.op is sample_op:
        values = distribution_of(k).support_values()
    if values is not None and values.size:
        return float(values.min()), float(values.max())
    found = Ranges()(k)
    return found.high, found.low  # whatever it is, it is not more than this, nor less than that


def bounded(k: Node, size: int) -> bool:
    """Whether `k` lies in a dimension of that size for certain, if it is whole."""
    from scg.analysis.bounds import Ranges

    found = Ranges()(k)
    return found.low >= 0 and found.high <= size - 1


def settled(opened: Opened) -> Opened:
    """A step whose carries are known, with the indices that are whole for certain as they are.

    Raises
    ------
    ShapeError
        If an index is made of a carry that begins as a whole number, and need not be one after a step.
    """
    start = {leaf.id: Integers()(a) for leaf, a in zip((*opened.carries, *opened.xs), (*opened.inits, *opened.arrays))}
    inner = through_carries(start | {opened.step.id: Whole.CERTAIN}, opened)
    for marker, known in _markers(opened.outputs, inner):
        if known(indexing(marker)) is Whole.NO:
            _refuse_carry(opened, marker, inner)
    plain = {m: indexing(m) for m in topological(opened.outputs)
             if m.op is index_op and inner(indexing(m)) is Whole.CERTAIN}
    while plain:  # an index may be made of another
        m, k = plain.popitem()
        opened = opened.mapped({m: k})
        plain = {a: indexing(a) for a in topological(opened.outputs) if a.op is index_op
                 and inner(indexing(a)) is Whole.CERTAIN}
    return opened


def _refuse_carry(opened: Opened, marker: Node, inner: Integers) -> None:
    lost = [(i, new) for i, (c, new) in enumerate(zip(opened.carries, opened.new_carries))
            if Integers()(opened.inits[i]) is not Whole.NO and inner(c) is Whole.NO]
    made = "".join(f" carry {i} begins as a whole number, and a step makes it {short(new)}." for i, new in lost[:1])
    raise ShapeError(where(marker), f"{marker.attrs[1]}, by {short(indexing(marker))}.",
                     "Its values need not be integers:" + made if made else "Its values need not be integers.",
                     "Let the step return a whole number: a sample of integer support, data, what sums, products and "
                     "choices make of these, or scg.floor of the node.")


def indexing(marker: Node) -> Node:
    """What indexes, of a node made by `checked_index`."""
    chosen = _chosen(marker)
    return chosen.args[1] if chosen.op is where_op else chosen


def _chosen(marker: Node) -> Node:
    """The choice that `checked_index` made, also where a derivative holds it."""
    node = marker.args[0]
    while node.op.transparent:
        node = node.args[0]
    return node


def _markers(roots: Sequence[Node], known: Integers) -> Iterator[tuple[Node, Integers]]:
    """The checked indices below the roots, in the bodies of scans too, and what is known where they stand."""
    for n in topological(roots):
        if n.op is index_op:
            yield n, known
        elif n.op is scan_op:
            yield from _markers(n.attrs.outputs, known.inside(n))


# --- what a call looks at --------------------------------------------------------------------------------------------
def index_checks(roots: Sequence[Node]) -> tuple[Check, ...]:
    """A check for every index that is whole only if what is given is.

    Not of those that are used in the branches of a choice alone: where the branch is not taken they have no say, and
    where it is, the value is NaN.
    """
    return tuple(Check(_problem(marker), total(as_real(~valid)), index=k, size=marker.attrs[0])
                 for marker, valid, k in _unsettled(roots, Integers()))


def not_of_indices(checks: Sequence[Check]) -> list[Check]:
    """Of failed checks those of indices, then those that did not fail for being made of these."""
    indices = [check for check in checks if check.index is not None]
    wrong = {check.index.id for check in indices if check.index is not None}
    return [*indices, *(check for check in checks if check.index is None and not any(
        n.op is index_op and indexing(n).id in wrong for n in topological([check.node])))]


def _problem(marker: Node) -> Problem:
    size, use = marker.attrs
    return Problem(where(marker), f"{use}, by {short(indexing(marker))}.",
                   f"It must be a whole number from 0 to {size - 1}, and in at least one row it is not.",
                   "Give whole numbers that count from 0; or choose with scg.where before the index is used.")


def _unsettled(roots: Sequence[Node], known: Integers) -> Iterator[tuple[Node, Node, Node]]:
    """Checked indices that something else than a choice uses: the node, whether it is an index, and what indexes."""
    for n in _not_chosen(roots):
        if n.op is index_op:
            valid, k = _chosen(n).args[:2]
            if not (known(k) is Whole.CERTAIN and bounded(k, n.attrs[0])):
                yield n, valid, k
        elif n.op is scan_op and any(True for _ in _markers(n.attrs.outputs, known.inside(n))):
            yield from _in_steps(n, known)


def _in_steps(scan: Node, known: Integers) -> Iterator[tuple[Node, Node, Node]]:
    opened = open_scan(scan)
    start = {leaf.id: known(a) for leaf, a in zip((*opened.carries, *opened.xs), (*opened.inits, *opened.arrays))}
    inner = through_carries(start | {opened.step.id: Whole.CERTAIN}, opened)
    found = list(_unsettled(opened.outputs, inner))
    if found:
        stacked = iter(opened.put_out([node for _, valid, k in found for node in (as_real(valid), k)]))
        for (marker, _, _), valid, k in zip(found, stacked, stacked):
            yield marker, valid != 0.0, k


def _not_chosen(roots: Sequence[Node]) -> list[Node]:
    """What the roots are computed from, not counting branches of choices."""
    seen: dict[int, Node] = {}
    waiting = list(roots)
    while waiting:
        n = waiting.pop()
        if n.id not in seen:
            seen[n.id] = n
            inside = n.op is index_op
            waiting.extend(_chosen(n).args[:2] if inside else n.args[:1] if n.op is where_op else n.args)
    return list(seen.values())


FUNCTIONS.update({"checked_index": checked_index, "bounded": bounded})

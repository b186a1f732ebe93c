"""In single precision, differences of sums are differences of their parts, added up.

Costs of 1e6 and of 0.1 b add up to 1e6, to seven digits: what weighs a score, their sum less the mean of the other
replicates' sums, has then lost the small one. That mean is linear, so each part is compared with its own mean first
(those that are small together), and nothing is lost. In a difference of two sums, such as that of the costs at two
values of a draw, what both hold goes.

In: roots. Out: the same roots, with such differences taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from scg.analysis.bounds import Ranges
from scg.analysis.decisions import decided
from scg.ir.location import derived_from
from scg.ir.node import Node, constant, make
from scg.ir.traverse import rebuild, substitute, topological
from scg.ops.arithmetic import add_op, neg_op, sub_op
from scg.ops.measure import leave_one_out_op
from scg.ops.structure import broadcast_to

MOST_PARTS = 16
SMALL = 1024.0  # what is below is rounded by less than 1e-4, and is added up as it stands
Part = tuple[bool, Node]
"""Whether it is subtracted, and what it is."""


def sums_apart(roots: Sequence[Node]) -> list[Node]:
    """The roots with differences of sums taken part by part."""
    mapping: dict[Node, Node] = {}
    read = decided(roots)
    for n in topological(roots):
        if n.op is sub_op and n.id not in read:
            with derived_from(n.source):
                new = _apart(*n.args)
            if new is not None:
                new = new if new.shape == n.shape else broadcast_to(new, n.shape)
                mapping[n] = substitute([new], mapping)[0]
    return substitute(list(roots), mapping) if mapping else list(roots)


def _apart(a: Node, b: Node) -> Node | None:
    if b.op is leave_one_out_op and b.args[0] is a:
        sums = _by_size(_parts(a))
        return _sum([(False, x - make(leave_one_out_op, (x,), b.attrs)) for x in sums]) if len(sums) > 1 else None
    ours, theirs = _parts(a), _parts(b)
    if min(len(ours), len(theirs)) < 2:
        return None
    left, kept = list(theirs), []
    for less, x in ours:
        same = next((i for i, (other, y) in enumerate(left) if y is x and other is less), None)
        if same is None:
            kept.append((less, x))
        else:
            del left[same]
    if len(kept) == len(ours):
        return None
    return _sum([*kept, *((not less, x) for less, x in left)])


def _by_size(parts: Sequence[Part]) -> list[Node]:
    """Sums of the parts: of those that are small for certain, of those that all lanes share, and of each other."""
    found: dict[object, list[Part]] = {}
    ranges = Ranges()
    for less, x in parts:
        within = ranges(x).magnitude()
        kind: object = x.id
        if not any(ax.name == "lane" for ax in x.axes):
            kind = "still"
        elif within.high <= SMALL:
            kind = "small"
        found.setdefault(kind, []).append((less, x))
    return [_sum(several) for several in found.values()]


def _parts(root: Node) -> list[Part]:
    """What is added up to a sum, also one whose elements are put elsewhere; one part, if it is none or too long."""
    found: list[Part] = []
    waiting: list[tuple[bool, Node, tuple[Node, ...]]] = [(False, root, ())]
    while waiting:
        less, node, views = waiting.pop()
        if node.op in (add_op, sub_op):
            a, b = node.args
            waiting += [(less is not (node.op is sub_op), b, views), (less, a, views)]
        elif node.op is neg_op:
            waiting.append((not less, node.args[0], views))
        elif len(node.args) == 1 and node.op.rearranges(node) and _is_sum(node.args[0]):
            waiting.append((less, node.args[0], (node, *views)))
        else:
            for view in views:
                if node.shape != view.args[0].shape:
                    node = broadcast_to(node, view.args[0].shape)
                node = rebuild(view, (node,))
            found.append((less, node))
        if len(found) + len(waiting) > MOST_PARTS:
            return [(False, root)]
    return found


def _is_sum(node: Node) -> bool:
    while len(node.args) == 1 and node.op.rearranges(node):
        node = node.args[0]
    return node.op in (add_op, sub_op, neg_op)


def _sum(parts: Sequence[Part]) -> Node:
    total = None
    for less, x in parts:
        total = (-x if less else x) if total is None else total - x if less else total + x
    return constant(0.0) if total is None else total

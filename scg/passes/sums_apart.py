"""In single precision, differences of sums are differences of their parts, added up.

Costs of 1e6 and of 0.1 b add up to 1e6, to seven digits: what weighs a score, their sum less the mean of the other
replicates' sums, has then lost the small one. That mean is linear, so each part is compared with its own mean first
(those that are small together), and nothing is lost. In a difference of two sums, such as that of the costs at two
values of a draw, what both hold goes, and numbers are subtracted as they are written; of x − w y, where y holds what x
does, x − y goes the same way, and (1 − w) y is added.

In: roots. Out: the same roots, with such differences taken apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scg.analysis.bounds import Ranges
from scg.analysis.decisions import decided
from scg.ir.location import derived_from
from scg.ir.node import Node, constant, make
from scg.ir.traverse import rebuild, substitute, topological
from scg.ops.arithmetic import add_op, mul_op, neg_op, sub_op
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
    ours, theirs = _parts(a), _parts(b)
    mean = next((p for p in theirs if p[1].op is leave_one_out_op and p[1].args[0] is a and not p[0]), None)
    if mean is not None:
        sums = _by_size(ours)
        rest = [(not less, x) for less, x in theirs if x is not mean[1]]
        compared = [(False, x - make(leave_one_out_op, (x,), mean[1].attrs)) for x in sums]
        return _sum([*compared, *rest]) if len(sums) > 1 else None
    scaled = _scaled(ours, theirs)
    if scaled is not None:
        weight, y, theirs = scaled
        left = _difference(ours, theirs)
        return None if left is None else left + (1.0 - weight) * y
    return _difference(ours, theirs)


def _scaled(ours: Sequence[Part], theirs: Sequence[Part]) -> tuple[Node, Node, list[Part]] | None:
    """Of what is subtracted the weight of a sum that holds what ours do, that sum, and all with the sum unweighed."""
    for i, part in enumerate(theirs):
        if part[0] or part[1].op is not mul_op:
            continue
        for weight, y in (part[1].args, part[1].args[::-1]):
            inside = _parts(y)
            if weight.is_const or len(inside) < 2:
                continue
            number = min(abs(_without_numbers(parts)[1]) for parts in (ours, inside))
            if number > SMALL or any(_at(p, inside) is not None for p in ours if not _is_number(p[1])):
                return weight, y, [*theirs[:i], *theirs[i + 1:], *inside]
    return None


def _difference(ours: Sequence[Part], theirs: Sequence[Part]) -> Node | None:
    """Without what both hold; None if that is nothing."""
    ours, number = _without_numbers(ours)
    theirs, other = _without_numbers(theirs)
    left, kept = list(theirs), []
    for less, x in ours:
        same = _at((less, x), left)
        if same is None:
            kept.append((less, x))
        else:
            del left[same]
    if len(kept) == len(ours) and not (number and other and kept + left):
        return None
    rest = [(False, constant(number - other))] if number != other else []
    return _sum([*kept, *((not less, x) for less, x in left), *rest])


def _at(part: Part, parts: Sequence[Part]) -> int | None:
    """Where a part stands among others; None if it does not."""
    return next((i for i, (less, x) in enumerate(parts) if x is part[1] and less is part[0]), None)


def _without_numbers(parts: Sequence[Part]) -> tuple[list[Part], float]:
    """The parts that are no numbers, and the sum of those that are."""
    numbers = [-x.attrs.array.flat[0] if less else x.attrs.array.flat[0] for less, x in parts if _is_number(x)]
    return [(less, x) for less, x in parts if not _is_number(x)], math.fsum(numbers)


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
        elif _is_number(node):
            found.append((less, constant(float(node.attrs.array.flat[0]))))  # wherever its elements are put
        else:
            for view in views:
                if node.shape != view.args[0].shape:
                    node = broadcast_to(node, view.args[0].shape)
                node = rebuild(view, (node,))
            found.append((less, node))
        if len(found) + len(waiting) > MOST_PARTS:
            return [(False, root)]
    return found


def _is_number(node: Node) -> bool:
    """Whether all elements are one number, which is known."""
    if not node.is_const or node.kind != "real" or not node.size:
        return False
    array = node.attrs.array
    return bool(np.isfinite(array.flat[0]) and np.all(array == array.flat[0]))


def _is_sum(node: Node) -> bool:
    while len(node.args) == 1 and node.op.rearranges(node):
        node = node.args[0]
    return node.op in (add_op, sub_op, neg_op)


def _sum(parts: Sequence[Part]) -> Node:
    total = None
    for less, x in parts:
        total = (-x if less else x) if total is None else total - x if less else total + x
    return constant(0.0) if total is None else total

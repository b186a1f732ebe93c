"""In single precision, differences of sums are differences of their parts, added up.

Costs of 1e6 and of 0.1 b add up to 1e6, to seven digits: what weighs a score, their sum less the mean of the other
replicates' sums, has then lost the small one. That mean is linear, so each part is compared with its own mean first
(those that are small together), and nothing is lost. In a difference of two sums, such as that of the costs at two
values of a draw, what both hold goes, and numbers are subtracted as they are written; of x − w y, where y holds what x
does, x − y goes the same way, and (1 − w) y is added.

So it is with what a loop puts out step by step, and with what a step only adds to: that is the sum over the steps of
what is added, and each part of it has a sum of its own.

In: roots. Out: the same roots, with such differences taken apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from scg.analysis.bounds import Ranges
from scg.analysis.decisions import decided
from scg.ir.location import derived_from
from scg.ir.node import Node, constant, make
from scg.ir.traverse import rebuild, substitute, topological
from scg.ops.arithmetic import add_op, mul_op, neg_op, sub_op
from scg.ops.measure import axis_to_event_op, event_to_axis_op, leave_one_out_op
from scg.ops.reduce import sum_op, total
from scg.ops.scan import last_outputs, out_op, scan_op, split, stacked
from scg.ops.structure import broadcast_to, broadcast_to_op

MOST_PARTS = 16
SMALL = 1024.0  # what is below is rounded by less than 1e-4, and is added up as it stands
_MOVES = (axis_to_event_op, event_to_axis_op)
Part = tuple[bool, Node]
"""Whether it is subtracted, and what it is."""


def sums_apart(roots: Sequence[Node]) -> list[Node]:
    """The roots with differences of sums taken part by part, in the bodies of scans too."""
    return _differences(_in_steps(roots, decided(roots)))


def _in_steps(roots: Sequence[Node], read: Mapping[int, Node]) -> list[Node]:
    """The roots with that done in the bodies of scans."""
    mapping: dict[Node, Node] = {}
    for n in topological(roots):
        if n.op is scan_op:
            inner = _differences(_in_steps(n.attrs.outputs, read), read)
            if any(new is not old for new, old in zip(inner, n.attrs.outputs)):
                mapping[n] = substitute([make(n.op, n.args, n.attrs.with_outputs(inner))], mapping)[0]
    return substitute(list(roots), mapping) if mapping else list(roots)


def _differences(roots: Sequence[Node], read: Mapping[int, Node] | None = None) -> list[Node]:
    """The roots with that done outside of scans."""
    mapping: dict[Node, Node] = {}
    read = decided(roots) if read is None else read
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


def _by_size(parts: Sequence[Part], ranges: Ranges | None = None) -> list[Node]:
    """Sums of the parts: of those that are small for certain, of those that all lanes share, and of each other."""
    found: dict[object, list[Part]] = {}
    ranges = ranges or Ranges()
    for less, x in parts:
        within = ranges(x).magnitude()
        kind: object = x.id
        if _is_still(x):
            kind = "still"
        elif within.high <= SMALL:
            kind = "small"
        found.setdefault(kind, []).append((less, x))
    return [_sum(several) for several in found.values()]


def _parts(root: Node, step: Ranges | None = None) -> list[Part]:
    """What is added up to a sum, also to one whose elements are put elsewhere, or added up behind a loop.

    It is one part if it is no sum, or too long. In the `step` of a loop, of which it is known where things lie, a sum
    may have a weight: rewards are discounted.
    """
    found: list[Part] = []
    waiting: list[tuple[bool, Node, tuple[Node, ...]]] = [(False, root, ())]
    while waiting:
        less, node, views = waiting.pop()
        if node.op in (add_op, sub_op):
            a, b = node.args
            waiting += [(less is not (node.op is sub_op), b, views), (less, a, views)]
        elif node.op is neg_op:
            waiting.append((not less, node.args[0], views))
        elif _is_view(node) and _is_sum(node.args[0]):
            waiting.append((less, node.args[0], (node, *views)))
        elif several := _of_loop(node) or (_of_product(node, step) if step else []):
            waiting += [(less, part, views) for part in reversed(several)]
        else:
            found.append((less, _viewed(node, views)))
        if len(found) + len(waiting) > MOST_PARTS:
            return [(False, root)]
    return found


def _viewed(node: Node, views: Sequence[Node]) -> Node:
    """A part as the views put its elements, or add them up: one number in one way, wherever it is put."""
    x = constant(float(node.attrs.array.flat[0])) if _is_number(node) else node
    if x.op is broadcast_to_op and not x.args[0].shape:
        return _viewed(x.args[0], (x, *views))
    if not x.shape and all(view.op is sum_op or not (view.op.linear or view.attrs in x.axes) for view in views):
        count = math.prod(view.args[0].size // view.size for view in views if view.op is sum_op)
        x = x if count == 1 else x * float(count)
        return x if _is_number(x) or not views else broadcast_to(x, views[-1].shape)
    for view in views:
        node = node if node.shape == view.args[0].shape else broadcast_to(node, view.args[0].shape)
        node = rebuild(view, (node,))
    return node


def _is_view(node: Node) -> bool:
    """Whether it moves the elements of one argument, or adds up those that a loop has put out."""
    if len(node.args) != 1 or node.op in (neg_op, leave_one_out_op):
        return False
    if node.op in _MOVES or node.op.rearranges(node):
        return True
    inner = node.args[0]
    adds = node.op.linear and node.op.kind == "structural" and node.axes == inner.axes
    while adds and _is_view(inner):
        inner = inner.args[0]
    return adds and bool(_of_loop(inner))


def _of_loop(node: Node) -> list[Node]:
    """What adds up to what a scan puts out, or adds up itself; nothing, if that is one part."""
    if node.op is not out_op:
        return []
    scan, body = node.args[0], node.args[0].attrs
    ranges = Ranges().inside(scan)
    parts, carry = _parts(body.outputs[node.attrs], ranges), None
    if not stacked(node):
        carry = body.carries[node.attrs]
        own = [i for i, (negative, part) in enumerate(parts) if part is carry and not negative]
        if not own:
            return []
        del parts[own[0]]
    groups = _by_size(parts, ranges)
    if len(groups) < 2:
        return []
    arrays = last_outputs(make(scan.op, scan.args, body.with_outputs((*body.outputs, *groups))), len(groups))
    for i, x in enumerate(groups):
        if not any(n is leaf for n in topological([x]) for leaf in (body.step, *body.carries, *body.xs)):
            outer, = substitute([x], dict(zip(body.consts, split(scan)[1])))  # the same in all steps
            arrays[i] = broadcast_to(outer, arrays[i].shape)
    return arrays if carry is None else [scan.args[node.attrs], *(total(array, axis=0) for array in arrays)]


def _of_product(node: Node, ranges: Ranges) -> list[Node]:
    """What adds up to a sum of what is large and what is not, by a weight that all lanes share; nothing, if it is none.

    With weights that differ, products of large numbers would have to cancel.
    """
    for weight, y in (node.args, node.args[::-1]) if node.op is mul_op else ():
        if _is_still(weight) and _is_sum(y) and not ranges(y).magnitude().high <= SMALL:
            groups = _by_size(_parts(y, ranges), ranges)
            if len(groups) > 1:
                return [weight * x for x in groups]
    return []


def _is_still(node: Node) -> bool:
    """Whether all lanes share it."""
    return not any(ax.name == "lane" for ax in node.axes)


def _is_number(node: Node) -> bool:
    """Whether all elements are one number, which is known."""
    if not node.is_const or node.kind != "real" or not node.size:
        return False
    array = node.attrs.array
    return bool(np.isfinite(array.flat[0]) and np.all(array == array.flat[0]))


def _is_sum(node: Node) -> bool:
    while _is_view(node):
        node = node.args[0]
    return node.op in (add_op, sub_op, neg_op) or bool(_of_loop(node))


def _sum(parts: Sequence[Part]) -> Node:
    total = None
    for less, x in parts:
        total = (-x if less else x) if total is None else total - x if less else total + x
    return constant(0.0) if total is None else total

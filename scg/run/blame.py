"""From a number that is not finite back to what made it so.

The way back follows one element of one replicate: from a NaN to an argument that is NaN there, from an infinity to one
that is infinite, through the branch that was taken. An infinity that somebody wrote, such as the −∞ of a masked logit,
is no fault; what computes NaN or another infinity from it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from scg.ir.node import Node
from scg.ir.op import Op
from scg.ops.arithmetic import neg_op, where_op
from scg.ops.cancelling import either_op
from scg.ops.density import in_ranges_op, log_density_op
from scg.ops.measure import leave_one_out_op
from scg.ops.scan import out_op
from scg.ops.special import xmuly_op


class Place(NamedTuple):
    """A node, and which of its elements: an index per axis by name, and the event index."""

    node: Node
    axes: Mapping[str, int]
    event: tuple[int, ...]


Known = Mapping[int, np.ndarray]  # values by node: axes first, of size 1 where a value does not vary


def cause(root: Node, known: Known) -> list[Place]:
    """The way back from a root to what is to blame for its first element that is not finite, which is the last place.

    Empty if every element is finite.
    """
    array = known[root.id]
    start = _first(root, ~np.isfinite(array), array)
    if start is None:
        return []
    way, seen = [(start, _suspects(start, known))], {root.id}
    while way:
        point, left = way[-1]
        if point.node.op is log_density_op and np.isinf(value_at(point, known)):
            break
        suspect = next((s for s in left if s.node.id not in seen), None)
        if suspect is not None:
            seen.add(suspect.node.id)
            way.append((suspect, _suspects(suspect, known)))
        elif _passes_on(point.node.op) and not _left_its_table(point, known):
            way.pop()
        else:
            break
    return [point for point, _ in way] or [start]


def _passes_on(op: Op) -> bool:
    """Whether it makes nothing of an infinity: its elements are its arguments', but for signs and zeros."""
    return op.picks is not None or op in (neg_op, xmuly_op)


def _left_its_table(point: Place, known: Known) -> bool:
    """Whether the element is NaN because of an index: nothing in the table is."""
    return bool(point.node.op.reads) and np.isnan(value_at(point, known))


def value_at(point: Place, known: Known) -> float:
    """The element at a place."""
    return float(known[point.node.id][_index(point.node, known, point.axes, point.event)])


def argument(point: Place, i: int, known: Known) -> Place:
    """Where an argument of an elementwise node is read."""
    return _within(point.node.args[i], point, known, lambda array: np.ones(array.shape, dtype=bool)) or point


def _suspects(point: Place, known: Known) -> Iterator[Place]:
    """Where arguments are not finite in a way that explains the element, from the most telling one on."""
    value = value_at(point, known)
    for wanted in (np.isnan, np.isinf) if np.isnan(value) else (np.isinf,):
        for arg in _read(point, known):
            if arg.id in known and arg.kind == "real" and arg.args:
                found = _within(arg, point, known, wanted)
                if found is not None:
                    yield found


def _read(point: Place, known: Known) -> tuple[Node, ...]:
    """The arguments that have a say in the element."""
    node = point.node
    if node.op is out_op:
        return node.args[0].args
    if node.op in (where_op, either_op):
        return (node.args[1 if value_at(argument(point, 0, known), known) else 2],)
    if node.op is in_ranges_op and not value_at(argument(point, 0, known), known):
        return ()
    return node.args[2:] if node.op is log_density_op else node.args


def _within(arg: Node, point: Place, known: Known, wanted) -> Place | None:
    """The first element of an argument that is as wanted, among those that the element at `place` is made of."""
    shared = {} if point.node.op is leave_one_out_op else {
        name: i for name, i in point.axes.items() if any(ax.name == name for ax in point.node.axes)}
    event: tuple[int, ...] | None = None
    if point.node.op.kind == "elementwise":
        event = tuple(0 if size == 1 else i for i, size in zip(point.event[point.node.ndim - arg.ndim:], arg.shape))
    array = known[arg.id]
    index = _index(arg, known, shared, event)
    hit = np.zeros(array.shape, dtype=bool)
    hit[index] = wanted(array[index])
    return _first(arg, hit, array)


def _index(node: Node, known: Known, axes: Mapping[str, int], event: tuple[int, ...] | None) -> tuple:
    """The index of an array: of its axes those that are given, and the event index if that is."""
    sizes = known[node.id].shape
    along = [min(axes[ax.name], sizes[i] - 1) if ax.name in axes else slice(None) for i, ax in enumerate(node.axes)]
    return (*along, *(event if event is not None else ()))


def _first(node: Node, hit: np.ndarray, array: np.ndarray) -> Place | None:
    """The first element that is hit; of those a NaN, if there is one."""
    both = hit & np.isnan(array)
    found = np.argwhere(both if np.any(both) else hit)
    if not len(found):
        return None
    at, k = [int(i) for i in found[0]], len(node.axes)
    return Place(node, dict(zip((ax.name for ax in node.axes), at)), tuple(at[k:]))

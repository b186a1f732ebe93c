"""What is looked up by the value of a world: where worlds are consecutive integers, a part of the table along them.

Written out, one-hot vectors of K values in K worlds are a table of K by K. These functions see them for what they are
when a value is put in a site's place, and are asked by the ops that look up.
"""

from __future__ import annotations

import numpy as np

from scg.ir.axes import Axis
from scg.ir.node import FUNCTIONS, Node
from scg.ops.arithmetic import eq_op, mul_op, real_op
from scg.ops.measure import event_to_axis, event_to_axis_op
from scg.ops.special import xmuly_op
from scg.ops.structure import broadcast_to_op, reshape_op


def consecutive(k: Node) -> tuple[int, Axis | None]:
    """The first of consecutive integers along a world axis, and the axis, where these are what `k` is."""
    while k.op in (broadcast_to_op, reshape_op):
        k = k.args[0]
    if k.op is not event_to_axis_op or not k.args[0].is_const or k.size != 1:
        return 0, None
    values = k.args[0].attrs.array.reshape(-1)
    if not values.size or not np.array_equal(values, np.floor(values[0]) + np.arange(values.size)):
        return 0, None
    return int(values[0]), k.attrs


def looked_up(table: Node, k: Node) -> Node | None:
    """``table[k]`` along the world axis of which `k` is consecutive integers; None if it is no part of the table."""
    first, axis = consecutive(k)
    if axis is None or axis in table.axes or first < 0 or first + axis.size > table.shape[0]:
        return None
    return event_to_axis(table[first : first + axis.size], axis)


def picked(product: Node) -> Node | None:
    """The sum over the last dimension of a one-hot vector times numbers, for a value that `looked_up` knows."""
    if product.op not in (mul_op, xmuly_op):
        return None
    hit, numbers = product.args
    size = product.shape[-1]
    if hit.op is not real_op or hit.args[0].op is not eq_op or numbers.shape[-1:] != (size,):
        return None
    k, positions = hit.args[0].args
    if not positions.is_const or not np.array_equal(positions.attrs.array, np.arange(size)):
        return None
    found = looked_up(values_first(numbers), k)
    return None if found is None else FUNCTIONS["broadcast_to"](found, product.shape[:-1])


def values_first(numbers: Node) -> Node:
    """The last dimension as the first."""
    return FUNCTIONS["transpose"](numbers, (numbers.ndim - 1, *range(numbers.ndim - 1)))

"""Products with an array of which one element is another in each world: a change of the product with the array itself.

A full product in every world is as much work as there are elements, times the product; the changes are one product of
a number and a row each.
"""

from __future__ import annotations

from scg.analysis.magnitudes import certainly_finite
from scg.ir.axes import union
from scg.ir.node import Node
from scg.ops.contract import contract
from scg.ops.measure import event_to_axis, replace_one_op
from scg.ops.structure import transpose


def changed_by_one(n: Node) -> Node | None:
    """x with one element replaced by v, times b → x b + (v − x) times that row of b, in each world."""
    c = n.attrs
    if c.axes != union(*(a.axes for a in n.args)):
        return None
    for (a, own), (b, other) in (((n.args[0], c.left), (n.args[1], c.right)),
                                 ((n.args[1], c.right), (n.args[0], c.left))):
        if a.op is not replace_one_op or len(own) != 1 or own in c.out or sorted(own + c.out) != sorted(other):
            continue
        (x, v), axis = a.args, a.attrs
        if axis in (*x.axes, *v.axes, *b.axes) or not (certainly_finite(x) and certainly_finite(v)):
            continue
        rows = event_to_axis(transpose(b, tuple(map(other.index, own + c.out))), axis)
        return contract(x, b, own, other, c.out) + event_to_axis(v - x, axis) * rows
    return None

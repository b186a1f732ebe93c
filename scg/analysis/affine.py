"""Where a node is affine in another: linear, but for an addend that does not depend on it.

It is asked of ops as they differentiate themselves: one is affine in some of its arguments if its slopes in these are
not made of them.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from scg.ir.node import Node, facts_of, make
from scg.ir.op import Smoothness
from scg.ir.traverse import ancestors, topological
from scg.ops.leaves import feed


def bend(node: Node, source: Node, held: Container[Node] = ()) -> Node | None:
    """The first op, from the source on, by which the node is not affine in the source; None if it is.

    What is `held` does not move with the source.
    """
    below = {source.id}
    for n in topological([node], outside=lambda n: n in held):
        positions = [i for i, a in enumerate(n.args) if a.id in below]
        if positions and n is not source:
            if not affine(n, positions):
                return n
            below.add(n.id)
    return None


def affine(node: Node, positions: Sequence[int]) -> bool:
    """Whether it is linear, but for an addend, in these arguments together: then its slopes are not made of them."""
    known, key = facts_of(node), (affine, *positions)
    if key not in known:
        known[key] = _affine(node, positions)
    return known[key]


def _affine(node: Node, positions: Sequence[int]) -> bool:
    op = node.op
    if op.derivative is None or any(op.smooth_in(i) is not Smoothness.SMOOTH or node.args[i].kind != "real"
                                    for i in positions):
        return False
    leaves = {i: feed(f"argument {i}", node.args[i].shape, node.args[i].axes) for i in positions}
    y = make(op, tuple(leaves.get(i, a) for i, a in enumerate(node.args)), node.attrs)
    found = op.derivative(feed("adjoint", y.shape, y.axes), y, *y.args)
    slopes = [found[i] for i in positions]
    if any(slope is None for slope in slopes):
        return False
    return ancestors(slopes).isdisjoint(leaf.id for leaf in leaves.values())

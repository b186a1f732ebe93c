"""Steps of a loop that change nothing, wherever something that they read says so: a loop that is over.

A carry or an array of a scan, one number of each replicate, is its *mask* if with 1 in its place a step hands on what
it was handed, and puts out what it was handed, or literals. Then a step that finds a mask of 1 in all lanes need not be
computed: not that of the loop that ends early (`scg.ops.termination`), nor that of its reverse, of which the carries
are sums. How a loop was written has no part in it: a mask that users carry themselves is one as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scg.ir.node import Node, constant
from scg.ir.traverse import Substitution, rebuild, topological
from scg.ops.arithmetic import mul_op
from scg.ops.contract import contract_op
from scg.ops.scan import ScanBody, scan_op
from scg.ops.structure import broadcast_to, broadcast_to_op
from scg.rules.algebra import step

OVER = 1.0  # the mask of a lane in which the loop is over


class Idle(NamedTuple):
    """A mask, and what a step puts out where it is 1: literals, or carries."""

    mask: Node
    ys: tuple[Node, ...]


def idle(body: ScanBody) -> Idle | None:
    """The mask of a scan's steps, if they have one."""
    for mask in _tested(body):
        found = Substitution({mask: constant(OVER)}, _with_mask)
        if all(_unchanged(carry, found(new), mask) for carry, new in zip(body.carries, body.new_carries)):
            ys = tuple(_number(found(y)) for y in body.ys)
            if all(_known(y, like, body) for y, like in zip(ys, body.ys)):
                return Idle(mask, ys)
    return None


def _tested(body: ScanBody) -> Iterator[Node]:
    """Carries and elements of arrays, one number each, of which a truth is made."""
    order = topological(body.outputs)
    for leaf in (*body.carries, *body.xs):
        if leaf.kind == "real" and not leaf.shape and any(
                n.kind == "bool" and any(a is leaf for a in n.args) for n in order):
            yield leaf


def _with_mask(node: Node, args: tuple[Node, ...]) -> Node | None:
    """A node over what its arguments are where the mask is 1."""
    if node.op is scan_op:
        return None
    new = rebuild(node, args)
    while (simpler := _nothing(new) if _vanishes(new) else step(new, exact=True)) is not None:
        new = simpler
    return new


def _vanishes(node: Node) -> bool:
    """Whether it is linear in nothing but zeros, or a product with 0.

    The other factor may be infinite; but after a loop's end nothing depends on it.
    """
    if not node.args or node.kind != "real" or node.op is broadcast_to_op:
        return False
    zeros = [_is_zero(a) for a in node.args]
    return any(zeros) if node.op in (mul_op, contract_op) else all(zeros) and node.op.is_linear(node)


def _nothing(node: Node) -> Node:
    """0 in a node's place."""
    return broadcast_to(constant(0.0), node.shape)


def _unchanged(carry: Node, new: Node, mask: Node) -> bool:
    """Whether a carry is what it was; the mask is 1."""
    return new is carry or (carry is mask and new.is_const and new.attrs.array == OVER)


def _known(y: Node, like: Node, body: ScanBody) -> bool:
    """Whether it need not be computed: a number, or a carry."""
    return (y.is_const and not y.shape) or any(y is carry and y.shape == like.shape for carry in body.carries)


def _is_zero(node: Node) -> bool:
    node = _number(node)
    return node.is_const and node.kind == "real" and not node.attrs.array.any()


def _number(node: Node) -> Node:
    """The number that all elements of a literal are; any other node as it is."""
    inner = node
    while inner.op is broadcast_to_op:
        inner = inner.args[0]
    if not inner.is_const or not inner.size:
        return node
    first = inner.attrs.array.flat[0]
    return constant(first) if (inner.attrs.array == first).all() else node

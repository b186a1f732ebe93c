"""Steps of a loop that change nothing, wherever something that they read says so: a loop that is over.

A carry or an array of a scan, one number of each replicate, is its *mask* if with 1 in its place a step hands on what
it was handed, and puts out what it was handed, or literals. Then a step that finds a mask of 1 in all lanes need not be
computed: not that of the loop that ends early (`scg.ops.termination`), nor that of its reverse, of which the carries
are sums. What is multiplied by 0 there may be infinite: nothing depends on it. How a loop was written has no part in
it: a mask that users carry themselves is one as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.scan import ScanBody
from scg.rules.given import uniform, with_numbers

OVER = 1.0  # the mask of a lane in which the loop is over


class Idle(NamedTuple):
    """A mask, and what a step puts out where it is 1: literals, or carries."""

    mask: Node
    ys: tuple[Node, ...]


def idle(body: ScanBody) -> Idle | None:
    """The mask of a scan's steps, if they have one."""
    for mask in _tested(body):
        found = with_numbers({mask: OVER})
        if all(_unchanged(carry, found(new), mask) for carry, new in zip(body.carries, body.new_carries)):
            ys = tuple(uniform(found(y)) for y in body.ys)
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


def _unchanged(carry: Node, new: Node, mask: Node) -> bool:
    """Whether a carry is what it was; the mask is 1."""
    return new is carry or (carry is mask and new.is_const and new.attrs.array == OVER)


def _known(y: Node, like: Node, body: ScanBody) -> bool:
    """Whether it need not be computed: a number, or a carry."""
    return (y.is_const and not y.shape) or any(y is carry and y.shape == like.shape for carry in body.carries)

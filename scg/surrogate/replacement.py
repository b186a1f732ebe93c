"""What stands in place of a site's draws: in replays, where they are differentiated, or wherever they are seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scg.distributions.distribution import Distribution
from scg.ir.axes import Axes
from scg.ir.node import Node, NodeLike, constant, make
from scg.ops.control import stop_gradient
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.structure import broadcast_to

Value = Callable[[Distribution, Node, Node], Node]
"""``value(dist, x, noise)``: a replacement of the draws x."""
Instead = Callable[[Distribution, Node, Node], Node | None]
"""``instead(dist, x, noise)``: what stands for a later site's draws x, or None if they stay."""
Draw = Callable[[Distribution, Node], Node]
"""``value(dist, x)``: one that needs no stream."""


def drawn_anew(x: Node, value: Draw) -> Node:
    """What ``value(dist, x)`` puts in the place of the draws x."""
    return broadcast_to(constant(value(distribution_of(x), x)), x.shape)


def along_paths(node: Node, args: tuple[Node, ...], instead: Instead | None = None) -> Node | None:
    """A hook of substitutions: of a sample node of other arguments its path, if the family has one, or what is given.

    Of `instead` see `Site.linearised`.
    """
    if node.op is not sample_op:
        return None
    dist = distribution_of(node, args)
    if not node.attrs.family.support.integral and node.attrs.family.can("reparameterise"):
        return broadcast_to(dist.reparameterise(args[-1]), node.shape)
    found = None if instead is None else instead(dist, make(sample_op, args, node.attrs), args[-1])
    return None if found is None else broadcast_to(found, node.shape)


def replacement(old: Node, x: Node, value: Value) -> dict[Node, Node]:
    """What stands in place of a sample node `old`, which has become x, and of what the noise of its draw gives."""
    dist, noise = distribution_of(x), x.args[-1]
    new = broadcast_to(constant(value(dist, x, noise)), x.shape)
    if _made_of(new, x):  # what is made of the draw is not the noise's other form of it
        return {old: new}
    of_draw = distribution_of(old).of_draw(old, old.args[-1])
    return {old: new, **dict(zip(of_draw, dist.of_draw(new, noise).values()))}


def _made_of(node: Node, x: Node) -> bool:
    """Whether x is among what a node is computed from; arguments have smaller ids, so what is older is not entered."""
    waiting: list[Node] = [node]
    seen: set[int] = set()
    while waiting:
        n = waiting.pop()
        if n is x:
            return True
        waiting += [a for a in n.args if a.id >= x.id and a.id not in seen]
        seen.update(a.id for a in n.args)
    return False


def more_worlds(new: Node, x: Node) -> Axes:
    """World axes that a replacement brings along: those of the values that it takes."""
    return tuple(axis for axis in new.axes if not axis.statistical and axis not in x.axes)


def moved_by(x: Node, y: NodeLike) -> Node:
    """x with the derivative of y: its value, to the last bit, stays what it is."""
    return x + (constant(y) - stop_gradient(y))


def all_combinations(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """All arrays of draws of the shape that are among the values, one after another."""
    count = int(np.prod(shape, dtype=int))
    powers = np.array([len(values) ** i for i in range(count)][::-1], dtype=np.int64)
    which = np.arange(len(values) ** count)[:, None] // powers % len(values)
    return np.asarray(values)[which].reshape((-1, *shape, *np.shape(values)[1:]))


def draws_of(node: Node) -> tuple[int, ...]:
    """The shape of the draws of a sample node: its own without that of one draw."""
    return node.shape[: node.ndim - node.attrs.family.support.event_ndim]

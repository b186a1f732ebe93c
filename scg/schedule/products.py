"""What contractions run over, which are worth being matrix products, and what these find in arrays; see `Matrices`."""

from __future__ import annotations

import math

from scg.ir.axes import union
from scg.ir.node import Node
from scg.ops.structure import transpose_op
from scg.schedule.domains import Domain, vector_of

LEAST = 1024  # products that are summed for a lane from which on a matrix product is faster than loops
NARROW = 256  # … and LEAST / NARROW is the least of rows and of columns


def letters(node: Node) -> str:
    """All index letters of a contraction: those of the result, then those that are summed."""
    c = node.attrs
    return c.out + "".join(sorted(set(c.left + c.right) - set(c.out)))


def product_space(node: Node, shared: bool) -> Domain:
    """The domain of the products that a contraction adds up."""
    sizes = {ch: s for sub, a in zip((node.attrs.left, node.attrs.right), node.args) for ch, s in zip(sub, a.shape)}
    axes = union(*(a.axes for a in node.args))
    worlds = tuple((ax.name, ax.size) for ax in axes if not ax.statistical)
    return Domain(worlds, tuple(sizes[ch] for ch in letters(node)), vector_of(axes, shared))


def through_transposes(node: Node, names: str) -> tuple[Node, str]:
    """The array that a node has another order of, and the names of its dimensions."""
    while node.op is transpose_op or node.op.transparent:
        if node.op is transpose_op:
            names = "".join(names[node.attrs.index(d)] for d in range(node.ndim))
        node = node.args[0]
    return node, names


def sizes_of(node: Node) -> tuple[tuple[str, int], ...]:
    """How long the dimension of each letter is."""
    c = node.attrs
    return tuple({ch: s for sub, a in zip((c.left, c.right), node.args) for ch, s in zip(sub, a.shape)}.items())


def sides_of(node: Node) -> list[Node]:
    """What a contraction that may be a matrix product must find in arrays."""
    return [through_transposes(a, " " * a.ndim)[0] for a in node.args] if promising(node) else []


def promising(node: Node) -> bool:
    """Whether a contraction combines as many elements, in as many rows and columns, as matrix products are made for."""
    c, (a, b) = node.attrs, node.args
    sizes = {ch: s for sub, n in ((c.left, a), (c.right, b)) for ch, s in zip(sub, n.shape)}
    extent = {"rows": 1, "columns": 1}
    varying = [any(ax.statistical for ax in n.axes) for n in (a, b)]
    if all(varying):
        return False
    for side, own, other, lanes in (("rows", c.left, c.right, varying[0]), ("columns", c.right, c.left, varying[1])):
        extent[side] = math.prod(sizes[ch] for ch in own if ch in c.out and ch not in other) * (LEAST if lanes else 1)
    return enough(math.prod(sizes.values()), extent["rows"], extent["columns"])


def enough(combined: int, *sides: int | str) -> bool:
    """Whether a product is large that combines so many elements for a lane, in so many rows and columns."""
    return combined >= LEAST and all(n * NARROW >= LEAST for n in sides if not isinstance(n, str))

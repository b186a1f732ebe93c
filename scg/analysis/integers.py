"""Which nodes have integer values, and how large they can be."""

from __future__ import annotations

import numpy as np

from scg.errors import ShapeError
from scg.ir.node import Node
from scg.ir.printer import short
from scg.ir.refused_uses import using
from scg.ir.traverse import topological


def integral(node: Node) -> bool:
    """Whether the node's values are integers for certain."""
    known: dict[int, bool] = {}
    for n in topological([node]):
        known[n.id] = _integral(n, known)
    return known[node.id]


def _integral(n: Node, known: dict[int, bool]) -> bool:
    if n.op.name == "const":
        return bool(np.all(n.attrs.array == np.floor(n.attrs.array)))
    if n.op.name == "sample":
        return n.attrs.family.support.integral
    if n.op.name == "whole_power":
        return n.attrs[0] >= 0 and known[n.args[0].id]
    if n.op.integral == "always" or n.kind == "bool":
        return True
    return n.op.integral == "closed" and all(known[a.id] or a.kind == "bool" for a in n.args)


def check_index(k: Node, size: int, use: str) -> None:
    """Raise unless `k` can index a dimension of that size.

    Parameters
    ----------
    k : Node
    size : int
    use : str
        What it is used for, in words.

    Raises
    ------
    ShapeError
        If its values are not integers for certain, or are known to leave the dimension.
    """
    if not integral(k):
        raise ShapeError(using(k), f"{use}, by {short(k)}.", "Its values need not be integers.",
                         "Give it a sample of integer support, or scg.floor of the node.")
    values = _known_values(k)
    if values is not None and values.size and (values.min() < 0 or values.max() >= size):
        raise ShapeError(
            using(k), f"{use}, by {short(k)}.", f"Its values run from {int(values.min())} to {int(values.max())}.",
            f"Make the size {int(values.max()) + 1}, or give it integers from 0 to {size - 1}.")


def _known_values(k: Node) -> np.ndarray | None:
    """All values of a literal, or of a sample of finite support."""
    from scg.ops.randomness import distribution_of

    if k.op.name == "const":
        return k.attrs.array
    return distribution_of(k).support_values() if k.op.name == "sample" else None

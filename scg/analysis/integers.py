"""Which nodes have integer values, and how large they can be."""

from __future__ import annotations

import numpy as np

from scg.errors import ShapeError
from scg.ir.location import here
from scg.ir.node import Node
from scg.ir.printer import short, title
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


def check_index(k: Node, size: int) -> None:
    """Raise unless `k` can index a dimension of that size.

    Raises
    ------
    ShapeError
        If its values are not integers for certain, or a finite support leaves the dimension.
    """
    if not integral(k):
        raise ShapeError(
            f"{here()}, {title(k)}", f"An array was indexed by {short(k)}.", "Its values need not be integers.",
            "Index by a sample of integer support, or by scg.floor of the node.")
    from scg.ops.randomness import distribution_of

    if k.op.name == "sample":
        values = distribution_of(k).support_values()
        if values is not None and (values.min() < 0 or values.max() >= size):
            raise ShapeError(
                f"{here()}, {title(k)}", f"An array of length {size} was indexed by it.",
                f"Its values run from {int(values.min())} to {int(values.max())}.",
                f"Make the array {int(values.max()) + 1} long, or index by a smaller sample.")



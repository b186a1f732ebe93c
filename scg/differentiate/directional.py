"""Derivatives along a direction, from reverse mode twice.

⟨u, ∂y·v⟩ = ⟨∂yᵀu, v⟩ is linear in u, so its gradient in u is ∂y·v, the derivative of y along v. Of a product of a
matrix and a vector that is the product of the matrix's direction and the vector: what it costs is a forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scg.differentiate.reverse_mode import gradients
from scg.ir.axes import LANE, union
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute
from scg.ops.leaves import feed
from scg.ops.reduce import total


def derivative_along(node: Node, direction: Mapping[Node, Node], finite: Sequence[Node] = ()) -> Node | None:
    """The derivative of a node as so much is added to others; None if none flows from these.

    Parameters
    ----------
    node : Node
        Without world axes.
    direction : dict of Node to Node
        What is moved, and along what, of the same shape.
    finite : sequence of Node
        What is known to be finite: there is no mask where it chooses.
    """
    every = union((LANE,), node.axes, *(v.axes for v in direction.values()))
    u = feed("(cotangent)", node.shape, every)
    adjoints = gradients({total(u * node): constant(1.0)}, list(direction), ("row", "lane"), finite=finite)
    slope = [total(g * v) for g, v in zip(adjoints, direction.values()) if g is not None]
    if not slope:
        return None
    (found,) = gradients({sum(slope[1:], slope[0]): constant(1.0)}, [u], ("row", "lane"), finite=finite)
    return None if found is None else substitute([found], {u: constant(np.zeros(u.shape))})[0]

"""What is made of all elements along an axis but one, for each of them.

That element i of the result does not depend on element i can be seen of the nodes: nothing is added that is taken away
again.
"""

from __future__ import annotations

import numpy as np

from scg.ir.node import Node, constant
from scg.ir.said import said
from scg.ops.indices import getitem
from scg.ops.structure import concatenate, prefix_sum, suffix_sum, transpose


def others(node: Node, axis: int) -> Node:
    """Along a new dimension after `axis`, which has n indices: for each of these the elements at the n − 1 others."""
    n = node.shape[axis]
    which = np.array([[j for j in range(n) if j != i] for i in range(n)], dtype=int).reshape(n, n - 1)
    return getitem(node, (*[slice(None)] * axis, which))


def mean_of_others(node: Node, axis: int) -> Node:
    """For each index along `axis` the mean at the others, of which there must be one at least."""
    order = (axis, *(d for d in range(node.ndim) if d != axis))
    x = transpose(node, order)
    none = constant(np.zeros((1, *x.shape[1:])))
    before = concatenate([none, prefix_sum(x)[:-1]])
    after = concatenate([suffix_sum(x)[1:], none])
    mean = transpose((before + after) / (node.shape[axis] - 1.0), tuple(int(i) for i in np.argsort(order)))
    return said(mean, f"mean_of_others({{0}}, axis={axis})", node)

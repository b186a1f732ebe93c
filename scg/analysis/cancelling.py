"""Draws that cancel: of h.sum() − h each element is made of all draws of h but its own."""

from __future__ import annotations

import numpy as np

from scg.analysis.differentials import Differentials
from scg.analysis.polynomial_arrays import Unproved
from scg.ir.node import Node


def own_draws_cancel(node: Node, site: str, signals: np.ndarray) -> bool:
    """Whether it is proved that no element of a node is made of the draws of a site that belong to it.

    Parameters
    ----------
    node : Node
    site : str
        One outside of loops.
    signals : array of int
        For each element of the site's draws, the number of the node's element that it belongs to. Of a scalar node no
        draw at all may be left.
    """
    graph = Differentials(())
    try:
        value = graph(node).value
    except Unproved:
        return False
    drawn = [graph.atoms.drawn(p) for p in np.broadcast_to(value, node.shape).flat]
    return all(not drawn[signals[index] if node.ndim else 0] & bit
               for index, bit in graph.draws_of(site, signals.shape).items())

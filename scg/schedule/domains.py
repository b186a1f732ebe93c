"""What loop nests run over, and what is written out in them instead, element by element."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from scg.ir.node import Node
from scg.schedule.rules import kept_with_nodes, rule_of

UNROLLED = 16  # a node of at most so many elements is written out element by element, and stays in registers
PRODUCTS = 64  # of arrays that are written out: a matrix of so many elements at most


class Domain(NamedTuple):
    """What a nest runs over: world axes, event dimensions, and the vector dimension (``"lane"``, ``"row"`` or None)."""

    worlds: tuple[tuple[str, int], ...]
    event: tuple[int, ...]
    vector: str | None

    @property
    def elements(self) -> int:
        """Iterations outside the vector dimension."""
        return math.prod([s for _, s in self.worlds]) * math.prod(self.event)


def vector_of(axes: Iterable, shared: bool) -> str | None:
    """The vector dimension of a node: lanes, else rows; where rows are an outer loop they are no vector dimension."""
    names = {ax.name for ax in axes}
    return "lane" if "lane" in names else "row" if "row" in names and not shared else None


def domain_of(node: Node, shared: bool) -> Domain:
    """The domain of a node's elements."""
    worlds = tuple((ax.name, ax.size) for ax in node.axes if not ax.statistical)
    return Domain(worlds, node.shape, vector_of(node.axes, shared))


def nest_domain(node: Node, shared: bool) -> Domain:
    """The domain of the nest that computes a buffer."""
    rule = rule_of(node)
    if rule.space is not None:
        return rule.space(node, shared)
    return domain_of(node.args[0] if rule.reduction is not None else node, shared)


def own_loops(node: Node, shared: bool, most: int) -> bool:
    """Whether a node is computed by loops of its own, not in a nest with others."""
    return rule_of(node).statements is not None and not inlined(node, shared, most)


@kept_with_nodes
def inlined(node: Node, shared: bool, most: int) -> bool:
    """Whether a reduction or running sum is written out where it is used, where so many elements are at most."""
    rule = rule_of(node)
    if rule.running:
        return domain_of(node, shared).elements <= most
    if rule.reduction is None:
        return False
    own, whole = domain_of(node, shared).elements, nest_domain(node, shared)
    if rule.space is not None and own <= most and whole.elements > PRODUCTS:
        return False
    # a mean over rows or lanes is no scalar expression
    return bool(own) and whole.elements // max(own, 1) <= most and whole.vector == domain_of(node, shared).vector

"""What is certain of a node's range: enough to leave out checks that cannot fail."""

from __future__ import annotations

import numpy as np

from scg.distributions.constraints import Constraint, positive, unit_interval, weights
from scg.ir.node import Node

_POSITIVE = {"exp", "softplus", "sigmoid"}


def holds(constraint: Constraint, node: Node) -> bool:
    """Whether every value of the node satisfies the constraint for certain."""
    if node.op.name == "const":
        return bool(np.all(constraint.test(node.attrs.array)))
    if constraint is positive or constraint is weights:
        return is_positive(node)
    return constraint is unit_interval and in_unit_interval(node)


def is_positive(node: Node) -> bool:
    """Whether the node is above 0 for certain (up to underflow)."""
    if node.op.name == "const":
        return bool(np.all(node.attrs.array > 0))
    if node.op.name in _POSITIVE:
        return True
    if node.op.name in ("mul", "div", "add", "maximum", "sum", "reshape", "transpose", "broadcast_to", "getitem",
                        "sqrt", "stack", "concatenate"):
        return all(is_positive(a) for a in node.args)
    return False


def in_unit_interval(node: Node) -> bool:
    """Whether the node lies between 0 and 1 for certain."""
    if node.op.name == "const":
        return bool(np.all((node.attrs.array >= 0) & (node.attrs.array <= 1)))
    if node.op.name in ("sigmoid", "real"):
        return True
    if node.op.name == "sub" and node.args[0].op.name == "const" and np.all(node.args[0].attrs.array == 1.0):
        return in_unit_interval(node.args[1])
    if node.op.name in ("mul", "reshape", "transpose", "broadcast_to", "getitem", "stack", "concatenate"):
        return all(in_unit_interval(a) for a in node.args)
    return False

"""What nodes become where leaves have given numbers: by the rules that keep the last bit, and 0 · x → 0.

The other factor of 0 may be infinite; who asks says why that does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scg.ir.node import Node, constant
from scg.ir.traverse import Substitution, rebuild
from scg.ops.arithmetic import mul_op, where_op
from scg.ops.contract import contract_op
from scg.ops.scan import scan_op
from scg.ops.structure import broadcast_to, broadcast_to_op
from scg.rules.algebra import step


def with_numbers(numbers: Mapping[Node, float]) -> Callable[[Node], Node]:
    """A function of nodes that says what becomes of one."""
    return Substitution({leaf: constant(number) for leaf, number in numbers.items()}, _simpler)


def uniform(node: Node) -> Node:
    """The number that all elements of a literal are; any other node as it is."""
    inner = node
    while inner.op is broadcast_to_op:
        inner = inner.args[0]
    if not inner.is_const or not inner.size:
        return node
    if not inner.shape:
        return inner
    first = inner.attrs.array.flat[0]
    return constant(first) if (inner.attrs.array == first).all() else node


def is_zero(node: Node) -> bool:
    """Whether it is a literal of zeros."""
    node = uniform(node)
    return node.is_const and node.kind == "real" and not node.attrs.ask("any")


def _simpler(node: Node, args: tuple[Node, ...]) -> Node | None:
    if node.op is scan_op:
        return None
    new = rebuild(node, args)
    while (simpler := _nothing(new) if _vanishes(new) else step(new, exact=True)) is not None:
        new = simpler
    return new


def _vanishes(node: Node) -> bool:
    """Whether it is linear in nothing but zeros, or 0 either way, or a product with 0."""
    if not node.args or node.kind != "real" or node.op is broadcast_to_op:
        return False
    zeros = [is_zero(a) for a in node.args]
    if node.op is where_op:
        return zeros[1] and zeros[2]
    return any(zeros) if node.op in (mul_op, contract_op) else all(zeros) and node.op.is_linear(node)


def _nothing(node: Node) -> Node:
    """0 in a node's place."""
    return broadcast_to(constant(0.0), node.shape)

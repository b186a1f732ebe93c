"""What is done to the steps of loops, and to those of loops inside of them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

from scg.ir import loop_numbers
from scg.ir.node import Node, make
from scg.ir.traverse import Substitution, substitute, topological
from scg.ops.scan import ScanBody, scan_op


def in_bodies(roots: Sequence[Node], of: Callable[[Sequence[Node]], list[Node]],
              but: Container[Node] = ()) -> list[Node]:
    """The roots with a pass over the steps of those scans that have scans inside, `but` of some."""
    outer = [n for n in topological(roots) if n.op is scan_op and n not in but and has_scans(n.attrs.outputs)]
    new = Substitution()
    for node in outer:
        args, outputs = tuple(map(new, node.args)), of_body(node.attrs, node.attrs.outputs, of)
        new.put(node, make(scan_op, args, node.attrs.with_outputs(tuple(outputs))))
    return list(map(new, roots))


def of_body(body: ScanBody, outputs: Sequence[Node], of: Callable[[Sequence[Node]], list[Node]]) -> list[Node]:
    """What a pass makes of some nodes of a body.

    It works on leaves that have names of their own: those of a body and of one inside it are the same nodes.
    """
    tag = loop_numbers.fresh()
    own = [make(leaf.op, (), leaf.attrs._replace(name=f"{tag}:{leaf.attrs.name}"))
           for leaf in (body.step, *body.carries, *body.consts, *body.xs)]
    leaves = dict(zip((body.step, *body.carries, *body.consts, *body.xs), own))
    return substitute(of(substitute(outputs, leaves)), {new: leaf for leaf, new in leaves.items()})


def has_scans(roots: Sequence[Node]) -> bool:
    """Whether a loop is among what the roots are made of."""
    return any(n.op is scan_op for n in topological(roots))

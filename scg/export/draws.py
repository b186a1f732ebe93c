"""What the names of draws, noise and carries stand for, as nodes that a program can record.

A symbol is indexed by the steps of the loops around, outermost first, by world, and by element: so is what is recorded.
A carry has one step more, the last: what it is after the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from scg.export.names import names_of
from scg.ir.node import Node, as_real
from scg.ops.measure import axis_to_event
from scg.ops.scan import out, put_out
from scg.ops.structure import concatenate
from scg.surrogate.derivation import Derivation


def recorded(node: Node, loop) -> Node:
    """A node, inside of a loop in all its steps, with its steps and worlds as dimensions before its own."""
    worlds = [ax for ax in node.axes if not ax.statistical]
    carry = None if loop is None else next((i for i, c in enumerate(loop.scan.attrs.carries) if c is node), None)
    stacked, steps = as_real(node), 0
    if carry is not None:
        after = out(loop.scan, carry)
        stacked = concatenate([put_out(loop.scan, stacked), after.reshape(1, *after.shape)])
        loop, steps = loop.parent, 1
    while loop is not None:
        stacked, loop, steps = put_out(loop.scan, stacked), loop.parent, steps + 1
    for ax in [ax for ax in stacked.axes if not ax.statistical and ax not in worlds]:
        stacked = axis_to_event(stacked, ax)[0]  # of the loop, but not of the node
    for ax in reversed(worlds):
        stacked = axis_to_event(stacked, ax)
    w = len(worlds)
    order = (*range(w, w + steps), *range(w), *range(w + steps, stacked.ndim))
    return stacked.transpose(order) if w and steps else stacked


def recorded_by_name(derivation: Derivation, asked: Sequence[str]) -> dict[str, Node]:
    """What symbols stand for that no name of the graph does: other draws of a site, noise, and draws in worlds."""
    if not asked:
        return {}
    names, graph = names_of(derivation), derivation.graph
    found = {}
    for name in asked:
        shown = names.given(name) if name in graph.nodes else name
        node, loop = names.drawn.get(shown, names.drawn.get(names.places.get(shown, ""), (None, None)))
        if node is not None and (name not in graph.nodes or any(not ax.statistical for ax in node.axes)):
            found[name] = recorded(node, loop)
    return found

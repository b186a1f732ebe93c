"""Kinks at which a derivative is taken with positive probability: the expected cost has none there.

The derivative of max(q − D, 0) at q = D is the mean of both sides', by convention. A random number with a density is
there with probability 0; a count, a label, or data may well be, and so may max(z, 0), which is 0 half of the time. So
ties are counted where no density spreads them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from scg.analysis.smoothness import State, flow_inside, may_tie
from scg.ir.node import Node, as_real, where
from scg.ir.op import Smoothness
from scg.ir.printer import title
from scg.ir.traverse import topological
from scg.ops.measure import axis_sum
from scg.ops.reduce import total
from scg.ops.scan import put_out, scan_op

_STOPS = (Smoothness.BLOCKING, Smoothness.DISCONTINUOUS)


class Tie(NamedTuple):
    """How many ties there are, 0 if none, and what to say of them."""

    text: str
    number: Node


def ties(roots: Sequence[Node], sources: Iterable[Node]) -> list[Tie]:
    """Ties at the kinks through which derivatives of the roots flow, unless a density makes them all but impossible."""
    if next(kinked(roots), None) is None:
        return []
    known, inside = flow_inside(roots, sources)
    found = list(_among(_differentiated(roots), known, inside, lambda node: node))
    return [Tie(text, _summed(count)) for text, count in found]


def kinked(roots: Sequence[Node]) -> Iterator[Node]:
    """The nodes with a kink through which derivatives of the roots flow, those of loops' steps too."""
    return (n for nodes in _bodies(roots) for n in nodes if n.op.tied is not None)


def kink_of(roots: Sequence[Node], drawn: Collection[Node]) -> Node | None:
    """A node with a kink that some draws go through on the way to the roots; None if there is none outside of loops."""
    return next((n for n in kinked(roots) if not set(drawn).isdisjoint(topological([n]))), None)


def _bodies(roots: Sequence[Node]) -> Iterator[list[Node]]:
    nodes = _differentiated(roots)
    yield nodes
    for scan in (n for n in nodes if n.op is scan_op):
        yield from _bodies(scan.attrs.outputs)


def _differentiated(roots: Sequence[Node]) -> list[Node]:
    """The nodes that reach a root by edges along which derivatives flow."""
    reached = {root.id for root in roots}
    order = topological(roots)
    for node in reversed(order):
        if node.id in reached:
            reached.update(a.id for i, a in enumerate(node.args)
                           if node.op is scan_op or node.op.smooth_in(i) not in _STOPS)
    return [n for n in order if n.id in reached]


def _among(nodes: Sequence[Node], known: Mapping[int, State], inside: Mapping[int, Mapping[int, State]],
           outside: Callable[[Node], Node]) -> Iterator[tuple[str, Node]]:
    for node in nodes:
        if node.op is scan_op:
            yield from _among(_differentiated(node.attrs.outputs), inside[node.id], inside,
                              lambda inner, scan=node: outside(put_out(scan, inner)))
        elif node.op.tied is not None and known[node.id].differentiated and may_tie(node, known):
            text = (f"{where(node)}: the {title(node)} was differentiated at its kink, where its derivative is the "
                    "mean of both sides'")
            yield text, outside(total(as_real(node.op.tied(node))))


def _summed(count: Node) -> Node:
    """Over steps and worlds."""
    return axis_sum(total(count), tuple(ax.name for ax in count.axes if not ax.statistical))

"""Kinks at which a derivative is taken with positive probability: the expected cost has none there.

The derivative of max(q − D, 0) at q = D is the mean of both sides', by convention. A random number with a density is
there with probability 0; a count, a label, or data may well be, and so may max(z, 0), which is 0 half of the time. So
ties are counted where no density spreads them, unless both arguments are one quantity, as r A and clip(r, 0.8, 1.2) A
between the bounds: there both sides have one derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

from scg.analysis.smoothness import State, flow_inside, may_tie
from scg.ir.node import Node, as_real, constant, where
from scg.ir.op import EVERY, Smoothness
from scg.ir.printer import title
from scg.ir.traverse import topological
from scg.ops.measure import axis_sum
from scg.ops.reduce import total
from scg.ops.scan import put_out, scan_op

DEEP = 4  # steps in which two arguments are seen to be one quantity
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


def kink_at(line: str, roots: Sequence[Node]) -> Node | None:
    """The node with a kink that a line of the user's has written: a comparison from there is its slope."""
    return next((n for n in kinked(roots) if str(n.source) == line), None)


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
            yield text, outside(total(as_real(_ties_that_matter(node))))


def _ties_that_matter(node: Node) -> Node:
    """Where the arguments of an op stand at its kink, and are not one quantity, which moves in one way."""
    tied = node.op.tied(node)  # type: ignore[misc]
    alike = _alike(node.args[0], node.args[1], DEEP) if _picks_one(node) else None
    return tied if alike is None else tied & ~alike


def _alike(a: Node, b: Node, depth: int) -> Node | None:
    """Where two nodes are one quantity: one hands on the other, as clip(x) does x, or both are made of such in one way.

    None if they are nowhere, as far as is seen in so many steps.
    """
    if a is b:
        return constant(True)
    found = [] if depth == 0 else [*_handed_on(a, b, depth), *_handed_on(b, a, depth)]
    if depth > 0 and a.op is b.op and a.op.kind == "elementwise" and a.attrs == b.attrs and a.args:
        each = [_alike(x, y, depth - 1) for x, y in zip(a.args, b.args)]
        if len(a.args) == len(b.args) and all(e is not None for e in each):
            found.append(reduce(and_, each))  # type: ignore[arg-type]
    return reduce(or_, found) if found else None


def _handed_on(a: Node, b: Node, depth: int) -> Iterator[Node]:
    """Where `a` is the one argument that `b` picks, by argument."""
    for arg in b.args if _picks_one(b) else ():
        alike = _alike(a, arg, depth - 1)
        if alike is not None:
            yield alike & (b == arg) & ~b.op.tied(b)  # type: ignore[misc]


def _picks_one(node: Node) -> bool:
    """Whether an op with a kink has the value of one of its two arguments, as a maximum."""
    return node.op.tied is not None and node.op.picks == EVERY and len(node.args) == 2


def _summed(count: Node) -> Node:
    """Over steps and worlds."""
    return axis_sum(total(count), tuple(ax.name for ax in count.axes if not ax.statistical))

"""Sums over the steps of a loop are added up in the loop, so that nobody keeps what each step puts out.

In: roots. Out: the same roots, in which Σₜ f(yₜ), of what a loop puts out, is a carry of that loop, wherever nothing
else reads these yₜ. So are costs that no draw is weighed by step by step, and the checks of parameters. What is kept of
a replicate does not grow with the number of steps then.
"""

from __future__ import annotations

from collections.abc import Sequence

from scg.analysis.by_step import ByStep
from scg.analysis.decisions import decided
from scg.ir.location import derived_from
from scg.ir.node import Node
from scg.ir.traverse import substitute, topological
from scg.ops.reduce import sum_op
from scg.ops.scan import out_op, scan_op, stacked


def add_up_in_steps(roots: Sequence[Node]) -> list[Node]:
    """The roots with such sums as carries."""
    roots = list(roots)
    while (mapping := _carried(roots)) is not None:
        roots = substitute(roots, mapping)
    return roots


def _carried(roots: Sequence[Node]) -> dict[Node, Node] | None:
    """For the first loop that has such sums, what becomes of them and of its results."""
    order = topological(roots)
    for scan in (n for n in order if n.op is scan_op and n.attrs.length > 1):
        steps = ByStep(scan)
        sums = _that_alone_read(order, roots, steps)
        if sums:
            return _moved(order, sums, steps)
    return None


def _that_alone_read(order: Sequence[Node], roots: Sequence[Node], steps: ByStep) -> list[Node]:
    """The sums that steps can add up, and that alone read what they are made of."""
    ends, read = {root.id for root in roots}, decided(roots)
    found = {n.id: n for n in order if n.op is sum_op and 0 in n.attrs and n.id not in read
             and steps.below(n) and steps.all_added(n.args[0], n.attrs) is not None}
    while found:
        gone: dict[int, bool] = {n.id: n.id not in ends for n in order}
        for n in reversed(order):
            for a in n.args:
                gone[a.id] &= n.id in found or gone[n.id]
        kept = {i: n for i, n in found.items() if all(gone[leaf.id] for leaf in _put_out(n, steps))}
        if len(kept) == len(found):
            break
        found = kept
    return list(found.values())


def _put_out(node: Node, steps: ByStep) -> list[Node]:
    """What the scan puts out that a node is made of."""
    order = topological([node], outside=lambda n: not steps.below(n))
    return [n for n in order if n.op is out_op and n.args[0] is steps.scan and stacked(n)]


def _moved(order: Sequence[Node], sums: Sequence[Node], steps: ByStep) -> dict[Node, Node]:
    values = []
    for n in sums:
        with derived_from(n.source):
            value = steps.all_added(n.args[0], n.attrs)
            assert value is not None
            values.append(value)
    loop = steps.adding([steps.adds(value) for value in values])
    mapping = loop.instead(n for n in order if n.op is out_op and n.args[0] is steps.scan)
    return {**mapping, **{n: loop.total(i) for i, n in enumerate(sums)}}

"""Mean field: a graph with every site replaced by its mean given the means upstream, in the bodies of scans too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from scg.errors import ConditionError
from scg.ir.node import Node
from scg.ir.traverse import rebuild, topological
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import Opened, open_scan, scan_op
from scg.ops.structure import broadcast_to


def mean_field(roots: list[Node], fixed: dict[Node, Node], keep_others: tuple[Node, ...] = (),
               inside: Callable[[Opened], Opened] | None = None) -> list[Node]:
    """The roots with every site replaced by its mean given the means upstream, except those in `fixed` or kept.

    `inside` does the same in the body of a scan, if it is not `means_inside` that should.
    """
    memo = {old.id: new for old, new in fixed.items()}
    memo.update((n.id, n) for n in keep_others)
    for node in topological(roots):
        if node.id in memo:
            continue
        args = tuple(memo[a.id] for a in node.args)
        same = all(a is b for a, b in zip(args, node.args))
        if node.op is sample_op:
            memo[node.id] = broadcast_to(_mean(node, args), node.shape)
            continue
        rebuilt = node if same else rebuild(node, args)
        if node.op is scan_op:
            opened = open_scan(rebuilt)
            rebuilt = (inside(opened) if inside else means_inside(opened, {})).close()
        memo[node.id] = rebuilt
    return [memo[r.id] for r in roots]


def _mean(node: Node, args: tuple[Node, ...]) -> Node:
    """The mean of a site, given the means upstream."""
    dist = distribution_of(node, args)
    if not dist.able("mean"):
        raise ConditionError(
            str(node.source), f"A draw of {node.attrs.family.__name__} was to be replaced by its mean.",
            "In a mean-field pass, which an estimator makes for a site elsewhere, the mean of every other site stands "
            "in place of its draw, and of this one none is known.",
            "Use ScoreFunction() in place of that estimator: it needs values of the cost only.")
    return dist.mean


def means_inside(opened: Opened, fixed: dict[Node, Node], inside: Callable[[Opened], Opened] | None = None) -> Opened:
    """The body of a scan with its sites replaced by their means, except those in `fixed`; of `inside`, as above."""
    new = mean_field(list(opened.new_carries + opened.ys), fixed, inside=inside)
    k = len(opened.carries)
    return replace(opened, new_carries=tuple(new[:k]), ys=tuple(new[k:]))

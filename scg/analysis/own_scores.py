"""Costs in which log p of a draw, at the parameters that it is drawn with, multiplies a stopped value of that draw.

That is how a policy loss is written where nobody adds scores. Here it is a cost as any other, whose mean is
differentiated with all that moves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scg.analysis.influence import sites
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.arithmetic import NEUTRAL, mul_op, stop_gradient_op, where_op
from scg.ops.contract import contract_op
from scg.ops.control import is_stop
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import of_step, scan_op, stacked


def weighed_scores(roots: Sequence[Node]) -> Iterator[tuple[str, Node]]:
    """The sites, each with the stopped value that multiplies log p of its draw; in the bodies of scans too.

    Parameters
    ----------
    roots : sequence of Node

    Yields
    ------
    str, Node
    """
    for node in topological(roots):
        if node.op is scan_op:
            yield from weighed_scores(node.attrs.outputs)
        elif node.op in (mul_op, contract_op):
            for weight, log_p in (node.args, node.args[::-1]):
                *_, stop = _bare(weight)
                site = _scored(log_p) if is_stop(stop) else None
                if site is not None and any(s.name == site for s in sites([stop])):
                    yield site, stop


def _bare(node: Node) -> Iterator[Node]:
    """A factor, and it without its sign, numbers that multiply it, and what only moves or adds up its elements."""
    while True:
        yield node
        of = [a for a in node.args if not a.is_const]
        if stacked(node):
            node = of_step(node)
        elif node.op is where_op and node.args[1].is_const:  # where a loop is over nothing is put out
            node = node.args[2]
        elif len(of) == 1 and not is_stop(node) and (
                node.op is mul_op or (len(node.args) == 1 and node.op.is_linear(node))):
            node = of[0]
        else:
            return


def _scored(factor: Node) -> str | None:
    """The site of whose draw it is the log-probability."""
    *_, last = parts = list(_bare(factor))
    draws = (n for n in topological([last]) if n.op is sample_op and n.attrs.family.can("log_prob"))
    return next((x.attrs.site for x in draws if any(_log_prob(x) is part for part in parts)), None)


def _log_prob(draw: Node) -> Node:
    """log p of a draw, at parameters as they were declared: not held where its loop is over."""
    args = [a.args[2] if a.op is where_op and a.args[1].op is stop_gradient_op and a.args[1].attrs == NEUTRAL
            and a.args[1].args[0] is a.args[2] else a for a in draw.args]
    return distribution_of(draw, tuple(args)).log_prob(draw)

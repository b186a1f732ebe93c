"""What parameters of draws are held at where a loop is over: their own values, if these will do in all its states."""

from __future__ import annotations

from dataclasses import replace

from scg.analysis.bounds import Ranges
from scg.analysis.reals import Reals
from scg.ir.constraints import Constraint, log_weights
from scg.ir.node import Node
from scg.ir.said import carry_over
from scg.ir.traverse import Substitution, topological
from scg.ops.indices import take_op
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import Opened
from scg.ops.termination import held_until, waiting


def with_own_values(opened: Opened) -> Opened:
    """A step in which parameters are held at their own values where these are known to do, ended or not.

    Then they are no choices between two numbers, and what is made of tables alone is computed before the loop.
    """
    given = {a: distribution_of(n).parameters[name] for n in topological(opened.outputs) if n.op is sample_op
             for name, a in zip(n.attrs.names, n.args) if waiting(a) is not None}
    if not given:
        return opened
    limits = Ranges().in_steps(opened)
    reals, written = Reals(ranges=limits).in_steps(opened), Substitution()
    for node, constraint in given.items():  # those upstream first
        over, own = waiting(node)  # type: ignore[misc]
        if reals(own) and _satisfies(own, constraint, limits):
            written.put(node, held_until(over, written(own)))
    new = [*map(written, opened.outputs)]
    carry_over(opened.outputs, written)
    k = len(opened.carries)
    return replace(opened, new_carries=tuple(new[:k]), ys=tuple(new[k:]))


def _satisfies(node: Node, constraint: Constraint, limits: Ranges) -> bool:
    """Whether real numbers satisfy a constraint for certain."""
    if constraint.node is None or constraint is log_weights or constraint.certain(limits(node)):
        return True
    while node.op.transparent or (node.op is take_op and node.args[0].ndim > constraint.event_ndim):
        node = node.args[0]  # rows of a table are as all of its rows are
    return node.is_const and node.attrs.ask("passes", constraint.test)

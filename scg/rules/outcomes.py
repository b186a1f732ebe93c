"""log p of binary outcomes of given log-odds, written out: and what was written out so, found again."""

from __future__ import annotations

from scg.functions import softplus
from scg.ir.node import Node
from scg.ops.arithmetic import mul_op, sub_op
from scg.ops.cancelling import term
from scg.ops.elementary import softplus_op


def past(x: Node, logits: Node) -> Node:
    """x less the outcome that is the likelier one."""
    return x - term(logits > 0.0, 1.0, 0.0)


def log_probability(x: Node, logits: Node) -> Node:
    """(x − 1) l − softplus(−l) above 0, x l − softplus(l) below."""
    return past(x, logits) * logits - softplus(-abs(logits))


def outcome(node: Node) -> tuple[Node, Node] | None:
    """The outcome and the log-odds of what is such a `log_probability`."""
    if node.op is not sub_op or node.args[0].op is not mul_op or node.args[1].op is not softplus_op:
        return None
    less, logits = node.args[0].args
    if less.op is not sub_op or log_probability(less.args[0], logits) is not node:
        return None
    return less.args[0], logits

"""Formulas as they are written on paper, without what keeps them from overflowing.

log Σ eˣ⁻ᵗ + t = log Σ eˣ, (x − t) − log Σ eˣ⁻ᵗ = x − log Σ eˣ and eˣ⁻ᵗ / Σ eˣ⁻ᵗ = eˣ / Σ eˣ for any stopped t that is
constant along the sum, and e^(x − ⊥x) = eˣ / ⊥eˣ. All are identities, and hold for the derivatives too. Of what is
computed in one of two ways the plain one is shown.
"""

from __future__ import annotations

from scg.functions import exp
from scg.ir.node import Node
from scg.ir.traverse import substitute
from scg.ops.arithmetic import add_op, div_op, stop_gradient_op, sub_op
from scg.ops.cancelling import either_op
from scg.ops.control import stop_gradient
from scg.ops.elementary import exp_op, log_op
from scg.ops.log_space import log_of_sum_op
from scg.ops.reduce import sum_op
from scg.ops.structure import broadcast_to_op, reshape_op


def plain(n: Node) -> Node:
    """The node, or what it equals without such a precaution."""
    if n.op is either_op:
        return plain(n.args[2])
    if n.op is add_op:
        return next((new for log, t in (n.args, n.args[::-1]) if (new := _logsumexp(log, t)) is not None), n)
    if n.op is sub_op:
        return _log_softmax(n)
    if n.op is exp_op:
        return _ratio(n)
    if n.op is div_op:
        return _softmax(n)
    return n


def _ratio(n: Node) -> Node:
    parts = _shifted(n)
    if parts is None or parts[1].args[0] is not parts[0]:
        return n
    p = exp(parts[0])
    return p / stop_gradient(p)


def _below_moves(n: Node) -> Node:
    while n.op in (reshape_op, broadcast_to_op):
        n = n.args[0]
    return n


def _shifted(n: Node) -> tuple[Node, Node] | None:
    """x and t of exp(x − t)."""
    if n.op is exp_op and n.args[0].op is sub_op and n.args[0].args[1].op is stop_gradient_op:
        x, t = n.args[0].args
        return x, t
    return None


def _constant_along(t: Node, shape: tuple[int, ...], dims: tuple[int, ...]) -> bool:
    """Whether t, broadcast to `shape`, does not vary along `dims`."""
    offset = len(shape) - t.ndim
    return all(d < offset or t.shape[d - offset] == 1 for d in dims)


def _logsumexp(log: Node, t: Node) -> Node | None:
    if log.op not in (log_op, log_of_sum_op) or t.op is not stop_gradient_op:
        return None
    total = _below_moves(log.args[0])
    if total.op is not sum_op or (parts := _shifted(total.args[0])) is None or parts[1] is not t:
        return None
    if not _constant_along(t, total.args[0].shape, total.attrs) or log.shape != t.shape:
        return None
    return substitute([log], {total.args[0]: exp(parts[0])})[0]


def _log_softmax(n: Node) -> Node:
    shifted, log = n.args
    if shifted.op is not sub_op or shifted.args[1].op is not stop_gradient_op:
        return n
    x, t = shifted.args
    new = _logsumexp(log, t)
    return n if new is None else x - new


def _softmax(n: Node) -> Node:
    e, below = n.args
    total = _below_moves(below)
    if total.op is not sum_op or total.args[0] is not e or (parts := _shifted(e)) is None:
        return n
    if not _constant_along(parts[1], e.shape, total.attrs):
        return n
    return substitute([n], {e: exp(parts[0])})[0]

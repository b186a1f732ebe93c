"""What stands in a derivative's way, in words."""

from __future__ import annotations

from scg.ir.node import Node
from scg.ir.op import Smoothness
from scg.ops.arithmetic import stop_gradient_op
from scg.ops.randomness import sample_op


def obstacle_text(op: Node) -> str:
    """How an obstacle on a path is one, in words that follow "which"."""
    if op.op is stop_gradient_op:
        return "stops the gradient, but not the sample's influence on what is below"
    if op.op.hinders:
        return op.op.hinders
    if op.op.oscillates:
        return "oscillates over what grows so fast that its derivative may have no mean"
    if op.op.may_multiply(op) and op.op.poles is None:
        return "multiplies it by what may have no mean"
    if op.op is sample_op:
        return "is drawn from a distribution that moves"
    poles = dict.fromkeys(pole.text for i in range(len(op.args)) if (pole := op.op.pole_in(i)) is not None)
    return "jumps" if _jumps(op) else f"jumps or grows without bound {' and '.join(poles)}, which is not excluded"


def at_pole(op: Node) -> bool:
    """Whether it is an obstacle where it grows without bound, and jumps nowhere else."""
    return op.op.poles is not None and not op.op.hinders and not _jumps(op)


def _jumps(op: Node) -> bool:
    return any(op.op.smooth_in(i) is Smoothness.DISCONTINUOUS for i in range(len(op.args)))

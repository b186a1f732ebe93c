"""Probabilities of binary outcomes, and logarithms of these, in worlds that shift the log-odds by whole steps.

Where a draw is flipped, the log-odds l of what is downstream become l + d w, with d = ±1. The sum of their
log-probabilities is taken apart: what is the same in all worlds is computed once, what is linear is a product of
outcomes and steps, and the rest is the change of a sum of softplus. A binary draw that is replaced stays as it is or is
flipped: all its replacements share the worlds of its flip. A weighted sum of their probabilities is one of σ(l + d w).
"""

from __future__ import annotations

from typing import NamedTuple

from scg.analysis.bounds import Ranges
from scg.analysis.integers import integral
from scg.ir.axes import Axes
from scg.ir.interval import Interval
from scg.ir.node import Node, make
from scg.ops.arithmetic import add_op, mul_op, neg_op, sub_op
from scg.ops.contract import contract
from scg.ops.density import log_density_op
from scg.ops.elementary import sigmoid_op
from scg.ops.measure import axis_to_event, event_to_axis, event_to_axis_op
from scg.ops.reduce import total
from scg.ops.sigmoid_sums import sigmoid_sums
from scg.ops.softplus_changes import softplus_changes
from scg.rules.outcomes import log_probability, outcome

LEAST = 32  # outcomes: a sum of fewer stays as it is
OUTCOMES, TURNS = Interval(0.0, 1.0, False, False), Interval(-1.0, 1.0, False, False)


class Shift(NamedTuple):
    """Log-odds in worlds: what they are made of besides, and of each world the turn, −1, 0 or 1, and the step."""

    rest: Node
    turn: Node
    step: Node


class Outcomes(NamedTuple):
    """A sum's terms without what shifts them, with their sign, the outcomes, and the shift of their log-odds."""

    unshifted: Node
    sign: float
    values: Node
    shift: Shift


def changed_by_steps(n: Node) -> Node | None:
    """Σ log p(x; l + d w) → Σ log p(x; l) + d Σ x w − Σ (softplus(l + d w) − softplus(l)), in each world."""
    if n.args[0].ndim != 1 or n.args[0].size < LEAST or not _worlds(n):
        return None
    found = _outcomes(n.args[0])
    if found is None:
        return None
    rest, turn, step = found.shift
    (axis,) = _worlds(step)
    linear = event_to_axis(contract(found.values, axis_to_event(step, axis), "j", "ij", "i"), axis)
    flip = _flip(turn)
    change = softplus_changes(rest, turn, step) if flip is None else abs(turn) * softplus_changes(rest, flip, step)
    return total(found.unshifted) + found.sign * (turn * linear - change)


def weighed_by_steps(n: Node) -> Node | None:
    """Σ a σ(s (l + d w)) → Σ s a σ(l + d w) + Σ a (1 − s)/2, in each world, with s = ±1 the same in all."""
    if n.args[0].ndim != 1 or n.args[0].size < LEAST or n.args[0].op is not mul_op or not _worlds(n):
        return None
    for weights, chances in (n.args[0].args, n.args[0].args[::-1]):
        if chances.op is not sigmoid_op or _worlds(weights) or weights.shape != chances.shape:
            continue
        logits, outcomes = chances.args[0], None
        for sign, rest in (logits.args, logits.args[::-1]) if logits.op is mul_op else ():
            drawn = _drawn_as_sign(sign)
            if drawn is not None and sign.shape == rest.shape and not _worlds(sign):
                logits, outcomes = rest, drawn
                break
        shift = _shift(logits)
        if shift is None:
            continue
        if outcomes is None:
            return sigmoid_sums(*shift, weights)
        signed = weights * (2.0 * outcomes - 1.0)
        return sigmoid_sums(*shift, signed) + total(weights * (1.0 - outcomes))
    return None


def _drawn_as_sign(node: Node) -> Node | None:
    """Of 2 b − 1 what b is, if it is 0 or 1."""
    if node.op is not sub_op or node.args[0].op is not mul_op or not _is(node.args[1], 1.0):
        return None
    for two, b in (node.args[0].args, node.args[0].args[::-1]):
        if _is(two, 2.0) and _whole(b, OUTCOMES):
            return b
    return None


def _is(node: Node, number: float) -> bool:
    return node.is_const and bool((node.attrs.array == number).all())


def _outcomes(node: Node) -> Outcomes | None:
    if node.op is neg_op:
        found = _outcomes(node.args[0])
        return found and found._replace(unshifted=-found.unshifted, sign=-found.sign)
    if node.op is log_density_op and not any(map(_worlds, node.args[:2])):
        found = _outcomes(node.args[2])
        return found and found._replace(unshifted=make(log_density_op, (*node.args[:2], found.unshifted), node.attrs))
    known = outcome(node)
    if known is None or _worlds(known[0]) or known[0].shape != node.shape:
        return None
    shift = _shift(known[1])
    return shift and Outcomes(log_probability(known[0], shift.rest), 1.0, known[0], shift)


def _shift(logits: Node) -> Shift | None:
    """What shifts log-odds: one product among what they are a sum of, where nothing else varies by world."""
    rest, shifts = _terms(logits)
    if rest is None or rest.shape != logits.shape or len(shifts) != 1 or shifts[0].op is not mul_op:
        return None
    for turn, step in (shifts[0].args, shifts[0].args[::-1]):
        if turn.ndim == 0 and step.shape == logits.shape and len(step.axes) == len(_worlds(step)) == 1 \
                and _whole(turn, TURNS):
            return Shift(rest, turn, step)
    return None


def _flip(turn: Node) -> Node | None:
    """1 − 2 x where the turn is v − x, both 0 or 1: it is this flip or 0. None of a turn that is one, or is no such."""
    if turn.op is event_to_axis_op:
        inner = _flip(turn.args[0])
        return None if inner is None else event_to_axis(inner, turn.attrs)
    if turn.op not in (neg_op, sub_op) or not all(_whole(n, OUTCOMES) for n in turn.args):
        return None
    flip = (1.0 - turn.args[-1]) - turn.args[-1]
    return None if flip is turn else flip


def _whole(node: Node, within: Interval) -> bool:
    """Whether all values are whole numbers between two for certain."""
    return within.holds(Ranges()(node)) and integral(node)


def _terms(node: Node) -> tuple[Node | None, list[Node]]:
    """Of a sum, what is the same in all worlds, if there is any, and the terms that are not."""
    if not _worlds(node):
        return node, []
    if node.op is not add_op:
        return None, [node]
    (a, some), (b, others) = map(_terms, node.args)
    return a + b if a is not None and b is not None else a if b is None else b, [*some, *others]


def _worlds(node: Node) -> Axes:
    return tuple(axis for axis in node.axes if not axis.statistical)

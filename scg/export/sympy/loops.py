"""Scans and samples as sympy: symbols by step, or, expanded, every step in terms of the one before.

The value of a site in step t is ``h[t]`` whatever the form. A carry, as it enters step t, is ``pos[t]`` by the user's
key, or ``carry_0[t]`` by its place, in the form that is not expanded; expanded, it is the step before, down to what the
loop began with.
"""

from __future__ import annotations

import sympy

from scg.analysis.influence import differentiable_sources
from scg.export.sympy import forms
from scg.export.sympy.to_sympy import At, Converter, Frame, NeedsNumbers
from scg.ir.node import Node
from scg.ops.leaves import param_op, placeholder_op
from scg.ops.randomness import sample_op
from scg.ops.scan import of_step, out_op, split, stacked


def _sample(c: Converter, n: Node, index, at: At):
    return c.drawn(c.names.sample(n, at.frame), n, index, at)


def _out(c: Converter, n: Node, index, at: At):
    (scan,) = n.args
    if not stacked(n):
        after = -1 if scan.attrs.reverse else scan.attrs.length
        return _carry(c, n.attrs, index, at.inside(Frame(scan, after, at.frame)))
    return c.element(of_step(n), index[1:], at.inside(Frame(scan, index[0], at.frame)))


def _placeholder(c: Converter, n: Node, index, at: At):
    assert at.frame is not None
    frame, role = at.frame, at.frame.scan.attrs.roles[n.id]
    _, consts, arrays = split(frame.scan)
    outside = at.inside(frame.parent)
    if role[0] == "step":
        return frame.t
    if role[0] == "carry":
        return _carry(c, role[1], index, at)
    if role[0] == "const":
        return c.element(consts[role[1]], index, outside)
    return c.element(arrays[role[1]], (frame.t, *index), outside)


def _carry(c: Converter, i: int, index, at: At):
    """Carry i as it enters the step of the frame (or leaves the last)."""
    frame: Frame = at.frame  # type: ignore[assignment]
    body, t = frame.scan.attrs, frame.t
    if t == (body.length - 1 if body.reverse else 0):
        return c.element(split(frame.scan)[0][i], index, at.inside(frame.parent))
    if not c.expand:
        return _symbol(c, i, index, at)
    if not isinstance(t, int):
        raise NeedsNumbers(t.free_symbols)
    before = Frame(frame.scan, t + 1 if body.reverse else t - 1, frame.parent)
    return c.element(body.new_carries[i], index, at.inside(before))


def _symbol(c: Converter, i: int, index, at: At):
    frame: Frame = at.frame  # type: ignore[assignment]
    head = c.drawn(c.names.carry(i, frame), frame.scan.attrs.carries[i], index, at)
    labels = [c.leaf(p.attrs.name, (0,) * p.ndim) for p in _params_of(("carry", i), frame)]
    return forms.Unfolded(head, [x.base.label if isinstance(x, sympy.Indexed) else x for x in labels])


def _params_of(role: tuple, frame: Frame) -> list[Node]:
    """The parameters that reach what a placeholder of a body stands for, in any step, without passing a sample."""
    found: dict[int, Node] = {}
    seen: set[tuple] = set()
    waiting: list[tuple[tuple, Frame | None]] = [(role, frame)]
    while waiting:
        (kind, *number), loop = waiting.pop()
        if kind == "step" or loop is None or (kind, *number, loop.scan.id) in seen:
            continue
        seen.add((kind, *number, loop.scan.id))
        for node, where in _behind(kind, number[0], loop):
            found.update((p.id, p) for p in differentiable_sources(node, param_op))
            waiting += [(where.scan.attrs.roles[p.id], where) for p in differentiable_sources(node, placeholder_op)
                        if where is not None]
    return sorted(found.values(), key=lambda n: n.id)


def _behind(kind: str, k: int, loop: Frame) -> list[tuple[Node, Frame | None]]:
    """The nodes that give a placeholder its value, and the loop around each."""
    inits, consts, arrays = split(loop.scan)
    if kind == "carry":
        return [(inits[k], loop.parent), (loop.scan.attrs.new_carries[k], loop)]
    return [((consts if kind == "const" else arrays)[k], loop.parent)]


LOOPS = {sample_op: _sample, out_op: _out, placeholder_op: _placeholder}

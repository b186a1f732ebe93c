"""Scans and samples as sympy: symbols by step, or, expanded, every step in terms of the one before.

The value of a site in step t is ``h[t]`` whatever the form. A carry is ``carry_i[t]``, as it enters step t, in the form
that is not expanded; expanded, it is the step before, down to what the loop began with.
"""

from __future__ import annotations

from typing import Any

import sympy

from scg.analysis.influence import differentiable_sources
from scg.export.sympy import forms
from scg.export.sympy.to_sympy import At, Converter, Frame, NeedsNumbers
from scg.ir.node import Node
from scg.ops.leaves import placeholder_op
from scg.ops.randomness import sample_op
from scg.ops.scan import out_op, split


def _sample(c: Converter, n: Node, index, at: At):
    return c.drawn(c.names.sample(n, at.frame), n, index, at)


def _out(c: Converter, n: Node, index, at: At):
    (scan,) = n.args
    k = len(scan.attrs.carries)
    if n.attrs < k:
        after = -1 if scan.attrs.reverse else scan.attrs.length
        return _carry(c, n.attrs, index, at.inside(Frame(scan, after, at.frame)))
    return c.element(scan.attrs.ys[n.attrs - k], index[1:], at.inside(Frame(scan, index[0], at.frame)))


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
    # inside another loop the constants are that loop's placeholders: any parameter may be behind them
    params = list(c.graph.params.values()) if frame.parent else _params_of_carry(frame.scan, i)
    labels = [c.leaf(p.attrs.name, (0,) * p.ndim) for p in params]
    return forms.Unfolded(head, [x.base.label if isinstance(x, sympy.Indexed) else x for x in labels])


def _params_of_carry(scan: Node, i: int) -> list[Node]:
    """The parameters that reach a carry, in any step, without passing a sample."""
    body, roles = scan.attrs, scan.attrs.roles
    inits, consts, arrays = split(scan)
    found: dict[int, Node] = {}
    seen: set[int] = set()
    carries = [i]
    while carries:
        k = carries.pop()
        if k in seen:
            continue
        seen.add(k)
        outer: list[Any] = [inits[k]]
        for leaf in differentiable_sources(body.new_carries[k], placeholder_op):
            role, *number = roles.get(leaf.id, ("other",))
            if role == "carry":
                carries.append(number[0])
            elif role in ("const", "x"):
                outer.append((consts if role == "const" else arrays)[number[0]])
        found.update((p.id, p) for n in outer for p in differentiable_sources(n))
    return sorted(found.values(), key=lambda n: n.id)


LOOPS = {sample_op: _sample, out_op: _out, placeholder_op: _placeholder}

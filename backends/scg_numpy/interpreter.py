"""The living definition of every op: graphs evaluated node by node with NumPy.

An array has its node's axes first (worlds, row, lane) and its event dimensions after them. No schedule, no compilation,
float64 or float32 throughout. `Evaluation` holds what a call provides: values of leaves, sizes of rows and lanes, the
keys of the noise, and, for exact integration, a measure over the lanes and fed uniforms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scg import noise
from scg.analysis.decisions import decided
from scg.errors import InternalError, SCGError
from scg.ir.node import Node, where
from scg.ir.op import Op
from scg.ir.traverse import topological
from scg.ops.arithmetic import add_op, mul_op
from scg.ops.contract import contract_op, contraction_value, value_in_order
from scg.ops.leaves import feed_op, noise_op, state_op
from scg.ops.measure import axis_sum_op, axis_to_event_op, expect_op, leave_one_out_op, mean_over
from scg.ops.randomness import (
    MAX_ROUNDS,
    NEAR,
    antithetic_op,
    below_op,
    category_op,
    draw_until_op,
    expand,
    uniform_op,
)
from scg.ops.scan import increment, out_op, scan_op, split
from scg.ops.structure import aligned
from scg.rules.idle import OVER, idle
from scg_numpy.noise import uniform as noise_uniform


@dataclass
class Evaluation:
    """What a graph is evaluated with.

    Parameters
    ----------
    values : dict of str to array
        What has the user's names: parameters, inputs, data (row first).
    sizes : dict of str to int
        Numbers of rows and lanes.
    keys : dict of str to pair of int
        The noise key of each stream's path; the noise is a function of it, the replicate, the element, the step and the
        draw.
    states, fed : dict of str to array
        States of baselines; fed leaves (axes first). Passes name these, so they are not among the user's.
    first_row, first : int
        Number of the first row in the whole call, and of the first lane among the samples of a row.
    samples : int or None
        Samples per row in the whole call, of which the lanes may be a part; by default the lanes are all.
    dtype : dtype
        Working dtype.
    measure : array or None
        Weights of the lanes, summing to 1, in place of the uniform one.
    uniforms : dict of str to array or None
        Uniforms by stream path, of shape (lanes, steps, *event), in place of noise.
    groups : callable or None
        ``groups(lanes) -> (starts, sizes)`` of the leave-one-out groups of a row.
    decided : container of int
        Ids of the nodes that a decision reads; `evaluate` finds them.
    """

    values: Mapping[str, Any]
    sizes: Mapping[str, int]
    keys: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    states: Mapping[str, Any] = field(default_factory=dict)
    fed: Mapping[str, Any] = field(default_factory=dict)
    first_row: int = 0
    first: int = 0
    samples: int | None = None
    dtype: Any = np.float64
    measure: np.ndarray | None = None
    uniforms: Mapping[str, np.ndarray] | None = None
    groups: Any = None
    decided: Container[int] = ()
    cache: dict[int, Any] = field(default_factory=dict)


def evaluate(roots: Sequence[Node], ev: Evaluation) -> list[np.ndarray]:
    """Values of the roots, with all their axes at full size."""
    expanded = expand(roots)
    ev.decided = decided(expanded)
    with np.errstate(all="ignore"):
        run(expanded, ev, ev.cache)
    return [_spread(ev.cache[e.id], e, r, ev) for e, r in zip(expanded, roots)]


def run(roots: Sequence[Node], ev: Evaluation, known: dict[int, Any]) -> None:
    """Evaluate everything that the roots need and `known` lacks."""
    for node in topological(roots):
        if node.id not in known:
            known[node.id] = _value(node, [known[a.id] for a in node.args], ev, known)


def _full(array: np.ndarray, node: Node, ev: Evaluation) -> np.ndarray:
    lead = tuple(ev.sizes[ax.name] if ax.statistical else ax.size for ax in node.axes)
    return np.broadcast_to(array, lead + node.shape)


def _value(node: Node, arrays: list, ev: Evaluation, known: dict[int, Any]):
    op = node.op
    rule = _RULES.get(op)
    if rule is not None:
        return rule(node, arrays, ev, known)
    if op.kind == "elementwise":
        return _elementwise(node, arrays, ev)
    if op.kind == "leaf":
        return _leaf(node, ev)
    if op.value is None:
        raise SCGError(where(node), f"A node of op {op.name} was to be evaluated.",
                       "Its record has neither a value nor an index map.", "Give it one.")
    return op.value(node, arrays)


def _elementwise(node: Node, arrays, ev: Evaluation):
    fitted = [aligned(v, a, node.axes, node.ndim) for v, a in zip(arrays, node.args)]
    attrs = node.attrs if isinstance(node.attrs, tuple) else ()
    out = np.asarray(node.op.value(*fitted, *attrs))
    leads = {f.shape[: len(node.axes)] for f in fitted}
    lead = leads.pop() if len(leads) == 1 else np.broadcast_shapes(*leads)
    if out.shape != lead + node.shape:
        out = np.broadcast_to(out, lead + node.shape)
    return out.astype(ev.dtype, copy=False) if node.kind == "real" else out


def _leaf(node: Node, ev: Evaluation):
    if node.is_const:
        array = node.attrs.array
        return array if array.dtype == bool else array.astype(ev.dtype)
    try:
        given = {state_op: ev.states, feed_op: ev.fed}.get(node.op, ev.values)
        return np.asarray(given[node.attrs.name], dtype=ev.dtype)
    except KeyError:
        raise InternalError("", f"The {node.op.name} {node.attrs.name!r} has no value.") from None


# --- noise -----------------------------------------------------------------------------------------------------------
def _uniform(node: Node, arrays, ev: Evaluation, known):
    stream = node.args[0]
    return draw(stream, counted(stream.args[0], known), ev, node.attrs.number, node.attrs.fine)


def counted(node: Node, known) -> Any:
    """A number that is made of the steps of loops, exactly: float32 has no whole numbers beyond 2²⁴."""
    if ("counted", node.id) in known:
        return known["counted", node.id]
    if node.is_const:
        return node.attrs.array
    if node.op in (noise_op, antithetic_op):
        return counted(node.args[0], known)
    if node.op in (add_op, mul_op):
        a, b = (counted(x, known) for x in node.args)
        return a + b if node.op is add_op else a * b
    return known[node.id]


def draw(stream: Node, step, ev: Evaluation, number: int, fine: bool):
    """Uniforms of a stream: (row, lane, *event) as far as the stream has these axes, worlds counted as elements."""
    if ev.uniforms is not None:
        return _fed_uniform(stream, step, ev)
    shape, counters = _counters(stream, step, ev)
    return np.broadcast_to(noise_uniform(ev.keys[stream.attrs.path], *counters, number, fine, ev.dtype), shape)


def _counters(stream: Node, step, ev: Evaluation):
    """The shape of a stream's numbers, and the replicate, element and step of each."""
    lead = tuple(ev.sizes[ax.name] if ax.statistical else ax.size for ax in stream.axes)
    shape = lead + stream.shape

    def along(name: str, size: int, offset: int = 0):
        at = [ax.name for ax in stream.axes].index(name)
        return (np.arange(size, dtype=np.int64) + offset).reshape((-1,) + (1,) * (len(shape) - at - 1))

    names = {ax.name for ax in stream.axes}
    r = np.int64(0)
    if "lane" in names:
        r = along("lane", ev.sizes["lane"], ev.first)
    if "row" in names:
        r = r + along("row", ev.sizes["row"], ev.first_row) * (ev.samples or ev.sizes["lane"])
    worlds = tuple(ax.size for ax in stream.axes if not ax.statistical)
    element = np.arange(int(np.prod(worlds + stream.shape, dtype=int)), dtype=np.int64)
    inner = (1,) * (len(stream.axes) - len(worlds))
    element = element.reshape(worlds + inner + stream.shape)
    at_step = aligned(np.asarray(step), stream.args[0], stream.axes, stream.ndim).astype(np.int64)
    return shape, (r, element, at_step)


def _fed_uniform(stream: Node, step, ev: Evaluation):
    fed = ev.uniforms[stream.attrs.fed]  # (lanes, steps, *event)
    t = int(np.asarray(step).reshape(-1)[0])
    u = fed[:, min(t, fed.shape[1] - 1)]
    lead = tuple(ev.sizes.get("lane", 1) if ax.name == "lane" else 1 for ax in stream.axes)
    return u.reshape(lead + stream.shape)


# --- discrete draws: the coarse uniform decides, unless it falls next to a probability -------------------------------
def _below(node: Node, arrays, ev: Evaluation, known):
    u, p, *logits = (_spread(v, a, node, ev) for v, a in zip(arrays[1:], node.args[1:]))
    drawn = np.where(u < p, 1.0, 0.0).astype(ev.dtype)
    for i, word in _undecided(node, np.abs(u - p) <= NEAR[str(np.dtype(ev.dtype))], ev, known):
        sides = _both_sides(float(logits[0][i])) if logits else (float(p[i]), 1.0 - float(p[i]))
        drawn[i] = noise.below(word, *sides)
    return drawn


def _both_sides(logit: float) -> tuple[float, float]:
    """A probability and what is left of 1, each to its own precision."""
    e = math.exp(-abs(logit))
    small, large = e / (1.0 + e), 1.0 / (1.0 + e)
    return (large, small) if logit > 0.0 else (small, large)


def _category(node: Node, arrays, ev: Evaluation, known):
    u = _spread(arrays[1], node.args[1], node, ev)
    size = node.args[2].shape[-1]
    weights = aligned(arrays[2], node.args[2], node.axes, node.ndim + 1).astype(np.float64)
    near = NEAR[str(np.dtype(ev.dtype))]
    if weights.size == size:  # one vector for all
        sums = np.cumsum(weights.reshape(-1))[:-1]
        drawn = np.searchsorted(sums, u, side="right")
        close = np.searchsorted(sums, u - near) < np.searchsorted(sums, u + near, side="right")
    else:
        drawn, close, total = np.zeros(u.shape, np.int64), np.zeros(u.shape, bool), 0.0
        for k in range(size - 1):
            total = total + weights[..., k]
            drawn += total <= u
            close |= np.abs(u - total) <= near
    drawn = drawn.astype(ev.dtype)
    if weights.size == size:
        low, high = np.cumsum(weights.reshape(-1)), np.cumsum(weights.reshape(-1)[::-1])[::-1]
        for i, word in _undecided(node, close, ev, known):
            drawn[i] = noise.category_of_sums(word, low, high)
        return drawn
    weights = np.broadcast_to(weights, (*u.shape, size))
    for i, word in _undecided(node, close, ev, known):
        drawn[i] = noise.category(word, weights[i].tolist())
    return drawn


def _spread(array, arg: Node, node: Node, ev: Evaluation):
    """An argument at the full size of the node."""
    return _full(aligned(array, arg, node.axes, node.ndim), node, ev)


def _undecided(node: Node, close: np.ndarray, ev: Evaluation, known):
    """Where further words must be looked at: the index, and the words there. Fed uniforms are all that there is."""
    if ev.uniforms is not None or not close.any():
        return
    stream = node.args[0]
    flip = 0xFFFFFFFF if stream.op is antithetic_op else 0
    stream = stream.args[0] if flip else stream
    shape, counters = _counters(stream, known[stream.args[0].id], ev)
    counters = [np.broadcast_to(aligned(np.broadcast_to(c, shape), stream, node.axes, node.ndim), close.shape)
                for c in counters]
    key = ev.keys[stream.attrs.path]
    for i in map(tuple, np.argwhere(close)):
        at = [int(c[i]) for c in counters]
        yield i, lambda draw, at=at: noise.word(key, *at, draw) ^ flip


def _draw_until(node: Node, arrays, ev: Evaluation, known):
    body, stream = node.attrs, node.args[0]
    flipped = stream.op is antithetic_op
    stream = stream.args[0] if flipped else stream
    step = counted(stream.args[0], known)
    dtype, lead = ev.dtype, tuple(ev.sizes[ax.name] if ax.statistical else ax.size for ax in node.axes)
    events = node.shape if body.wanted == 1 else node.shape[1:]
    shape, ndim, ev = lead + events, len(events), replace(ev, dtype=np.float64)
    parameters = [np.broadcast_to(aligned(v, a, node.axes, ndim), shape).astype(np.float64)
                  for v, a in zip(arrays[1:], node.args[1:])]
    inner = Evaluation(ev.values, ev.sizes, dtype=ev.dtype)
    known_p = {p.id: v for p, v in zip(body.parameters, parameters)}
    uniforms = _uniforms(stream, step, ev, node.axes, ndim)
    carries = [np.array(np.broadcast_to(v, shape)) for v in _scalars(body.start, dict(known_p), inner)]
    active = np.ones(shape, bool)
    for rounds in range(int(MAX_ROUNDS)):
        here = {p: v[active] for p, v in known_p.items()} | {c.id: v[active] for c, v in zip(body.carries, carries)}
        for i, leaf in enumerate(body.uniforms):
            u = np.broadcast_to(uniforms(2 * (rounds * len(body.uniforms) + i), active), shape)[active]
            here[leaf.id] = 1.0 - u if flipped else u
        *after, done = _scalars((*body.step, body.done), here, inner)
        for carry, new in zip(carries, after):
            carry[active] = new
        active[active] = ~done
        if not active.any():
            break
    drawn = [np.where(active, np.nan, c).astype(dtype) for c in carries[: body.wanted]]
    return drawn[0] if body.wanted == 1 else np.stack(drawn, axis=len(lead))


def _uniforms(stream: Node, step, ev: Evaluation, axes, ndim: int):
    """``uniforms(number, active)``: a stream's, aligned with axes; where nobody active looks they need not be drawn."""
    def whole(number: int):
        return aligned(draw(stream, step, ev, number, True), stream, axes, ndim)

    def uniforms(number: int, active: np.ndarray) -> np.ndarray:
        if ev.uniforms is not None or active.all():
            return whole(number)
        shape, counters = _counters(stream, step, ev)
        counters = [aligned(np.broadcast_to(c, shape), stream, axes, ndim) for c in counters]
        apart = tuple(i for i, size in enumerate(counters[0].shape) if size < active.shape[i])
        wanted = active.any(axis=apart, keepdims=True)
        found = np.zeros(wanted.shape)
        found[wanted] = noise_uniform(ev.keys[stream.attrs.path], *(c[wanted] for c in counters), number, True)
        return found

    return uniforms


def _scalars(roots, known: dict[int, Any], ev: Evaluation):
    """Elementwise nodes over arrays of one shape."""
    for node in topological(roots):
        if node.id not in known:
            if node.is_const:
                known[node.id] = _leaf(node, ev)
            else:
                attrs = node.attrs if isinstance(node.attrs, tuple) else ()
                known[node.id] = np.asarray(node.op.value(*(known[a.id] for a in node.args), *attrs))
    return [known[r.id] for r in roots]


# --- reductions over the measure, groups -----------------------------------------------------------------------------
def _expect(node: Node, arrays, ev: Evaluation, known):
    return np.asarray(mean_over(node, _full(arrays[0], node.args[0], ev), ev.measure), ev.dtype)


def _contract(node: Node, arrays, ev: Evaluation, known):
    wide = [a.astype(np.float64, copy=False) for a in arrays]
    if node.id in ev.decided and not any(ax.statistical for a in node.args for ax in a.axes if ax not in node.axes):
        return value_in_order(node, wide).astype(ev.dtype, copy=False)
    return contraction_value(node, wide, ev.measure).astype(ev.dtype, copy=False)


def _whole_axes(node: Node, arrays, ev: Evaluation, known):
    return node.op.value(node, [_full(arrays[0], node.args[0], ev)])


def _leave_one_out(node: Node, arrays, ev: Evaluation, known):
    array = _spread(arrays[0], node.args[0], node, ev)
    at = [ax.name for ax in node.axes].index("lane")
    lanes = np.moveaxis(array, at, -1)
    starts, sizes = ev.groups(node.attrs[0])
    if starts.size == 0:
        return np.moveaxis(np.zeros_like(lanes), -1, at)
    sums = np.add.reduceat(lanes, starts, axis=-1, dtype=np.float64)
    others = np.repeat(sums, sizes, axis=-1) - lanes
    count = np.repeat(sizes, sizes) - 1
    return np.moveaxis(others / np.maximum(count, 1), -1, at).astype(ev.dtype)


# --- scans -----------------------------------------------------------------------------------------------------------
def _scan(node: Node, arrays, ev: Evaluation, known):
    body = node.attrs
    i, j = len(body.carries), len(body.carries) + len(body.consts)
    inits, consts, along = split(node)
    carries = [_spread(v, a, c, ev) for v, a, c in zip(arrays[:i], inits, body.carries)]
    exact = [v.astype(np.float64) if v.dtype.kind == "f" else v for v in carries]  # of those that steps only add to
    stacked: list[list] = [[None] * body.length for _ in body.ys]
    added = [increment(c, n) for n, c in zip(body.new_carries, body.carries)]
    wanted = [*body.outputs, *(more for more in added if more is not None)]
    beyond = {("counted", leaf.id): counted(n, known)
              for leaf, n in zip(body.consts, consts) if not (n.shape or n.axes)}
    steps, over = range(body.length - 1, -1, -1) if body.reverse else range(body.length), idle(body)
    for t in steps:
        here = {body.step.id: np.asarray(t, ev.dtype)}
        here.update((c.id, v) for c, v in zip(body.carries, carries))
        here.update((c.id, v) for c, v in zip(body.consts, arrays[i:j]))
        here.update({**beyond, ("counted", body.step.id): t})
        here.update((x.id, np.take(v, t, axis=len(a.axes))) for x, v, a in zip(body.xs, arrays[j:], along))
        if over is not None and (here[over.mask.id] == OVER).all():
            for k, (y, known) in enumerate(zip(body.ys, over.ys)):
                value = known.attrs.array.astype(ev.dtype) if known.is_const else here[known.id]
                stacked[k][t] = _spread(value, known, y, ev)
            continue
        run(wanted, ev, here)
        exact = [_spread(here[n.id], n, c, ev) if more is None else before + _spread(here[more.id], more, c, ev)
                 for n, c, more, before in zip(body.new_carries, body.carries, added, exact)]
        carries = [v.astype(ev.dtype, copy=False) if v.dtype.kind == "f" else v for v in exact]
        for k, y in enumerate(body.ys):
            stacked[k][t] = _full(here[y.id], y, ev)
    return (*carries, *(np.stack(s, axis=len(y.axes)) for s, y in zip(stacked, body.ys)))


def _out(node: Node, arrays, ev: Evaluation, known):
    return arrays[0][node.attrs]


def _noise(node: Node, arrays, ev: Evaluation, known):
    return arrays[0]  # the step: everything else is in the attributes


# Ops that need what a call provides besides their arguments' arrays: noise, sizes, a measure, groups, bodies of loops
_RULES: dict[Op, Callable[..., Any]] = {
    uniform_op: _uniform, draw_until_op: _draw_until, expect_op: _expect, contract_op: _contract,
    axis_sum_op: _whole_axes, below_op: _below, category_op: _category, leave_one_out_op: _leave_one_out,
    scan_op: _scan, out_op: _out, noise_op: _noise, antithetic_op: _noise, axis_to_event_op: _whole_axes,
}  # fmt: skip


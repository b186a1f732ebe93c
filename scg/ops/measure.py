"""Ops on axes: worlds into events and back, sums over worlds, expectations over rows and lanes, leave-one-out means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scg.ir import constant_sums, draws
from scg.ir.axes import LANE, Axis, union, without
from scg.ir.node import FUNCTIONS, Node, constant, make
from scg.ir.op import EVERY, Op, Smoothness, register
from scg.ir.traverse import substitute, topological
from scg.ops.contract import contract_op
from scg.ops.leaves import feed

_same_kind: dict[str, Any] = {"result": lambda args, attrs: args[0].kind, "integral": "closed",
                              "bounds": lambda n, a: a, "picks": EVERY}


def _position(node: Node, name: str) -> int:
    return [ax.name for ax in node.axes].index(name)


# --- worlds ----------------------------------------------------------------------------------------------------------
event_to_axis_op = register(Op(
    "event_to_axis", "structural", shape=lambda args, attrs: args[0].shape[1:],
    axes=lambda args, attrs: union(args[0].axes, (attrs,)),
    value=lambda n, a: np.moveaxis(a[0], len(n.args[0].axes), _position(n, n.attrs.name)),
    derivative=lambda g, y, a: (axis_to_event(g, y.attrs),), constant_sums=constant_sums.along_axes, text="{0}",
    **_same_kind))
axis_to_event_op = register(Op(
    "axis_to_event", "structural", shape=lambda args, attrs: (attrs.size, *args[0].shape),
    axes=lambda args, attrs: without(args[0].axes, (attrs.name,)),
    value=lambda n, a: np.moveaxis(a[0], _position(n.args[0], n.attrs.name), len(n.axes)),
    derivative=lambda g, y, a: (event_to_axis(g, y.attrs),),
    rebuild=lambda n, args, hook: axis_to_event(args[0], n.attrs), constant_sums=constant_sums.along_axes,
    text="{0}", **_same_kind))
axis_sum_op = register(Op(
    "axis_sum", "structural", reduces=True, shape=lambda args, attrs: args[0].shape,
    axes=lambda args, attrs: without(args[0].axes, attrs), integral="closed",
    value=lambda n, a: np.sum(a[0], axis=tuple(_position(n.args[0], name) for name in n.attrs),
                              dtype=np.float64).astype(a[0].dtype),
    # the adjoint is constant along the axes: the reverse pass scales where it must
    derivative=lambda g, y, a: (g,), rebuild=lambda n, args, hook: _summed(n, args[0]), linear=True,
    text=lambda n: f"sum({{0}} for each {' and '.join(n.attrs)})",
    depends=draws.elementwise))


def event_to_axis(node: Node, axis: Axis) -> Node:
    """The leading event dimension as a world axis."""
    return make(event_to_axis_op, (constant(node),), axis)


def axis_to_event(node: Node, axis: Axis) -> Node:
    """A world axis as the leading event dimension; a node that does not vary along it is repeated."""
    if axis in node.axes:
        return make(axis_to_event_op, (node,), axis)
    return FUNCTIONS["broadcast_to"](FUNCTIONS["reshape"](node, (1, *node.shape)), (axis.size, *node.shape))


def renamed(node: Node, axis: Axis, other: Axis) -> Node:
    """The node along another axis of the same size in place of one that it has."""
    if axis not in node.axes:
        return node
    inner = node.args[0] if node.op is event_to_axis_op and node.attrs == axis else axis_to_event(node, axis)
    return event_to_axis(inner, other)


def axis_sum(node: Node, names: tuple[str, ...]) -> Node:
    """The sum over world axes that the node has."""
    return make(axis_sum_op, (node,), names) if names else node


def _summed(n: Node, arg: Node) -> Node:
    """The same sum of another node, which may have lost some of the axes: a sum of a constant is a product."""
    have = {ax.name for ax in arg.axes}
    lost = np.prod([ax.size for ax in n.args[0].axes if ax.name in n.attrs and ax.name not in have])
    if not lost:
        return constant(np.zeros(arg.shape))  # a sum over no worlds
    kept = axis_sum(arg, tuple(name for name in n.attrs if name in have))
    return kept if lost == 1 else kept * float(lost)


# --- expectations ----------------------------------------------------------------------------------------------------
def mean_over(n: Node, array, measure=None):
    """NumPy value of an expectation; `measure` weights the lanes where the exact law integrates over them."""
    source = n.args[0]
    out = array
    for name in sorted(n.attrs, key=lambda name: -_position(source, name)):
        where = _position(source, name)
        if name == "lane" and measure is not None:
            out = np.tensordot(np.moveaxis(out, where, -1), measure, axes=1)
        else:
            out = out.mean(axis=where, dtype=np.float64)
    return out


expect_op = register(Op(
    "expect", "structural", reduces=True, shape=lambda args, attrs: args[0].shape,
    axes=lambda args, attrs: without(args[0].axes, attrs),
    # an adjoint that keeps a replicate's contribution apart is the mean of all from here on
    derivative=lambda g, y, a: (expect(g, y.attrs),),
    rebuild=lambda n, args, hook: expect(args[0], n.attrs), linear=True, text="E({0})"))


def expect(node: Node, names: tuple[str, ...] = ("row", "lane")) -> Node:
    """The expectation over those statistical axes that the node has; something constant is its own expectation."""
    have = tuple(ax.name for ax in node.axes if ax.name in names and ax.statistical)
    return make(expect_op, (node,), have) if have else node


# --- groups of replicates --------------------------------------------------------------------------------------------
# attrs: (group size or None). Its result depends on the *other* replicates of the group only.
# It varies by lane even where its argument does not: in a group of one there are no others.
leave_one_out_op = register(Op(
    "leave_one_out", "structural", shape=lambda args, attrs: args[0].shape,
    axes=lambda args, attrs: union(args[0].axes, (LANE,)), smoothness=Smoothness.BLOCKING,
    derivative=lambda g, y, a: (None,), linear=True, depends=lambda n, of: 0, text="LOO({0})"))


def leave_one_out(node: Node, group: int | None) -> Node:
    """The mean of `node` over the other replicates of each one's group; 0 in a group of one."""
    return make(leave_one_out_op, (node,), (group,))


_OF_OTHERS = "of other replicates"


def standing_for(mean: Node, name: str) -> Node:
    """A leaf for a mean of other replicates, as which it is a constant of the replicate."""
    leaf = feed(name, mean.shape, mean.axes)
    leaf.facts[_OF_OTHERS] = True
    return leaf


def of_others(node: Node, group: int | None) -> Node:
    """`leave_one_out` of what no other replicate has from this one.

    Another replicate's baseline is made of this one's draws too. A score times it has the mean 0 all the same, but what
    is made of the draws in another way has not: in it a leaf that stands for a mean of others counts as 0.
    """
    means = [n for n in topological([node]) if _OF_OTHERS in n.facts]
    return leave_one_out(substitute([node], {n: constant(np.zeros(n.shape)) for n in means})[0], group)


def in_one_size(roots: Sequence[Node]) -> list[Node]:
    """The roots with the one group size that some leave-one-out means were given in those too that were given none.

    The replicates of a call fall into groups in one way, so a mean whose size was left open follows. Where two sizes
    were given, nothing is changed.
    """
    means = [n for n in topological(roots) if n.op is leave_one_out_op]
    given = {n.attrs[0] for n in means} - {None}
    if len(given) != 1:
        return list(roots)
    mapping: dict[Node, Node] = {}
    for n in means:
        mapping[n] = leave_one_out(substitute(n.args, mapping)[0], *given)
    return substitute(list(roots), mapping)


def reduce_axes(node: Node, names: set[str]) -> Node:
    """The node reduced over the axes named: by a sum over worlds, by an expectation over rows and lanes."""
    gone = tuple(ax for ax in node.axes if ax.name in names)
    if not gone:
        return node
    if node.op is contract_op:
        return make(contract_op, node.args, node.attrs._replace(axes=without(node.axes, names)))
    worlds = tuple(ax.name for ax in gone if not ax.statistical)
    return expect(axis_sum(node, worlds), tuple(ax.name for ax in gone if ax.statistical))


# --- one element replaced --------------------------------------------------------------------------------------------
def _replace_value(n: Node, arrays):
    from scg.ops.structure import aligned

    x, v = (np.broadcast_to(a, a.shape) for a in arrays)
    axis = n.attrs
    hit = np.eye(axis.size, dtype=bool).reshape((axis.size, *n.shape))
    at = _position(n, axis.name)
    lead = (1,) * at + (axis.size,) + (1,) * (len(n.axes) - at - 1)
    x, v = aligned(x, n.args[0], n.axes, n.ndim), aligned(v, n.args[1], n.axes, n.ndim)
    return np.where(hit.reshape(lead + n.shape), v, x)


def _replace_derivative(g, y, x, v):
    eye = event_to_axis(constant(np.eye(y.attrs.size).reshape((y.attrs.size, *y.shape))), y.attrs)
    return (g * (1.0 - eye), g * eye)


replace_one_op = register(Op(
    "replace_one", "structural", shape=lambda args, attrs: args[0].shape, value=_replace_value,
    axes=lambda args, attrs: union(args[0].axes, args[1].axes, (attrs,)), derivative=_replace_derivative,
    bounds=lambda n, x, v: x.hull(v), integral="closed", picks=EVERY))


def replace_one(x: Node, v: Node, axis: Axis) -> Node:
    """World i along `axis` has element i (in C order) of `x` replaced by that of `v`.

    A value of its own, instead of a masked sum, so that a matrix product with it can become a rank-one change.
    """
    return make(replace_one_op, (x, v), axis)


def replace_draw(x: Node, v: Node, axis: Axis, event_ndim: int = 0) -> Node:
    """World i along `axis` has draw i (in C order) of `x` replaced by that of `v`; draws have so many dimensions."""
    if not event_ndim:
        return replace_one(x, v, axis)
    mine = np.eye(axis.size, dtype=bool).reshape((axis.size, *x.shape[: x.ndim - event_ndim], *(1,) * event_ndim))
    return make("where", (event_to_axis(constant(mine), axis), v, x))

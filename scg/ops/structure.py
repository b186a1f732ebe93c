"""Moving elements: reshape, transpose, broadcast, stack, running sums; indices are in `scg.ops.indices`.

All but running sums say where an element of the result comes from, as an op of yours may (`moving`, `choosing`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from scg.errors import brief
from scg.ir import draws
from scg.ir.index_map import Piece, Within, repeated, reshaped
from scg.ir.interval import Interval, exactly, hull
from scg.ir.methods import function
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant, make, within_bounds
from scg.ir.op import Op, register
from scg.ir.said import said
from scg.ops.shapes import is_whole, one_axis, refuse, sizes

same_kind: dict[str, Any] = {"result": lambda args, attrs: args[0].kind, "integral": "closed",
                              "bounds": lambda n, *parts: hull(parts)}


def leading(node: Node, array) -> tuple[int, ...]:
    """The part of an array's shape that the node's axes have."""
    return array.shape[: len(node.axes)]


# --- ops of which each element is one of an argument's ---------------------------------------------------------------
def moved(n: Node, arrays) -> Any:
    """The value of a node whose elements are its arguments', by the op's index map."""
    given = [aligned(v, a, n.axes, a.ndim) for v, a in zip(arrays, n.args)]
    index = tuple(np.indices(n.shape, sparse=True))

    def read(argument: int, at: tuple) -> Any:
        return _gathered(given[argument], n.axes, at, n.shape)

    value, left = np.array(np.nan), np.array(True)
    for piece in n.op.pieces_of(n, index, read):
        found, hit = (given_at(given[piece.argument], n, piece) if isinstance(piece, Piece) else (piece, True))
        value, left = np.where(left & hit, found, value), left & ~np.asarray(hit)
    lead = np.broadcast_shapes(*(v.shape[: len(n.axes)] for v in given))
    return np.broadcast_to(value, lead + n.shape).astype(np.result_type(*arrays), copy=False)


def given_at(array, n: Node, piece: Piece) -> tuple[Any, Any]:
    """The elements of a piece, and where its conditions hold; elsewhere they are any."""
    sizes, hit = array.shape[len(n.axes):], np.array(True)
    if 0 in sizes:
        return 0.0, False
    for index, low, high in piece.where:
        hit = hit & (low <= np.asarray(index)) & (np.asarray(index) < high)
    for index, size in zip(piece.at, sizes):
        if np.asarray(index).dtype.kind == "f":  # it was read
            hit = hit & (index >= 0) & (index < size)
    safe = tuple(np.where(hit, index, 0).astype(np.int64) for index in piece.at)
    return _gathered(array, n.axes, safe, n.shape), hit


def _gathered(array, axes, index: tuple, shape: tuple[int, ...]) -> Any:
    """Elements of an array that has these axes first, at an index that may vary along them."""
    lead = np.indices(array.shape[: len(axes)], sparse=True)
    return array[tuple(i.reshape(i.shape + (1,) * len(shape)) for i in lead) + index]


def moving(name: str, index_map: Callable[..., tuple], *, shape: Callable[..., tuple[int, ...]],
           derivative: Callable[..., Any], value: Callable[..., Any] = moved,
           text: Callable[..., str] | None = None) -> Op:
    """Register an op whose elements are those of its one argument, moved; the adjoint is for `derivative` to say.

    Parameters
    ----------
    name : str
    index_map, shape, derivative, value, text : callable
        See `Op`; by default the value is that of the index map.
    """
    return register(Op(name, "structural", shape=shape, value=value, derivative=derivative, index_map=index_map,
                       text=text, **same_kind))


def choosing(name: str, pieces: Callable[..., list], *, shape: Callable[..., tuple[int, ...]],
             derivative: Callable[..., Any], reads: tuple[int, ...] = (), value: Callable[..., Any] = moved,
             **fields: Any) -> Op:
    """Register an op whose elements are those of several arguments, or such that other arguments' elements point to.

    Parameters
    ----------
    name : str
    pieces, shape, derivative, value : callable
        See `Op`; by default the value is that of the pieces, and lies where the arguments do that are not `reads`,
        or is the number at the end.
    reads : tuple of int
        The arguments that are indices.
    **fields
        Others of `Op`.
    """
    def within(n: Node, *intervals: Interval) -> Interval:
        padding = n.op.padding(n)
        parts = [interval for i, interval in enumerate(intervals) if i not in reads]
        return hull(parts if padding is None else [*parts, exactly(padding)])

    return register(Op(name, "structural", shape=shape, value=value, derivative=derivative, pieces=pieces, reads=reads,
                       **{**same_kind, "bounds": within, **fields}))


# --- reshape, transpose, broadcast -----------------------------------------------------------------------------------
def _all_args(n: Node) -> str:
    return f"[{', '.join(f'{{{i}}}' for i in range(len(n.args)))}]"


def _reshaped_text(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """How a reshape reads: as a new axis, where it puts dimensions of size 1 in, and not at all where NumPy would."""
    if after == (1,) * (len(after) - len(before)) + before:
        return "{0}"
    if [s for s in before if s > 1] != [s for s in after if s > 1] or 0 in before:
        return "{0}.ravel()" if len(after) == 1 else f"{{0}}.reshape{after}"
    entries, left = [], list(before)
    for size in after:
        while left and left[0] == 1 < size:
            entries.append("0")
            left.pop(0)
        entries.append(":" if left[:1] == [size] else "None")
        left = left[1:] if entries[-1] == ":" else left
    return f"{{0}}[{', '.join([*entries, *'0' * len(left)])}]"


reshape_op = moving(
    "reshape", lambda n, index: reshaped(index, n.shape, n.args[0].shape), shape=lambda args, attrs: attrs,
    value=lambda n, a: a[0].reshape(leading(n.args[0], a[0]) + n.shape),
    derivative=lambda g, y, a: (reshape(g, a.shape),), text=lambda n: _reshaped_text(n.args[0].shape, n.shape))


def _permute(n, a):
    k = len(n.axes)
    return np.transpose(a[0], tuple(range(k)) + tuple(k + d for d in n.attrs))


transpose_op: Op = moving(
    "transpose", lambda n, index: tuple(index[n.attrs.index(d)] for d in range(n.ndim)), value=_permute,
    shape=lambda args, attrs: tuple(args[0].shape[d] for d in attrs),
    derivative=lambda g, y, a: (make(transpose_op, (g,), tuple(int(i) for i in np.argsort(y.attrs))),),
    text=lambda n: "{0}.T" if n.attrs == tuple(reversed(range(n.ndim))) else f"transpose({{0}}, {n.attrs})")


def _spread(n, a):
    lead = leading(n.args[0], a[0])
    inner = (1,) * (n.ndim - n.args[0].ndim) + n.args[0].shape
    return np.broadcast_to(a[0].reshape(lead + inner), lead + n.shape)


broadcast_to_op = moving(
    "broadcast_to", lambda n, index: repeated(index, n.args[0].shape), shape=lambda args, attrs: attrs, value=_spread,
    derivative=lambda g, y, a: (g,), text=lambda n: f"broadcast_to({{0}}, {n.shape})")


def reshape(node, shape) -> Node:
    """The same elements, in C order, in another event shape; one dimension may be -1."""
    node = constant(node)
    shape = sizes(shape)
    if shape.count(-1) == 1:
        rest = math.prod(s for s in shape if s != -1)
        shape = tuple(node.size // rest if s == -1 and rest else s for s in shape)
    if math.prod(shape) != node.size or any(s < 0 for s in shape):
        raise refuse(f"reshape of {node.shape} to {brief(shape)} was asked for.", "The numbers of elements differ.",
                     "Use a shape of the same size.")
    return node if shape == node.shape else make(reshape_op, (node,), shape)


def transpose(node, *perm) -> Node:
    """Event dimensions permuted; reversed by default."""
    node = constant(node)
    if len(perm) == 1 and (perm[0] is None or isinstance(perm[0], (tuple, list))):
        perm = () if perm[0] is None else tuple(perm[0])
    if not perm:
        perm = tuple(reversed(range(node.ndim)))
    order = tuple(p + node.ndim if is_whole(p) and p < 0 else p for p in perm)
    if not all(map(is_whole, order)) or sorted(order) != list(range(node.ndim)):
        raise refuse(f"The dimensions of a node were to be permuted by {perm}.",
                     f"It has {node.ndim} dimension(s).", "Name each of them once.")
    order = tuple(int(p) for p in order)
    if node.op is transpose_op:
        node, order = node.args[0], tuple(node.attrs[p] for p in order)
    return node if order == tuple(range(node.ndim)) else make(transpose_op, (node,), order)


def broadcast_to(node, shape) -> Node:
    """The node repeated to a larger event shape."""
    node = constant(node)
    shape = sizes(shape)
    if node.shape == shape:
        return node
    added = len(shape) - node.ndim
    if added < 0 or any(s < 0 or a not in (1, s) for a, s in zip((1,) * added + node.shape, shape)):
        raise refuse(f"broadcast of {node.shape} to {shape} was asked for.",
                     "Counted from the right, dimensions must be equal, or 1 in the node.",
                     "Use reshape or indexing with None to line them up.")
    return make(broadcast_to_op, (node,), shape)


# --- stack and running sums ------------------------------------------------------------------------------------------
def _stack_value(n, a):
    parts = [np.broadcast_to(aligned(v, b, n.axes, b.ndim), full_shape(a, n) + b.shape) for v, b in zip(a, n.args)]
    return np.stack(parts, axis=len(n.axes))


def full_shape(arrays, n: Node) -> tuple[int, ...]:
    """Sizes of the axes of `n`, read off its arguments' arrays."""
    sizes = {ax.name: s for v, b in zip(arrays, n.args) for ax, s in zip(b.axes, v.shape)}
    return tuple(sizes[ax.name] for ax in n.axes)


def aligned(array, node: Node, axes, ndim: int):
    """An argument's array with the axes `axes` and `ndim` event dimensions, missing ones of size 1."""
    if node.axes == axes and node.ndim == ndim:
        return array
    have = dict(zip((ax.name for ax in node.axes), array.shape))
    lead = tuple(have.get(ax.name, 1) for ax in axes)
    return array.reshape(lead + (1,) * (ndim - node.ndim) + node.shape)


stack_op = choosing(
    "stack", lambda n, index, read: [Piece(k, index[1:], (Within(index[0], k, k + 1),)) for k in range(len(n.args))],
    shape=lambda args, attrs: (len(args), *args[0].shape), value=_stack_value,
    derivative=lambda g, y, *args: tuple(g[i] for i in range(len(args))), text=lambda n: f"stack({_all_args(n)})")


def _listed(nodes, what: str) -> list[Node]:
    """Several nodes and literals as a list of nodes."""
    if not isinstance(nodes, Iterable) or isinstance(nodes, (str, bytes, Mapping)):
        raise refuse(f"{what} was given one {type(nodes).__name__}.", "It joins several nodes.",
                     f"Give them as a list: scg.{what}([a, b]).")
    return [as_real(constant(n)) for n in nodes]


def stack(nodes, axis: int = 0) -> Node:
    """One array node of several nodes of one shape."""
    nodes = _listed(nodes, "stack")
    if not nodes:
        raise refuse("A stack of no nodes was asked for.", "It would have no shape.", "Give it at least one.")
    shape = np.broadcast_shapes(*(n.shape for n in nodes)) if all(not n.shape for n in nodes) else nodes[0].shape
    if any(n.shape != shape for n in nodes):
        raise refuse(f"A stack of shapes {', '.join(str(n.shape) for n in nodes)} was asked for.",
                     "They must be equal.", "Broadcast or reshape them first.")
    out = make(stack_op, tuple(nodes))
    if axis == 0:
        return out
    order = list(range(1, out.ndim))
    order.insert(one_axis(axis, out.ndim), 0)
    return transpose(out, tuple(order))


def _concatenate_value(n, a):
    parts = [np.broadcast_to(aligned(v, b, n.axes, b.ndim), full_shape(a, n) + b.shape) for v, b in zip(a, n.args)]
    return np.concatenate(parts, axis=len(n.axes))


def _concatenate_derivative(g, y, *args):
    ends = np.cumsum([a.shape[0] for a in args])
    return tuple(g[int(end) - a.shape[0] : int(end)] for a, end in zip(args, ends))


def _one_after_another(n, index, read):
    starts = np.cumsum([0, *(a.shape[0] for a in n.args)]).tolist()
    within = [index[0] - start for start in starts]
    return [Piece(k, (i, *index[1:]), (Within(i, 0, a.shape[0]),)) for k, (a, i) in enumerate(zip(n.args, within))]


concatenate_op = choosing(
    "concatenate", _one_after_another, value=_concatenate_value, derivative=_concatenate_derivative,
    shape=lambda args, attrs: (sum(a.shape[0] for a in args), *args[0].shape[1:]),
    text=lambda n: f"concatenate({_all_args(n)})")


def concatenate(nodes, axis: int = 0) -> Node:
    """Nodes joined along an event dimension that they all have."""
    nodes = _listed(nodes, "concatenate")
    if not nodes or any(n.ndim != nodes[0].ndim or n.ndim == 0 for n in nodes):
        raise refuse(f"Shapes {', '.join(str(n.shape) for n in nodes) or 'of no nodes'} were to be concatenated.",
                     "They need the same number of dimensions, one at least.", "Use stack for scalars.")
    axis = one_axis(axis, nodes[0].ndim)
    if len({n.shape[:axis] + n.shape[axis + 1:] for n in nodes}) != 1:
        raise refuse(f"Shapes {', '.join(str(n.shape) for n in nodes)} were to be concatenated along axis {axis}.",
                     "Their other dimensions differ.", "Reshape them first.")
    order = (axis, *(d for d in range(nodes[0].ndim) if d != axis))
    joined = make(concatenate_op, tuple(transpose(n, order) for n in nodes))
    return transpose(joined, tuple(int(i) for i in np.argsort(order)))


def _partial_sums(n, a: Interval) -> Interval:
    return a.hull(a.repeated(n.shape[0])) if n.shape[0] else a


def _sums_to(n, a):
    return np.cumsum(a[0], axis=len(n.axes), dtype=np.float64).astype(a[0].dtype)


def _sums_from(n, a):
    dim = len(n.axes)
    return np.flip(_sums_to(n, [np.flip(a[0], dim)]), dim)


def _depends_from(n: Node, of: Sequence[draws.Draws]) -> draws.Draws:
    if not draws.told_apart(of):
        return draws.of_all(of)
    return np.flip(np.bitwise_or.accumulate(np.flip(of[0], 0), axis=0), 0)


def _depends_to(n: Node, of: Sequence[draws.Draws]) -> draws.Draws:
    return np.bitwise_or.accumulate(of[0], axis=0) if draws.told_apart(of) else draws.of_all(of)


suffix_sum_op = register(Op(
    "suffix_sum", "structural", shape=lambda args, attrs: args[0].shape, value=_sums_from, integral="closed",
    bounds=_partial_sums, derivative=lambda g, y, a: (make(prefix_sum_op, (g,)),), linear=True,
    depends=_depends_from))
prefix_sum_op: Op = register(Op(
    "prefix_sum", "structural", shape=lambda args, attrs: args[0].shape, value=_sums_to, integral="closed",
    bounds=_partial_sums, derivative=lambda g, y, a: (make(suffix_sum_op, (g,)),), linear=True,
    depends=_depends_to))


def suffix_sum(node: Node) -> Node:
    """Sums from each index of dimension 0 to its end: the costs still to come, step by step."""
    return make(suffix_sum_op, (node,))


def prefix_sum(node: Node) -> Node:
    """Sums up to each index of dimension 0, that one included."""
    return make(prefix_sum_op, (node,))


def one_hot(k, size: int) -> Node:
    """A last dimension of `size` that is 1 at the integer `k` and 0 elsewhere (everywhere, if `k` is outside)."""
    if not is_whole(size) or size < 1:
        raise refuse(f"one_hot of size {brief(size)} was asked for.", "It is the number of values.",
                     "Give a whole number from 1.")
    k = as_real(constant(k))
    within_bounds((*k.shape, int(size)), "one_hot")
    known = function("checked_index")(k, int(size), f"one_hot of size {size} was asked for")
    hot = indicators(known, int(size))
    if known is k:
        return hot
    return said(apply("where", reshape(apply("eq", known, known), (*k.shape, 1)), hot, np.nan),
                f"one_hot({{0}}, {int(size)})", k)


def indicators(k, size: int) -> Node:
    """`one_hot` of values that are known to be integers, though their node may not show it: those of a density."""
    k = constant(k)
    return as_real(apply("eq", reshape(k, (*k.shape, 1)), constant(np.arange(size, dtype=float))))


FUNCTIONS.update({"reshape": reshape, "transpose": transpose, "broadcast_to": broadcast_to, "stack": stack})

"""Moving elements: reshape, transpose, index, broadcast, stack, take, running sums.

Each op here says where an element of the result comes from; backends implement the set by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scg.ir.interval import Interval, exactly, hull
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant, make
from scg.ir.op import Op, Smoothness, register
from scg.ops.shapes import is_whole, one_axis, refuse, sizes

_same_kind: dict[str, Any] = {"result": lambda args, attrs: args[0].kind, "integral": "closed",
                              "bounds": lambda n, *parts: hull(parts)}


def _lead(node: Node, array) -> tuple[int, ...]:
    return array.shape[: len(node.axes)]


# --- reshape, transpose, broadcast -----------------------------------------------------------------------------------
register(Op("reshape", "structural", shape=lambda args, attrs: attrs,
            value=lambda n, a: a[0].reshape(_lead(n.args[0], a[0]) + n.shape),
            derivative=lambda g, y, a: (reshape(g, a.shape),), **_same_kind))


def _permute(n, a):
    k = len(n.axes)
    return np.transpose(a[0], tuple(range(k)) + tuple(k + d for d in n.attrs))


register(Op("transpose", "structural", shape=lambda args, attrs: tuple(args[0].shape[d] for d in attrs), value=_permute,
            derivative=lambda g, y, a: (make("transpose", (g,), tuple(int(i) for i in np.argsort(y.attrs))),),
            **_same_kind))


def _spread(n, a):
    lead = _lead(n.args[0], a[0])
    inner = (1,) * (n.ndim - n.args[0].ndim) + n.args[0].shape
    return np.broadcast_to(a[0].reshape(lead + inner), lead + n.shape)


register(Op("broadcast_to", "structural", shape=lambda args, attrs: attrs, value=_spread,
            derivative=lambda g, y, a: (g,), **_same_kind))


def reshape(node, shape) -> Node:
    """The same elements, in C order, in another event shape; one dimension may be -1."""
    node = constant(node)
    shape = sizes(shape)
    if shape.count(-1) == 1:
        rest = int(np.prod([s for s in shape if s != -1], dtype=int))
        shape = tuple(node.size // rest if s == -1 and rest else s for s in shape)
    if int(np.prod(shape, dtype=int)) != node.size or any(s < 0 for s in shape):
        raise refuse(f"reshape of {node.shape} to {shape} was asked for.", "The numbers of elements differ.",
                     "Use a shape of the same size.")
    return node if shape == node.shape else make("reshape", (node,), shape)


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
    if node.op.name == "transpose":
        node, order = node.args[0], tuple(node.attrs[p] for p in order)
    return node if order == tuple(range(node.ndim)) else make("transpose", (node,), order)


def broadcast_to(node, shape) -> Node:
    """The node repeated to a larger event shape."""
    node = constant(node)
    shape = sizes(shape)
    if node.shape == shape:
        return node
    spread = len(shape) - node.ndim
    if spread < 0 or any(s < 0 or a not in (1, s) for a, s in zip((1,) * spread + node.shape, shape)):
        raise refuse(f"broadcast of {node.shape} to {shape} was asked for.",
                     "Counted from the right, dimensions must be equal, or 1 in the node.",
                     "Use reshape or indexing with None to line them up.")
    return make("broadcast_to", (node,), shape)


# --- static indices --------------------------------------------------------------------------------------------------
# attrs: one entry per dimension of the argument: ("at", i) removes it, ("slice", start, step, length) keeps it
def _indexed_shape(args, attrs):
    return tuple(entry[3] for entry in attrs if entry[0] == "slice")


def index_of(attrs, lead: int) -> tuple:
    """The NumPy index of a getitem node's attributes, after `lead` untouched dimensions."""
    out: list = [slice(None)] * lead
    for entry in attrs:
        if entry[0] == "at":
            out.append(entry[1])
        else:
            start, step, length = entry[1:]
            stop = start + step * length
            out.append(slice(start, stop if stop >= 0 else None, step))
    return tuple(out)


register(Op("getitem", "structural", shape=_indexed_shape,
            value=lambda n, a: a[0][index_of(n.attrs, len(n.axes))],
            derivative=lambda g, y, a: (make("put", (g,), (y.attrs, a.shape)),), **_same_kind))


def _put(n, a):
    out = np.zeros(_lead(n, a[0]) + n.shape, dtype=a[0].dtype)
    out[index_of(n.attrs[0], len(n.axes))] = a[0]
    return out


register(Op("put", "structural", shape=lambda args, attrs: attrs[1], value=_put,
            derivative=lambda g, y, a: (make("getitem", (g,), y.attrs[0]),),
            **{**_same_kind, "bounds": lambda n, a: a.hull(exactly(0.0))}))


def getitem(node, index) -> Node:
    """NumPy's indexing by integers, slices, ``...``, ``None``, integer arrays; and by nodes of integer value."""
    node = constant(node)
    entries = _spelled_out(index if isinstance(index, tuple) else (index,), node.ndim)
    if any(isinstance(e, (Node, list, np.ndarray)) for e in entries):
        return _general_index(node, entries)
    out, shape, dim = [], [], 0
    for e in entries:
        if e is None:
            shape.append(1)
            continue
        size, dim = node.shape[dim], dim + 1
        entry = _entry(e, size, dim - 1)
        out.append(entry)
        if entry[0] == "slice":
            shape.append(entry[3])
    return reshape(_part(node, tuple(out)), tuple(shape))


def _part(node: Node, entries: tuple) -> Node:
    """The elements that the entries pick; of what was joined from several nodes the one that they are part of."""
    if all(e == ("slice", 0, 1, s) for e, s in zip(entries, node.shape)):
        return node
    name, first = node.op.name, entries[0]
    if name == "getitem":
        return _part(node.args[0], _composed(node.attrs, entries))
    if name == "stack" and first[0] == "at":
        return _part(node.args[first[1]], entries[1:])
    if name == "transpose" and node.args[0].op.name in ("stack", "concatenate"):
        inner = tuple(entries[node.attrs.index(d)] for d in range(node.ndim))
        kept = [d for d in range(node.ndim) if inner[d][0] == "slice"]
        return transpose(_part(node.args[0], inner), tuple(kept.index(d) for d in node.attrs if d in kept))
    if name == "concatenate":
        start = 0
        for piece in node.args:
            within = _shifted(first, start, piece.shape[0])
            if within is not None:
                return _part(piece, (within, *entries[1:]))
            start += piece.shape[0]
    return make("getitem", (node,), entries)


def _composed(before: tuple, after: tuple) -> tuple:
    """One index in the place of two."""
    rest = iter(after)
    out = []
    for entry in before:
        if entry[0] == "slice":
            _, start, step, _ = entry
            then = next(rest)
            entry = (("at", start + step * then[1]) if then[0] == "at" else
                     ("slice", start + step * then[1], step * then[2], then[3]))
        out.append(entry)
    return tuple(out)


def _shifted(entry: tuple, start: int, size: int) -> tuple | None:
    """The entry counted from `start`, if all that it picks lies in the `size` elements from there."""
    last = entry[1] if entry[0] == "at" else entry[1] + entry[2] * (entry[3] - 1)
    if (entry[0] == "slice" and not entry[3]) or min(entry[1], last) < start or max(entry[1], last) >= start + size:
        return None
    return (entry[0], entry[1] - start, *entry[2:])


def _spelled_out(entries: tuple, ndim: int) -> tuple:
    """An index with an entry for each dimension: slices for ``...`` and for what is left out."""
    used = sum(e is not None and e is not Ellipsis for e in entries)
    if used > ndim:
        raise refuse(f"{used} indices were used.", f"The node has {ndim} dimension(s).", "Use fewer.")
    dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1:
        raise refuse("Two ellipses were used in one index.", "Their sizes would be ambiguous.", "Use one.")
    at = dots[0] if dots else len(entries)
    return (*entries[:at], *[slice(None)] * (ndim - used), *entries[at + 1:])


def _entry(e, size: int, dim: int):
    if isinstance(e, slice):
        _check_slice(e)
        start, stop, step = e.indices(size)
        return ("slice", start, step, len(range(start, stop, step)))
    if isinstance(e, (bool, np.bool_)) or not isinstance(e, (int, np.integer)):
        raise refuse(f"Index {e!r} was used.", f"An index of type {type(e).__name__} is not supported.",
                     "Use integers, slices, None, ..., or nodes of integer value.")
    if not -size <= e < size:
        raise refuse(f"Index {e} was used in dimension {dim}.", f"Its size is {size}.",
                     f"Use an index from {-size} to {size - 1}." if size else "It has no elements.")
    return ("at", int(e) % size)


def _check_slice(e: slice) -> None:
    parts = [p for p in (e.start, e.stop, e.step) if p is not None]
    if any(isinstance(p, Node) for p in parts):
        raise refuse("A slice was bounded by a node.", "How long it is would be known only when the graph runs.",
                     "Use scg.where(mask, x, 0.0) with a mask of np.arange, or index by an array.")
    if not all(map(is_whole, parts)) or e.step == 0:
        raise refuse(f"Index {e!r} was used.", "A slice runs between whole numbers, in steps that are not 0.",
                     "Use integers, or leave them out.")


def _general_index(node: Node, entries: tuple) -> Node:
    """Indices that are arrays, masks or nodes, among integers and slices."""
    if any(e is None for e in entries):
        raise refuse("An array or node index was mixed with None.", "That is not supported.", "Index in two steps.")
    places = [i for i, e in enumerate(entries) if not isinstance(e, slice)]
    chosen = {i: _chosen(entries[i], node.shape[i]) for i in places}
    if len(places) > 1 and any(k.ndim for k in chosen.values()):
        return _together(node, entries, chosen)
    first = next(i for i in places if isinstance(entries[i], (Node, list, np.ndarray)))
    others = (*entries[:first], *entries[first + 1:])
    taken = take(transpose(node, (first, *(d for d in range(node.ndim) if d != first))), chosen[first])
    k = chosen[first].ndim
    if not k:
        return getitem(taken, others) if others else taken
    # the dimensions of the index belong where the indexed one was
    taken = transpose(taken, (*range(k, k + first), *range(k), *range(k + first, taken.ndim)))
    return getitem(taken, (*entries[:first], *[slice(None)] * k, *entries[first + 1:])) if others else taken


def _together(node: Node, entries: tuple, chosen: dict[int, Node]) -> Node:
    """Several indices that go through their elements together, as NumPy's do: one into the flattened dimensions."""
    from scg.analysis.integers import bounded, checked_index

    try:
        shape = np.broadcast_shapes(*(k.shape for k in chosen.values()))
    except ValueError:
        raise refuse(f"Indices of shapes {', '.join(str(k.shape) for k in chosen.values())} were used together.",
                     "They go through their elements together, so their shapes must be broadcast to each other.",
                     "Use k[:, None] and j[None, :] for all pairs.") from None
    flat, inside = constant(0.0), None
    for i, k in chosen.items():
        size = node.shape[i]
        k = checked_index(k, size, f"Dimension {i}, of size {size}, was indexed")
        flat = flat * float(size) + k
        if not bounded(k, size):
            within = apply("and", apply("le", 0.0, k), apply("lt", k, float(size)))
            inside = within if inside is None else apply("and", inside, within)
    if inside is not None:  # what leaves its own dimension must not fall into another's row
        flat = apply("where", inside, flat, -1.0)
    rest = [d for d in range(node.ndim) if d not in chosen]
    table = reshape(transpose(node, (*chosen, *rest)), (-1, *(node.shape[d] for d in rest)))
    taken = make(take_op, (as_real(table), broadcast_to(flat, shape)))
    n, at = len(shape), min(chosen)
    sliced: tuple = tuple(entries[d] for d in rest)
    if max(chosen) - at == len(chosen) - 1:  # side by side: the new dimensions stand where these were
        taken = transpose(taken, (*range(n, n + at), *range(n), *range(n + at, taken.ndim)))
        return getitem(taken, (*sliced[:at], *[slice(None)] * n, *sliced[at:]))
    return getitem(taken, (*[slice(None)] * n, *sliced))


def _chosen(entry, size: int) -> Node:
    """An index as a node of integers from 0 to `size` - 1, if it is known now; a mask as the integers it picks."""
    if is_whole(entry):
        return constant(float(_entry(entry, size, 0)[1]))
    chosen = constant(entry)
    if chosen.op.name != "const":
        if chosen.kind == "bool":
            raise refuse("A node was indexed by a comparison.",
                         "How many elements it picks would be known only when the graph runs.",
                         "Use scg.where(mask, a, b), e.g. with 0.0 for what a sum should leave out.")
        return chosen
    values = chosen.attrs.array
    if values.dtype == bool:
        if values.shape != (size,):
            raise refuse(f"A mask of shape {values.shape} was used as index.", f"The dimension's size is {size}.",
                         "Use a mask of that length, or scg.where.")
        values = np.flatnonzero(values).astype(float)
    if values.size and not (np.all(values == np.floor(values)) and values.min() >= -size and values.max() < size):
        raise refuse(f"Indices {values.tolist()} were used.", f"The dimension's size is {size}.",
                     f"Use integers from {-size} to {size - 1}." if size else "It has no elements.")
    return constant(np.where(values < 0, values + size, values))


# --- indices known only when the graph runs --------------------------------------------------------------------------
def _take_value(n, a):
    table, k = a
    from scg.ir.axes import union

    axes = union(n.args[0].axes, n.args[1].axes)
    table, k = aligned(table, n.args[0], axes, n.args[0].ndim), aligned(k, n.args[1], axes, n.args[1].ndim)
    size, rest = n.args[0].shape[0], n.args[0].shape[1:]
    flat_k = k.reshape(k.shape[: len(axes)] + (-1, 1))
    flat_table = table.reshape(table.shape[: len(axes)] + (size, -1))
    inside = (flat_k >= 0) & (flat_k < size)
    where = np.where(inside, flat_k, 0).astype(np.int64)
    lead = np.broadcast_shapes(flat_k.shape[:-2], flat_table.shape[:-2])
    flat_table = np.broadcast_to(flat_table, lead + flat_table.shape[-2:])
    where = np.broadcast_to(where, lead + where.shape[-2:])
    got = np.take_along_axis(flat_table, where, axis=-2)
    got = np.where(np.broadcast_to(inside, got.shape), got, np.nan)  # an index outside the table has no value
    return got.reshape(lead + n.args[1].shape + rest)


def _take_derivative(g, y, table, k):
    positions = constant(np.arange(table.shape[0], dtype=float).reshape((-1,) + (1,) * k.ndim))
    hit = as_real(apply("eq", positions, k))  # (size, *k.shape)
    hit = reshape(hit, hit.shape + (1,) * (table.ndim - 1))
    spread = FUNCTIONS["sum"](hit * g, axis=tuple(range(1, 1 + k.ndim)))
    return (spread, None)


take_op = register(Op("take", "structural", shape=lambda args, attrs: args[1].shape + args[0].shape[1:],
                      value=_take_value, derivative=_take_derivative, bounds=lambda n, table, k: table, regular=False,
                      integral="closed",
                      smoothness=(Smoothness.SMOOTH, Smoothness.DISCONTINUOUS)))


def take(table, k) -> Node:
    """``table[k]`` for a node `k` whose values are integers from 0 to ``len(table) - 1``."""
    from scg.analysis.integers import checked_index

    table, k = as_real(constant(table)), constant(k)
    if table.ndim == 0:
        raise refuse("A scalar node was indexed.", "It has no dimensions.", "Index an array.")
    k = checked_index(k, table.shape[0], f"An array of length {table.shape[0]} was indexed")
    return make(take_op, (table, k))


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
    have = dict(zip((ax.name for ax in node.axes), array.shape))
    lead = tuple(have.get(ax.name, 1) for ax in axes)
    return array.reshape(lead + (1,) * (ndim - node.ndim) + node.shape)


register(Op("stack", "structural", shape=lambda args, attrs: (len(args), *args[0].shape), value=_stack_value,
            derivative=lambda g, y, *args: tuple(g[i] for i in range(len(args))),
            **_same_kind))


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
    out = make("stack", tuple(nodes))
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


register(Op("concatenate", "structural", shape=lambda args, attrs: (sum(a.shape[0] for a in args), *args[0].shape[1:]),
            value=_concatenate_value, derivative=_concatenate_derivative, integral="closed",
            bounds=lambda n, *parts: hull(parts)))


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
    joined = make("concatenate", tuple(transpose(n, order) for n in nodes))
    return transpose(joined, tuple(int(i) for i in np.argsort(order)))


def _partial_sums(n, a: Interval) -> Interval:
    return a.hull(a.repeated(n.shape[0])) if n.shape[0] else a


def _running(n, a):
    dim = len(n.axes)
    back = n.op.name == "suffix_sum"
    sums = np.cumsum(np.flip(a[0], dim) if back else a[0], axis=dim, dtype=np.float64).astype(a[0].dtype)
    return np.flip(sums, dim) if back else sums


register(Op("suffix_sum", "structural", shape=lambda args, attrs: args[0].shape, value=_running, integral="closed",
            bounds=_partial_sums, derivative=lambda g, y, a: (make("prefix_sum", (g,)),)))
register(Op("prefix_sum", "structural", shape=lambda args, attrs: args[0].shape, value=_running, integral="closed",
            bounds=_partial_sums, derivative=lambda g, y, a: (make("suffix_sum", (g,)),)))


def suffix_sum(node: Node) -> Node:
    """Sums from each index of dimension 0 to its end: the costs still to come, step by step."""
    return make("suffix_sum", (node,))


def one_hot(k, size: int) -> Node:
    """A last dimension of `size` that is 1 at the integer `k` and 0 elsewhere (everywhere, if `k` is outside)."""
    from scg.analysis.integers import checked_index

    if not is_whole(size) or size < 1:
        raise refuse(f"one_hot of size {size!r} was asked for.", "It is the number of values.",
                     "Give a whole number from 1.")
    k = as_real(constant(k))
    known = checked_index(k, int(size), f"one_hot of size {size} was asked for")
    hot = indicators(known, int(size))
    return hot if known is k else apply("where", reshape(apply("eq", known, known), (*k.shape, 1)), hot, np.nan)


def indicators(k, size: int) -> Node:
    """`one_hot` of values that are known to be integers, though their node may not show it: those of a density."""
    k = constant(k)
    return as_real(apply("eq", reshape(k, (*k.shape, 1)), constant(np.arange(size, dtype=float))))


FUNCTIONS.update({"reshape": reshape, "transpose": transpose, "broadcast_to": broadcast_to, "getitem": getitem,
                  "stack": stack})

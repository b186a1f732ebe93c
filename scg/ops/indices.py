"""Elements picked by an index: known when the graph is declared, or a node whose value is known when it runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scg.ir import digits, draws
from scg.ir.index_map import Piece, Within
from scg.ir.interval import Interval, exactly
from scg.ir.methods import function
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant, make
from scg.ir.op import Op
from scg.ops.shapes import is_whole, refuse
from scg.ops.structure import (
    aligned,
    broadcast_to,
    choosing,
    concatenate_op,
    leading,
    moving,
    reshape,
    stack_op,
    transpose,
    transpose_op,
)


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


def _picked(n, index):
    left = iter(index)
    return tuple(e[1] if e[0] == "at" else e[1] + e[2] * next(left) for e in n.attrs)


def _entries(n: Node) -> str:
    """The index of a getitem node as it was written, without the whole dimensions at its end."""
    whole = [e == ("slice", 0, 1, size) for e, size in zip(n.attrs, n.args[0].shape)]
    kept = max([i + 1 for i, every in enumerate(whole) if not every], default=1)
    return ", ".join(":" if every else _entry_text(e, size)
                     for e, every, size in list(zip(n.attrs, whole, n.args[0].shape))[:kept])


def _entry_text(entry: tuple, size: int) -> str:
    if entry[0] == "at":
        return str(entry[1])
    start, step, length = entry[1:]
    stop = start + step * length
    ends = (start if (start if step > 0 else start != size - 1) else "", "" if stop >= size or stop < 0 else stop)
    return f"{ends[0]}:{ends[1]}" + (f":{step}" if step != 1 else "")


getitem_op = moving(
    "getitem", _picked, shape=_indexed_shape, value=lambda n, a: a[0][index_of(n.attrs, len(n.axes))],
    derivative=lambda g, y, a: (make(put_op, (g,), (y.attrs, a.shape)),), text=lambda n: f"{{0}}[{_entries(n)}]")


def _put(n, a):
    out = np.zeros(leading(n, a[0]) + n.shape, dtype=a[0].dtype)
    out[index_of(n.attrs[0], len(n.axes))] = a[0]
    return out


def _placed(n, index, read):
    inner, where = [], []
    for i, entry, size in zip(index, *n.attrs):
        if entry[0] == "at":
            where.append(Within(i, entry[1], entry[1] + 1))
        elif entry == ("slice", 0, 1, size):
            inner.append(i)
        else:
            _, start, step, length = entry
            inner.append(i - start if step == 1 else (i - start) // step)
            where += [Within((i - start) % abs(step), 0, 1)] if abs(step) > 1 else []
            where.append(Within(inner[-1], 0, length))
    return [Piece(0, tuple(inner), tuple(where)), 0.0]


put_op: Op = choosing(
    "put", _placed, shape=lambda args, attrs: attrs[1], value=_put, bounds=lambda n, a: a.hull(exactly(0.0)),
    derivative=lambda g, y, a: (make(getitem_op, (g,), y.attrs[0]),))


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
    op, first = node.op, entries[0]
    if op is getitem_op:
        return _part(node.args[0], _composed(node.attrs, entries))
    if op is stack_op and first[0] == "at":
        return _part(node.args[first[1]], entries[1:])
    if op is transpose_op and node.args[0].op in (stack_op, concatenate_op):
        inner = tuple(entries[node.attrs.index(d)] for d in range(node.ndim))
        kept = [d for d in range(node.ndim) if inner[d][0] == "slice"]
        return transpose(_part(node.args[0], inner), tuple(kept.index(d) for d in node.attrs if d in kept))
    if op is concatenate_op:
        start = 0
        for piece in node.args:
            within = _shifted(first, start, piece.shape[0])
            if within is not None:
                return _part(piece, (within, *entries[1:]))
            start += piece.shape[0]
    return make(getitem_op, (node,), entries)


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
    """An index with an entry for each dimension: slices for ``...`` and for what is left out.

    A whole number is an index, whatever its type: what a loop carries is real, and steps are written to be tried.
    """
    used = sum(e is not None and e is not Ellipsis for e in entries)
    if used > ndim:
        raise refuse(f"{used} indices were used.", f"The node has {ndim} dimension(s).", "Use fewer.")
    dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1:
        raise refuse("Two ellipses were used in one index.", "Their sizes would be ambiguous.", "Use one.")
    at = dots[0] if dots else len(entries)
    entries = tuple(int(e) if isinstance(e, (float, np.floating)) and float(e).is_integer() else e for e in entries)
    return (*entries[:at], *[slice(None)] * (ndim - used), *entries[at + 1:])


def _entry(e, size: int, dim: int):
    if isinstance(e, slice):
        _check_slice(e)
        start, stop, step = e.indices(size)
        return ("slice", start, step, len(range(start, stop, step)))
    if not is_whole(e):
        raise refuse(f"Index {e!r} was used.", "It is no whole number." if isinstance(e, (float, np.floating)) else
                     f"An index of type {type(e).__name__} is not supported.",
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
    positions = [i for i, e in enumerate(entries) if not isinstance(e, slice)]
    chosen = {i: _chosen(entries[i], node.shape[i]) for i in positions}
    if len(positions) > 1 and any(k.ndim for k in chosen.values()):
        return _together(node, entries, chosen)
    first = next(i for i in positions if isinstance(entries[i], (Node, list, np.ndarray)))
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
    try:
        shape = np.broadcast_shapes(*(k.shape for k in chosen.values()))
    except ValueError:
        raise refuse(f"Indices of shapes {', '.join(str(k.shape) for k in chosen.values())} were used together.",
                     "They go through their elements together, so their shapes must be broadcast to each other.",
                     "Use k[:, None] and j[None, :] for all pairs.") from None
    flat, inside = constant(0.0), None
    for i, k in chosen.items():
        size = node.shape[i]
        k = function("checked_index")(k, size, f"Dimension {i}, of size {size}, was indexed")
        flat = flat * float(size) + k
        if not function("bounded")(k, size):
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
    if not chosen.is_const:
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
    scattered = FUNCTIONS["sum"](hit * g, axis=tuple(range(1, 1 + k.ndim)))
    return (scattered, None)


def _take_from(n: Node, args: tuple[Node, ...], hook=None) -> Node:
    from scg.ops.lookups import looked_up

    found = looked_up(*args) if not args[1].ndim else None
    return make(n.op, args, n.attrs) if found is None else found


def _pointed_to(n, index, read):
    k = n.args[1].ndim
    return [Piece(0, (read(1, index[:k]), *index[k:]))]


def _within_table(n: Node, table: Interval, k: Interval) -> bool:
    return k.low >= 0.0 and k.high <= n.args[0].shape[0] - 1.0


def _depends(n: Node, of: Sequence[draws.Draws]) -> draws.Draws:
    """A row of a table depends on all of its rows, and on the index; a literal index says which row it is."""
    (table, k), index = n.args, of[1]
    if not draws.told_apart(of):
        return draws.of_all(of)
    if k.is_const:
        return draws.whole(of[0], table)[k.attrs.array.astype(int)]
    row = draws.united_over(draws.whole(of[0], table), (0,))
    return np.broadcast_to(draws.whole(index, k).reshape(k.shape + (1,) * row.ndim) | row, n.shape)


take_op = choosing(
    "take", _pointed_to, reads=(1,), shape=lambda args, attrs: args[1].shape + args[0].shape[1:], value=_take_value,
    derivative=_take_derivative, rebuild=_take_from, defined=_within_table, depends=_depends,
    magnitude=lambda n, x, d: digits.where(_within_table(n, *x), d[0]), text="{0}[{1}]",
    advice="Keep the index from 0 to the length of the table less 1.")


def take(table, k) -> Node:
    """``table[k]`` for a node `k` whose values are integers from 0 to ``len(table) - 1``."""
    table, k = as_real(constant(table)), constant(k)
    if table.ndim == 0:
        raise refuse("A scalar node was indexed.", "It has no dimensions.", "Index an array.")
    k = function("checked_index")(k, table.shape[0], f"An array of length {table.shape[0]} was indexed")
    return make(take_op, (table, k))


FUNCTIONS.update({"getitem": getitem})

"""What the elements of nodes add up to along a dimension, where that is one number by construction: a softmax to 1.

A node's are a dict of dimensions, counted from the last one as −1, −2, …, to the number. What an op makes of those of
its arguments is a rule like its value: `Op.constant_sums`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from scg.ir import index_map
from scg.ir.index_map import Piece
from scg.ir.interval import Interval
from scg.ir.node import Node

Sums = Mapping[int, float]


def dimensions(node: Node) -> range:
    """The dimensions of a node, from the last one."""
    return range(-1, -node.ndim - 1, -1)


def of_literal(node: Node) -> Sums:
    """Those of a literal."""
    array = node.attrs.array
    found = {d: np.sum(array, axis=d, dtype=np.float64) for d in dimensions(node)}
    return {d: float(s.flat[0]) for d, s in found.items() if s.size and np.allclose(s, s.flat[0], rtol=1e-12, atol=0.0)}


def repeated(n: Node, arg: Node, of: Sums, d: int) -> float | None:
    """That of an argument of an op that acts element by element, repeated to the size of the result."""
    if -d <= arg.ndim and arg.shape[d] == n.shape[d]:
        return of.get(d)
    number = one_number(arg)
    return None if number is None else number * n.shape[d]


def one_number(node: Node) -> float | None:
    """The number that all elements of a literal are."""
    array = node.attrs.array if node.is_const else np.zeros(0)
    return float(array.flat[0]) if array.size and np.all(array == array.flat[0]) else None


def linear(*weights: float):
    """The rule of a weighted sum of the arguments, element by element."""
    def rule(n: Node, of: Sequence[Sums], within: Sequence[Interval]) -> Sums:
        every = {d: [repeated(n, a, sums, d) for a, sums in zip(n.args, of)] for d in dimensions(n)}
        return {d: sum(w * s for w, s in zip(weights, found) if s is not None)
                for d, found in every.items() if None not in found}

    return rule


def chosen(n: Node, of: Sequence[Sums], within: Sequence[Interval]) -> Sums:
    """The rule of a choice between two: that of both, along what the condition does not vary along."""
    condition, *branches = n.args
    still = [d for d in dimensions(n) if -d > condition.ndim or condition.shape[d] == 1]
    every = {d: {repeated(n, a, sums, d) for a, sums in zip(branches, of[1:])} for d in still}
    return {d: found.pop() for d, found in every.items() if len(found) == 1 and None not in found}  # type: ignore[misc]


def product(n: Node, of: Sequence[Sums], within: Sequence[Interval]) -> Sums:
    """The rule of a product with a number."""
    for number, (arg, sums) in ((one_number(n.args[1 - i]), (n.args[i], of[i])) for i in (0, 1)):
        if number is not None:
            return {d: number * s for d in dimensions(n) if (s := repeated(n, arg, sums, d)) is not None}
    return {}


def quotient(n: Node, of: Sequence[Sums], within: Sequence[Interval]) -> Sums:
    """The rule of a quotient: by a number, or by the elements' own sum."""
    number = one_number(n.args[1])
    if number:
        return {d: s / number for d in dimensions(n) if (s := repeated(n, n.args[0], of[0], d)) is not None}
    return dict.fromkeys(shares(n), 1.0)


def shares(n: Node) -> tuple[int, ...]:
    """The dimensions along which a quotient is that of elements by their own sum."""
    whole, sum_, at = n.args[0], n.args[1], index_map.repeated(_traces(n), n.args[1].shape)
    if whole.shape != n.shape:
        return ()
    while sum_.op.index_map is not None:
        at, sum_ = sum_.op.index_map(sum_, at), sum_.args[0]
    if not (sum_.op.reduces and sum_.op.linear and sum_.args[0] is whole and sum_.axes == whole.axes):
        return ()
    summed = [d for d in sum_.attrs if n.shape[d] != 1]
    kept = [i for i in range(n.ndim) if i not in sum_.attrs]
    own = all(n.shape[i] == 1 or (isinstance(place, Trace) and place.is_index(i)) for i, place in zip(kept, at))
    return (summed[0] - n.ndim,) if own and len(summed) == 1 else ()


def reduced(n: Node, of: Sequence[Sums], within: Sequence[Interval]) -> Sums:
    """The rule of a sum over the dimensions that are its attributes."""
    (arg,), kept = n.args, [i for i in range(n.args[0].ndim) if i not in n.attrs]
    count = arg.size // max(n.size, 1)
    return {i - n.ndim: count * of[0][k - arg.ndim] for i, k in enumerate(kept) if k - arg.ndim in of[0]}


def along_axes(n: Node, of: Sequence[Sums], within: Sequence[Interval]) -> Sums:
    """The rule of what makes worlds of the first dimension, or the reverse."""
    return {d: s for d, s in of[0].items() if -d <= min(n.ndim, n.args[0].ndim)}


def moved(n: Node, of: Sequence[Sums]) -> Sums:
    """The rule of an op that moves elements: whole lines of its arguments, wherever they go."""
    pieces = n.op.pieces_of(n, _traces(n), lambda argument, at: functools.reduce(_mixed, at, Trace(frozenset(), False)))
    every = {i - n.ndim: {_of_line(n, of, piece, i) for piece in pieces} for i in range(n.ndim)}
    return {d: found.pop() for d, found in every.items() if len(found) == 1 and None not in found}  # type: ignore[misc]


def _of_line(n: Node, of: Sequence[Sums], piece: Piece | float, i: int) -> float | None:
    """That of the argument's line along which the piece runs, as the result's index `i` does."""
    if not isinstance(piece, Piece) or any(_depends(c.index, i) for c in piece.where):
        return None
    arg, at = n.args[piece.argument], [k for k, place in enumerate(piece.at) if _depends(place, i)]
    if len(at) != 1 or not piece.at[at[0]].is_index(i) or arg.shape[at[0]] != n.shape[i]:
        return None
    return of[piece.argument].get(at[0] - arg.ndim)


class Trace:
    """An index of which is known of which dimensions' it is made, and whether it is that of one as it is."""

    def __init__(self, dims: frozenset[int], plain: bool):
        self.dims, self.plain = dims, plain

    def is_index(self, i: int) -> bool:
        """Whether it is the index of a dimension itself."""
        return self.plain and self.dims == {i}

    def __add__(self, other):
        return self if isinstance(other, int) and other == 0 else _mixed(self, other)

    def __mul__(self, other):
        return self if isinstance(other, int) and other == 1 else _mixed(self, other)

    def __floordiv__(self, other):
        return self if isinstance(other, int) and other == 1 else _mixed(self, other)

    def __sub__(self, other):
        return self + other if isinstance(other, int) and other == 0 else _mixed(self, other)

    def __mod__(self, other):
        return _mixed(self, other)

    def __rsub__(self, other):
        return _mixed(self, other)

    __radd__, __rmul__ = __add__, __mul__


def _mixed(a, b) -> Trace:
    dims = [x.dims for x in (a, b) if isinstance(x, Trace)]
    return Trace(frozenset().union(*dims), False)


def _traces(n: Node) -> tuple[Trace, ...]:
    return tuple(Trace(frozenset((i,)), True) for i in range(n.ndim))


def _depends(place, i: int) -> bool:
    return isinstance(place, Trace) and i in place.dims

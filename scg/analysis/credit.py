"""How the elements of a cost are shared out among the draws of a site: along which dimensions each has its own.

Element e of a node is made of some draws of a site only. Where it is made of those alone whose index along a dimension
of the draws is j, or is among a few, the node is credited along that dimension: what weighs the draws of index j is the
sum of its elements that are made of them. This follows from the sets of `scg.analysis.dependence`, in which a draw
stands for one bit along each dimension, so that it is as exact as these: what moves elements moves their sets.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from itertools import product
from math import prod
from operator import add
from typing import NamedTuple

import numpy as np

from scg.analysis.dependence import Dependence, Draws
from scg.ir.draws import each_alone
from scg.ir.node import Node, constant
from scg.ops.arithmetic import choose
from scg.ops.contract import contract
from scg.ops.indices import getitem
from scg.ops.reduce import total
from scg.ops.structure import reshape, transpose

MOST_BITS = 1 << 28  # of the sets that all draws of a site stand for, together
MOST_TOLD_APART = 1 << 24  # elements of a node, times the size of the dimension along which they are told apart
MOST_ADDED = 1 << 20  # the same where the draws of an index are given many elements: kernels hold a matrix of them
FEW = 8  # elements that are given to the draws of an index one by one


class DrawBits:
    """The bits by which the draws of a site are told apart: one for each index along each dimension of the draws.

    Parameters
    ----------
    draws : tuple of int
        The shape of the draws.
    shape : tuple of int
        That of the sample node: the dimensions of one draw come last.
    """

    def __init__(self, draws: tuple[int, ...], shape: tuple[int, ...]):
        self.draws = draws
        self.starts = [sum(draws[:d]) for d in range(len(draws))]
        marks = np.zeros(draws, dtype=object)
        for d, (start, size) in enumerate(zip(self.starts, draws)):
            bits = each_alone(np.arange(start, start + size))
            marks = marks | bits.reshape([-1 if k == d else 1 for k in range(len(draws))])
        marks = np.asarray(marks, dtype=object).reshape((*draws, *(1,) * (len(shape) - len(draws))))
        self.marks = np.broadcast_to(marks, shape)

    @staticmethod
    def fit(draws: tuple[int, ...]) -> bool:
        """Whether the sets are small enough to be followed."""
        return prod(draws) * sum(draws) <= MOST_BITS

    def dependence(self, site: str) -> Dependence:
        """On the draws of the site, told apart; those of all steps alike."""
        return Dependence(site, marks=self.marks)

    def along(self, found: Draws, d: int) -> Draws:
        """Of sets of draws, the indices along one dimension, as bits from 0 on."""
        return (found >> self.starts[d]) & self.every(d)

    def every(self, d: int) -> int:
        """All indices along a dimension."""
        return (1 << self.draws[d]) - 1

    def apart(self, found: Draws) -> bool:
        """Whether each element is made of the draws of one index along every dimension, or of none."""
        sets = np.asarray(found, dtype=object)
        return all(not np.any(own & (own - 1)) for d in range(len(self.draws)) if self.draws[d] > 1
                   for own in [np.asarray(self.along(sets, d), dtype=object)])


class Share(NamedTuple):
    """How the elements along one dimension of a node go to the draws.

    Attributes
    ----------
    at : int or None
        The dimension of the node; None if all of the node goes to the same draws.
    dims : tuple of int
        The dimensions of the draws.
    which : array of bool or None
        Of shape ``(elements, indices)``, the indices along `dims` in C order: which element goes to which. None if
        each element has the index that is its own place.
    """

    at: int | None
    dims: tuple[int, ...]
    which: np.ndarray | None


class Shares(NamedTuple):
    """How the elements of a node go to the draws of a site; those along other dimensions of the draws all go to all.

    `flat` says that the node is looked at as a vector, `crowded` that there are more elements than are told apart.
    """

    shares: tuple[Share, ...] = ()
    flat: bool = False
    crowded: bool = False

    @property
    def dims(self) -> tuple[int, ...]:
        """The dimensions of the draws along which each index has elements of its own."""
        return tuple(sorted(d for share in self.shares for d in share.dims))

    def summed(self, node: Node, lead: int, draws: tuple[int, ...], kept: Sequence[int]) -> Node:
        """What each draw is given of a node, along the dimensions `kept`; 1 of them where all are given the same.

        The first `lead` dimensions of the node stay; how the others are shared out is what is known here.
        """
        if self.flat:
            node = reshape(node, (*node.shape[:lead], prod(node.shape[lead:])))
        placed = sorted((s for s in self.shares if s.at is not None), key=lambda s: s.at or 0)
        stay = [s.at for s in placed]
        node = total(node, axis=tuple(lead + k for k in range(node.ndim - lead) if k not in stay))
        for k, share in enumerate(placed):
            node = _given(node, lead + k, share.which)
        whole = [s for s in self.shares if s.at is None]
        for share in whole:
            assert share.which is not None
            node = reshape(node, (*node.shape, 1)) * share.which[0].astype(float)
        dims = [d for share in (*placed, *whole) for d in share.dims]
        node = reshape(node, (*node.shape[:lead], *(draws[d] for d in dims)))
        order = sorted(range(len(dims)), key=lambda k: dims[k])
        node = transpose(node, (*range(lead), *(lead + k for k in order)))
        return reshape(node, (*node.shape[:lead], *(draws[d] if d in dims else 1 for d in kept)))


def _given(node: Node, at: int, which: np.ndarray | None) -> Node:
    """The node with what each index is given in the place of the elements along one of its dimensions."""
    if which is None:
        return node
    counts = which.sum(axis=0)
    if _few(which):
        draw, element = np.nonzero(which.T)
        places = np.zeros((max(int(counts.max(initial=0)), 1), len(counts)), dtype=int)
        places[np.arange(len(draw)) - (np.cumsum(counts) - counts)[draw], draw] = element
        return reduce(add, [_looked_up(node, at, index, counts > k) for k, index in enumerate(places)])
    letters = "abcdefghijklmnop"[: node.ndim]
    return contract(node, constant(which.astype(float)), letters, letters[at] + "z", letters.replace(letters[at], "z"))


def _few(which: np.ndarray) -> bool:
    """Whether each index is given so few elements that they are looked up, and added one by one."""
    return bool(np.all(which.sum(axis=0) <= FEW))


def _looked_up(node: Node, at: int, index: np.ndarray, has: np.ndarray) -> Node:
    """The elements of those numbers along a dimension; 0 for an index that has none."""
    found = getitem(node, (*[slice(None)] * at, index))
    return found if np.all(has) else choose(constant(has.reshape((-1, *(1,) * (node.ndim - at - 1)))), found, 0.0)


def shares(found: Draws, shape: tuple[int, ...], bits: DrawBits, dims: Collection[int] | None = None, *,
           alone: bool = False) -> Shares:
    """How a node of a shape is shared out, from the sets of draws that its elements are made of.

    Along `dims` of the draws only, if they are given; if `alone`, along those of which each element has one index.
    """
    sets = np.broadcast_to(np.asarray(found, dtype=object), shape)
    own = {d: np.asarray(bits.along(sets, d), dtype=object) for d, size in enumerate(bits.draws)
           if size > 1 and (dims is None or d in dims)}
    own = {d: s for d, s in own.items() if bool(np.any(s & (s - 1) if alone else s != bits.every(d))) != alone}
    varies = {d: [k for k in range(len(shape)) if _varies(s, k)] for d, s in own.items()}
    flat = any(len(positions) > 1 for positions in varies.values())
    if flat:
        own = {d: s.reshape(-1) for d, s in own.items()}
        varies = {d: [0] for d in varies}
    by_position: dict[int | None, list[int]] = {}
    for d, positions in varies.items():
        by_position.setdefault(positions[0] if positions else None, []).append(d)
    out = [_share(at, tuple(along), [_line(own[d], at) for d in along], bits) for at, along in by_position.items()]
    found_out = tuple(share for share in out if share is not None)
    return Shares(found_out, flat and bool(found_out), len(found_out) < len(out))


def _varies(sets: np.ndarray, k: int) -> bool:
    first = np.take(sets, [0], axis=k) if sets.shape[k] else sets
    return bool(np.any(sets != first))


def _line(sets: np.ndarray, at: int | None) -> list[int]:
    """The sets along the one dimension in which they differ."""
    index: list = [0] * sets.ndim
    if at is None:
        return [sets[tuple(index)]]
    index[at] = slice(None)
    return [*sets[tuple(index)]]


def _in_order(lines: Sequence[list[int]], dims: Sequence[int], bits: DrawBits) -> bool:
    """Whether element p is made of the draws of index p alone, and there is one for each."""
    sizes = [bits.draws[d] for d in dims]
    if len(lines[0]) != prod(sizes):
        return False
    positions = np.stack(np.unravel_index(np.arange(len(lines[0])), sizes))
    return all(own == 1 << int(i) for line, at in zip(lines, positions) for own, i in zip(line, at))


def _share(at: int | None, dims: tuple[int, ...], lines: Sequence[list[int]], bits: DrawBits) -> Share | None:
    """The share along one dimension of a node; None if there is too much to be told apart."""
    if len(lines[0]) > 1 and _in_order(lines, dims, bits):
        return Share(at, dims, None)
    sizes = [bits.draws[d] for d in dims]
    if len(lines[0]) * prod(sizes) > MOST_TOLD_APART:
        return None
    which = np.zeros((len(lines[0]), prod(sizes)), dtype=bool)
    for p, sets in enumerate(zip(*lines)):
        for index in product(*([i for i in range(n) if own >> i & 1] for own, n in zip(sets, sizes))):
            which[p, np.ravel_multi_index(index, sizes)] = True
    return Share(at, dims, which) if which.size <= MOST_ADDED or _few(which) else None

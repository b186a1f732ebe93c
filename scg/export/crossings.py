"""The order of the nodes in each layer of a picture, with few crossing edges.

A graph with nested boxes is a tree of what stands beside what. Every order of the children of each box gives an order
in all layers at once in which no box is torn apart; the search goes over these. Edges that pass layers stand in each of
them as an item of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

MOST_TRIALS = 4000  # of exchanges, whatever the size of the graph
SWEEPS = 8


@dataclass
class Group:
    """What stands together: items by number, and groups.

    Attributes
    ----------
    children : list of int or Group
    box : object
        What it is drawn as, or None.
    """

    children: list = field(default_factory=list)
    box: Any = None

    def items(self) -> Iterator[int]:
        """All items in it, in order."""
        for child in self.children:
            if isinstance(child, Group):
                yield from child.items()
            else:
                yield child

    def groups(self) -> Iterator[Group]:
        """All groups in it, outer ones first."""
        for child in self.children:
            if isinstance(child, Group):
                yield child
                yield from child.groups()

    def copy(self) -> Group:
        """A copy, down to the items."""
        return Group([c.copy() if isinstance(c, Group) else c for c in self.children], self.box)


class Order:
    """Searches a good order.

    Parameters
    ----------
    layers : sequence of int
        The layer of each item.
    segments : sequence of (int, int)
        Edges between items of one layer and of the next.
    """

    def __init__(self, layers: Sequence[int], segments: Sequence[tuple[int, int]]):
        self.layers = np.asarray(layers, dtype=int)
        self.depth = int(self.layers.max(initial=-1)) + 1
        self.by_gap = [np.array([s for s in segments if layers[s[0]] == i], dtype=int).reshape(-1, 2)
                       for i in range(max(self.depth - 1, 0))]
        self.before: list[list[int]] = [[] for _ in layers]
        self.after: list[list[int]] = [[] for _ in layers]
        for v, w in segments:
            self.before[w].append(v)
            self.after[v].append(w)

    def best(self, root: Group) -> Group:
        """The children of all groups in a good order."""
        tried = []
        for start in (root, _reversed(root)):
            found = self._swept(start)
            self._exchange(found)
            tried.append(found)
        return min(tried, key=self.badness)

    def badness(self, root: Group) -> float:
        """How many edges cross each other or boxes, and how far they go up and down."""
        order = np.fromiter(root.items(), int)
        place = np.empty(len(order), int)
        place[order] = np.arange(len(order))
        rank = self._ranks(order)
        total = 0.0
        for ends in self.by_gap:
            a, b = place[ends].T
            total += float(np.count_nonzero((a[:, None] < a) & (b[:, None] > b)))
            total += 0.05 * float(np.abs(rank[ends[:, 0]] - rank[ends[:, 1]]).sum())
        for group in root.groups():
            inside = np.fromiter(group.items(), int)
            low, high = place[inside].min(), place[inside].max()
            for gap in range(self.layers[inside].min(), self.layers[inside].max()):
                a, b = place[self.by_gap[gap]].T
                total += 2.0 * float(np.count_nonzero(((a < low) & (b > high)) | ((a > high) & (b < low))))
        return total

    def _ranks(self, order: np.ndarray) -> np.ndarray:
        """The place of each item in its layer, counted from the middle."""
        rank = np.empty(len(order))
        for layer in range(self.depth):
            there = order[self.layers[order] == layer]
            rank[there] = np.arange(len(there)) - (len(there) - 1) / 2.0
        return rank

    def _swept(self, start: Group) -> Group:
        """The best of some sweeps, in which each item goes to the mean place of its neighbours in one layer."""
        root = best = start.copy()
        least = self.badness(best)
        for sweep in range(SWEEPS):
            forth = sweep % 2 == 0
            neighbours = self.before if forth else self.after
            for layer in range(self.depth) if forth else range(self.depth - 1, -1, -1):
                rank = self._ranks(np.fromiter(root.items(), int))
                keys = rank.copy()
                for item in np.flatnonzero(self.layers == layer):
                    if neighbours[item]:
                        keys[item] = rank[neighbours[item]].mean()
                root = _sorted(root, keys)
            badness = self.badness(root)
            if badness < least:
                best, least = root, badness
        return best.copy()

    def _exchange(self, root: Group) -> None:
        """Exchange what stands beside each other in a layer while that helps."""
        least, trials, better = self.badness(root), 0, True
        while better and trials < MOST_TRIALS:
            better = False
            for layer in range(self.depth):
                there = [i for i in root.items() if self.layers[i] == layer]
                for upper, lower in pairwise(there):
                    children, i, j = _apart(root, upper, lower)
                    moved = children.pop(j)
                    children.insert(i, moved)
                    trials += 1
                    badness = self.badness(root)
                    if badness < least - 1e-9:
                        least, better = badness, True
                        break
                    children.pop(i)
                    children.insert(j, moved)


def _reversed(group: Group) -> Group:
    return Group([_reversed(c) if isinstance(c, Group) else c for c in group.children[::-1]], group.box)


def _sorted(group: Group, keys: np.ndarray) -> Group:
    """The children of all groups by their items' mean keys."""
    def key(child) -> float:
        return float(np.mean([keys[i] for i in child.items()])) if isinstance(child, Group) else float(keys[child])

    inner = [_sorted(c, keys) if isinstance(c, Group) else c for c in group.children]
    return Group(sorted(inner, key=key), group.box)


def _apart(root: Group, upper: int, lower: int) -> tuple[list, int, int]:
    """The children among which two items are told apart, and the places of theirs."""
    group = root
    while True:
        place = {}
        for i, child in enumerate(group.children):
            for item in (upper, lower):
                if child == item or (isinstance(child, Group) and item in set(child.items())):
                    place[item] = i
        if place[upper] != place[lower]:
            return group.children, place[upper], place[lower]
        group = group.children[place[upper]]

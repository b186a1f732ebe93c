"""The cube of all uniforms, divided into boxes on which no sample changes: one uniform after another.

Every box is a lane. Lanes are divided some at a time: what is computed of them stays in the processor's cache. Whether
there are too many is told before they are all looked at: the boxes of a path that is found by chance, one part of each
box that is divided, are an estimate of their number without bias (Knuth, "Estimating the efficiency of backtrack
programs", 1975), and by Markov's inequality many paths that all tell of too many cannot be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from scg import backend
from scg.errors import ExactError
from scg.ir.node import Node
from scg.progress import Steps

AT_ONCE = 1 << 13  # lanes that are divided together
FEW = 64  # uniforms of which the paths need not be many
PATHS = 64  # that are found by chance
CHANCE = 1e-15  # that a number is called too large that is not
Uniform = tuple[str, tuple[int, ...]]  # a stream's name, and step and element


@dataclass(frozen=True)
class Changes:
    """Where samples driven by one stream change: a node of shape (*steps, *shape, points).

    `path` is the name of the stream's uniforms, `Stream.fed`; `numbers` are those of the steps that it is drawn in,
    of shape (*steps,). A uniform that is read as it is changes nowhere, but is `smooth`.
    """

    path: str
    node: Node
    numbers: Node
    shape: tuple[int, ...]
    smooth: bool = False


class Part(NamedTuple):
    """Boxes, one a lane: their ends by stream, of shape (lanes, steps, *shape), and how many uniforms are settled."""

    low: Mapping[str, np.ndarray]
    high: Mapping[str, np.ndarray]
    settled: int

    @property
    def lanes(self) -> int:
        """How many boxes."""
        return next((len(v) for v in self.low.values()), 1)

    def of(self, lane: np.ndarray | slice) -> Part:
        """Some of the lanes."""
        return Part({p: v[lane] for p, v in self.low.items()}, {p: v[lane] for p, v in self.high.items()}, self.settled)

    def centres(self) -> dict[str, np.ndarray]:
        """A point of each box."""
        return {path: 0.5 * (self.low[path] + self.high[path]) for path in self.low}


class Split(NamedTuple):
    """The parts of boxes that one uniform divides: which box each is part of, and its ends along the uniform."""

    at: Uniform
    lane: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def some(self, which: np.ndarray) -> Split:
        """Some of the parts."""
        return Split(self.at, self.lane[which], self.starts[which], self.ends[which])

    def applied(self, part: Part) -> Part:
        """These parts in place of the boxes."""
        (path, index), found = self.at, part.of(self.lane)
        where: tuple = (slice(None), *index)
        found.low[path][where] = self.starts
        found.high[path][where] = self.ends
        return found


class Division:
    """How the noise falls into boxes.

    Parameters
    ----------
    found : sequence of Changes
    drawn : sequence of sequence of int
        The numbers of the steps of each.
    steps : dict of str to int
        How many steps each stream has.
    order : sequence of (str, tuple of int)
        Every uniform, after those that it depends on.
    evaluation : callable
        ``evaluation(lanes, uniforms) -> Evaluation`` of the reference backend.
    most : int
        Of how many boxes there may be.
    """

    def __init__(self, found: Sequence[Changes], drawn: Sequence[Sequence[int]], steps: Mapping[str, int],
                 order: Sequence[Uniform], evaluation: Callable, most: int):
        self._found, self._drawn, self._steps, self._order = found, drawn, steps, order
        self._evaluation, self._most = evaluation, most

    def whole(self, lanes: int = 1) -> Part:
        """The cube itself, so many times."""
        low = {c.path: np.zeros((lanes, self._steps[c.path], *c.shape)) for c in self._found}
        return Part(low, {path: np.ones_like(v) for path, v in low.items()}, 0)

    def divided(self, many: Callable[[], ExactError]) -> Part:
        """All boxes, in the order of their places along the uniforms.

        Raises
        ------
        ExactError
            What `many` says, if there are too many: as soon as that is known.
        """
        with Steps(1, "dividing the noise", "piece") as shown:
            expected = None if len(self._order) <= FEW else self._estimated(many, shown)
            done: list[Part] = []
            left = [self.whole()]
            count = 1  # of boxes, divided to the end or not
            while left:
                part = left.pop()
                while part.settled < len(self._order):
                    before = part.lanes
                    part = self._after(part, self._most - count + before, many)
                    count += part.lanes - before
                    if part.lanes > AT_ONCE and part.settled < len(self._order):
                        expected = expected or self._estimated(many, shown)
                        part, *others = _pieces(part)
                        left.extend(reversed(others))
                done.append(part)
                shown.expect(max(expected or 0, count))
                shown.done(part.lanes)
        return _joined(done)

    def _after(self, part: Part, most: int, many: Callable[[], ExactError]) -> Part:
        """Divided along the next uniform that divides any of the boxes."""
        settled, split = self._next(part)
        if split is None:
            return part._replace(settled=settled)
        if len(split.lane) > most:
            raise many()
        return split.applied(part)._replace(settled=settled)

    def _next(self, part: Part) -> tuple[int, Split | None]:
        """How many uniforms are settled then, and how the last of them divides the boxes; None if none does."""
        points = self._points(part.centres(), part.lanes)
        for number, (path, index) in enumerate(self._order[part.settled:], part.settled + 1):
            where: tuple = (slice(None), *index)
            split = _parts((path, index), part.low[path][where], part.high[path][where], points(path, index))
            if split is not None:
                return number, split
        return len(self._order), None

    def _points(self, at: Mapping[str, np.ndarray], lanes: int) -> Callable[[str, tuple[int, ...]], np.ndarray]:
        """Change points by uniform, (lanes, many), where the uniforms are such."""
        arrays = backend.load("numpy").evaluate([c.node for c in self._found], self._evaluation(lanes, at))
        by_path: dict[str, list[_Points]] = {}
        for c, numbers, array in zip(self._found, self._drawn, arrays):
            by_path.setdefault(c.path, []).append(_Points(c, numbers, array, lanes))

        def found(path: str, index: tuple[int, ...]) -> np.ndarray:
            return np.concatenate([np.zeros((lanes, 0)), *(p.at(*index) for p in by_path[path])], axis=1)

        return found

    # --- how many there are -----------------------------------------------------------------------------------------
    def _estimated(self, many: Callable[[], ExactError], shown: Steps) -> int:
        """About how many boxes there are, if they are not too many.

        Raises
        ------
        ExactError
            What `many` says, if they are.
        """
        rng = np.random.default_rng(0)
        if self._surely_more(self._logarithms_at(rng)):
            raise many()
        part, logs = self.whole(PATHS), np.zeros(PATHS)
        while part.settled < len(self._order):
            shown.at("how many there are")
            settled, split = self._next(part)
            if split is not None:
                counts = np.bincount(split.lane, minlength=PATHS)
                chosen = np.cumsum(counts) - counts + rng.integers(counts)
                part, logs = split.some(chosen).applied(part), logs + np.log(counts)
            part = part._replace(settled=settled)
            if self._surely_more(logs):
                raise many()
        shown.at()
        return min(self._most, int(np.mean(np.exp(np.minimum(logs, 300.0)))))

    def _logarithms_at(self, rng: np.random.Generator) -> np.ndarray:
        """The logarithms of one by the volumes of the boxes that points are in: by the mean they are as many."""
        at = {path: rng.random((PATHS, *v.shape[1:])) for path, v in self.whole().low.items()}
        points, logs = self._points(at, PATHS), np.zeros(PATHS)
        for path, index in self._order:
            where: tuple = (slice(None), *index)
            u, found = at[path][where][:, None], points(path, index)
            low = np.max(np.where(found <= u, found, 0.0), axis=1, initial=0.0)
            high = np.min(np.where(found > u, found, 1.0), axis=1, initial=1.0)
            logs -= np.log(np.minimum(high, 1.0) - np.maximum(low, 0.0))
        return logs

    def _surely_more(self, logs: np.ndarray) -> bool:
        """Whether numbers, of which each has the number of boxes as its mean, show that there are too many.

        If there were not, each would be m times the most there may be with a probability of at most 1/m.
        """
        excess = np.sort(logs)[::-1] - math.log(self._most)
        k = np.arange(1, len(logs) + 1)
        ways = [math.log(math.comb(len(logs), int(i))) for i in k]  # in which so many of them can be the largest
        return bool(np.any(ways - k * excess < math.log(CHANCE / len(logs))))


class _Points:
    """The points of one stream at lanes, by step and element."""

    def __init__(self, of: Changes, numbers: Sequence[int], array: np.ndarray, lanes: int):
        names = [ax.name for ax in of.node.axes]
        array = np.moveaxis(array, names.index("lane"), 0) if "lane" in names else array[None]
        worlds = len([n for n in names if n != "lane"])
        self._array = np.moveaxis(array, tuple(range(1, 1 + worlds)), tuple(range(array.ndim - worlds, array.ndim)))
        self._of, self._lanes = of, lanes
        self._where: dict[int, list[tuple[int, ...]]] = {}
        for i, step in enumerate(numbers):
            self._where.setdefault(step, []).append((i,) if of.numbers.shape else ())

    def at(self, step: int, *element: int) -> np.ndarray:
        """The points of one uniform, (lanes, many): parameters may be smaller than the draws, and are repeated."""
        empty = np.zeros((self._lanes, 0))
        return np.concatenate([empty, *(self._one(i, element) for i in self._where.get(step, ()))], axis=1)

    def _one(self, step: tuple[int, ...], element: tuple[int, ...]) -> np.ndarray:
        params = self._array.shape[1 + len(step) : 1 + self._of.node.ndim - 1]
        inner = element[len(element) - len(params):]
        picked = tuple(0 if size == 1 else i for i, size in zip(inner, params))
        where: tuple = (slice(None), *step, *picked)
        found = self._array[where]
        return np.broadcast_to(found.reshape(len(found), -1), (self._lanes, found[0].size))


def _parts(at: Uniform, low: np.ndarray, high: np.ndarray, points: np.ndarray) -> Split | None:
    """For every lane the sub-boxes of one uniform; None if nothing divides it."""
    inside = (points > low[:, None]) & (points < high[:, None])
    if not inside.any():
        return None
    edges = np.sort(np.where(inside, points, low[:, None]), axis=1)
    starts = np.concatenate([low[:, None], edges], axis=1)
    ends = np.concatenate([edges, high[:, None]], axis=1)
    lane, piece = np.nonzero(ends > starts)
    return Split(at, lane, starts[lane, piece], ends[lane, piece])


def _pieces(part: Part) -> list[Part]:
    """Lanes in their order, some at a time."""
    ends = np.linspace(0, part.lanes, -(-part.lanes // AT_ONCE) + 1).astype(int)
    return [part.of(slice(a, b)) for a, b in pairwise(ends)]


def _joined(parts: Sequence[Part]) -> Part:
    """Lanes one after another."""
    if len(parts) == 1:
        return parts[0]
    low, high = ({path: np.concatenate([of(p)[path] for p in parts]) for path in parts[0].low}
                 for of in (lambda p: p.low, lambda p: p.high))
    return Part(low, high, parts[0].settled)

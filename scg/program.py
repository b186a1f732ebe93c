"""The contract between the compiler and its backends: what a kernel computes, and how a call is divided.

A `Program` names outputs, each a node per replicate (or per row, or per call) whose mean over rows and lanes is wanted,
or, for an output *by row*, the mean over each row's lanes. A backend turns it into a `Kernel`, which evaluates a
*range* of replicates and returns sums and moments; the host merges ranges in a fixed order (`scg.estimate`). `Division`
says which ranges: they depend on the problem's size alone, never on workers, so that the same seed gives the same bits
on any number of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from scg.errors import Problem
from scg.ir.node import Node
from scg.large import Apart
from scg.noise import h64
from scg.sums import BY_ROW

BLOCK = 64  # lanes that share a row of noise counters; tiles and ungrouped ranges start at its multiples
MOST_CHUNKS = 64
LARGEST_GROUP = 64
MANY = 1 << 12  # means of which there are more are added up as chunks come, and not kept until the last one is done
FEW = 16  # numbers that are looked at one by one in less time than NumPy takes
FEW_RANGES = 2  # of a call, whose large sums need not be added up before the last one's are there
HEAVY = 1 << 16  # elements computed per replicate from which on few replicates are worth a chunk
COMPARISONS = 32  # of halves of a call's samples, that the standard errors of large gradients are made of
MEASURED = ("cost", "grad", "row grad")  # roles of what has standard errors, if these are asked for
FEWEST_GROUPS = 32  # of a row, to be the observations of a standard error: fewer say little


class Leaf(NamedTuple):
    """An array that a call provides: its role is ``"param"``, ``"input"``, ``"data"``, ``"state"`` or ``"feed"``.

    Whole numbers in it are `counts` if something is decided by them: an index, a comparison, what a family can draw.
    """

    role: str
    name: str
    shape: tuple[int, ...]
    counts: bool = False


class Output(NamedTuple):
    """A node whose mean is wanted, and with `moments` the standard error of that mean, from all replicates.

    What is `compared` has a standard error from `comparisons` of halves of the samples: it is summed as it comes, and
    no replicate's value is known.

    The role is ``"cost"``, ``"grad"``, ``"state"``, ``"check"`` (0 unless a parameter left its constraint, or an index
    its table), ``"tie"`` (0 unless a kink was met; its name is the note that is due then), ``"row grad"`` (the mean
    over the samples of each row is wanted), ``"record"`` (every replicate's value is wanted), or a `Measured`'s.
    """

    role: str
    name: str
    node: Node
    moments: bool
    compared: bool = False


class Slot(NamedTuple):
    """An output without its node: what the host needs to know of it."""

    role: str
    name: str
    shape: tuple[int, ...]
    moments: bool
    steady: bool = False  # the same in every replicate: its standard error, if asked for, is 0, also with one sample
    compared: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """A program without its nodes: it can be pickled, and is all that a call needs besides the kernel.

    Attributes
    ----------
    name : str
    means : tuple of Slot
        Outputs whose means are wanted; their elements form one vector, in this order.
    by_row : tuple of Slot
        Outputs whose means over each row's samples are wanted; their elements form one vector per row.
    records : tuple of Slot
        Outputs whose values are wanted for every replicate.
    leaves : tuple of Leaf
        The arrays of a call, in the order in which a kernel takes them.
    paths : tuple of str
        Paths of the noise streams; a kernel takes a key for each.
    shared : bool
        Whether a site without rows stands beside data: then lanes are sample indices, and rows are an inner loop.
    coupled : whether leave-one-out means couple the replicates of a group
    group : int or None
        The size of these groups, if the user gave one.
    dtype : str
    work : int
        Elements computed per replicate, roughly.
    problems : tuple of Problem
        For every output of role ``"check"``, in their order, what to say if it is not 0.
    finiteness : tuple of int
        Which of them say no more than that a number is not finite.
    wrt : tuple of str
        Names of what is differentiated, in the order in which gradients are returned.
    batches, uncoupled : of a `Draft`, and of what it has `Measured`
    scored, relaxed : of what is differentiated what moves a site whose draws are scored, and one that is relaxed too
    """

    name: str
    means: tuple[Slot, ...]
    by_row: tuple[Slot, ...]
    records: tuple[Slot, ...]
    leaves: tuple[Leaf, ...]
    paths: tuple[str, ...]
    shared: bool
    coupled: bool
    group: int | None
    dtype: str
    work: int
    problems: tuple[Problem, ...] = ()
    wrt: tuple[str, ...] = ()
    finiteness: tuple[int, ...] = ()
    batches: int = 0
    uncoupled: Problem | None = None
    scored: tuple[str, ...] = ()
    relaxed: tuple[str, ...] = ()

    @cached_property
    def states(self) -> tuple[Leaf, ...]:
        """The leaves that hold what goes from one call to the next."""
        return tuple(leaf for leaf in self.leaves if leaf.role == "state")

    @cached_property
    def hashes(self) -> tuple[int, ...]:
        """The hash of each noise stream's path: with the seed it is the stream's key (`scg.noise.key`)."""
        return tuple(map(h64, self.paths))

    @cached_property
    def width(self) -> int:
        """Elements of all means together."""
        return sum(slot.size for slot in self.means)

    @cached_property
    def row_width(self) -> int:
        """Elements of a row's means together."""
        return sum(slot.size for slot in self.by_row)

    @cached_property
    def row_numbers(self) -> int:
        """How many numbers are kept for each of them: the sum alone, or the moments too (see `Partial.by_row`)."""
        return BY_ROW if any(slot.moments for slot in self.by_row) else 1

    @cached_property
    def spans(self) -> dict[str, tuple[tuple[Slot, slice], ...]]:
        """Where the elements of each role's outputs stand in the vector of means."""
        out: dict[str, list[tuple[Slot, slice]]] = {}
        at = 0
        for slot in self.means:
            out.setdefault(slot.role, []).append((slot, slice(at, at + slot.size)))
            at += slot.size
        return {role: tuple(spans) for role, spans in out.items()}

    @cached_property
    def entries(self) -> dict[str, tuple[tuple[str, Any, tuple[int, ...] | None], ...]]:
        """Of each role's outputs the name, the index into the vector of means, and the shape to give that, if any."""
        return {role: tuple((slot.name, where if slot.shape else (where.start, ...),
                             slot.shape if len(slot.shape) > 1 else None) for slot, where in spans)
                for role, spans in self.spans.items()}

    @cached_property
    def looked_at(self) -> tuple[slice, ...]:
        """Where the elements of outputs stand of which more than a sum is kept."""
        return tuple(where for spans in self.spans.values() for slot, where in spans if slot.moments)

    @cached_property
    def checks(self) -> tuple[int, ...]:
        """Elements of the vector of means that are 0 unless a check failed."""
        return tuple(where.start for _, where in self.spans.get("check", ()))

    @cached_property
    def unmeasured(self) -> tuple[slice, ...]:
        """Where the elements of outputs without standard errors stand in the vector of means."""
        return tuple(where for spans in self.spans.values() for slot, where in spans
                     if not (slot.moments or slot.compared or slot.steady))

    @cached_property
    def errors(self) -> tuple[slice, ...]:
        """Where the elements of all other outputs stand."""
        return tuple(where for spans in self.spans.values() for slot, where in spans if slot.moments or slot.compared)

    @cached_property
    def errors_at(self) -> tuple[int, ...]:
        """Their places, one by one."""
        return tuple(i for where in self.errors for i in range(where.start, where.stop))

    @cached_property
    def compared(self) -> tuple[slice, ...]:
        """Where the elements of outputs stand whose standard errors are from comparisons."""
        return tuple(where for spans in self.spans.values() for slot, where in spans if slot.compared)

    @cached_property
    def steady(self) -> tuple[slice, ...]:
        """Where the elements of outputs stand that are the same in every replicate, in the vector of means."""
        return tuple(where for spans in self.spans.values() for slot, where in spans if slot.steady)

    @cached_property
    def observed(self) -> int:
        """An element of the vector of means whose moments are kept, or 0."""
        return next((where.start for spans in self.spans.values() for slot, where in spans if slot.moments), 0)

    @cached_property
    def chunk_lanes(self) -> int:
        """Replicates in a chunk: enough that starting it costs nothing beside, and fixed by the graph."""
        return int(np.clip((1 << 22) // max(self.work, 1), 1 << 10, 1 << 17)) // BLOCK * BLOCK

    def lanes_of(self, replicates: int) -> int:
        """The same for a call of so many replicates: those of a heavy graph are halved while they are not too few.

        What a chunk hands over is as large as the result: it costs as much as some fifty replicates.
        """
        return min(self.chunk_lanes, max(-(-replicates // 2), 2 * BLOCK)) if self.work >= HEAVY else self.chunk_lanes

    @cached_property
    def measured(self) -> np.ndarray:
        """The elements of the vector of means whose moments are kept."""
        return np.flatnonzero(np.repeat([slot.moments for slot in self.means], [slot.size for slot in self.means]))


@dataclass(frozen=True)
class Program:
    """What a backend compiles: a node for each slot of the layout: means, outputs by row, records."""

    layout: Layout
    outputs: tuple[Output, ...]

    @cached_property
    def means(self) -> tuple[Output, ...]:
        """Outputs whose means are wanted."""
        return tuple(o for o in self.outputs if o.role not in ("row grad", "record"))

    @cached_property
    def by_row(self) -> tuple[Output, ...]:
        """Outputs whose means over each row's samples are wanted."""
        return tuple(o for o in self.outputs if o.role == "row grad")

    @cached_property
    def records(self) -> tuple[Output, ...]:
        """Outputs whose values are wanted for every replicate."""
        return tuple(o for o in self.outputs if o.role == "record")

    def rewritten(self, rewrite: Callable[[list[Node]], list[Node]]) -> Program:
        """With other nodes for the same outputs."""
        nodes = rewrite([o.node for o in self.outputs])
        return Program(self.layout, tuple(o._replace(node=n) for o, n in zip(self.outputs, nodes)))


class Chunk(NamedTuple):
    """A range of replicates: samples `k0` to `k1` of rows `row0` to ``row0 + rows``."""

    row0: int
    rows: int
    k0: int
    k1: int


@dataclass(frozen=True)
class Division:
    """How the replicates of a call are divided.

    Attributes
    ----------
    rows, samples : int
    groups : int
        Leave-one-out groups among the samples of a row; group j runs from ``j * samples // groups``.
    by_group : bool
        Whether groups, and not replicates, are the independent observations of the standard error.
    chunks : tuple of Chunk
    """

    rows: int
    samples: int
    groups: int
    by_group: bool
    chunks: tuple[Chunk, ...]

    @property
    def rows_by_group(self) -> bool:
        """Whether they are for outputs by row: a row's number has the groups of that row only."""
        return self.by_group and self.groups >= FEWEST_GROUPS


def divide(layout: Layout, rows: int, samples: int) -> Division:
    """The division of a call; a function of the program and of the problem's size."""
    groups = _groups(layout, samples)
    sequences = 1 if layout.shared else rows  # of replicates: those of a row, or sample indices over all rows
    by_group = layout.coupled and groups >= 2 and sequences * (groups - 1) >= FEWEST_GROUPS - 1
    return Division(rows, samples, groups, by_group, tuple(_chunks(layout, sequences, samples, groups, rows)))


def _groups(layout: Layout, samples: int) -> int:
    if not layout.coupled:
        return -(-samples // BLOCK)
    if layout.group is not None:
        return samples // layout.group
    return -(-samples // LARGEST_GROUP)


def _chunks(layout: Layout, sequences: int, samples: int, groups: int, rows: int):
    lanes = max(layout.lanes_of(sequences * samples) // (rows if layout.shared else 1), BLOCK)
    total_rows = rows if layout.shared else 1
    if sequences == 1 or samples >= lanes:
        per_sequence = max(1, min(MOST_CHUNKS // sequences, -(-samples // lanes), groups))
        if per_sequence > 1 or sequences == 1:
            edges = [_edge(layout, c, per_sequence, samples, groups) for c in range(per_sequence + 1)]
            for row in range(sequences):
                for k0, k1 in zip(edges, edges[1:]):  # noqa: RUF007  (exported modules hold this text)
                    if k1 > k0:
                        yield Chunk(row, total_rows, k0, k1)
            return
    count = max(1, min(MOST_CHUNKS, sequences, -(-sequences * samples // lanes)))
    for c in range(count):
        first, last = c * sequences // count, (c + 1) * sequences // count
        yield Chunk(first, last - first, 0, samples)


def _edge(layout: Layout, c: int, count: int, samples: int, groups: int) -> int:
    if c == count:
        return samples
    j = c * groups // count
    return j * samples // groups if layout.coupled else j * BLOCK


def comparisons(layout: Layout, division: Division, chunk: Chunk) -> np.ndarray:
    """The parts of a chunk in which one half of the samples is compared with the other, in order.

    Each is a row of five numbers: the first row, the one behind the last, the first sample, the first of the second
    half, and the one behind the last. The rows are the same in both halves, and leave-one-out groups that are
    observations are whole. With n₁ and n₂ samples in the halves, the sums G₁ and G₂ over these and all rows, the
    square of √(n₂/n₁) G₁ − √(n₁/n₂) G₂ has the variance of G₁ + G₂ as its mean: samples of a row are alike, and rows
    are independent. There are none where a chunk has one sample, or one group.
    """
    first, units, edge = _units(layout, division, chunk)
    rows = 1 if layout.shared else chunk.rows
    wanted = -(-COMPARISONS * chunk.rows * (chunk.k1 - chunk.k0) // (division.rows * division.samples))  # its share
    of_rows = min(rows, wanted)
    each = min(units // 2, -(-wanted // of_rows))
    found = []
    for j in range(of_rows):
        row0, row1 = (chunk.row0 + i * rows // of_rows for i in (j, j + 1))
        for q in range(each):
            low, high = (first + i * units // each for i in (q, q + 1))
            found.append((row0, row1, edge(low), edge((low + high) // 2), edge(high)))
    return np.array(found, np.int64).reshape(-1, 5)


def _units(layout: Layout, division: Division, chunk: Chunk) -> tuple[int, int, Callable[[int], int]]:
    """The number of a chunk's first sample, or first group where these are observations; how many there are of them;
    and the sample that each begins with."""
    if not (layout.coupled and division.by_group):
        return chunk.k0, chunk.k1 - chunk.k0, lambda i: i
    samples, groups = division.samples, division.groups
    first, end = (-(-k * groups // samples) for k in (chunk.k0, chunk.k1))
    return first, end - first, lambda j: j * samples // groups


def seen_in_comparisons(layout: Layout, division: Division) -> float:
    """Which part of all replicates is in chunks that have comparisons."""
    counts = [(chunk.rows * (chunk.k1 - chunk.k0), _units(layout, division, chunk)[1]) for chunk in division.chunks]
    return sum(n for n, units in counts if units > 1) / sum(n for n, _ in counts)


class Call(NamedTuple):
    """What one call gives a kernel.

    `arrays` are the leaves' values in the program's order; `seed` and `Layout.hashes` give the keys of the noise; what
    is `ready` is the same for all chunks.
    """

    arrays: tuple[np.ndarray, ...]
    seed: int
    division: Division
    ready: Any = None


class Partial(NamedTuple):
    """What a kernel returns for a chunk.

    Attributes
    ----------
    numbers : array (ROWS, width), or (1, width) where there are many means and no standard errors
        The sums of `scg.sums` for each element of the means: those of observations for a chunk of one row, and the
        variances for a chunk of several.
    records : tuple of arrays
        Values per replicate, (lanes of the chunk, *shape).
    by_row : array (1 or BY_ROW, rows of the chunk, row_width), or None
        For outputs by row the same sums of each row; if no moments are wanted, the first of them.
    large : Apart or None
        Sums of large outputs that do not stand in `numbers`.
    """

    numbers: np.ndarray
    records: tuple[np.ndarray, ...] = ()
    by_row: np.ndarray | None = None
    large: Apart | None = None


class Kernel(Protocol):
    """What a backend makes of a layout. It can be pickled, and called from several threads at once.

    What it may have besides: `finish` does what `scg.run.moments.finish` does, in one pass; by `meet` the threads of
    two ranges make the means of both (`scg.run.standing`); `are_finite` says so of arrays of the working type; `ready`
    makes of a call what is the same for all chunks; `prepared` gives for a division of one range a function of a call's
    seed and arrays, which returns what `run` returns as `Partial.numbers`, or None where `run` must do it.
    """

    source: str

    def run(self, call: Call, chunk: Chunk) -> Partial:
        """Evaluate a range of replicates."""
        ...


Arrays = Mapping[str, Any]

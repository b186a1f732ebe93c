"""The reference kernel: a program's outputs interpreted over a range of replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from scg.ir.flat import from_bytes, nodes_of, to_bytes
from scg.ir.node import Node
from scg.ir.printer import listing
from scg.ir.traverse import topological
from scg.noise import key
from scg.ops.scan import scan_op
from scg.program import Call, Chunk, Division, Layout, Partial, Program, comparisons
from scg.run.moments import compared, group_starts, observe, observe_by_row, per_replicate
from scg.sums import ROWS, VARIANCES
from scg_numpy.interpreter import Evaluation, evaluate

LARGEST = 1 << 31  # numbers of one range of replicates: all of them are kept until its last node


@dataclass(frozen=True)
class NumpyKernel:
    """Interprets the program's nodes; its source is their listing."""

    program: Program

    @cached_property
    def source(self) -> str:
        """The nodes, one a line."""
        return listing([o.node for o in self.program.outputs])

    @property
    def memory(self) -> int:
        """Bytes that a chunk of replicates takes at most: every node is kept, but of a loop one step at a time."""
        return self.kept * self.program.layout.chunk_lanes * 8

    @cached_property
    def kept(self) -> int:
        """How many numbers of a replicate are there at once."""
        return _kept([o.node for o in self.program.outputs])

    def __getstate__(self):
        return self.source, to_bytes(self.program, nodes_of(self.program))

    def __setstate__(self, state) -> None:
        source, program = state
        self.__dict__.update(source=source, program=from_bytes(program))

    def run(self, call: Call, chunk: Chunk) -> Partial:
        """Evaluate a range of replicates; see `scg.program.Kernel`."""
        layout = self.program.layout
        samples = chunk.k1 - chunk.k0
        if chunk.rows * samples * self.kept > LARGEST:
            raise MemoryError(f"{chunk.rows * samples} replicates of {self.kept} numbers at once")
        arrays = evaluate([o.node for o in self.program.outputs], evaluation(layout, call, chunk))
        lanes = [per_replicate(v, o.node, chunk.rows, samples) for v, o in zip(arrays, self.program.outputs)]
        n, m = len(layout.means), len(layout.means) + len(layout.by_row)
        means, by_row, records = lanes[:n], lanes[n:m], tuple(lanes[m:])
        if layout.shared:  # every mean is already one over rows
            means = [mean[:1] for mean in means]
        if not means:
            return Partial(np.zeros((ROWS, 0)), records)
        with np.errstate(all="ignore"):
            values = _side_by_side(means)
            part = observe(values, chunk, call.division, 1 if layout.shared else call.division.rows)
            if layout.compared:
                parts = comparisons(layout, call.division, chunk) - [chunk.row0, chunk.row0, *[chunk.k0] * 3]
                for where in layout.compared:
                    part.numbers[VARIANCES, where] = compared(values[:, :, where], parts)
            rows = observe_by_row(_side_by_side(by_row), chunk, call.division)[: layout.row_numbers] if by_row else None
        return part._replace(records=records, by_row=rows)


def _side_by_side(arrays: list[np.ndarray]) -> np.ndarray:
    """(rows, samples, all elements)."""
    return np.concatenate([a.reshape(*a.shape[:2], -1) for a in arrays], axis=2).astype(np.float64)


def evaluation(layout: Layout, call: Call, chunk: Chunk) -> Evaluation:
    """The chunk's part of a call, as the interpreter takes it."""
    given: dict[str, dict] = {"state": {}, "feed": {}}
    values: dict = {}
    for leaf, array in zip(layout.leaves, call.arrays):
        part = array[chunk.row0 : chunk.row0 + chunk.rows] if leaf.role == "data" else array
        given.get(leaf.role, values)[leaf.name] = part
    return Evaluation(values, {"row": chunk.rows, "lane": chunk.k1 - chunk.k0}, states=given["state"],
                      fed=given["feed"], first_row=chunk.row0, first=chunk.k0,
                      samples=call.division.samples, dtype=np.dtype(layout.dtype),
                      keys={path: key(call.seed, path) for path in layout.paths},
                      groups=_groups(call.division, chunk))


def _groups(division: Division, chunk: Chunk):
    def groups(size):
        starts = group_starts(division, chunk)
        return starts, np.diff(np.append(starts, chunk.k1 - chunk.k0))

    return groups


def _kept(roots: Sequence[Node]) -> int:
    """How many numbers of a replicate are there at once: of a loop those of a step, and all that steps put out."""
    total = 0
    for n in topological(roots):
        if any(ax.statistical for ax in n.axes):
            total += max(n.size, 1) * prod(ax.size for ax in n.axes if not ax.statistical)
        if n.op is scan_op:
            total += _kept(n.attrs.outputs) + n.attrs.length * sum(y.size for y in n.attrs.ys)
    return total

"""A surrogate's kernel with its uniforms fed instead of drawn: every replicate's cost and gradient contribution.

It is derived, simplified, lowered and emitted as the estimator's own kernel is; only the noise is read from arrays, and
contributions are recorded instead of averaged. That both are one estimator is seen by feeding the very uniforms that
the estimator's own kernel draws under a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scg import backend
from scg.ir.node import Node, constant, make
from scg.ir.traverse import topological
from scg.noise import key
from scg.ops.randomness import uniform_op
from scg.ops.scan import scan_op
from scg.passes.outputs import contributions, fed_program
from scg.program import BLOCK, Call, Chunk, Division, divide
from scg.progress import Steps
from scg.run.moments import per_replicate
from scg.run.values import Values
from scg.simplification import simplified
from scg.surrogate.derivation import Derivation
from scg.surrogate.feeding import streams

MOST_NUMBERS = 1 << 24  # that a run keeps at once


class FedKernel:
    """A kernel under fed noise.

    Parameters
    ----------
    derivation : Derivation
    technology : str
        The backend.
    dtype : str

    Attributes
    ----------
    names : tuple of str
        What is recorded after the cost: the params that are differentiated.
    """

    def __init__(self, derivation: Derivation, technology: str, dtype: str):
        program = simplified(fed_program(derivation, dtype))
        self.layout, self._kernel = program.layout, backend.load(technology).compile(program)
        self.names = tuple(slot.name for slot in self.layout.records[1:])

    def run(self, row: Values, states: Mapping[str, Any], uniforms: Mapping[str, np.ndarray], groups: int,
            n: int) -> list[np.ndarray]:
        """Contributions ``(n, *shape)`` of the n lanes that the uniforms are for, in so many leave-one-out groups."""
        given = {"state": states, "feed": uniforms}
        arrays = tuple(np.asarray(given.get(leaf.role, row.arrays)[leaf.name], dtype=self.layout.dtype, order="C")
                       for leaf in self.layout.leaves)
        chunk = Chunk(0, 1, 0, n)
        records = self._kernel.run(Call(arrays, 0, Division(1, n, groups, False, (chunk,))), chunk).records
        return [r.reshape(n, *slot.shape) for r, slot in zip(records, self.layout.records)]

    def weighted(self, row: Values, states: Mapping[str, Any], uniforms: Mapping[str, np.ndarray], measure: np.ndarray,
                 group: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The weighted sums of the contributions of lanes that are coupled in groups of so many (1: in none), and of
        their absolute values."""
        sums, sizes = ([np.zeros(slot.shape) for slot in self.layout.records] for _ in range(2))
        for a, b, found in self._parts(row, states, uniforms, len(measure), group):
            for total, size, r in zip(sums, sizes, found):
                total += np.tensordot(measure[a:b], r.astype(np.float64), axes=1)
                size += np.tensordot(measure[a:b], np.abs(r, dtype=np.float64), axes=1)
        return sums, sizes

    def contributions(self, row: Values, states: Mapping[str, Any], uniforms: Mapping[str, np.ndarray], n: int,
                      group: int) -> Mapping[str, np.ndarray]:
        """What each of n lanes contributes to the gradients, by param; they are coupled in groups of so many."""
        parts = [found[1:] for _, _, found in self._parts(row, states, uniforms, n, group)]
        return {name: np.concatenate(arrays) for name, arrays in zip(self.names, zip(*parts))}

    def _parts(self, row: Values, states: Mapping[str, Any], uniforms: Mapping[str, np.ndarray], lanes: int,
               group: int) -> Iterator[tuple[int, int, list[np.ndarray]]]:
        """Ranges of the lanes, and the contributions of the lanes of each."""
        with Steps(lanes, "running the kernel", "piece") as shown:
            for a, b in self._ranges(lanes):
                shown.at()
                groups = (b - a) // group if group > 1 else -(-(b - a) // BLOCK)
                yield a, b, self.run(row, states, {name: u[a:b] for name, u in uniforms.items()}, groups, b - a)
                shown.done(b - a)

    def _ranges(self, lanes: int) -> Iterator[tuple[int, int]]:
        """Parts of the lanes that are small enough to be run at once, of an even number."""
        at_once = max(2 * (MOST_NUMBERS // (2 * (self.layout.work + sum(s.size for s in self.layout.records)))), 2)
        return ((a, min(a + at_once, lanes)) for a in range(0, lanes, at_once))


def worlds_draw(derivation: Derivation) -> bool:
    """Whether worlds of replays draw noise of their own, which a fed kernel lets them share."""
    found = _streams([o.node for o in contributions(derivation)])
    return any(not ax.statistical for leaf, _, _ in found for ax in leaf.attrs.axes)


def drawn(derivation: Derivation, rows: int, samples: int, seed: int, dtype: str) -> list[dict[str, np.ndarray]] | None:
    """For each row the uniforms that a call draws under a seed, by the names under which they are fed.

    None where worlds of replays draw noise of their own, which a fed kernel does not tell apart.
    """
    if worlds_draw(derivation):
        return None
    numpy = backend.load("numpy")
    found = _streams([o.node for o in contributions(derivation)])
    by_row: list[dict[str, np.ndarray]] = [{} for _ in range(rows)]
    for leaf, draw, steps in found:
        nodes = [make(uniform_op, (make(leaf.op, (constant(float(t)),), leaf.attrs, owner=leaf.owner),), draw)
                 for t in range(steps)]
        evaluation = numpy.Evaluation({}, {"row": rows, "lane": samples}, samples=samples, dtype=np.dtype(dtype),
                                      keys={leaf.attrs.path: key(seed, leaf.attrs.path)})
        arrays = numpy.evaluate(nodes, evaluation)
        values = np.stack([per_replicate(v, n, rows, samples) for v, n in zip(arrays, nodes)], axis=2)
        for row, array in zip(by_row, values):
            row[leaf.attrs.fed] = array
    return by_row


def _streams(roots: Sequence[Node]) -> list[tuple[Node, Any, int]]:
    """Noise leaves, how uniforms are drawn from each, in how many steps; each name under which they are fed once."""
    steps = {leaf.attrs.fed: count for leaf, count in streams(roots)}
    return [(leaf, draw, steps[name]) for name, (leaf, draw) in _drawn_from(roots).items()]


def _drawn_from(roots: Sequence[Node]) -> dict[str, tuple[Node, Any]]:
    found: dict[str, tuple[Node, Any]] = {}
    for n in topological(roots):
        if n.op is uniform_op:
            found.setdefault(n.args[0].attrs.fed, (n.args[0], n.attrs))
        elif n.op is scan_op:
            found = {**_drawn_from(n.attrs.outputs), **found}
    return found


def mean_over_rows(fed: FedKernel, derivation: Derivation, rows: Sequence[Values], states: Mapping[str, Any],
                   samples: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Means of the contributions under the noise of a call, and of their absolute values."""
    uniforms = drawn(derivation, len(rows), samples, seed, fed.layout.dtype)
    if uniforms is None:
        return None
    groups = divide(fed.layout, 1, samples).groups
    parts = [fed.run(row, states, given, groups, samples) for row, given in zip(rows, uniforms)]

    def means(of: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        return [np.mean([np.mean(of(p[i]), axis=0, dtype=np.float64) for p in parts], axis=0)
                for i in range(len(parts[0]))]

    return means(np.asarray), means(np.abs)

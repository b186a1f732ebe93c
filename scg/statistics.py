"""Means and standard errors from the partial results of chunks, merged in a fixed order.

Within a row, observations (replicates, or the means of coupled groups) are merged by the pairwise formula of Chan,
Golub & LeVeque (1979) for centred moments; the variance of the mean over rows is the sum of the rows' variances over
rows².
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scg.program import Chunk, Division, Layout, Partial


class Merged(NamedTuple):
    """Means and variances of all outputs as vectors; whether a check failed or something is not finite."""

    mean: np.ndarray
    variance: np.ndarray
    fault: bool


@dataclass(frozen=True)
class _Moments:
    count: int
    total: np.ndarray
    squares: np.ndarray


def merge(layout: Layout, division: Division, partials: Sequence[Partial]) -> Merged:
    """All chunks of a call together."""
    lines = 1 if layout.shared else division.rows
    if len(partials) == 1 and lines == 1:
        part = partials[0]
        mean = part.sums / division.samples
        variance = _variance(_Moments(part.observations, part.totals, part.squares))
    else:
        mean = _tree([p.sums for p in partials]) / (division.samples * lines)
        variance = _over_rows(division, partials, lines)
    return Merged(mean, variance, not _sound(layout, mean))


def _sound(layout: Layout, mean: np.ndarray) -> bool:
    """Whether every number is finite and every check is zero."""
    # for a few numbers Python's sum is ten times faster than NumPy's
    if not math.isfinite(sum(mean.tolist()) if len(mean) <= 64 else mean.sum()):
        return False
    return all(mean[where.start] == 0.0 for _, where in layout.spans.get("check", ()))


def _tree(parts: list[np.ndarray]) -> np.ndarray:
    """A sum whose order depends on the number of parts alone."""
    while len(parts) > 1:
        parts = [parts[i] + parts[i + 1] if i + 1 < len(parts) else parts[i] for i in range(0, len(parts), 2)]
    return parts[0]


def _join(a: _Moments, b: _Moments) -> _Moments:
    if a.count == 0 or b.count == 0:
        return b if a.count == 0 else a
    gap = b.total / b.count - a.total / a.count
    count = a.count + b.count
    return _Moments(count, a.total + b.total, a.squares + b.squares + gap * gap * (a.count * b.count / count))


def _variance(m: _Moments) -> np.ndarray:
    """Variance of the mean of the observations; NaN for fewer than two."""
    if m.count < 2:
        return np.full_like(m.squares, np.nan)
    return m.squares / (m.count * (m.count - 1.0))


def _over_rows(division: Division, partials: Sequence[Partial], lines: int) -> np.ndarray:
    by_row: dict[int, list[_Moments]] = {}
    whole: list[np.ndarray] = []
    single = 1 if lines > 1 else None  # with one line, every chunk is a part of it
    for chunk, part in zip(division.chunks, partials):
        if single is not None and chunk.rows > 1:
            whole.append(part.variances)
        else:
            by_row.setdefault(chunk.row0, []).append(_Moments(part.observations, part.totals, part.squares))
    for moments in by_row.values():
        while len(moments) > 1:
            moments = [_join(moments[i], moments[i + 1]) if i + 1 < len(moments) else moments[i]
                       for i in range(0, len(moments), 2)]
        whole.append(_variance(moments[0]))
    return _tree(whole) / float(lines) ** 2


def observe(values: np.ndarray, chunk: Chunk, division: Division, lines: int) -> Partial:
    """The partial result of a chunk from its replicates' values, (lines of the chunk, samples of the chunk, width).

    This is the definition that kernels are held to.
    """
    starts = group_starts(division, chunk) if division.by_group else None
    sums = values.sum(axis=(0, 1))
    per_line = values if starts is None else np.add.reduceat(values, starts, axis=1) / np.diff(
        np.append(starts, values.shape[1]))[:, None]
    count = per_line.shape[1]
    totals = per_line.sum(axis=1)
    squares = ((per_line - (totals / count)[:, None]) ** 2).sum(axis=1)
    if values.shape[0] == 1:
        return Partial(sums, count, totals[0], squares[0], np.zeros_like(sums))
    variances = squares / (count * (count - 1.0)) if count > 1 else np.full_like(squares, np.nan)
    return Partial(sums, 0, np.zeros_like(sums), np.zeros_like(sums), variances.sum(axis=0))


def group_starts(division: Division, chunk: Chunk) -> np.ndarray:
    """Where the leave-one-out groups of a chunk begin, counted from its first sample."""
    starts = np.arange(division.groups, dtype=np.int64) * division.samples // division.groups
    return starts[(starts >= chunk.k0) & (starts < chunk.k1)] - chunk.k0

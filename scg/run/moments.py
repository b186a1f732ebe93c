"""Means and standard errors from the partial results of chunks, merged in a fixed order.

Within a row, observations (replicates, or the means of coupled groups) are merged by their centred moments (Chan, Golub
& LeVeque 1979); the variance of the mean over rows is the sum of the rows' variances over rows². Outputs by row have
sums and moments for every row, which chunks are added to in their order. Large gradients have no observations but
`scg.program.comparisons`, whose squares are added up.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from scg.large import Apart, copied, given_away, used_up
from scg.program import FEW, FEW_RANGES, MANY, Chunk, Division, Kernel, Layout, Partial, seen_in_comparisons
from scg.run.standing import Finish, Standing, Together
from scg.sums import BY_ROW, COUNT, OBSERVED, ROWS, SQUARES, SUM, UNSEEN, VARIANCES

_NOTHING = np.empty(0)
_NO_NUMBERS = Partial(np.zeros((ROWS, 0)))
SMALLEST = 1e-295  # of the variances of replicates that are known, whatever their mean
ALL_ALIKE = 1e-13  # of a mean: what rounding leaves of an error of replicates that are alike
NO_ERRORS = "one replicate: standard errors are not known"  # what is said of an estimate
MANY_ALL_ALIKE = 32  # replicates: that fewer are alike says little
MANY_CHAINS = 4  # whose means are compared: of independent batches they differ so much in one call of 70,000
CHAINS_APART = 10.0  # times the variance that batches within them tell


class Merged(NamedTuple):
    """Means and variances of all outputs as vectors; whether a check failed or something is not finite.

    `by_row` holds the sums of outputs by row, (1 or `BY_ROW`, rows, row_width), as `Partial.by_row` does for a chunk.
    What is `large` is known in the working type, and not among those `known`; `stands` can make it again.
    """

    known: np.ndarray
    variance: np.ndarray
    fault: bool
    by_row: np.ndarray | None = None
    large: tuple[tuple[slice, np.ndarray], ...] = ()
    stands: Standing | None = None

    @property
    def mean(self) -> np.ndarray:
        """All means."""
        for where, values in self.large:
            self.known[where] = values
        return self.known


class Gathered(NamedTuple):
    """The partial results of all chunks; apart from them, added up as they came, numbers by row and many means' sums.

    Chunks may all hold numbers of every row, and of large gradients: they are not kept until the last one is done. With
    `sums`, the partial results hold the numbers of `Layout.measured` only; the last chunk's are still to be added to
    them.
    """

    partials: Sequence[Partial]
    by_row: np.ndarray | None = None
    sums: np.ndarray | None = None
    last: np.ndarray | None = None
    lent: tuple[np.ndarray, ...] = ()  # the arrays that these are in, if nobody else has them
    squares: tuple[np.ndarray, ...] = ()  # of comparisons, for each slice of `Layout.compared`
    large: tuple[Apart, ...] = ()  # of each chunk, if all have them


def gather(layout: Layout, division: Division, partials: Iterable[Partial], alone: bool = False) -> Gathered:
    """The partial results of all chunks; `alone`, nobody else has them: executors may keep what they have run."""
    many = layout.width > MANY
    if not layout.by_row and not many and not layout.compared:
        return Gathered(list(partials))
    whole = np.zeros((layout.row_numbers, division.rows, layout.row_width)) if layout.by_row else None
    sums = last = None
    lent: list[np.ndarray] = []
    rest, large = [], []  # type: tuple[list[Partial], list[Apart]]
    if many and len(division.chunks) <= FEW_RANGES:
        partials = list(partials)
        large = [part.large for part in partials if part.large is not None]
        large = large if len(large) == len(partials) else []
    squares: list[np.ndarray] = []
    final, measured = division.chunks[-1], layout.measured
    for chunk, part in zip(division.chunks, partials, strict=True):
        if whole is not None:
            _add_rows(whole[:, chunk.row0 : chunk.row0 + chunk.rows], part.by_row)
        if layout.compared:
            squares = _with_squares(squares, [part.numbers[VARIANCES, where] for where in layout.compared], alone)
        if not many:
            rest.append(part._replace(by_row=None))
            continue
        numbers = part.numbers if large else _with_large(part, alone)
        own = numbers[SUM]
        kept = measured.size or part.records
        rest.append(Partial(numbers[:, measured], part.records) if kept else _NO_NUMBERS)
        if sums is None:
            sums = own if alone else own.copy()
        elif chunk is final:
            last = own
        else:
            np.add(sums, own, out=sums)
        if alone and (own is sums or own is last):
            lent.append(numbers)
        elif alone:
            used_up(numbers)
    return Gathered(rest, whole, sums, last, tuple(lent), tuple(squares), tuple(large))


def _with_squares(squares: list[np.ndarray], own: list[np.ndarray], alone: bool) -> list[np.ndarray]:
    """A chunk's squares of comparisons, added to those so far.

    The first ones are added to where they stand, if nobody else has them.
    """
    if not squares:
        return own if alone else [each.copy() for each in own]
    for total, more in zip(squares, own):
        np.add(total, more, out=total)
    return squares


def _with_large(part: Partial, alone: bool) -> np.ndarray:
    """A chunk's numbers, with the sums that stood apart in their places."""
    if part.large is None:
        return part.numbers
    numbers = part.numbers if alone else part.numbers.copy()
    part.large.put(numbers)
    return numbers


def finish(sums: np.ndarray, last: np.ndarray, factor: float, count: float, mean: np.ndarray, runs: np.ndarray) -> bool:
    """Give `mean` sums and their last part, if there is one, times a factor or divided by a count, one of which is 1.

    All in one type, and only of `runs` of elements, each a row of where it begins and ends. Whether all of it is
    finite; if that is in float32, also whether nothing but 0 became 0 there.
    """
    good, kind = True, mean.dtype.type
    for first, stop in runs:
        run = slice(first, stop)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            whole = sums[run] + (last[run] if last.size else kind(0.0))
            mean[run] = whole * kind(factor) / kind(count)
        good = good and bool(np.isfinite(mean[run]).all() and np.all((mean[run] != 0.0) | (whole == 0.0)))
    return good


def _add_rows(whole: np.ndarray, part) -> None:
    """Add a chunk's numbers by row to those of the same rows so far."""
    if len(whole) == BY_ROW:
        n, count = whole[COUNT], part[COUNT]
        gap = part[OBSERVED] / np.maximum(count, 1.0) - whole[OBSERVED] / np.maximum(n, 1.0)
        with np.errstate(over="ignore", invalid="ignore"):
            whole[SQUARES] += part[SQUARES] + np.where((n > 0.0) & (count > 0.0), _squared(gap), 0.0) * (
                n * count / np.maximum(n + count, 1.0))
    whole[:SQUARES] += part[:SQUARES]


def _squared(gap: np.ndarray) -> np.ndarray:
    """Squares of deviations; `UNSEEN` in the place of 0 where they are not 0."""
    square = gap * gap
    return np.where((square == 0.0) & (gap != 0.0), UNSEEN, square)


def row_means(division: Division, numbers: np.ndarray) -> np.ndarray:
    """Outputs by row, (rows, row_width): a row's mean is a part, of size 1 / rows, of the mean over rows."""
    return numbers[SUM] / (division.samples * division.rows)


def row_errors(division: Division, numbers: np.ndarray) -> np.ndarray:
    """Standard errors of the outputs by row; NaN for fewer than two observations, and where they are not known."""
    if len(numbers) == 1:
        return np.full_like(numbers[SUM], np.nan)
    count = np.where(numbers[COUNT] < 2.0, np.nan, numbers[COUNT])
    variance = numbers[SQUARES] / (count * (count - 1.0))
    variance[not_known(numbers[SUM] / division.samples, variance, division.samples)] = np.nan
    return np.sqrt(variance) / division.rows


def all_known(variance: np.ndarray, count: int) -> bool:
    """Whether `not_known` holds of none of some variances, as far as these alone tell: in less time than it takes."""
    least = SMALLEST / float(count) ** 2
    if variance.size <= FEW:
        return all(least < v < math.inf for v in variance.tolist())
    return bool(least < variance.min() and variance.max() < math.inf)


def not_known(mean: np.ndarray, variance: np.ndarray, count: int) -> np.ndarray:
    """Where a variance of a mean of `count` replicates is not what it should be: squares left the range of float64.

    Equal observations have variance 0. Others differ by 1e-16 of their size at least, so 0 says nothing of those whose
    deviations may be too small, or too large, to be squared.
    """
    size = np.abs(mean)
    with np.errstate(invalid="ignore"):
        vanished = (variance * float(count) ** 2 < SMALLEST) & ((variance > 0.0) | ((size > 0.0) & (size < 1e-140)))
        return vanished | ~np.isfinite(variance) | ((variance == 0.0) & (size > 1e150))


def together(layout: Layout, division: Division, kernel: Kernel, later: list[np.ndarray]) -> Together | None:
    """How the threads of a call make large means together, and look at arrays `later`; None where they do not."""
    meet = getattr(kernel, "meet", None)
    if meet is None or layout.width <= MANY or len(division.chunks) != 2:
        return None
    return Together(_share(layout, _averaged(layout, division)), meet, later)


def _averaged(layout: Layout, division: Division) -> int:
    """How many replicates a mean is over."""
    return division.samples if layout.shared else division.samples * division.rows


def merge(layout: Layout, division: Division, gathered: Gathered, finish: Finish = finish,
          made: Together | None = None) -> Merged:
    """All chunks of a call together; large means may have been `made`."""
    partials, by_row, sums, _, lent, squares, _ = gathered
    sequences = 1 if layout.shared else division.rows
    observed = layout.observed if sums is None else 0
    if sums is not None and not layout.measured.size:
        mean, variance = sums, np.empty(0)
    elif len(partials) == 1 and sequences == 1:
        numbers = partials[0].numbers
        mean, variance = numbers[SUM] / division.samples, _variance(numbers, observed)
    else:
        stack = np.array([part.numbers for part in partials])
        mean = stack[:, SUM].sum(axis=0) / (division.samples * sequences)
        variance = _over_rows(division, stack, sequences, observed)
    finite, large, stands = None, (), None  # type: tuple[bool | None, tuple, Standing | None]
    if sums is not None:
        known = variance
        share = _share(layout, _averaged(layout, division))
        mean, large, stands, finite = _means_of_many(gathered, share, finish, made)
        variance = _none_known(layout.width)
        if known.size or squares:
            variance = copied(variance, np.float64)
            variance[layout.measured] = known
    elif squares:
        variance = np.array(variance)
    for where, total in zip(layout.compared, squares):
        _put_comparisons(layout, division, total, sequences, variance[where])
    used_up(*lent)
    _add_costs(layout, mean, variance, division.samples * division.rows)
    fault = not _sound(layout, mean, finite) or not (by_row is None or math.isfinite(by_row[SUM].sum()))
    return Merged(mean, variance, fault, by_row, large, stands)


def _share(layout: Layout, count: int) -> tuple[float, float]:
    """What a sum is multiplied by, and divided by, to be a mean: in float32, to save divisions."""
    return (1.0 / count, 1.0) if layout.dtype == "float32" else (1.0, float(count))


def _means_of_many(gathered: Gathered, share: tuple[float, float], finish: Finish, made: Together | None):
    """Of many means those in float64; those that stand apart, with their places, and what they are made of; whether all
    are finite, if known."""
    sums, last, apart = gathered.sums, _NOTHING if gathered.last is None else gathered.last, gathered.large
    assert sums is not None
    mean = given_away(len(sums), np.float64)
    if apart:
        stands = Standing.of(apart, share)
        large = (None if made is None else made.means()) or stands.means(finish)
        if large is not None and finish(sums, last, *share, mean, stands.one.between(len(sums))):
            return mean, tuple(large.sums()), stands, True
        for target, part in zip((sums, last), apart):  # what is wrong is said of numbers in float64
            for where, values in part.sums():
                target[where] = values
    return mean, (), None, finish(sums, last, *share, mean, np.array([[0, len(mean)]]))


def _add_costs(layout: Layout, mean: np.ndarray, variance: np.ndarray, count: int) -> None:
    """The mean of the whole cost is the sum of the costs' means; of its variance float32 may leave nothing.

    A replicate's costs are added in the working type: the sum is rounded to 2⁻²⁴ of its size, which may hide how it
    varies. Where that is not a hundred times less than the deviations, they are not known.
    """
    if layout.dtype == "float64":
        return
    costs = layout.entries.get("cost", ())
    if len(costs) < 3:  # the whole, and the only one
        return
    total = mean[0] = sum(_total(mean, where) for _, where, _ in costs[1:])
    if math.isnan(variance[0]):
        return
    parts = max(abs(total), *(float(np.abs(mean[where]).max()) for _, where, _ in costs[1:]))
    with np.errstate(over="ignore", invalid="ignore"):
        if any(np.any(variance[where] > 0.0) for _, where, _ in costs[1:]) and \
                variance[0] * count < (100.0 * 2.0**-24 * parts) ** 2:
            variance[0] = np.nan


def _total(mean: np.ndarray, where) -> float:
    """The sum of an output's means."""
    return mean.item(where[0]) if type(where) is tuple else float(mean[where].sum())


def _sound(layout: Layout, mean: np.ndarray, finite: bool | None) -> bool:
    """Whether every number is finite, if that is not known yet, and every check is zero."""
    if finite is None:  # for a few numbers Python's sum is ten times faster than NumPy's
        finite = math.isfinite(sum(mean.tolist()) if len(mean) <= 64 else mean.sum())
    if not finite:
        return False
    return not layout.checks or all(mean[i] == 0.0 for i in layout.checks)


def _joined(stack: np.ndarray) -> np.ndarray:
    """The numbers of several chunks of a row as those of one.

    The observations' squared deviations are those within chunks and those of the chunks' means from the whole mean.
    """
    if len(stack) == 1:
        return stack[0]
    whole = stack.sum(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is said not to be known
        gaps = stack[:, OBSERVED] / np.maximum(stack[:, COUNT], 1.0) - whole[OBSERVED] / np.maximum(whole[COUNT], 1.0)
        whole[SQUARES] += (stack[:, COUNT] * _squared(gaps)).sum(axis=0)
    return whole


def _variance(numbers: np.ndarray, observed: int) -> np.ndarray:
    """Variance of the mean of the observations; NaN for fewer than two."""
    count = float(numbers[COUNT, observed]) if numbers.size else 0.0
    return numbers[SQUARES] / (count * (count - 1.0)) if count >= 2.0 else _none_known(numbers.shape[1])


@functools.lru_cache(64)
def _none_known(width: int) -> np.ndarray:
    """Variances of which none is known: made once, for small calls do nothing that they need not."""
    return np.broadcast_to(np.nan, width)


def _put_comparisons(layout: Layout, division: Division, squares: np.ndarray, sequences: int, to: np.ndarray) -> None:
    """Put the variance of means there, from the squares of comparisons; NaN if there are none."""
    seen = seen_in_comparisons(layout, division)
    if seen:
        np.divide(squares, seen * (division.samples * sequences) ** 2, out=to)
    else:
        to.fill(np.nan)


def _over_rows(division: Division, stack: np.ndarray, sequences: int, observed: int) -> np.ndarray:
    by_row: dict[int, list[int]] = {}
    whole: list[np.ndarray] = []
    for i, chunk in enumerate(division.chunks):
        if sequences > 1 and chunk.rows > 1:  # with one sequence, every chunk is a part of it
            whole.append(stack[i, VARIANCES])
        else:
            by_row.setdefault(chunk.row0, []).append(i)
    whole += [_variance(_joined(stack[parts]), observed) for parts in by_row.values()]
    return np.array(whole).sum(axis=0) / float(sequences) ** 2


def per_replicate(array: np.ndarray, node, rows: int, samples: int) -> np.ndarray:
    """A node's values as (rows, samples, *shape), repeated along what it does not vary by."""
    names = [ax.name for ax in node.axes]
    lead = (rows if "row" in names else 1, samples if "lane" in names else 1)
    return np.broadcast_to(array.reshape(lead + node.shape), (rows, samples, *node.shape))


def observe(values: np.ndarray, chunk: Chunk, division: Division, sequences: int) -> Partial:
    """The partial result of a chunk from its replicates' values, (sequences of the chunk, samples of the chunk, width).

    This is the definition that kernels are held to.
    """
    sums = values.sum(axis=(0, 1))
    count, totals, squares = _moments(values, chunk, division, division.by_group)
    numbers = np.zeros((ROWS, len(sums)))
    numbers[SUM] = sums
    if values.shape[0] == 1:
        numbers[COUNT], numbers[OBSERVED], numbers[SQUARES] = count, totals[0], squares[0]
    else:
        variances = squares / (count * (count - 1.0)) if count > 1 else np.full_like(squares, np.nan)
        numbers[VARIANCES] = variances.sum(axis=0)
    return Partial(numbers)


def compared(values: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """The sum of the squares of comparisons, from replicates' values, (sequences, samples, width), and the `parts`
    (`scg.program.comparisons`), counted from the first of each. This is the definition that kernels are held to."""
    total = np.zeros(values.shape[2])
    for row0, row1, low, middle, high in parts:
        ratio = math.sqrt((high - middle) / (middle - low))
        one, other = (values[row0:row1, a:b].sum(axis=(0, 1)) for a, b in ((low, middle), (middle, high)))
        total += _squared(ratio * one - other / ratio)
    return total


def observe_by_row(values: np.ndarray, chunk: Chunk, division: Division) -> np.ndarray:
    """`Partial.by_row` of a chunk, from its replicates' values, (rows, samples of the chunk, row_width)."""
    count, totals, squares = _moments(values, chunk, division, division.rows_by_group)
    numbers = np.empty((BY_ROW, *totals.shape))
    numbers[SUM], numbers[COUNT], numbers[OBSERVED], numbers[SQUARES] = values.sum(axis=1), count, totals, squares
    return numbers


def _moments(values: np.ndarray, chunk: Chunk, division: Division, by_group: bool) -> tuple:
    """How many observations a sequence has; of each, their sum and the sum of their squared deviations."""
    starts = group_starts(division, chunk) if by_group else None
    per_sequence = values if starts is None else np.add.reduceat(values, starts, axis=1) / np.diff(
        np.append(starts, values.shape[1]))[:, None]
    count = per_sequence.shape[1]
    totals = per_sequence.sum(axis=1)
    squares = ((per_sequence - (totals / count)[:, None]) ** 2).sum(axis=1)
    unequal = (per_sequence != per_sequence[:, :1]).any(axis=1)
    return count, totals, np.where((squares == 0.0) & unequal, UNSEEN, squares)


def group_starts(division: Division, chunk: Chunk) -> np.ndarray:
    """Where the leave-one-out groups of a chunk begin, counted from its first sample."""
    starts = np.arange(division.groups, dtype=np.int64) * division.samples // division.groups
    return starts[(starts >= chunk.k0) & (starts < chunk.k1)] - chunk.k0

"""What every kernel calls besides mathematics and noise: groups, sums and moments over the lanes of a tile.

All functions work on one array, the arena of the kernel, at given offsets. The file stands alone (numpy and numba
only): its text is pasted into exported modules.
"""

import numpy as np
from numba import njit

# reassoc lets sums vectorise; never nnan or ninf: a value that is not finite must be seen
FAST = {"contract", "nsz", "reassoc", "arcp"}
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": FAST, "cache": True}
# A function that stays a call is compiled by itself and again with each kernel, sums may be ordered differently in the
# two, and which one is linked depends on what the process has loaded before: all that adds numbers is inlined.
INLINED = {**OPTIONS, "forceinline": True}


@njit(**OPTIONS)
def fill(array, start, stop, value):
    """Set a run of elements."""
    for i in range(start, stop):
        array[i] = value


@njit(**OPTIONS)
def copy(array, target, source, count):
    """Copy a run of elements; the two runs do not overlap."""
    for i in range(count):
        array[target + i] = array[source + i]


@njit(**INLINED)
def row_sum(x):
    """The sum of a run of lanes, in float64."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i])
    return total


@njit(**OPTIONS)
def first_group(k, samples, groups):
    """The number of the group that starts at sample k of a row."""
    return (k * groups + samples - 1) // samples


@njit(**OPTIONS)
def tile_end(k, k1, samples, groups, coupled, width):
    """Where the tile that starts at sample k ends: as many whole groups as fit, or as many lanes."""
    if not coupled:
        return min(k + width, k1)
    after = first_group(k, samples, groups) + 1
    # the last group edge that is at most k + width: j * samples // groups <= m means j * samples < (m + 1) * groups
    fits = ((k + width + 1) * groups - 1) // samples
    return min(max(after, fits) * samples // groups, k1)


@njit(**INLINED)
def leave_one_out(arena, source, target, rows, k, end, samples, groups):
    """The mean over the other replicates of each one's group; 0 in a group of one."""
    lanes = end - k
    shortest, longer = samples // groups, samples % groups
    phase = (first_group(k, samples, groups) * samples) % groups
    for row in range(rows):
        start, rest = 0, phase
        while start < lanes:
            # groups differ by one replicate at most; where j * samples // groups jumps one further, the group is longer
            size = shortest
            rest += longer
            if rest >= groups:
                rest -= groups
                size += 1
            at = row * lanes + start
            average_of_others(arena[source + at : source + at + size], arena[target + at : target + at + size])
            start += size


@njit(**INLINED)
def average_of_others(x, y):
    """y: for each element of x, the mean of the others; 0 if there are none."""
    size = x.size
    total = row_sum(x)
    share = 1.0 / (size - 1) if size > 1 else 0.0
    for i in range(size):
        y[i] = (total - x[i]) * share


@njit(**INLINED)
def merge_moments(count, mean, squares, e, moments):
    """Chan, Golub & LeVeque's update of (count, total, squares) of element e."""
    n = moments[0, e]
    if n == 0.0:
        moments[0, e], moments[1, e], moments[2, e] = count, count * mean, squares
    else:
        gap = mean - moments[1, e] / n
        moments[0, e] = n + count
        moments[1, e] += count * mean
        moments[2, e] += squares + gap * gap * (n * count / (n + count))


@njit(**INLINED)
def observe_replicates(x, e, moments):
    """Add one row's replicates to the moments of element e, and return their sum.

    One pass: deviations are taken from a pivot near the mean (the mean so far, else the first value), and corrected.
    """
    pivot = moments[1, e] / moments[0, e] if moments[0, e] > 0.0 else np.float64(x[0])
    first = second = 0.0
    for i in range(x.size):
        gap = np.float64(x[i]) - pivot
        first += gap
        second += gap * gap
    merge_moments(float(x.size), pivot + first / x.size, max(second - first * first / x.size, 0.0), e, moments)
    return first + pivot * x.size


@njit(**INLINED)
def observe_groups(x, e, k, end, samples, groups, moments):
    """Add the means of one row's groups to the moments of element e, and return the sum over replicates."""
    lanes = end - k
    shortest, longer = samples // groups, samples % groups
    rest = (first_group(k, samples, groups) * samples) % groups
    total = first = second = count = pivot = 0.0
    if moments[0, e] > 0.0:
        pivot = moments[1, e] / moments[0, e]
    start = 0
    while start < lanes:
        size = shortest
        rest += longer
        if rest >= groups:
            rest -= groups
            size += 1
        group = row_sum(x[start : start + size])
        if count == 0.0 and moments[0, e] == 0.0:
            pivot = group / size
        gap = group / size - pivot
        total += group
        first += gap
        second += gap * gap
        count += 1.0
        start += size
    merge_moments(count, pivot + first / count, max(second - first * first / count, 0.0), e, moments)
    return total


@njit(**INLINED)
def observe(arena, offset, e, rows, k, end, samples, groups, by_group, wanted, sums, moments, variances, many):
    """Add a tile's values of output element e to the sums and, if wanted, to the moments or the rows' variances."""
    lanes = end - k
    if not wanted:
        sums[e] += row_sum(arena[offset : offset + rows * lanes])
        return
    for row in range(rows):
        x = arena[offset + row * lanes : offset + (row + 1) * lanes]
        if by_group:
            sums[e] += observe_groups(x, e, k, end, samples, groups, moments)
        else:
            sums[e] += observe_replicates(x, e, moments)
        if many and end == samples:
            close_row(e, moments, variances)


@njit(**INLINED)
def observe_constant(value, e, rows, k, end, samples, groups, by_group, wanted, sums, moments, variances, many):
    """As `observe`, for a value that is the same for all lanes of a tile's only row (or of every row)."""
    sums[e] += np.float64(value) * rows * (end - k)
    if not wanted:
        return
    count = end - k
    if by_group:
        count = first_group(end, samples, groups) - first_group(k, samples, groups)
    for _ in range(rows):
        merge_moments(float(count), np.float64(value), 0.0, e, moments)
        if many and end == samples:
            close_row(e, moments, variances)


@njit(**INLINED)
def close_row(e, moments, variances):
    """A row is complete: its mean's variance joins those of the other rows."""
    n = moments[0, e]
    variances[e] += moments[2, e] / (n * (n - 1.0)) if n > 1.0 else np.nan
    moments[0, e] = 0.0
    moments[1, e] = 0.0
    moments[2, e] = 0.0


@njit(**INLINED)
def observe_by_row(arena, offset, first, width, rows, k, end, samples, groups, by_group, wanted, numbers):
    """Add a tile's values of an output by row to each row's own sum and, if wanted, moments.

    `first` is the element of the tile's first row, and `width` the number of elements of a row.
    """
    lanes = end - k
    sums, moments = numbers[0], numbers[1:]
    for row in range(rows):
        e = first + row * width
        x = arena[offset + row * lanes : offset + (row + 1) * lanes]
        if not wanted:
            sums[e] += row_sum(x)
        elif by_group and groups >= 32:  # too few groups of a row's own say little
            sums[e] += observe_groups(x, e, k, end, samples, groups, moments)
        else:
            sums[e] += observe_replicates(x, e, moments)

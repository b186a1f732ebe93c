"""What every kernel calls besides mathematics and noise: groups, sums and moments over the lanes of a tile.

All functions work on one array, the arena of the kernel, at given offsets. The file stands alone (numpy and numba only):
its text is pasted into exported modules.
"""

import numpy as np
from numba import njit

# reassoc lets sums vectorise; never nnan or ninf: a value that is not finite must be seen
FAST = {"contract", "nsz", "reassoc", "arcp"}
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": FAST, "cache": True}


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


@njit(**OPTIONS)
def first_group(k, samples, groups):
    """The number of the group that starts at sample k of a row."""
    return (k * groups + samples - 1) // samples


@njit(**OPTIONS)
def tile_end(k, k1, samples, groups, coupled, width):
    """Where the tile that starts at sample k ends: as many whole groups as fit, or as many lanes."""
    if not coupled:
        return min(k + width, k1)
    j = first_group(k, samples, groups)
    end = (j + 1) * samples // groups
    while end < k1 and (j + 2) * samples // groups - k <= width:
        j += 1
        end = (j + 1) * samples // groups
    return min(end, k1)


@njit(**OPTIONS)
def leave_one_out(arena, source, target, rows, k, end, samples, groups):
    """The mean over the other replicates of each one's group; 0 in a group of one."""
    lanes = end - k
    first = first_group(k, samples, groups)
    for row in range(rows):
        j = first
        start = j * samples // groups
        while start < end:
            stop = (j + 1) * samples // groups
            size = stop - start
            x = arena[source + row * lanes + start - k : source + row * lanes + stop - k]
            y = arena[target + row * lanes + start - k : target + row * lanes + stop - k]
            total = 0.0
            for i in range(size):
                total += x[i]
            if size == 1:
                y[0] = 0.0
            else:
                for i in range(size):
                    y[i] = (total - x[i]) / (size - 1)
            j += 1
            start = stop


@njit(**OPTIONS)
def merge_moments(count, mean, squares, e, moments):
    """Chan, Golub & LeVeque's update of (count, total, squares) of element e; returns nothing."""
    n = moments[0, e]
    if n == 0.0:
        moments[0, e], moments[1, e], moments[2, e] = count, count * mean, squares
    else:
        gap = mean - moments[1, e] / n
        moments[0, e] = n + count
        moments[1, e] += count * mean
        moments[2, e] += squares + gap * gap * (n * count / (n + count))


@njit(**OPTIONS)
def row_sum(x):
    """The sum of a run of lanes, in float64."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i])
    return total


@njit(**OPTIONS)
def replicate_moments(x, mean):
    """The sum of squared deviations from the mean."""
    squares = 0.0
    for i in range(x.size):
        gap = np.float64(x[i]) - mean
        squares += gap * gap
    return squares


@njit(**OPTIONS)
def observe_row(x, e, k, end, samples, groups, by_group, moments):
    """Add one row's replicates (or the means of its groups) to the moments of element e, and return their sum."""
    total = row_sum(x)
    if not by_group:
        mean = total / x.size
        merge_moments(float(x.size), mean, replicate_moments(x, mean), e, moments)
        return total
    j = first_group(k, samples, groups)
    start = j * samples // groups
    while start < end:
        stop = (j + 1) * samples // groups
        merge_moments(1.0, row_sum(x[start - k : stop - k]) / (stop - start), 0.0, e, moments)
        j += 1
        start = stop
    return total


@njit(**OPTIONS)
def observe(arena, offset, e, rows, k, end, samples, groups, by_group, wanted, sums, moments, variances, many):
    """Add a tile's values of output element e to the sums and, if wanted, to the moments or the rows' variances."""
    lanes = end - k
    if not wanted:
        sums[e] += row_sum(arena[offset : offset + rows * lanes])
        return
    for row in range(rows):
        x = arena[offset + row * lanes : offset + (row + 1) * lanes]
        sums[e] += observe_row(x, e, k, end, samples, groups, by_group, moments)
        if many and end == samples:
            close_row(e, moments, variances)


@njit(**OPTIONS)
def observe_constant(value, e, rows, k, end, samples, groups, by_group, wanted, sums, moments, variances, many):
    """As `observe`, for a value that is the same for all lanes of a tile's only row (or of every row)."""
    sums[e] += np.float64(value) * rows * (end - k)
    if not wanted:
        return
    count = end - k
    if by_group:
        count = 0
        j = first_group(k, samples, groups)
        while j * samples // groups < end:
            j += 1
            count += 1
    for _ in range(rows):
        merge_moments(float(count), np.float64(value), 0.0, e, moments)
        if many and end == samples:
            close_row(e, moments, variances)


@njit(**OPTIONS)
def close_row(e, moments, variances):
    """A row is complete: its mean's variance joins those of the other rows."""
    n = moments[0, e]
    variances[e] += moments[2, e] / (n * (n - 1.0)) if n > 1.0 else np.nan
    moments[0, e] = 0.0
    moments[1, e] = 0.0
    moments[2, e] = 0.0

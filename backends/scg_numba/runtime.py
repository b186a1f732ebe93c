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


@njit(**OPTIONS)
def group_edges(edges, count, rows, k, end, samples, groups):
    """The first lanes of a tile's groups, and behind the last one the number of lanes; the number of groups.

    `edges` holds the `count` groups of the previous tile: where all groups are equal, these are right again.
    """
    lanes = end - k
    shortest, longer = samples // groups, samples % groups
    if longer == 0 and count > 0 and edges[count] == rows * lanes:
        return count
    phase = (first_group(k, samples, groups) * samples) % groups
    count = 0
    for row in range(rows):
        start, rest = 0, phase
        while start < lanes:
            edges[count] = row * lanes + start
            count += 1
            # groups differ by one replicate at most; where j * samples // groups jumps one further, the group is longer
            start += shortest
            rest += longer
            if rest >= groups:
                rest -= groups
                start += 1
    edges[count] = rows * lanes
    return count


@njit(**INLINED)
def leave_one_out(arena, source, target, edges, count):
    """The mean over the other replicates of each one's group; 0 in a group of one."""
    for g in range(count):
        first, last = edges[g], edges[g + 1]
        average_of_others(arena[source + first : source + last], arena[target + first : target + last])


@njit(**INLINED)
def average_of_others(x, y):
    """y: for each element of x, the mean of the others; 0 if there are none."""
    size = x.size
    total = row_sum(x)
    share = 1.0 / (size - 1) if size > 1 else 0.0
    for i in range(size):
        y[i] = (total - x[i]) * share


@njit(**INLINED)
def add_observations(count, first, second, e, running):
    """Add so many observations of element e, by the sum of their gaps to the pivot and the sum of squares of these."""
    running[0, e] += count
    running[2, e] += first
    running[3, e] += second


@njit(**INLINED)
def pivot_of(value, e, running):
    """What the observations of element e are compared with: the first one of a row."""
    if running[0, e] == 0.0:
        running[1, e] = value
    return running[1, e]


@njit(**INLINED)
def observe_replicates(x, e, running):
    """Add one row's replicates to the observations of element e; their sum."""
    pivot = pivot_of(np.float64(x[0]), e, running)
    first = second = 0.0
    for i in range(x.size):
        gap = np.float64(x[i]) - pivot
        first += gap
        second += gap * gap
    add_observations(float(x.size), first, second, e, running)
    return first + pivot * x.size


@njit(**INLINED)
def observe_groups(x, edges, e, running):
    """Add the means of some groups of one row to the observations of element e; their sum over replicates."""
    total = 0.0
    for g in range(edges.size - 1):
        group = row_sum(x[edges[g] : edges[g + 1]])
        mean = group / (edges[g + 1] - edges[g])
        gap = mean - pivot_of(mean, e, running)
        add_observations(1.0, gap, gap * gap, e, running)
        total += group
    return total


@njit(**INLINED)
def observe(arena, offset, e, rows, k, end, samples, edges, count, by_group, wanted, sums, running, variances, many):
    """Add a tile's values of output element e to its sum and, if wanted, to its observations."""
    lanes = end - k
    if not wanted:
        sums[e] += row_sum(arena[offset : offset + rows * lanes])
        return
    each = count // rows
    for row in range(rows):
        if by_group:
            x = arena[offset : offset + rows * lanes]
            sums[e] += observe_groups(x, edges[row * each : (row + 1) * each + 1], e, running)
        else:
            sums[e] += observe_replicates(arena[offset + row * lanes : offset + (row + 1) * lanes], e, running)
        if many and end == samples:
            close_row(e, running, variances)


@njit(**INLINED)
def observe_constant(value, e, rows, k, end, samples, edges, count, by_group, wanted, sums, running, variances, many):
    """As `observe`, for a value that is the same for all lanes of a tile's only row (or of every row)."""
    sums[e] += np.float64(value) * rows * (end - k)
    if not wanted:
        return
    observations = float(count // rows if by_group else end - k)
    for _ in range(rows):
        gap = np.float64(value) - pivot_of(np.float64(value), e, running)
        add_observations(observations, observations * gap, observations * gap * gap, e, running)
        if many and end == samples:
            close_row(e, running, variances)


@njit(**INLINED)
def close_row(e, running, variances):
    """A row is complete: its mean's variance joins those of the other rows."""
    variances[e] += variance_of_mean(running[0, e], running[2, e], running[3, e])
    running[:, e] = 0.0


@njit(**INLINED)
def variance_of_mean(count, first, second):
    """The variance of the mean of so many observations, given the sums of their gaps to a pivot and of the squares."""
    squares = max(second - first * first / count, 0.0)
    return squares / (count * (count - 1.0)) if count > 1.0 else np.nan


@njit(**INLINED)
def settle(count, pivot, first, second, e, moments):
    """The number, sum and centred sum of squares of element e."""
    moments[0, e], moments[1, e] = count, first + count * pivot
    moments[2, e] = max(second - first * first / count, 0.0)


@njit(**INLINED)
def settle_all(running, moments):
    """The number, sum and centred sum of squares of all elements that were observed."""
    for e in range(running.shape[1]):
        if running[0, e] > 0.0:
            settle(running[0, e], running[1, e], running[2, e], running[3, e], e, moments)


@njit(**INLINED)
def observe_by_row(arena, offset, first, width, rows, k, end, edges, count, by_group, wanted, sums, running):
    """Add a tile's values of an output by row to each row's own sum and, if wanted, observations.

    `first` is the element of the tile's first row, and `width` the number of elements of a row.
    """
    lanes, each = end - k, count // rows
    for row in range(rows):
        e = first + row * width
        x = arena[offset + row * lanes : offset + (row + 1) * lanes]
        if not wanted:
            sums[e] += row_sum(x)
        elif by_group:
            whole = arena[offset : offset + rows * lanes]
            sums[e] += observe_groups(whole, edges[row * each : (row + 1) * each + 1], e, running)
        else:
            sums[e] += observe_replicates(x, e, running)

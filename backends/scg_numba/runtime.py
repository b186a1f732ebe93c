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
WRITTEN_OUT = {**OPTIONS, "inline": "always"}  # small ones are never compiled by themselves, which saves as much time


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


@njit(**WRITTEN_OUT)
def row_sum(x):
    """The sum of a run of lanes, in float64."""
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i])
    return total


@njit(**WRITTEN_OUT)
def first_group(k, samples, groups):
    """The number of the group that starts at sample k of a row."""
    return (k * groups + samples - 1) // samples


@njit(**OPTIONS)
def tile_end(k, k1, samples, groups, width):
    """Where the tile that starts at sample k ends: as many whole groups as fit into so many lanes."""
    after = first_group(k, samples, groups) + 1
    # the last group edge that is at most k + width: j * samples // groups <= m means j * samples < (m + 1) * groups
    fits = ((k + width + 1) * groups - 1) // samples
    return min(max(after, fits) * samples // groups, k1)


@njit(**OPTIONS)
def group_edges(edges, rows, k, end, samples, groups):
    """The first lanes of a tile's groups, and behind the last one the number of lanes; the number of groups."""
    lanes = end - k
    shortest, longer = samples // groups, samples % groups
    count = rows * lanes // shortest
    if longer == 0 and edges[count] == rows * lanes and edges[1] == shortest:
        return count  # all groups are equal, and the edges are those of the tile before
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


@njit(**WRITTEN_OUT)
def average_of_others(x, y):
    """y: for each element of x, the mean of the others; 0 if there are none."""
    size = x.size
    total = row_sum(x)
    share = 1.0 / (size - 1) if size > 1 else 0.0
    for i in range(size):
        y[i] = (total - x[i]) * share


# The observations of an output element stand in a column of `moments`: their number, a pivot, the sum of their gaps to
# it, and the sum of the squares of these. `settle` turns them into number, sum and centred sum of squares.


@njit(**WRITTEN_OUT)
def add_observations(count, first, second, e, moments):
    """Add so many observations of element e, by the sum of their gaps to the pivot and the sum of squares of these."""
    moments[0, e] += count
    moments[2, e] += first
    moments[3, e] += second


@njit(**WRITTEN_OUT)
def pivot_of(value, e, moments):
    """What the observations of element e are compared with: the first one of a row."""
    if moments[0, e] == 0.0:
        moments[1, e] = value
    return moments[1, e]


@njit(**WRITTEN_OUT)
def observe_replicates(x, e, moments):
    """Add one row's replicates to the observations of element e; their sum."""
    pivot = pivot_of(np.float64(x[0]), e, moments)
    first = second = 0.0
    for i in range(x.size):
        gap = np.float64(x[i]) - pivot
        first += gap
        second += gap * gap
    add_observations(float(x.size), first, second, e, moments)
    return first + pivot * x.size


@njit(**WRITTEN_OUT)
def observe_groups(x, edges, e, moments):
    """Add the means of some groups of one row to the observations of element e; their sum over replicates."""
    total = 0.0
    for g in range(edges.size - 1):
        group = row_sum(x[edges[g] : edges[g + 1]])
        mean = group / (edges[g + 1] - edges[g])
        gap = mean - pivot_of(mean, e, moments)
        add_observations(1.0, gap, gap * gap, e, moments)
        total += group
    return total


@njit(**INLINED)
def observe(x, e, rows, wanted, sums, moments, variances, closing):
    """Add a tile's values of output element e to its sum and, if wanted, each to its observations."""
    if not wanted:
        sums[e] += row_sum(x)
        return
    lanes = x.size // rows
    for row in range(rows):
        sums[e] += observe_replicates(x[row * lanes : (row + 1) * lanes], e, moments)
        if closing:
            close_row(e, moments, variances)


@njit(**INLINED)
def observe_by_group(x, e, rows, edges, count, wanted, sums, moments, variances, closing):
    """Add a tile's values of output element e to its sum and, if wanted, their means by group to its observations."""
    if not wanted:
        sums[e] += row_sum(x)
        return
    each = count // rows
    for row in range(rows):
        sums[e] += observe_groups(x, edges[row * each : (row + 1) * each + 1], e, moments)
        if closing:
            close_row(e, moments, variances)


@njit(**INLINED)
def observe_constant(value, e, rows, lanes, observations, wanted, sums, moments, variances, closing):
    """As `observe`, for a value that all lanes of each row have in common."""
    sums[e] += np.float64(value) * rows * lanes
    if not wanted:
        return
    for _ in range(rows):
        gap = np.float64(value) - pivot_of(np.float64(value), e, moments)
        add_observations(observations, observations * gap, observations * gap * gap, e, moments)
        if closing:
            close_row(e, moments, variances)


@njit(**WRITTEN_OUT)
def close_row(e, moments, variances):
    """A row is complete: its mean's variance joins those of the other rows."""
    variances[e] += variance_of_mean(moments[0, e], moments[2, e], moments[3, e])
    moments[0, e] = moments[2, e] = moments[3, e] = 0.0


@njit(**WRITTEN_OUT)
def variance_of_mean(count, first, second):
    """The variance of the mean of so many observations, given the sums of their gaps to a pivot and of the squares."""
    squares = max(second - first * first / count, 0.0)
    return squares / (count * (count - 1.0)) if count > 1.0 else np.nan


@njit(**INLINED)
def settle(moments):
    """The number, sum and centred sum of squares of every element that was observed, in place."""
    for e in range(moments.shape[1]):
        n, first = moments[0, e], moments[2, e]
        if n > 0.0:
            moments[1, e] = first + n * moments[1, e]
            moments[2, e] = max(moments[3, e] - first * first / n, 0.0)


@njit(**INLINED)
def observe_by_row(arena, offset, first, width, rows, k, end, edges, count, by_group, wanted, sums, moments):
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
            sums[e] += observe_groups(whole, edges[row * each : (row + 1) * each + 1], e, moments)
        else:
            sums[e] += observe_replicates(x, e, moments)

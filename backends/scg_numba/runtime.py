"""What every kernel calls besides mathematics and noise: groups, sums and moments over the lanes of a tile.

All functions work on one array, the arena of the kernel, at given offsets. The file's text is pasted into exported
modules, behind that of `scg.sums`: it needs that, numpy and numba.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from scg.sums import COUNT, GAP_SQUARES, OBSERVED, SQUARES, SUM, UNSEEN, VARIANCES
from scg_numba.pipeline import OPTIONS

# A function that stays a call is compiled by itself and again with each kernel, sums may be ordered differently in the
# two, and which one is linked depends on what the process has loaded before: all that adds numbers is inlined. By LLVM:
# what Numba itself inlines goes through all of its passes again with every kernel, which doubles the time they take.
INLINED = {**OPTIONS, "forceinline": True}
# reassoc lets sums vectorise; never nnan or ninf: a value that is not finite must be seen
FAST = ("contract", "nsz", "reassoc")


@intrinsic
def added(typingctx, total, x):
    """total + x, a float64: one step of a sum over replicates, which no decision reads. The order is the compiler's."""

    def codegen(context, builder, signature, args):
        total, x = (context.cast(builder, v, t, types.float64) for v, t in zip(args, signature.args))
        return builder.fadd(total, x, flags=FAST)

    return types.float64(total, x), codegen


@intrinsic
def added_product(typingctx, total, x, y):
    """total + x·y, a float64: as `added`, by fused multiply-add where the machine has it."""

    def codegen(context, builder, signature, args):
        total, x, y = (context.cast(builder, v, t, types.float64) for v, t in zip(args, signature.args))
        return builder.fadd(total, builder.fmul(x, y, flags=FAST), flags=FAST)

    return types.float64(total, x, y), codegen


def _fusible(operation):
    """An intrinsic for one operation on two numbers, which may be rounded together with the next."""

    def typed(typingctx, x, y):
        common = x if x == y and isinstance(x, types.Float) else types.float64

        def codegen(context, builder, signature, args):
            args = (context.cast(builder, v, t, common) for v, t in zip(args, signature.args))
            return getattr(builder, operation)(*args, flags=("contract",))

        return common(x, y), codegen

    return intrinsic(typed)


@intrinsic
def bits(typingctx, x):
    """The bits of a float64 as an integer: but for the sign, 0 of nothing but 0."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(types.int64))

    return (types.int64(types.float64), codegen) if x == types.float64 else None


times, plus, minus = _fusible("fmul"), _fusible("fadd"), _fusible("fsub")


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
def narrow(array, target, totals, source, count):
    """Copy a run of sums into an array of the working type."""
    for i in range(count):
        array[target + i] = totals[source + i]


@njit(**OPTIONS)
def add_partial_sums(array, start, steps, width):
    """Add runs of elements to each other, in pairs (to, what) of their numbers; the sum is the first, at `start`."""
    for s in range(0, steps.size, 2):
        to, what = start + steps[s] * width, start + steps[s + 1] * width
        for i in range(width):
            array[to + i] += array[what + i]


@njit(**INLINED)
def counted(ones, size, one, zero):
    """The sum over a group of what is `one` in so many of its lanes, and `zero` in the others."""
    rest = size - ones
    return (ones * one if ones > 0.0 else 0.0) + (rest * zero if rest > 0.0 else 0.0)


@njit(**INLINED)
def bits_of_both(ones, size, one, zero):
    """The bits that are set in `one` or in `zero`, as far as lanes have them."""
    return (bits(one) if ones > 0.0 else 0) | (bits(zero) if ones < size else 0)


@njit(**INLINED)
def row_sum(x):
    """The sum of a run of lanes, in float64."""
    total = 0.0
    for i in range(x.size):
        total = added(total, x[i])
    return total


@njit(**INLINED)
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
def squared(gap):
    """The square of a deviation; `UNSEEN` in the place of 0 if it is not 0."""
    square = gap * gap
    return UNSEEN if square == 0.0 and gap != 0.0 else square


# The rows of `numbers` are those of `scg.sums`. While observations are added, a pivot stands in the place of their sum,
# the sum of their gaps to it in that of the squares, and that of the squared gaps beside; `settle` ends that.
PIVOT, GAPS = OBSERVED, SQUARES


@njit(**INLINED)
def add_observations(count, first, second, e, numbers):
    """Add so many observations of element e, by the sum of their gaps to the pivot and the sum of squares of these."""
    numbers[COUNT, e] += count
    numbers[GAPS, e] += first
    numbers[GAP_SQUARES, e] += second


@njit(**INLINED)
def pivot_of(value, e, numbers):
    """What the observations of element e are compared with: the first one of a row."""
    if numbers[COUNT, e] == 0.0:
        numbers[PIVOT, e] = value
    return numbers[PIVOT, e]


@njit(**INLINED)
def observe_replicates(x, e, numbers):
    """Add one row's replicates to the sum and to the observations of element e."""
    pivot = pivot_of(np.float64(x[0]), e, numbers)
    first = second = 0.0
    for i in range(x.size):
        gap = np.float64(x[i]) - pivot
        first = added(first, gap)
        second = added_product(second, gap, gap)
    if second == 0.0:
        for i in range(x.size):
            if np.float64(x[i]) != pivot:
                second = UNSEEN
    add_observations(float(x.size), first, second, e, numbers)
    numbers[SUM, e] += first + pivot * x.size


@njit(**INLINED)
def observe_groups(x, edges, e, numbers):
    """Add one row's replicates to the sum of element e, and the means of their groups to its observations."""
    for g in range(edges.size - 1):
        group = row_sum(x[edges[g] : edges[g + 1]])
        mean = group / (edges[g + 1] - edges[g])
        gap = mean - pivot_of(mean, e, numbers)
        add_observations(1.0, gap, squared(gap), e, numbers)
        numbers[SUM, e] += group


@njit(**INLINED)
def observe_sums(sums, edges, e, numbers):
    """Add the sums of one row's groups to the sum of element e, and their means to its observations."""
    pivot = pivot_of(sums[0] / (edges[1] - edges[0]), e, numbers)
    total = first = second = spread = 0.0
    for g in range(sums.size):
        gap = sums[g] / (edges[g + 1] - edges[g]) - pivot
        total += sums[g]
        first += gap
        second += gap * gap
        if gap != 0.0:
            spread = UNSEEN
    add_observations(float(sums.size), first, spread if second == 0.0 else second, e, numbers)
    numbers[SUM, e] += total


@njit(**INLINED)
def observe_constant(value, e, lanes, observations, numbers):
    """As `observe_replicates`, for a value that so many lanes and observations of a row have in common."""
    gap = np.float64(value) - pivot_of(np.float64(value), e, numbers)
    add_observations(observations, observations * gap, observations * squared(gap), e, numbers)
    numbers[SUM, e] += np.float64(value) * lanes


@njit(**INLINED)
def close_row(e, numbers):
    """A row is complete: its mean's variance joins those of the other rows."""
    numbers[VARIANCES, e] += variance_of_mean(numbers[COUNT, e], numbers[GAPS, e], numbers[GAP_SQUARES, e])
    numbers[COUNT, e] = numbers[GAPS, e] = numbers[GAP_SQUARES, e] = 0.0


@njit(**INLINED)
def variance_of_mean(count, first, second):
    """The variance of the mean of so many observations, given the sums of their gaps to a pivot and of the squares."""
    return centred(count, first, second, first != 0.0) / (count * (count - 1.0)) if count > 1.0 else np.nan


@njit(**INLINED)
def centred(count, first, second, spread):
    """The sum of squared deviations from the mean, from the sums of gaps to a pivot and of their squares.

    `spread` is 0, but for the sign, if all gaps are, for all that is known: the bits that are set in any of them, or
    whether their sum is not 0.
    """
    squares = second - first * first / count
    if squares <= 0.0:
        return UNSEEN if (spread << 1) != 0 and second < 1e-307 else 0.0
    return squares


@njit(**INLINED)
def settle(numbers):
    """The number, sum and centred sum of squares of every element that was observed, in place."""
    for e in range(numbers.shape[1]):
        n, first = numbers[COUNT, e], numbers[GAPS, e]
        if n > 0.0:
            numbers[OBSERVED, e] = first + n * numbers[PIVOT, e]
            numbers[SQUARES, e] = centred(n, first, numbers[GAP_SQUARES, e], first != 0.0)


# The coarse uniform finds an index by the sums of probabilities; where it falls next to one of these, −1 says that
# further words must decide.


@njit(nogil=True, error_model="numpy", fastmath=False)
def index_among(sums, size, u, near):
    """How many of so many ascending sums u is not below; −1 where it is as near as that to one of them."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if sums[middle] <= u:
            low = middle + 1
        else:
            high = middle
    close = (low > 0 and u - sums[low - 1] <= near) or (low < size and sums[low] - u <= near)
    return -1.0 if close else float(low)

"""Giving a range of replicates to a kernel. The text is pasted into exported modules too."""

import threading
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from scg.large import LINE, Apart, given_away, spare
from scg.noise import mix64
from scg.program import FEW_RANGES, MANY, Call, Chunk, Division, Layout, Partial, comparisons
from scg.sums import BY_ROW, ROWS, SUM, VARIANCES
from scg_numba.noise import set_keys

KEPT = 1 << 24  # elements of working arrays that a thread keeps from call to call: fresh memory is slow to get
_flat = np.ndarray.ravel
_WHOLE_KEY, _KEY_WORDS = np.dtype("<u8"), np.dtype("<u4")


class Workspace(threading.local):
    """The arrays that a kernel works in, of which each thread has its own, and those that it only reads.

    Parameters
    ----------
    sizes : sequence of (int, str)
        How many elements of which type each array has.
    constants : sequence of array
        The kernel's numbers.
    around : context manager, optional
        What the kernel runs in.
    assigned : sequence of (int, int), optional
        The ends of runs of elements whose sums the kernel sets before it adds to them.
    left : sequence of (int, int, int), optional
        The ends of some of these, and where in the second array a range of one tile leaves their sums. If the range was
        one, the third array says so.
    """

    def __init__(self, sizes, constants=(), around=None, assigned=(), left=()):
        self.sizes, self.constants, self.around = tuple(sizes), tuple(constants), around
        self.assigned, self.left = assigned, tuple(left)
        self.prepared: tuple = ()
        self.kept = self._arrays() if sum(size for size, _ in self.sizes) <= KEPT else None

    def _arrays(self) -> tuple:
        return *(aligned(size, np.dtype(dtype)) for size, dtype in self.sizes), *self.constants

    def prepare(self, hashes: Sequence[int]) -> tuple:
        """What a thread's prepared calls need: keys, as `set_keys` wants them, their words, and the arrays."""
        keys = np.array([*(0 for _ in hashes), 0, *hashes], _WHOLE_KEY)
        self.prepared = keys, keys.view(_KEY_WORDS), self.kept
        return self.prepared

    @property
    def arrays(self) -> tuple:
        """The arrays; what they hold is of no account."""
        return self.kept or self._arrays()

    def taken(self, arrays: tuple, numbers: np.ndarray, few: bool) -> Apart | None:
        """The sums that the kernel has left in them, if any: they are the caller's, of a call of few ranges.

        Arrays are written again with the next range: the one that they stand in is replaced. Of many ranges sums are
        added up in float64 anyhow, and so many arrays would be too much memory.
        """
        if not arrays[2][0]:
            return None
        found = Apart(arrays[1], self.left)
        if not few:
            found.put(numbers)
            return None
        if self.kept is not None:
            size, dtype = self.sizes[1]
            self.kept = arrays[0], given_away(size, np.dtype(dtype)), *arrays[2:]
        return found


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """So many zeros, the first at the start of a cache line."""
    wider = np.zeros(size * dtype.itemsize + LINE, np.uint8)
    start = -wider.ctypes.data % LINE
    return wider[start : start + size * dtype.itemsize].view(dtype)


def _keys(seed: int, layout: Layout) -> np.ndarray:
    """The two key words of every noise stream, one stream after another: `scg.noise.key` of them all."""
    mixed = mix64(seed)
    return np.array([mix64(mixed ^ h) for h in layout.hashes], _WHOLE_KEY).view(_KEY_WORDS)


_codes: WeakKeyDictionary = WeakKeyDictionary()  # of functions; that of signatures hashes all types to find its first


def _code_of(function):
    """What calls the machine code of a kernel, once it is compiled: there is one for all calls, whose types are known.

    Numba looks at the types with every call, and compiles all anew for arrays that must not be written.
    """
    code = _codes.get(function)
    if code is None:
        for compiled in function.overloads.values():
            code = _codes[function] = getattr(compiled, "entry_point", function)  # what Python runs has no other
            break
    return function if code is None else code


def prepared(kernel, workspace: Workspace, layout: Layout,
             division: Division) -> Callable[[int, Sequence[np.ndarray]], np.ndarray | None] | None:
    """What `run_chunk` does with a kernel's function, for a division of one range: of the seed and the leaves' arrays.

    None where more is to be done than to call a function, or more is given back. What is made once is made here: where
    few replicates are drawn it would take longer than these.
    """
    more = layout.by_row or layout.records or layout.compared or workspace.left
    if more or layout.width > MANY or workspace.around or workspace.kept is None:
        return None
    function, shape, hashes, streams = kernel.function, (ROWS, layout.width), layout.hashes, len(layout.hashes)
    code = _code_of(function)
    head = *division.chunks[0], division.samples, division.groups, division.by_group

    def run(seed: int, arrays: Sequence[np.ndarray]) -> np.ndarray | None:
        if kernel.function is not function:  # another has taken its place, as where one looks at what it is given
            return None
        keys, words, kept = workspace.prepared or workspace.prepare(hashes)
        keys[streams] = seed
        set_keys(keys)
        numbers = np.zeros(shape)
        code(*head, words, numbers, *kept, *map(_flat, arrays))
        return numbers

    return run


def numbers_of(layout: Layout, assigned: Sequence[tuple[int, int]] = ()) -> np.ndarray:
    """Zeros for `Partial.numbers`; where there are many means, only for what is looked at.

    The sums of elements that are `assigned` are whatever they are: the kernel sets them before it adds to them.
    """
    if layout.width <= MANY:
        return np.zeros((ROWS, layout.width))
    shape = (ROWS if layout.errors else 1, layout.width)  # without standard errors there are sums alone
    numbers = spare(shape, np.float64)
    start = 0
    for first, stop in (*assigned, (layout.width, 0)):
        numbers[SUM, start:first] = 0.0
        start = stop
    for where in layout.looked_at if layout.errors else ():
        numbers[SUM + 1 :, where] = 0.0
    for where in layout.compared:
        numbers[VARIANCES, where] = 0.0
    return numbers


def ready(layout: Layout, call: Call) -> tuple[list[np.ndarray], np.ndarray]:
    """What all chunks of a call are given: its arrays, and the keys of its noise."""
    return [a.reshape(-1) for a in call.arrays], _keys(call.seed, layout)


def run_chunk(function, workspace: Workspace, layout: Layout, call: Call, chunk: Chunk,
              inside: bool = False) -> Partial:
    """Evaluate a range of replicates; see `scg.program.Kernel`."""
    if workspace.around is not None and not inside:
        with workspace.around:
            return run_chunk(function, workspace, layout, call, chunk, True)
    division, code = call.division, _code_of(function)
    flat, keys = call.ready or ready(layout, call)
    if code is function:  # it is compiled now, for arrays like these
        flat = [a if a.flags.writeable else a.copy() for a in flat]
    row0, rows, k0, k1 = chunk
    numbers = numbers_of(layout, workspace.assigned)
    compared = [comparisons(layout, division, chunk).reshape(-1)] if layout.compared else []
    arrays, few = workspace.arrays, len(division.chunks) <= FEW_RANGES
    if not (layout.by_row or layout.records):
        code(row0, rows, k0, k1, division.samples, division.groups, division.by_group, keys, numbers, *compared,
             *arrays, *flat)
        return Partial(numbers, large=workspace.taken(arrays, numbers, few) if workspace.left else None)
    by_row = [np.zeros((BY_ROW + 1 if layout.row_numbers > 1 else 1, rows * layout.row_width))] if layout.by_row else []
    records = tuple(np.empty((rows * (k1 - k0), slot.size)) for slot in layout.records)
    code(row0, rows, k0, k1, division.samples, division.groups, division.by_group, keys, numbers, *compared,
             *arrays, *by_row, *records, *flat)
    return Partial(numbers, tuple(r.reshape(len(r), *slot.shape) for r, slot in zip(records, layout.records)),
                   by_row[0][:BY_ROW].reshape(-1, rows, layout.row_width) if by_row else None,
                   workspace.taken(arrays, numbers, few) if workspace.left else None)

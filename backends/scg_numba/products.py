"""Matrix products by BLAS, which add to what is there, and sums over a range. Pasted into modules that have products.

SciPy's BLAS is called through Numba's own wrapper of it. Its threads are of no use here, for ranges have threads
already: while a kernel with products runs, it has one.
"""

import contextlib
import ctypes
import itertools
import os
import threading

import numpy as np
import scipy.linalg.cython_blas  # what the wrapper looks up  # noqa: F401
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from threadpoolctl import ThreadpoolController

from scg.sums import SUM, VARIANCES
from scg_numba.pipeline import OPTIONS
from scg_numba.runtime import added, squared

RUN = 16  # lanes that are written at a time, at most
KINDS = {types.float32: ("s", ir.FloatType()), types.float64: ("d", ir.DoubleType())}


@intrinsic
def matrix_product(typingctx, turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc):
    """C = op(A) op(B) + beta C, of matrices that begin at elements a0, b0, c0, with rows lda, ldb, ldc elements apart.

    `turned` ones (1) are transposed. BLAS counts along columns: it sees the transposes, so A and B change places.
    """
    given = turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc
    return types.void(*given), lambda context, builder, signature, args: _gemm(
        context, builder, signature.args, args, ir.Constant(KINDS[c.dtype][1], 1.0))


@intrinsic
def mean_product(typingctx, share, turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc):
    """The same of a share of the product: C = share · op(A) op(B) + beta C."""
    given = share, turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc
    return types.void(*given), lambda context, builder, signature, args: _gemm(
        context, builder, signature.args[1:], args[1:], context.cast(builder, args[0], signature.args[0], c.dtype))


def _gemm(context, builder, types_of, args, alpha):
    """BLAS's product of matrices, times a number."""
    dtype = types_of[12].dtype
    letter, real = KINDS[dtype]
    assert types_of[5].dtype == types_of[8].dtype == dtype

    def whole(i):
        return context.cast(builder, args[i], types_of[i], types.intp)

    def matrix(i):
        data = context.make_array(types_of[i])(context, builder, args[i]).data
        return builder.bitcast(builder.gep(data, [whole(i + 1)]), pointer)

    def number(value):
        slot = cgutils.alloca_once(builder, real)
        builder.store(value, slot)
        return builder.bitcast(slot, pointer)

    def side(i):
        turned = builder.icmp_signed("!=", whole(i), ir.Constant(size, 0))
        return builder.select(turned, ir.Constant(char, ord("T")), ir.Constant(char, ord("N")))

    pointer, char, size = ir.IntType(8).as_pointer(), ir.IntType(8), context.get_value_type(types.intp)
    scale = context.cast(builder, args[11], types_of[11], dtype)
    gemm = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), [
        char, char, char, size, size, size, pointer, pointer, size, pointer, size, pointer, pointer, size]),
        "numba_xxgemm")
    builder.call(gemm, [
        ir.Constant(char, ord(letter)), side(1), side(0), whole(3), whole(2), whole(4), number(alpha), matrix(8),
        whole(10), matrix(5), whole(7), number(scale), matrix(12), whole(14)])
    return context.get_dummy_value()


@njit(**OPTIONS)
def sum_rows(array, target, source, elements, width, rows, lanes):
    """For each element and row of a tile the sum of so many lanes."""
    for e in range(elements):
        for r in range(rows):
            total, first = 0.0, source + e * width + r * lanes
            for i in range(first, first + lanes):
                total += array[i]
            array[target + e * width + r] = total


def store_of(count):
    """What gives so many elements of an array, from the i-th on, one value."""

    @intrinsic
    def store(typingctx, array, i, value):
        def codegen(context, builder, signature, args):
            array, at, value = args
            real = context.get_value_type(signature.args[0].dtype)
            data = context.make_array(signature.args[0])(context, builder, array).data
            first = builder.gep(data, [context.cast(builder, at, signature.args[1], types.intp)], inbounds=True)
            one = builder.insert_element(
                ir.Constant(ir.VectorType(real, count), ir.Undefined), value, ir.IntType(32)(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
            stored = builder.store(builder.shuffle_vector(one, one, zeros),
                                   builder.bitcast(first, ir.VectorType(real, count).as_pointer()))
            stored.align = array_alignment(signature.args[0].dtype)
            return context.get_dummy_value()

        return types.void(array, i, array.dtype), codegen

    return store


store_few, store_some, store_run = store_of(4), store_of(8), store_of(RUN)


def array_alignment(dtype):
    """Bytes: elements are where their type lets them be, no more."""
    return dtype.bitwidth // 8


@njit(**OPTIONS)
def fill_from(target, first, last, value):
    """Set a run of elements."""
    for i in range(first, last):
        target[i] = value


@njit(**OPTIONS)
def spread_rows(target, source, start, apart, rows, lanes):
    """What each row has becomes that of its lanes; lanes that pad the tile are like the last.

    The elements of two rows lie so far `apart` in the source. A row's lanes are written in runs: where that is too
    many, the next row writes over them.
    """
    size = target.size
    if lanes == 1:
        for r in range(rows):
            target[r] = source[start + r * apart]
        fill_from(target, rows, size, source[start + (rows - 1) * apart])
        return
    wide = 4 if lanes <= 4 else 8 if lanes <= 8 else RUN  # a short store seldom lies across two cache lines
    runs = (lanes + wide - 1) // wide
    whole = min(rows - 1, max(size - runs * wide, 0) // lanes + 1) if size >= runs * wide else 0
    if wide == 4:
        for r in range(whole):
            store_few(target, r * lanes, source[start + r * apart])
    elif wide == 8:
        for r in range(whole):
            store_some(target, r * lanes, source[start + r * apart])
    elif runs == 1:
        for r in range(whole):
            store_run(target, r * lanes, source[start + r * apart])
    else:
        for r in range(whole):
            value = source[start + r * apart]
            for j in range(runs):
                store_run(target, r * lanes + j * RUN, value)
    for r in range(whole, rows):
        fill_from(target, r * lanes, size if r == rows - 1 else (r + 1) * lanes, source[start + r * apart])


@njit(**OPTIONS)
def add_up(totals, target, array, source, count):
    """Add a run of elements to one of another array."""
    for i in range(count):
        totals[target + i] += array[source + i]


@njit(**OPTIONS)
def observe_totals(array, source, count, first, numbers, assigned):
    """Add sums over a range to the sums of elements from `first` on, or put them in their place."""
    sums, part = numbers[SUM, first : first + count], array[source : source + count]
    if assigned:
        for i in range(count):
            sums[i] = part[i]
    else:
        for i in range(count):
            sums[i] += part[i]


@njit(**OPTIONS)
def finish_at_once(sums, last, factor, count, mean, runs):
    """What `scg.run.moments.finish` does, in one pass."""
    bad = 0.0
    for r in range(len(runs)):
        first, stop = runs[r, 0], runs[r, 1]
        more = last[first:stop] if last.size else sums[first:stop]
        bad += put_means(sums[first:stop], more, last.size > 0, factor, count, mean[first:stop])
    return bad == 0.0


@njit(**OPTIONS)
def put_means(sums, last, added_to, factor, count, mean):
    """Give `mean` what it holds of sums, if `last` is added to them or not; how many of them cannot be used."""
    kind = mean.dtype.type
    zero, most, times, parts, bad = kind(0.0), kind(np.inf), kind(factor), kind(count), 0.0
    if count == 1.0:  # divisions take long
        for i in range(mean.size):
            whole = sums[i] + (last[i] if added_to else zero)
            mean[i] = whole * times
            bad = added(bad, 0.0 if abs(mean[i]) < most and (mean[i] != zero or whole == zero) else 1.0)
    else:
        for i in range(mean.size):
            whole = sums[i] + (last[i] if added_to else zero)
            mean[i] = whole / parts
            bad = added(bad, 0.0 if abs(mean[i]) < most and (mean[i] != zero or whole == zero) else 1.0)
    return bad


@njit(**OPTIONS)
def contrast(signs, runs, compared, row, rows, k, end):
    """The lanes of a tile as parts of comparisons (`scg.program.comparisons`): what each counts, and the first lane of
    each run, and behind the last one the number of lanes; how many runs there are.

    Last in `runs` stand whether the first began in an earlier tile, and whether the last ends with this one.
    """
    signs[:] = 0.0
    p = lane = count = 0
    while 5 * p < compared.size and not (row < compared[5 * p + 1] and k < compared[5 * p + 4]):
        p += 1
    if 5 * p >= compared.size:
        return 0
    runs[0] = 0
    runs[-2] = row > compared[5 * p] or k > compared[5 * p + 2]
    for r in range(row, row + rows):
        for s in range(k, end):
            if not (r < compared[5 * p + 1] and s < compared[5 * p + 4]):
                p, count = p + 1, count + 1
                runs[count] = lane
            one = np.float64(compared[5 * p + 3] - compared[5 * p + 2])
            other = np.float64(compared[5 * p + 4] - compared[5 * p + 3])
            signs[lane] = np.sqrt(other / one) if s < compared[5 * p + 3] else -np.sqrt(one / other)
            lane += 1
    runs[count + 1] = lane
    runs[-1] = row + rows == compared[5 * p + 1] and end == compared[5 * p + 4]
    return count + 1


@njit(**OPTIONS)
def goes_on(runs, i):
    """1 if run i of a tile goes on with a comparison that began in an earlier tile, else 0."""
    return 1.0 if i == 0 and runs[-2] else 0.0


@njit(**OPTIONS)
def add_squares(array, source, count, first, numbers, runs, i, tile_runs):
    """Add squares to the numbers of elements from `first` on, if a comparison is complete with run i of a tile."""
    if i + 1 < tile_runs or runs[-1]:
        sums, part = numbers[VARIANCES, first : first + count], array[source : source + count]
        for j in range(count):
            sums[j] += squared(np.float64(part[j]))


class _OneThread:
    """BLAS with one thread, from when the first has come in until the last has left: a context.

    Where every thread that calls BLAS has a limit of its own (OpenMP's), each sets its own.
    """

    def __init__(self):
        self.lock, self.inside, self.found = threading.Lock(), 0, None
        self.common, self.own, self.before = [], [], []
        self.mine = threading.local()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.renew)

    def renew(self):
        """In a forked process only the thread that forked is inside, or nobody."""
        self.lock, inside, self.inside = threading.Lock(), self.inside, 0
        if inside:
            _limited(self.common, self.before)

    def __enter__(self):
        with self.lock:
            if self.inside == 0:
                self._find()
                self.before = _limited(self.common, [1] * len(self.common))
            self.inside += 1
        if self.own:
            self.mine.__dict__.setdefault("before", []).append(_limited(self.own, [1] * len(self.own)))

    def __exit__(self, *_):
        if self.own:
            _limited(self.own, self.mine.before.pop())
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                _limited(self.common, self.before)

    def _find(self):
        """The libraries that SciPy calls: looking for them takes a millisecond."""
        if self.found is None:
            every = [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]
            self.found = [c for c in every if "scipy.libs" in c.filepath] or every
            self.own = [_Library(c) for c in self.found if getattr(c, "threading_layer", "") == "openmp"]
            self.common = [_Library(c) for c in self.found if getattr(c, "threading_layer", "") != "openmp"]


class _Library:
    """How many threads a library has: asked, and told, in the shortest way there is."""

    def __init__(self, controller):
        self.controller = controller
        self.count, self.set = controller.get_num_threads, self._set
        if controller.internal_api == "openblas" and controller.threading_layer != "openmp":
            for before, after in itertools.product(("", "scipy_"), ("", "64_", "_64")):
                with contextlib.suppress(AttributeError):  # a build has one spelling of each name
                    self.count = _plain(controller, f"{before}openblas_get_num_threads{after}", ctypes.c_int)
                    self.set = _plain(controller, f"{before}openblas_set_num_threads{after}", None, ctypes.c_int)

    def _set(self, count):
        free = getattr(self.controller, "clear_controlling_thread", None)  # else only the first that did may set it
        if free is not None:
            free(force=True)
        self.controller.set_num_threads(count)
        if free is not None:
            free(force=True)


def _plain(controller, name, *types_of):
    """A library's function, called without letting other threads run meanwhile, which takes longer than it does."""
    return ctypes.PYFUNCTYPE(*types_of)(ctypes.cast(getattr(controller.dynlib, name), ctypes.c_void_p).value)


def _limited(libraries, counts):
    """Set the numbers of threads, where they are others; those before."""
    before = [library.count() for library in libraries]
    for library, count, now in zip(libraries, counts, before):
        if count != now:
            library.set(count)
    return before


one_thread = _OneThread()

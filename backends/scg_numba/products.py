"""Matrix products by BLAS, which add to what is there, and sums over a range. Pasted into modules that have products.

SciPy's BLAS is called through Numba's own wrapper of it. Its threads are of no use here, for ranges have threads
already: while a kernel with products runs, it has one.
"""

import contextlib
import threading

import scipy.linalg.cython_blas  # what the wrapper looks up  # noqa: F401
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from threadpoolctl import ThreadpoolController

from scg.sums import SUM
from scg_numba.pipeline import OPTIONS

KINDS = {types.float32: ("s", ir.FloatType()), types.float64: ("d", ir.DoubleType())}


@intrinsic
def matrix_product(typingctx, turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc):
    """C = op(A) op(B) + beta C, of matrices that begin at elements a0, b0, c0, with rows lda, ldb, ldc elements apart.

    `turned` ones (1) are transposed. BLAS counts along columns: it sees the transposes, so A and B change places.
    """
    letter, real = KINDS[c.dtype]
    assert a.dtype == b.dtype == c.dtype

    def codegen(context, builder, signature, args):
        types_of = signature.args

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
        scale = context.cast(builder, args[11], types_of[11], c.dtype)
        gemm = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), [
            char, char, char, size, size, size, pointer, pointer, size, pointer, size, pointer, pointer, size]),
            "numba_xxgemm")
        builder.call(gemm, [
            ir.Constant(char, ord(letter)), side(1), side(0), whole(3), whole(2), whole(4),
            number(ir.Constant(real, 1.0)), matrix(8), whole(10), matrix(5), whole(7), number(scale), matrix(12),
            whole(14)])
        return context.get_dummy_value()

    return types.void(turned_a, turned_b, m, n, k, a, a0, lda, b, b0, ldb, beta, c, c0, ldc), codegen


@njit(**OPTIONS)
def sum_rows(array, target, source, elements, width, rows, lanes):
    """For each element and row of a tile the sum of so many lanes."""
    for e in range(elements):
        for r in range(rows):
            total, first = 0.0, source + e * width + r * lanes
            for i in range(first, first + lanes):
                total += array[i]
            array[target + e * width + r] = total


@njit(**OPTIONS)
def add_up(totals, target, array, source, count):
    """Add a run of elements to one of another array."""
    for i in range(count):
        totals[target + i] += array[source + i]


@njit(**OPTIONS)
def observe_totals(array, source, count, first, numbers):
    """Add sums over a range to the sums of elements from `first` on."""
    for i in range(count):
        numbers[SUM, first + i] += array[source + i]


class _OneThread:
    """BLAS with one thread, from when the first has come in until the last has left."""

    def __init__(self):
        self.lock, self.inside, self.libraries, self.before = threading.Lock(), 0, None, []

    @contextlib.contextmanager
    def __call__(self):
        """Be inside."""
        with self.lock:
            if self.libraries is None:  # finding them takes a millisecond
                found = [c for c in ThreadpoolController().lib_controllers if c.user_api == "blas"]
                self.libraries = [c for c in found if "scipy.libs" in c.filepath] or found
            if self.inside == 0:
                self.before = [c.get_num_threads() for c in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.inside += 1
        try:
            yield
        finally:
            with self.lock:
                self.inside -= 1
                if self.inside == 0:
                    for library, count in zip(self.libraries, self.before):
                        library.set_num_threads(count)


one_thread = _OneThread()

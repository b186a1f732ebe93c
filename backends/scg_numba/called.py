"""What kernels call users' functions by: how arrays are handed over, and what comes back is taken apart.

The functions themselves stand in `FUNCTIONS`, by the digests of what they compute, while modules of kernels are made.
The file's text is pasted into exported modules, which import the functions instead.
"""

import numpy as np
from numba import njit, types
from numba.core.errors import TypingError
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, overload

from scg_numba.pipeline import OPTIONS

FUNCTIONS: dict = {}
WRONG = "A function that the graph calls returned something of another shape than the graph was told."


@intrinsic
def read_only(typingctx, array):
    """The same array, to which nothing can be written: one that all replicates read is filled once."""
    kind = types.Array(array.dtype, array.ndim, array.layout, readonly=True)
    return kind(array), lambda context, builder, signature, args: impl_ret_borrowed(
        context, builder, kind, args[0])


@njit(**OPTIONS)
def array_1(room, start, a):
    """The elements of an array from a place on, as a vector."""
    return read_only(room[start : start + a])


@njit(**OPTIONS)
def array_2(room, start, a, b):
    """The same as a matrix."""
    return read_only(room[start : start + a * b].reshape((a, b)))


@njit(**OPTIONS)
def array_3(room, start, a, b, c):
    """The same as an array of three dimensions."""
    return read_only(room[start : start + a * b * c].reshape((a, b, c)))


@njit(**OPTIONS)
def array_4(room, start, a, b, c, d):
    """The same as an array of four dimensions."""
    return read_only(room[start : start + a * b * c * d].reshape((a, b, c, d)))


@njit(**OPTIONS)
def refuse_division(failed):
    """Raise what Python would have raised where a function divided by zero."""
    if failed != 0:
        raise ZeroDivisionError("division by zero")


def put(room, start, size, found):
    """Write what a function returned, a number, an array or a tuple of numbers, from a place on."""
    values = np.ravel(np.asarray(found, dtype=room.dtype))
    if values.size != size:
        raise ValueError(WRONG)
    room[start : start + size] = values


def elements(found, size):
    """The same as a tuple of so many numbers."""
    values = np.ravel(np.asarray(found))
    if values.size != size:
        raise ValueError(WRONG)
    return tuple(float(x) for x in values)


@overload(put, jit_options=OPTIONS)
def _put_found(room, start, size, found):
    if isinstance(found, types.BaseTuple) and len(found) == 1:
        return _called_by("room, start, size, found", ["    put(room, start, size, found[0])"])
    if isinstance(found, types.BaseTuple):
        lines = [f"    if size != {len(found)}:", "        raise ValueError(WRONG)",
                 *(f"    room[start + {i}] = found[{i}]" for i in range(len(found)))]
        return _called_by("room, start, size, found", lines)
    if isinstance(found, types.Array):
        return _called_by("room, start, size, found", [
            "    if found.size != size:", "        raise ValueError(WRONG)", "    i = start",
            "    for x in found.flat:", "        room[i] = x", "        i += 1"])
    return _called_by("room, start, size, found", ["    room[start] = found"])


@overload(elements, prefer_literal=True, jit_options=OPTIONS)
def _elements_found(found, size):
    if not isinstance(size, types.IntegerLiteral):  # asked for once more where it was refused
        raise TypingError(WRONG)
    n = size.literal_value
    if isinstance(found, types.BaseTuple) and len(found) == 1 and n > 1:
        return _called_by("found, size", [f"    return elements(found[0], {n})"])
    if isinstance(found, types.Array):
        each = [f"found[{i}]" if found.ndim == 1 else f"found.flat[{i}]" for i in range(n)]
        check = ["    if found.size != size:", "        raise ValueError(WRONG)"]
    else:
        each = [f"found[{i}]" for i in range(len(found))] if isinstance(found, types.BaseTuple) else ["found"]
        check = []
        if len(each) != n:
            raise TypingError(WRONG)
    kinds = found.types if isinstance(found, types.BaseTuple) else [getattr(found, "dtype", found)] * n
    each = [f"(1.0 if {x} else 0.0)" if kind == types.boolean else f"float({x})" for x, kind in zip(each, kinds)]
    return _called_by("found, size", [*check, f"    return ({', '.join(each)},)"])


def _called_by(arguments, lines):
    """A function of those lines."""
    namespace = {"WRONG": WRONG, "put": put, "elements": elements}
    exec("\n".join([f"def made({arguments}):", *lines]) + "\n", namespace)
    return namespace["made"]

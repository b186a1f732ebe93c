"""Whole powers in kernels, rounded once: products of pairs of numbers, of which the second is the rounding error.

Besides `vector_math` the file needs nothing, and it is pasted after that one's text into exported modules.
"""

from numba import types
from numba.extending import intrinsic

from scg_numba.vector_math import F64, FORMATS, Lane, select


def two_product(x, y):
    """x·y as its rounded value and the rounding error."""
    product = x * y
    return product, x.exact_times_plus(y, -product)


def multiplied(x, y):
    """The product of two numbers that are given as sums of two, of which the first is nearly all."""
    product, error = two_product(x[0], y[0])
    error = error + (x[0] * y[1] + x[1] * y[0])
    total = product + error
    return total, error - (total - product)


def powered(x, n, times):
    """The n-th power, n > 0, by squaring."""
    result = None
    while n:
        if n & 1:
            result = x if result is None else times(result, x)
        n >>= 1
        x = times(x, x) if n else x
    return result


def whole_power_lane(x, n):
    """xⁿ for a whole n, rounded once."""
    if n == 0:
        return x.like(1.0)
    if n in (1, 2):
        return x if n == 1 else x * x
    if n == -1:
        return 1.0 / x
    if x.form is not F64:
        return whole_power_lane(x.to(F64), n).to(x.form)
    base = x if n > 0 else 1.0 / x
    error = x.like(0.0) if n > 0 else base * (-base).exact_times_plus(x, 1.0)
    high, low = powered((base, error), abs(n), multiplied)
    plain = powered(base, abs(n), lambda a, b: a * b)  # 0, ∞ and NaN have no rounding errors to be taken account of
    return select(abs(plain) < float("inf"), select(plain.equals(0.0), plain, high + low), plain)


@intrinsic(prefer_literal=True)
def whole_power(typingctx, x, n):
    """xⁿ for a literal n, rounded once: what a comparison makes of it is no matter of how it was multiplied."""
    if x not in FORMATS or not isinstance(n, types.IntegerLiteral):
        return None
    exponent = n.literal_value

    def codegen(context, builder, signature, args):
        return whole_power_lane(Lane(builder, FORMATS[x], args[0]), exponent).value

    return x(x, n), codegen

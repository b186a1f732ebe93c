"""Rounding, quotients and remainders, composed of floor: they jump where floor does, and are integers where it is."""

from __future__ import annotations

from scg.errors import brief
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant
from scg.ops.arithmetic import choose
from scg.ops.shapes import is_whole, refuse

MOST_DECIMALS = 300  # beyond, the scale is no finite number


def ceil(x) -> Node:
    """The smallest integer not below, element by element."""
    return -apply("floor", -as_real(constant(x)))


def trunc(x) -> Node:
    """The integer part, element by element: rounded towards zero."""
    x = as_real(constant(x))
    return apply("sign", x) * apply("floor", abs(x))


def rint(x) -> Node:
    """The nearest integer, element by element; the even one of two that are equally near."""
    x = as_real(constant(x))
    below = apply("floor", x)
    over = x - below
    odd = apply("lt", 0.0, below - 2.0 * apply("floor", 0.5 * below))
    up = apply("or", apply("lt", 0.5, over), apply("and", apply("eq", over, 0.5), odd))
    return choose(up, below + 1.0, below)


def rounded(x, decimals: int = 0) -> Node:
    """NumPy's round: to that many decimals; the even neighbour of two that are equally near."""
    if not is_whole(decimals) or abs(decimals) > MOST_DECIMALS:
        raise refuse(f"round to decimals={brief(decimals)} was asked for.", "It is the number of decimals.",
                     f"Give a whole number from -{MOST_DECIMALS} to {MOST_DECIMALS}.")
    if decimals == 0:
        return rint(x)
    scale = 10.0 ** abs(int(decimals))
    x = as_real(constant(x))
    return rint(x * scale) / scale if decimals > 0 else rint(x / scale) * scale


def floor_divide(a, b) -> Node:
    """⌊a / b⌋, element by element."""
    return apply("floor", apply("div", a, b))


def remainder(a, b) -> Node:
    """a − b ⌊a / b⌋, element by element: it has the sign of b."""
    return apply("sub", a, apply("mul", b, floor_divide(a, b)))


def fmod(a, b) -> Node:
    """a − b times the integer part of a / b, element by element: it has the sign of a."""
    return apply("sub", a, apply("mul", b, trunc(apply("div", a, b))))


def quotient_and_remainder(a, b) -> tuple[Node, Node]:
    """`floor_divide` and `remainder`."""
    return floor_divide(a, b), remainder(a, b)


FUNCTIONS.update({"ceil": ceil, "trunc": trunc, "round": rounded, "floor_divide": floor_divide,
                  "remainder": remainder, "divmod": quotient_and_remainder})

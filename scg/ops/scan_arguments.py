"""What a scan is declared with: its step, and how many of them there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scg.errors import DeclarationError, ShapeError
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ir.trees import flatten
from scg.noise import STEPS
from scg.ops.structure import reshape, stack, stack_op, transpose_op


def check_step(step: Callable) -> None:
    """Refuse what is no function of a carry and an x.

    Raises
    ------
    DeclarationError
    """
    if not callable(step) or isinstance(step, Node):
        raise DeclarationError(str(here() or ""), f"A scan was given {step!r} as its step.",
                               "It must be a function of (carry, x).", "Define one: step(carry, x) -> (carry, ys).")
    try:
        inspect.signature(step).bind(None, None)
    except ValueError:  # some callables do not tell
        return
    except TypeError as why:
        raise DeclarationError(str(here() or ""), f"A scan was given {getattr(step, '__name__', step)} as its step.",
                               f"It cannot be called with a carry and an x: {why}.",
                               "Define it as step(carry, x) -> (carry, ys); x is None if there are no xs.") from None


def length_of(arrays: Sequence[Node], length: int | None) -> int:
    """The number of steps, from what a scan runs along and from `length`, if it is given.

    Raises
    ------
    ShapeError
    """
    if length is not None and (not isinstance(length, (int, np.integer)) or isinstance(length, bool)):
        raise ShapeError(str(here() or ""), f"A scan of length={length!r} was asked for.",
                         "It is the number of steps.", "Give length= a whole number from 1.")
    lengths: set[Any] = {a.shape[0] if a.shape else None for a in arrays} | ({length} if length is not None else set())
    if len(lengths) != 1 or None in lengths:
        found = " and ".join(sorted("no length" if n is None else f"length {n}" for n in lengths)) or "unknown length"
        raise ShapeError(str(here() or ""), f"A scan of {found} was asked for.",
                         "The first dimension of all xs is the number of steps, and length= if it is given.",
                         "Give length=, or xs of one length; a list of numbers is several xs, np.array of it is one.")
    steps = int(next(iter(lengths)))  # type: ignore[arg-type]
    if steps < 1:
        raise ShapeError(str(here() or ""), f"A scan of {steps} steps was asked for.", "It needs at least one.",
                         "Give length= from 1.")
    if steps > STEPS:
        raise ShapeError(str(here() or ""), "A scan of more than 2^32 steps was asked for.",
                         "Steps are counted from 0 to 2^32 - 1.", "Use a smaller length.")
    return steps


def by_column(arrays: Sequence[Node]) -> tuple[list[Node], Callable[[Sequence[Node]], list[Node]]]:
    """Arrays that were stacked beside each other, as what they are made of; and what makes of each step's that array's.

    So what is known of one of them, as of a mask, is known in the step.
    """
    apart = [_columns(array) for array in arrays]

    def joined(xs: Sequence[Node]) -> list[Node]:
        left, found = iter(xs), []
        for parts, axis in apart:
            mine = [next(left) for _ in parts]
            found.append(mine[0] if axis is None else stack(mine, axis=axis))
        return found

    return [part for parts, _ in apart for part in parts], joined


def _columns(array: Node) -> tuple[Sequence[Node], int | None]:
    """What an array of several is made of, and along which axis of a step's they stand; itself, if of one."""
    if array.op is transpose_op and array.args[0].op is stack_op:
        order = list(array.attrs)
        axis = order.index(0)
        if axis and [d for d in order if d] == list(range(1, len(order))):
            return array.args[0].args, axis - 1
    return [array], None


def in_segments(scan: Callable, step: Callable, init: Any, xs: Any, length: int | None, size: int) -> tuple[Any, Any]:
    """A loop of loops, made by ``scan(step, init, xs, length=...)``, whose steps are those of one."""
    arrays, rebuild_x = flatten(xs)
    count = _segments(length_of(list(map(constant, arrays)), length), size)
    by_segment = rebuild_x([reshape(constant(n), (count, size, *constant(n).shape[1:])) for n in arrays])
    last, ys = scan(lambda carry, x: scan(step, carry, x, length=size), init, by_segment, length=count)
    outputs, rebuild_y = flatten(ys)
    return last, rebuild_y([reshape(n, (count * size, *n.shape[2:])) for n in outputs])


def _segments(steps: int, size: int) -> int:
    """How many segments of a size so many steps are.

    Raises
    ------
    ShapeError
        If they are not a whole number of segments.
    """
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1 or steps % size:
        near = [k for k in range(1, steps + 1) if steps % k == 0]
        best = min(near, key=lambda k: abs(k * k - steps)) if steps <= 1 << 20 else 1
        raise ShapeError(str(here() or ""), f"A scan of {steps} steps was asked for with checkpoint={size!r}.",
                         "It is how many steps a segment has, and all segments have as many.",
                         f"Give a divisor of {steps}, e.g. checkpoint={best}.")
    return steps // int(size)

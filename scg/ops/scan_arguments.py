"""What a scan is declared with: its step, and how many of them there are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scg.errors import DeclarationError, ShapeError
from scg.ir.location import here
from scg.ir.node import Node
from scg.noise import STEPS


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

"""Shape rules shared by the ops, with errors that name the user's line."""

from __future__ import annotations

import numpy as np

from scg.errors import ShapeError
from scg.ir.location import here


def broadcast(args, attrs) -> tuple[int, ...]:
    """NumPy's broadcasting of event shapes."""
    shapes = [a.shape for a in args]
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(
            str(here() or ""), f"Shapes {' and '.join(map(str, shapes))} were combined element by element.",
            "They cannot be broadcast together: dimensions must be equal or 1, counted from the right.",
            "Use reshape or indexing to line them up, or @ for matrix products.") from None  # fmt: skip


def broadcasts_to(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether arrays of the one shape can be broadcast to the other."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


def refuse(what: str, why: str, fix: str = "") -> ShapeError:
    """A shape error at the user's line, ready to be raised."""
    return ShapeError(str(here() or ""), what, why, fix)


def normalise_axis(axis, ndim: int) -> tuple[int, ...]:
    """Event dimensions as a sorted tuple of non-negative ints; None means all."""
    if axis is None:
        return tuple(range(ndim))
    out = [one_axis(a, ndim) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    if len(set(out)) != len(out):
        raise refuse(f"axis={axis} was asked for.", "A dimension is named twice.", "Name each once.")
    return tuple(sorted(out))


def one_axis(axis, ndim: int) -> int:
    """A dimension counted from the left, of a node that has `ndim`."""
    if not is_whole(axis) or not -ndim <= axis < ndim:
        raise refuse(f"axis={axis!r} was asked for.", f"The array has {ndim} dimension(s).",
                     f"Use an axis from {-ndim} to {ndim - 1}." if ndim else "Leave it out, or use an array.")
    return int(axis) % ndim


def is_whole(value) -> bool:
    """Whether a value is a whole number; True and 2.0 are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def sizes(shape) -> tuple[int, ...]:
    """A shape as a tuple of ints: a whole number, or a tuple, list or array of them."""
    several = isinstance(shape, (tuple, list)) or (isinstance(shape, np.ndarray) and shape.ndim == 1)
    many = tuple(shape) if several else (shape,)
    if not all(map(is_whole, many)):
        raise refuse(f"shape={shape!r} was given.", "A shape is whole numbers.", "Give an int or a tuple of ints.")
    return tuple(int(s) for s in many)

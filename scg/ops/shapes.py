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


def refuse(what: str, why: str, fix: str = "") -> ShapeError:
    """A shape error at the user's line, ready to be raised."""
    return ShapeError(str(here() or ""), what, why, fix)


def normalise_axis(axis, ndim: int) -> tuple[int, ...]:
    """Event dimensions as a sorted tuple of non-negative ints; None means all."""
    if axis is None:
        return tuple(range(ndim))
    many = axis if isinstance(axis, (tuple, list)) else (axis,)
    out = []
    for a in many:
        if not -ndim <= int(a) < ndim:
            raise refuse(f"axis={a} was asked for.", f"The node has {ndim} dimension(s).", "Use an axis it has.")
        out.append(int(a) % ndim)
    if len(set(out)) != len(out):
        raise refuse(f"axis={axis} was asked for.", "A dimension is named twice.", "Name each once.")
    return tuple(sorted(out))

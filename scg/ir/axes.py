"""Axes: the named dimensions along which a node varies, outside its event shape.

`row` (data points) and `lane` (replicates) are *statistical*: they carry a probability measure, their sizes are known
only at the call, and reducing over them is an expectation. Every other axis (a *world* per element or support point of
a replayed site) has a fixed size, and reducing over it is a sum. Because an expectation of something constant is that
thing itself, adjoints are kept as densities with respect to the measure, and the sizes of `row` and `lane` never occur
in a graph.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scg.errors import InternalError


class Axis(NamedTuple):
    """A named dimension; `size` is None where only the call knows it."""

    name: str
    size: Any  # an int, or None where only the call knows it

    @property
    def statistical(self) -> bool:
        """Whether reducing over the axis is an expectation instead of a sum."""
        return self.size is None


ROW = Axis("row", None)
LANE = Axis("lane", None)
Axes = tuple[Axis, ...]


def _order(axis: Axis) -> tuple[int, str]:
    # lanes last: a tile keeps them contiguous; rows before them; worlds outermost
    return ({"row": 1, "lane": 2}.get(axis.name, 0), axis.name)


def union(*many: Axes) -> Axes:
    """All axes of the arguments, in canonical order: worlds by name, row, lane."""
    first = many[0] if many else ()
    for axes in many:
        if axes is not first and axes != first:
            break
    else:
        return first
    merged: dict[str, Axis] = {}
    for axes in many:
        for axis in axes:
            if merged.setdefault(axis.name, axis) != axis:
                raise InternalError("", f"Axis {axis.name!r} has two sizes.",
                                    f"{merged[axis.name].size} and {axis.size}.")
    return tuple(sorted(merged.values(), key=_order))


def without(axes: Axes, names) -> Axes:
    """`axes` less those named."""
    return tuple(axis for axis in axes if axis.name not in names)


def names(axes: Axes) -> tuple[str, ...]:
    """The names of `axes`, in order."""
    return tuple(axis.name for axis in axes)

"""What a call is given: arrays by name, checked against the leaves that it must give."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple, NoReturn

import numpy as np

from scg.errors import CallError, Problem, raise_all
from scg.ir.location import calling
from scg.program import FEW, MANY, Layout, Leaf

TYPES = {name: np.dtype(name) for name in ("float32", "float64")}  # NumPy reads a name anew with every comparison
MISSING = object()
PLAIN = {"float32": 2.0**24, "float64": sys.float_info.max}  # up to which any number of Python's can be used as it is


@dataclass(frozen=True)
class Values:
    """Arrays of a call by name, and the number of rows."""

    arrays: Mapping[str, np.ndarray]
    rows: int
    data: tuple[str, ...]

    def by_row(self) -> Iterator[Values]:
        """One row at a time."""
        for r in range(self.rows):
            yield Values({n: a[r : r + 1] if n in self.data else a for n, a in self.arrays.items()}, 1, self.data)


class Misfit(NamedTuple):
    """Why a value cannot be used, and what could."""

    why: str
    fix: str


def bind(graph, values: Mapping[str, Any], dtype: str = "float64") -> Values:
    """The values of every leaf of a graph (or of what names its `params`, `inputs` and `rows`), as arrays of `dtype`.

    Raises
    ------
    CallError
        If a value is missing, unknown, of a wrong shape, or not finite; all that is wrong is said at once.
    """
    groups = (("param", graph.params), ("input", graph.inputs), ("data", graph.rows))
    leaves = [Leaf(role, name, node.shape) for role, group in groups for name, node in group.items()]
    arrays, rows = bound(graph.name, leaves, dtype, values)
    return Values({leaf.name: a for leaf, a in zip(leaves, arrays)}, rows, tuple(graph.rows))


def bind_leaves(layout: Layout, values: Mapping[str, Any], state: Mapping[str, Any] | None,
                initial: Mapping[str, float], later: list[np.ndarray] | None = None) -> tuple[tuple, int]:
    """The arrays of a call in the order of a kernel's leaves, and the number of rows; see `bound`.

    Raises
    ------
    CallError
        If a value is missing, unknown, of a wrong shape, or not finite.
    """
    if not layout.states:
        arrays, rows = bound(layout.name, layout.leaves, layout.dtype, values, later)
    else:
        given = [leaf for leaf in layout.leaves if leaf.role != "state"]
        arrays, rows = bound(layout.name, given, layout.dtype, values, later)
        found = iter(arrays)
        arrays = tuple(_state(leaf, layout, state, initial) if leaf.role == "state" else next(found)
                       for leaf in layout.leaves)
    if state is not None and not (isinstance(state, Mapping) and state.keys() <= initial.keys()):
        _refuse_state(layout, state)
    return arrays, rows


def bound(name: str, leaves: Sequence[Leaf], dtype: str, values: Mapping[str, Any],
          later: list[np.ndarray] | None = None) -> tuple[tuple, int]:
    """The arrays of leaves in their order, and the number of rows; all that is wrong is said at once.

    If there is a list of arrays that are looked at `later`, all but the smallest are put there: that they are finite is
    still to be seen.
    """
    if type(values) is not dict and not isinstance(values, Mapping):
        raise CallError(calling(name), f"Values of type {type(values).__name__} were given.",
                        "They are looked up by name.", 'Give a dict: {"theta": 0.3}.')
    found: list[Any] = []
    rows, fits, most, kind = None, len(values) == len(leaves), PLAIN[dtype], TYPES[dtype]
    for leaf in leaves:
        role, of, shape, _ = leaf
        value = values.get(of, MISSING)
        if isinstance(value, float) and not shape and -most <= value <= most and role != "data":
            found.append(np.array(value, kind))  # as in most small calls: nothing can be wrong with it
            continue
        array = _missing(leaf) if value is MISSING else array_of(value, leaf, dtype, later)
        found.append(array)
        if type(array) is Misfit:
            fits = False
        elif role == "data":
            fits = fits and len(array) > 0 and (rows is None or rows == len(array))
            rows = len(array)
    if not fits:
        _refuse(name, leaves, values, found)
    return tuple(found), 1 if rows is None else rows


def _refuse(name: str, leaves: Sequence[Leaf], values: Mapping[str, Any], found: Sequence[Any]) -> None:
    """Say all that is wrong with a call's values; `found` is an array or a misfit for each leaf."""
    wrong = [*_unknown(leaves, values),
             *((leaf.name, array) for leaf, array in zip(leaves, found) if isinstance(array, Misfit))]
    rows = {leaf.name: len(array) for leaf, array in zip(leaves, found)
            if leaf.role == "data" and not isinstance(array, Misfit)}
    if len(set(rows.values())) > 1:
        wrong.append((", ".join(rows), Misfit(f"They have {', '.join(map(str, rows.values()))} rows.",
                                              "Give all data the same rows.")))
    elif 0 in rows.values():
        wrong.append((", ".join(rows), Misfit("It has no rows.", "Give at least one row.")))
    where = calling(name)
    raise_all([(CallError, Problem(where, f'The value of "{leaf}" cannot be used.', why, fix))
               for leaf, (why, fix) in wrong])


def _unknown(leaves: Sequence[Leaf], values: Mapping[str, Any]) -> Iterator[tuple[str, Misfit]]:
    """Values for which there are no leaves."""
    names = {leaf.name: leaf for leaf in leaves}
    for name in values:
        if name not in names:
            yield str(name), Misfit("The graph has no such leaf.", f"Its leaves are: {', '.join(names) or 'none'}.")


def _missing(leaf: Leaf) -> Misfit:
    shape = _with_rows(leaf.shape) if leaf.role == "data" else leaf.shape
    return Misfit("It is missing.", f"Give an array of shape {shape}." if shape else "Give a number.")


class NotFinite(Exception):
    """One of the values of a call is not finite: which one is still to be said."""


def are_finite(arrays: Sequence[np.ndarray]) -> bool:
    """Whether all numbers of all arrays are; see `scg.program.Kernel`."""
    return all(map(_all_finite, arrays))


def array_of(value: Any, leaf: Leaf, dtype: str, later: list[np.ndarray] | None = None) -> np.ndarray | Misfit:
    """A value as the array that its leaf stands for, or why it is none; whether it is finite may be seen `later`, if
    there is a list for it."""
    try:
        array = np.asarray(value)
    except Exception:  # nested lists of several lengths, and objects that will not be arrays
        return _no_numbers(value)
    if array.dtype != TYPES[dtype] or (type(value) is not np.ndarray and isinstance(value, np.ma.MaskedArray)):
        numbers = None if np.ma.is_masked(value) else _numbers(array)
        if numbers is None:
            return _no_numbers(value)
        if leaf.role in ("input", "data") and _merges_counts(numbers, dtype, leaf.counts):
            bits, wider = (24, 'Use dtype="float64".') if dtype == "float32" else (53, "Give smaller numbers.")
            return Misfit(f"It holds whole numbers above 2^{bits}, which {dtype} cannot tell apart.", wider)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            array = numbers.astype(dtype)
    if leaf.role == "data":
        if array.ndim == 0 or array.shape[1:] != leaf.shape:
            return Misfit(f"Its shape is {array.shape}.",
                          f"Data has its rows first: give it shape {_with_rows(leaf.shape)}.")
    elif array.shape != leaf.shape:
        return Misfit(f"Its shape is {array.shape}.", f"Give it the shape {leaf.shape} of its declaration.")
    if later is not None and array.size > FEW:
        later.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
        return later[-1]
    if not _all_finite(array):
        kind = "" if dtype == "float64" else f" in {dtype}"
        return Misfit(f"It holds NaN or infinity{kind}.", "Give finite numbers.")
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _all_finite(array: np.ndarray) -> bool:
    """Whether all numbers are: of many in float64 their sum tells faster, unless that overflows."""
    if array.ndim == 0:
        return math.isfinite(array)
    if array.size <= FEW and math.isfinite(sum(array.ravel().tolist())):
        return True
    if array.size <= MANY and array.flags.c_contiguous and math.isfinite(np.vdot(array, array)):
        return True
    if array.size > MANY and array.itemsize == 8:
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isfinite(array.sum()):
                return True
    return bool(np.isfinite(array).all())


def _no_numbers(value: Any) -> Misfit:
    kind = f"of type {type(value).__name__}" + (f" and dtype {value.dtype}" if isinstance(value, np.ndarray) else "")
    kind = "a masked array" if np.ma.is_masked(value) else kind
    return Misfit(f"It is {kind}, and not numbers that float64 can hold.",
                  "Give value.detach().cpu().numpy()." if hasattr(value, "requires_grad") else "Give real numbers.")


def _with_rows(shape: tuple[int, ...]) -> str:
    """A data leaf's shape at a call, in words."""
    return f"({', '.join(['rows', *map(str, shape)])}{'' if shape else ','})"


def _state(leaf: Leaf, layout: Layout, state: Any, initial: Mapping[str, float]) -> np.ndarray:
    """The array of a state: what was given, or else its initial value."""
    given = state.get(leaf.name) if isinstance(state, Mapping) else None
    array = array_of(np.full(leaf.shape, initial[leaf.name]) if given is None else given, leaf, layout.dtype)
    if isinstance(array, Misfit):
        _refuse_state(layout, state)
    return array


def _refuse_state(layout: Layout, state: Any) -> NoReturn:
    shapes = [f'"{leaf.name}" of shape {leaf.shape}' for leaf in layout.states]
    raise CallError(calling(layout.name), f"state={state!r} was given.",
                    f"The state of this function is: {', '.join(shapes) or 'none'}; its numbers must be finite.",
                    "Give r.state of an earlier call of the same function, or None to begin.")


def _numbers(array: np.ndarray) -> np.ndarray | None:
    """The array, if its elements are real numbers; Python's own, of any size, as float64."""
    if array.dtype.kind == "O" and all(isinstance(v, Real) for v in array.flat):
        try:
            return array.astype(np.float64)
        except OverflowError:
            return None
    return array if array.dtype.kind in "biuf" else None


def _merges_counts(array: np.ndarray, dtype: str, counts: bool) -> bool:
    """Whether the array holds whole numbers that the type cannot tell apart: integers, or floats that are counts."""
    most = 1 << np.finfo(dtype).nmant + 1
    if not array.size or not (array.max().item() > most or array.min().item() < -most):
        return False
    if array.dtype.kind in "iu":
        return True
    large = array[(np.abs(array) > most) & (np.abs(array) < 2.0**53)]  # beyond, float64 itself holds no counts
    return counts and array.dtype.itemsize > np.dtype(dtype).itemsize and bool(
        np.any((large == np.floor(large)) & (large.astype(dtype) != large)))

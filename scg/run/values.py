"""What a call is given: arrays by name, checked against the graph's leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, NoReturn

import numpy as np

from scg.errors import CallError, Problem, raise_all
from scg.ir.location import calling


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


def bind(graph, values: Mapping[str, Any], dtype=np.float64) -> Values:
    """The values of every leaf of the graph, as arrays of `dtype`.

    Raises
    ------
    CallError
        If a value is missing, unknown, of a wrong shape, or not finite; all that is wrong is said at once.
    """
    problems: list = []

    def wrong(name: str, why: str, fix: str) -> None:
        problems.append((CallError, Problem(calling(graph.name), f'The value of "{name}" cannot be used.', why, fix)))

    if not isinstance(values, Mapping):
        raise CallError(calling(graph.name), f"Values of type {type(values).__name__} were given.",
                        "They are looked up by name.", 'Give a dict: {"theta": 0.3}.')
    leaves = {**graph.params, **graph.inputs, **graph.rows}
    for name in values:
        if name not in leaves:
            wrong(str(name), "The graph has no such leaf.", f"Its leaves are: {', '.join(leaves) or 'none'}.")
    arrays: dict[str, np.ndarray] = {}
    rows: dict[str, int] = {}
    for name, leaf in leaves.items():
        if name not in values:
            shaped = f"Give an array of shape {_with_rows(leaf.shape) if name in graph.rows else leaf.shape}."
            wrong(name, "It is missing.", shaped if leaf.shape or name in graph.rows else "Give a number.")
            continue
        array = _array(values[name], dtype)
        expected = leaf.shape
        if array is None:
            wrong(name, f"It is {_kind_of(values[name])}, and not numbers that float64 can hold.",
                  _DETACH if hasattr(values[name], "requires_grad") else "Give real numbers.")
        elif name in graph.rows and (array.ndim != len(expected) + 1 or array.shape[1:] != expected):
            wrong(name, f"Its shape is {array.shape}.",
                  f"Data has its rows first: give it shape {_with_rows(expected)}.")
        elif name not in graph.rows and array.shape != expected:
            wrong(name, f"Its shape is {array.shape}.", f"Give it the shape {expected} of its declaration.")
        elif not np.all(np.isfinite(array)):
            wrong(name, f"It holds NaN or infinity{'' if np.dtype(dtype) == np.float64 else f' in {dtype}'}.",
                  "Give finite numbers.")
        else:
            arrays[name] = array
            if name in graph.rows:
                rows[name] = array.shape[0]
    if len(set(rows.values())) > 1:
        wrong(", ".join(rows), f"They have {', '.join(map(str, rows.values()))} rows.", "Give all data the same rows.")
    elif 0 in rows.values():
        wrong(", ".join(rows), "It has no rows.", "Give at least one row.")
    raise_all(problems)
    return Values(arrays, next(iter(rows.values()), 1), tuple(rows))


_DETACH = "Give value.detach().cpu().numpy()."


def _with_rows(shape: tuple[int, ...]) -> str:
    """A data leaf's shape at a call, in words."""
    return f"({', '.join(['rows', *map(str, shape)])}{'' if shape else ','})"


def _kind_of(value) -> str:
    """What a value is, in words."""
    if np.ma.is_masked(value):
        return "a masked array"
    return f"of type {type(value).__name__}" + (f" and dtype {value.dtype}" if isinstance(value, np.ndarray) else "")


def _array(value, dtype) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except Exception:  # whatever an object says that will not be an array
        return None
    numbers = None if np.ma.is_masked(value) else _numbers(array)
    if numbers is None:
        return None
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(numbers, dtype=dtype).reshape(array.shape)


def _numbers(array: np.ndarray) -> np.ndarray | None:
    """The array, if its elements are real numbers; Python's own, of any size, as float64."""
    if array.dtype.kind == "O" and all(isinstance(v, Real) for v in array.flat):
        try:
            return array.astype(np.float64)
        except OverflowError:
            return None
    return array if array.dtype.kind in "biuf" else None


def bind_leaves(layout, values: Mapping[str, Any], state: Mapping[str, Any] | None,
                initial: Mapping[str, float]) -> tuple[tuple[np.ndarray, ...], int]:
    """The arrays of a call in the order of a kernel's leaves, and the number of rows.

    Raises
    ------
    CallError
        If a value is missing, unknown, of a wrong shape, or not finite.
    """
    dtype, rows, out, given = layout.dtype, None, [], 0
    if state is not None and not (isinstance(state, Mapping) and state.keys() <= initial.keys()):
        _complain(layout, values, state)
    for leaf in layout.leaves:
        if leaf.role == "state":
            value = (state or {}).get(leaf.name)
            value = np.full(leaf.shape, initial[leaf.name]) if value is None else value
        else:
            try:
                value = values[leaf.name]
            except (KeyError, TypeError, IndexError):
                _complain(layout, values)
            given += 1
        try:
            array = np.asarray(value)
        except Exception:  # nested lists of several lengths, and objects that will not be arrays
            _complain(layout, values, state)
        if array.dtype != dtype or isinstance(value, np.ma.MaskedArray):
            array = _cast(value, array, leaf, layout, values, state)
        if leaf.role == "data":
            if array.ndim == 0 or array.shape[1:] != leaf.shape or (rows is not None and array.shape[0] != rows):
                _complain(layout, values)
            rows = array.shape[0]
        elif array.shape != leaf.shape:
            _complain(layout, values, state)
        if not np.isfinite(array).all() if array.ndim else not math.isfinite(array):
            _complain(layout, values, state)
        out.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
    if given != len(values) or rows == 0:
        _complain(layout, values)
    return tuple(out), 1 if rows is None else rows


def _cast(value, array: np.ndarray, leaf, layout, values, state) -> np.ndarray:
    numbers = None if np.ma.is_masked(value) else _numbers(array)
    if numbers is None:
        _complain(layout, values, state)
    array = numbers
    if leaf.role in ("input", "data") and _merges_counts(array, layout.dtype, leaf.counts):
        bits, wider = (24, 'Use dtype="float64".') if layout.dtype == "float32" else (53, "Give smaller numbers.")
        raise CallError(calling(layout.name), f'The value of "{leaf.name}" cannot be used.',
                        f"It holds whole numbers above 2^{bits}, which {layout.dtype} cannot tell apart.", wider)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        return array.astype(layout.dtype)


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


class _Declared:
    """The leaves of a layout, as `bind` looks them up."""

    def __init__(self, layout):
        self.name = layout.name
        by = {role: {x.name: x for x in layout.leaves if x.role == role} for role in ("param", "input", "data", "feed")}
        self.params, self.inputs, self.rows = by["param"], {**by["input"], **by["feed"]}, by["data"]


def _complain(layout, values, state=None) -> NoReturn:
    """Say everything that is wrong with a call's values."""
    bind(_Declared(layout), values, layout.dtype)
    shapes = [f'"{leaf.name}" of shape {leaf.shape}' for leaf in layout.leaves if leaf.role == "state"]
    raise CallError(calling(layout.name), f"state={state!r} was given.",
                    f"The state of this function is: {', '.join(shapes) or 'none'}; its numbers must be finite.",
                    "Give r.state of an earlier call of the same function, or None to begin.")

"""The loop language: contractions as matrix products; see `scg.schedule.language`.

A contraction's dimensions fall into those of the result's rows (in the left side and the result), its columns (in the
right side and the result), those that are summed (in both sides), and those of a stack (in all three). Lanes and rows
of the tile are dimensions like others. Where each of the first three is a run of elements that are equally far apart
in both arrays that have it, that is a matrix product; dimensions that stand aside are loops around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scg.schedule.language.expressions import Buffer, Lane, Leaf
from scg.schedule.language.statements import Contraction, Operand
from scg.schedule.language.traverse import parts

LANES, ROWS = "lanes", "tile rows"  # how many there are is not known before the kernel runs


class Stride(NamedTuple):
    """How far apart two neighbours are: so many elements, or so many times the lanes of a tile."""

    elements: int
    widths: bool = False


class Matrix(NamedTuple):
    """An array as a matrix: how far apart its rows are, or its columns where it is transposed; and how far it begins
    behind that of the loop before, for each loop around."""

    array: Operand
    transposed: bool
    apart: Stride
    steps: tuple[Stride | None, ...]


class Matrices(NamedTuple):
    """A product of matrices, target = left · right: the loops' extents, the sizes of the matrices, and they.

    `summed` loops come last among the loops: they add to one target.
    """

    loops: tuple[int, ...]
    summed: int
    rows: int | str
    inner: int | str
    columns: int | str
    target: Matrix
    left: Matrix
    right: Matrix


class _Dimension(NamedTuple):
    size: int | str
    stride: Stride


def by_row(array: object) -> bool:
    """Whether an array is a leaf of which every row of the tile has its own part."""
    return isinstance(array, Leaf) and array.row is not None and any(isinstance(x, Lane) for x in parts(array.row))


def matrices_of(s: Contraction) -> Matrices | None:
    """The matrix products that a contraction is; None if it is none."""
    target, left, right = (_dimensions(o, dict(s.sizes)) for o in (s.target, s.left, s.right))
    if target is None or left is None or right is None or {LANES, ROWS} <= {*target, *left, *right}:
        return None
    parts: dict[tuple[bool, bool, bool], list[str]] = {}
    for name in dict.fromkeys([*target, *left, *right]):
        parts.setdefault((name in target, name in left, name in right), []).append(name)
    stack, rows = parts.pop((True, True, True), []), parts.pop((True, True, False), [])
    columns, inner = parts.pop((True, False, True), []), parts.pop((False, True, True), [])
    if parts or {LANES, ROWS} & set(stack):
        return None
    row_run, row_loops = _run(rows, target, left)
    column_run, column_loops = _run(columns, target, right)
    inner_run, inner_loops = _run(inner, left, right)
    loops = [*stack, *row_loops, *column_loops, *inner_loops]
    of_loops = [(target, s.target), (left, s.left), (right, s.right)]
    steps = [tuple(d[name].stride if name in d else None for name in loops) for d, _ in of_loops]
    made = [_matrix(o, d, pair, step) for (d, o), pair, step in
            zip(of_loops, ((row_run, column_run), (row_run, inner_run), (inner_run, column_run)), steps)]
    if any(m is None for m in made):
        return None
    every = {**target, **left, **right}
    extents = tuple(int(every[name].size) for name in loops)
    m, k, n = (_extent(run, every) for run in (row_run, inner_run, column_run))
    t, x, y = made
    assert t is not None and x is not None and y is not None
    if t.transposed:  # the transposed product
        m, n, x, y = n, m, _flipped(y), _flipped(x)
    return Matrices(extents, len(inner_loops), m, k, n, t._replace(transposed=False), x, y)


def _flipped(matrix: Matrix) -> Matrix:
    return matrix._replace(transposed=not matrix.transposed)


def _dimensions(o: Operand, sizes: dict[str, int]) -> dict[str, _Dimension] | None:
    """The dimensions of an array that are longer than one; None where it is no array of the working type."""
    array = o.array
    if array is None or (isinstance(array, Buffer) and array.wide):
        return None
    by_lane = isinstance(array, Buffer) and array.vector is not None
    found, count = {}, 1
    for name in reversed(o.dimensions):
        if sizes[name] > 1:
            found[name] = _Dimension(sizes[name], Stride(count, by_lane))
        count *= sizes[name]
    found = dict(reversed(found.items()))
    if isinstance(array, Buffer) and array.vector is not None:
        found[LANES if array.vector == "lane" else ROWS] = _Dimension(LANES, Stride(1))
    if by_row(array):
        assert isinstance(array, Leaf)
        found[ROWS] = _Dimension(ROWS, Stride(array.size))
    return found


def _run(names: Sequence[str], one: dict[str, _Dimension], other: dict[str, _Dimension]) -> tuple[list[str], list[str]]:
    """Names of dimensions that are one in both arrays, and the rest."""
    varying = [name for name in names if name in (LANES, ROWS)]
    if varying:
        return varying, [name for name in names if name not in varying]
    ordered = sorted(names, key=list(one).index)
    run = ordered[-1:]
    for name in reversed(ordered[:-1]):
        if not all(_joins(d[name], d[run[0]]) for d in (one, other)):
            break
        run.insert(0, name)
    return run, [name for name in ordered if name not in run]


def _joins(outer: _Dimension, inner: _Dimension) -> bool:
    return outer.stride == Stride(int(inner.size) * inner.stride.elements, inner.stride.widths)


def _extent(run: Sequence[str], every: dict[str, _Dimension]) -> int | str:
    if any(name in (LANES, ROWS) for name in run):
        return run[0]
    return math.prod(int(every[name].size) for name in run)


def _matrix(o: Operand, dimensions: dict[str, _Dimension], runs: tuple[list[str], list[str]],
            steps: tuple[Stride | None, ...]) -> Matrix | None:
    """An array as a matrix of two runs; None if neither's elements stand one after the other."""
    first, second = ([dimensions[name] for name in run] for run in runs)
    if not second or second[-1].stride == Stride(1):
        return Matrix(o, False, first[-1].stride if first else _length(second), steps)
    if not first or first[-1].stride == Stride(1):
        return Matrix(o, True, second[-1].stride, steps)
    return None


def _length(run: Sequence[_Dimension]) -> Stride:
    """A run's length, for a matrix of a single row."""
    if any(isinstance(d.size, str) for d in run):
        return Stride(1, True)
    return Stride(math.prod(int(d.size) for d in run))

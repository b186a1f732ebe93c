"""The loop language: whole kernels; see `scg.schedule.language`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scg.program import Layout
from scg.schedule.language.expressions import Buffer
from scg.schedule.language.statements import Block


class Sizes(NamedTuple):
    """How many elements the arrays have that a kernel works in: in lanes (`arena`, `wide`, `totals`), or plain."""

    arena: int
    plain: int
    wide: int
    wide_plain: int
    weights: int
    sums: int
    totals: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """A whole kernel.

    Attributes
    ----------
    layout : Layout
    width : int
        Lanes of a tile.
    call, tile, end : block
        What is done once per range of replicates, for each of its tiles, and once after these.
    sizes : Sizes
    constants : tuple of array or None
        Those that are None are a table's.
    tallies : tuple of (int, bool)
        The elements of means that are tallied, and whether with moments.
    bases : int
        How many bases of groups' sums there are.
    one_sequence : bool
        Whether all lanes of a tile are replicates of one row, or of all rows.
    one_by_one : bool
        Whether the replicates of a tile come one after another, and rows in tiles of their own within each.
    sums_groups, draws, numbers_rows, observes : bool
        Whether `Groups` observe; words are drawn in runs; the rows of lanes are asked for; lanes are observed.
    assigned : tuple of (int, int)
        The ends of runs of elements whose sums are assigned, and not only added to; see `ObserveTotals`.
    left : tuple of (int, Buffer)
        The first elements of runs, and where their sums over the last tile are left: of a range that is one tile these
        are its sums, and may be taken from there.
    """

    layout: Layout
    width: int
    call: Block
    tile: Block
    sizes: Sizes
    constants: tuple[np.ndarray | None, ...]
    tallies: tuple[tuple[int, bool], ...]
    bases: int
    one_sequence: bool
    sums_groups: bool
    draws: bool
    numbers_rows: bool
    observes: bool
    end: Block = ()
    assigned: tuple[tuple[int, int], ...] = ()
    left: tuple[tuple[int, Buffer], ...] = ()
    one_by_one: bool = False

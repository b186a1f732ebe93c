"""The loop language: statements that add to the numbers of a range; see `scg.schedule.language`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from scg.schedule.language.expressions import Buffer, Var
from scg.schedule.language.statements import Contraction, Statement


class Run(NamedTuple):
    """Elements that follow each other: the offset of the first where they stand, its place in the vector of means, how
    many there are, and whether moments are kept."""

    offset: int
    first: int
    size: int
    moments: bool


@dataclass(frozen=True, slots=True)
class Observe(Statement):
    """Add the lanes of elements to their numbers. `by_group` says whose groups may be the observations: ``"all"``,
    ``"row"`` (where a row has enough of them), None.

    With a `width`, rows have numbers of their own, so many apart; else they are closed one after the other. The first
    of them is number `row`: of the chunk, or of the tile.
    """

    run: Run
    var: Var
    by_group: str | None
    width: int = 0
    row: str | None = None


@dataclass(frozen=True, slots=True)
class ObserveSums(Statement):
    """Add the groups' sums of elements to their numbers."""

    run: Run
    var: Var


@dataclass(frozen=True, slots=True)
class ObserveConstants(Statement):
    """Add elements that are the same for all lanes to their numbers."""

    runs: tuple[tuple[Run, Var], ...]


@dataclass(frozen=True, slots=True)
class ObserveTotals(Statement):
    """Add sums over a tile, or the whole range, one after the other, to their elements' numbers from `first` on.

    If it is the ``"first"`` that is added to them, in the first tile of a range, or the ``"only"`` one, it is put in
    their place: whatever was there.
    """

    source: Buffer
    first: int
    assigns: str | None = None


@dataclass(frozen=True, slots=True)
class Contrast(Statement):
    """The lanes of one element: what each counts in the comparison that it is part of (`scg.program.comparisons`).

    Behind it the tile's *runs* are known: the lanes of each comparison that the tile has lanes of.
    """

    target: Buffer


@dataclass(frozen=True, slots=True)
class Compare(Statement):
    """For each run of lanes: products, of sides that are multiplied by the contrast, are added up in the target, and
    when all lanes of the comparison have been, its square is added to those of the elements from `first` on."""

    target: Buffer
    products: tuple[Contraction, ...]
    first: int


@dataclass(frozen=True, slots=True)
class Pivots(Statement):
    """After the first tile of a range: means of what is tallied become the pivots, and the tile is run again."""

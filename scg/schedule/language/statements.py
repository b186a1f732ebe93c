"""The loop language: statements and whole kernels; see `scg.schedule.language`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from scg.schedule.language.expressions import (
    Ascending,
    Buffer,
    Constant,
    Element,
    Expr,
    Leaf,
    Num,
    Place,
    Var,
    Words,
)


class Statement:
    """Anything that is done."""

    __slots__ = ()


Block = tuple[Statement, ...]


# --- statements ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Note(Statement):
    """What the next statements are for; in the user's names."""

    text: str


@dataclass(frozen=True, slots=True)
class Let(Statement):
    """A variable's only value."""

    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Set(Statement):
    """A variable's new value."""

    var: Var
    value: Expr


@dataclass(frozen=True, slots=True)
class Store(Statement):
    """A place's new value."""

    place: Place
    value: Expr


@dataclass(frozen=True, slots=True)
class Add(Statement):
    """Add to a place: in this order."""

    place: Place
    value: Expr


@dataclass(frozen=True, slots=True)
class Sum(Statement):
    """Add a product to a variable: lanes may be added in any order."""

    var: Var
    factors: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Tally(Statement):
    """Add a replicate to the sum of an element; with `moments`, by its gap to the element's pivot, to these too."""

    element: int
    value: Expr
    moments: bool


@dataclass(frozen=True, slots=True)
class TallyCounted(Statement):
    """The same for all replicates of the tile, that have one value in so many lanes and the other in the rest."""

    element: int
    ones: Var
    one: Expr
    zero: Expr
    moments: bool


@dataclass(frozen=True, slots=True)
class If(Statement):
    """Either, or."""

    test: Expr
    body: Block
    otherwise: Block = ()


@dataclass(frozen=True, slots=True)
class Loop(Statement):
    """The body for each value of a variable. The kinds:

    ``"elements"``, ``"back"``: from 0, or down to 0, so many elements or steps · ``"lanes"``: the lanes of the tile and
    those that pad it · ``"counted"``: without these · ``"run"``: those of a run (see `Compare`) ·
    ``"tile rows"``: the rows that the tile holds · ``"rows"``: all rows of the range.
    """

    var: Var
    kind: str
    body: Block
    extent: int = 0


@dataclass(frozen=True, slots=True)
class Replicates(Statement):
    """The body for each replicate of the tile: what is in it is of one, and the lane is this one's."""

    body: Block


@dataclass(frozen=True, slots=True)
class RowTiles(Statement):
    """The body for each tile of rows, of one of the `Replicates`: there a tile is of rows, not of lanes."""

    body: Block


class Operand(NamedTuple):
    """One side of a contraction, or its result: where its elements stand, one after the other in C order, and the name
    of each dimension. None of what is computed in the loops; of what stands in a buffer, every lane or row has its own,
    and of a leaf with rows, every row of the tile."""

    array: Buffer | Leaf | Constant | None
    dimensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contraction(Statement):
    """Products of two arrays' elements, added up over the dimensions that the result lacks: a matrix product, or one
    for each of other dimensions. They are added to what the target has, or take its place; for a `mean` over rows each
    is divided by their number. Where the target has no lanes or rows and both sides have, these are added up too, but
    for lanes that pad the tile; a large mean takes the place of what is there in the first tile of rows. `body` are
    the loops that do it; a `large` one can be done by matrix products, which `matrices_of` names.
    """

    target: Operand
    left: Operand
    right: Operand
    sizes: tuple[tuple[str, int], ...]
    accumulate: bool
    mean: bool
    body: Block
    large: bool = False


@dataclass(frozen=True, slots=True)
class SumRows(Statement):
    """The lanes of each row are added up, in float64: of every element of a buffer, into one by row."""

    target: Buffer
    source: Buffer


@dataclass(frozen=True, slots=True)
class SpreadRows(Statement):
    """One element of a buffer by lane, or by row, gets what each lane's row has: an element by row, or of a leaf."""

    target: Buffer
    source: Element | Leaf


@dataclass(frozen=True, slots=True)
class AddUp(Statement):
    """Add a plain buffer to a wide one of the same size."""

    target: Buffer
    source: Buffer


@dataclass(frozen=True, slots=True)
class Fill(Statement):
    """Set a buffer."""

    buffer: Buffer
    value: Num


@dataclass(frozen=True, slots=True)
class Copy(Statement):
    """Copy a buffer into one of the same size."""

    target: Buffer
    source: Buffer


@dataclass(frozen=True, slots=True)
class Narrow(Statement):
    """The same, from or to a wide one."""

    target: Buffer
    source: Buffer


@dataclass(frozen=True, slots=True)
class AddPartials(Statement):
    """The e-th element of a buffer: its partial sums, so many, added to each other in pairs (to, what)."""

    target: Buffer
    partial: Buffer
    e: Expr
    count: int
    steps: int


@dataclass(frozen=True, slots=True)
class Cumulate(Statement):
    """The k-th ascending sum of a row: the one before, and a weight."""

    place: Ascending
    weight: Expr


@dataclass(frozen=True, slots=True)
class SumFromTheEnd(Statement):
    """The weights from `start` on, so many rows of that size, become sums that ascend from their ends."""

    start: int
    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class FillUniform(Statement):
    """The lanes of an element, or the rows that a tile of one of the `Replicates` has: uniforms; `fine` ones are of two
    words."""

    buffer: Buffer
    words: Words
    number: int
    fine: bool


@dataclass(frozen=True, slots=True)
class FillElements(Statement):
    """All elements of a plain buffer: uniforms of one replicate; `fine` ones are of two words."""

    buffer: Buffer
    words: Words
    number: int
    fine: bool


@dataclass(frozen=True, slots=True)
class FillBelow(Statement):
    """The lanes of an element: whether a uniform is below a probability that all have in common."""

    buffer: Buffer
    at: Expr
    low: Var
    high: Var
    words: Words


@dataclass(frozen=True, slots=True)
class Sides(Statement):
    """A probability and what is left of 1, in float64; of a value that stands for `both` exactly."""

    low: Var
    high: Var
    value: Expr
    both: bool


@dataclass(frozen=True, slots=True)
class Recheck(Statement):
    """The body, if so many lanes that one word did not decide are more than none."""

    count: Var
    body: Block


@dataclass(frozen=True, slots=True)
class Rounds(Statement):
    """A sampling loop: uniforms, statements, and carries' next values, until `done`; NaN after so many rounds."""

    counter: Var
    uniforms: tuple[Var, ...]
    words: Words
    body: Block
    carries: tuple[Var, ...]
    after: tuple[Expr, ...]
    done: Expr
    wanted: int
    most: int


@dataclass(frozen=True, slots=True)
class Invoke(Statement):
    """Call a function of the user's, a `scg.ops.call.Callee`: its values, one after another, become those of variables,
    or of a plain buffer.

    `shapes` tells what each of its arguments is: None of one that is given as it is, else the shape of an array of
    which all elements are given, one after another. It is not called where `unless` is not 0: there its values are 0.
    """

    callee: Any
    arguments: tuple[Expr, ...]
    found: tuple[Var, ...] | Buffer
    shapes: tuple[tuple[int, ...] | None, ...]
    unless: Expr | None = None


@dataclass(frozen=True, slots=True)
class LeaveOneOut(Statement):
    """The lanes of an element: the mean of the others of each one's group."""

    target: Buffer
    source: Buffer
    e: Expr


@dataclass(frozen=True, slots=True)
class Groups(Statement):
    """For each group: `head`, then `lanes` for each of its lanes, `sums`, and `after`.

    The first group of a range is run before, but for `after`, for the bases, each given with the sum of the gaps to
    it. For groups of the `usual` size the nest may stand twice.
    """

    head: Block
    lanes: Block
    after: Block
    usual: int | None
    bases: tuple[tuple[Var, Var], ...]
    sums: Block = ()


@dataclass(frozen=True, slots=True)
class ByGroup(Statement):
    """The body if groups are the observations (in one row), else the other one."""

    one_row: bool
    body: Block
    otherwise: Block


class Location(NamedTuple):
    """Where a variable's value is kept: by lane in the arena, or in the plain array; and what it is."""

    slot: int
    by_lane: bool
    type: str


class Row(NamedTuple):
    """A statement of a table: the name of its value, the slot that it is written to, and the value, of which the
    variables among the table's locations are read there."""

    name: str
    slot: int
    value: Expr


@dataclass(frozen=True, slots=True)
class Table(Statement):
    """Statements one after the other; over the lanes of a loop, if there is one.

    `table` is the constant array that holds their operands.
    """

    rows: tuple[Row, ...]
    locations: tuple[tuple[str, Location], ...]
    loop: tuple[Var, str] | None
    table: int
    type: str

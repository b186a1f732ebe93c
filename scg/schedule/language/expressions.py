"""The loop language: buffers, indices, places, values and tests; see `scg.schedule.language`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from scg.ir.looks import WATCHING, Given, text_of
from scg.ir.op import Op


class Expr:
    """Anything that has a value."""

    __slots__ = ()


class Place:
    """Anything that can be read and, unless it was given to the kernel, written."""

    __slots__ = ()


# --- buffers ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Buffer:
    """Elements by lane or by row of a tile (`vector`), or plain; wide ones are float64 whatever the working type."""

    offset: int
    elements: int
    vector: str | None
    boolean: bool = False
    wide: bool = False


# --- indices ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Plus(Expr):
    """a + b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class Times(Expr):
    """factor · x."""

    factor: int
    x: Expr


@dataclass(frozen=True, slots=True)
class Over(Expr):
    """x divided by a positive number, rounded down."""

    x: Expr
    by: int


@dataclass(frozen=True, slots=True)
class Rest(Expr):
    """What is left of x then."""

    x: Expr
    by: int


@dataclass(frozen=True, slots=True)
class Beside(Expr):
    """x + step: the element after another one, or the one before."""

    x: Expr
    step: int


@dataclass(frozen=True, slots=True)
class Lane(Expr):
    """The present lane or row of the tile; `grouped`, the lane is counted from the first of its group."""

    vector: str
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class RowOf(Expr):
    """The row of the present lane, within the tile; of the present group, for it has one."""

    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Replicate(Expr):
    """The number of a lane's replicate; lanes that pad a tile repeat the last one."""

    lane: Expr


# --- places ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Var(Expr, Place):
    """A variable."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Element(Place):
    """An element of a buffer, in a lane unless it is plain."""

    buffer: Buffer
    at: Expr
    lane: Expr | None = None


@dataclass(frozen=True, slots=True)
class Part(Place):
    """One lane of a part of an element's run of lanes."""

    part: Var
    lane: Expr


@dataclass(frozen=True, slots=True)
class Leaf(Place):
    """An element of an array of the call: the `at`-th of so many, of a row or replicate if there is one."""

    number: int
    at: Expr
    size: int = 0
    row: Expr | None = None


@dataclass(frozen=True, slots=True)
class Constant(Place):
    """An element of an array that stands in the module."""

    number: int
    at: Expr


@dataclass(frozen=True, slots=True)
class GroupTotal(Place):
    """A sum over the present group."""

    slot: int


@dataclass(frozen=True, slots=True)
class Recorded(Place):
    """An element of what is recorded of the present replicate; `row` says how rows are counted where it stands."""

    number: int
    row: str | None
    at: Expr


@dataclass(frozen=True, slots=True)
class Ascending(Place):
    """The k-th of the ascending sums of a row of probabilities of that size, or all of them; rows begin at `start`."""

    start: int
    row: Expr
    size: int
    k: Expr | None = None


@dataclass(frozen=True, slots=True)
class Weight(Place):
    """One of the probabilities that a draw is made from."""

    k: Expr


# --- values ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Num(Expr):
    """A number. One is another only if its bits are: 0.0 is not -0.0."""

    value: float
    type: str

    def __post_init__(self) -> None:
        for looks in WATCHING:
            looks.numbers.update([self.value] if isinstance(self.value, float) else ())

    def __eq__(self, other: object) -> bool:
        return type(other) is Num and self.type == other.type and self.digits == other.digits

    def __hash__(self) -> int:
        return hash((self.value if self.value == self.value else "nan", self.type))

    @property
    def digits(self) -> str:
        """What it is told from others by."""
        return text_of(self.value)

    @property
    def given(self) -> bool:
        """Whether it is a number that nobody looks at which it is: of another one, kernels are the same."""
        return isinstance(self.value, Given)


@dataclass(frozen=True, slots=True)
class Load(Expr):
    """What stands at a place."""

    place: Place


@dataclass(frozen=True, slots=True)
class Apply(Expr):
    """An elementwise op, in float32 or float64. A fused one may be rounded together with what it is added to."""

    op: Op
    args: tuple[Expr, ...]
    type: str
    attrs: Any = ()
    fused: bool = False


@dataclass(frozen=True, slots=True)
class Cast(Expr):
    """The same number, in another type."""

    value: Expr
    type: str


@dataclass(frozen=True, slots=True)
class Choose(Expr):
    """One value where a test holds, else another; the other is not computed."""

    then: Expr
    test: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Total(Expr):
    """A sum, from the left."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Product(Expr):
    """A product, from the left; for a `mean` over rows it is divided by their number."""

    factors: tuple[Expr, ...]
    mean: bool = False


@dataclass(frozen=True, slots=True)
class Undecided(Expr):
    """What is drawn where further words must decide: −1."""

    type: str


class Words(NamedTuple):
    """Where a draw's words come from: the stream, whether by row or else by sample, the lane (None: all lanes of the
    tile), the element, the step, and whether their complement is taken."""

    stream: int
    by_row: bool
    lane: Expr | None
    element: Expr
    step: Expr
    flipped: bool


@dataclass(frozen=True, slots=True)
class BelowAt(Expr):
    """Whether a uniform of all its words is below a probability, given with what is left of 1."""

    low: Expr
    high: Expr
    words: Words


@dataclass(frozen=True, slots=True)
class CategoryAt(Expr):
    """The index that such a uniform falls on, among the first so many weights."""

    size: int
    words: Words


@dataclass(frozen=True, slots=True)
class CategoryAmong(Expr):
    """The same, among sums that ascend from both ends."""

    below: Ascending
    above: Ascending
    words: Words


@dataclass(frozen=True, slots=True)
class IndexAmong(Expr):
    """How many of the first so many of ascending sums a number is not below; undecided as near as that to one."""

    sums: Var
    size: int
    value: Expr
    edge: Num


@dataclass(frozen=True, slots=True)
class ArrayOf(Expr):
    """A plain buffer as an array of a shape, for a function that takes one."""

    buffer: Buffer
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PartOf(Expr):
    """The lanes of the present group in an element's run of lanes."""

    buffer: Buffer
    at: Expr


@dataclass(frozen=True, slots=True)
class OthersShare(Expr):
    """One over the number of others in the present group; 0 in a group of one."""


@dataclass(frozen=True, slots=True)
class Signed(Expr):
    """A sum of terms with their signs."""

    terms: tuple[tuple[str, Expr], ...]


@dataclass(frozen=True, slots=True)
class AboutBase(Expr):
    """A group's sum, from that of the gaps g = c − base and, for weights w, those of w·g and of w: see `one_pass`.

    Without weights the sum of c, or where it is `centred` that of c less the mean of the others; with weights that of
    w·(c − mean of the others).
    """

    base: Var
    gaps: Var
    both: Expr | None = None
    weights: Expr | None = None
    centred: bool = False


@dataclass(frozen=True, slots=True)
class Counted(Expr):
    """A sum over the lanes of a group, that have one value in so many of them and the other in the rest."""

    ones: Expr
    one: Expr
    zero: Expr


# --- tests -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Within(Expr):
    """low ≤ index < high."""

    index: Expr
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Every(Expr):
    """Whether all hold."""

    tests: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Some(Expr):
    """Whether one holds."""

    tests: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Equal(Expr):
    """Whether two indices are equal."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class Less(Expr):
    """a < b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class AtMost(Expr):
    """a ≤ b."""

    a: Expr
    b: Expr


@dataclass(frozen=True, slots=True)
class Near(Expr):
    """Whether a and b are as near to each other as that."""

    a: Expr
    b: Expr
    edge: Num

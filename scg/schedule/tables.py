"""Long straight-line code as data: statements of a level of a nest that become a table.

A compiler's time grows faster than the length of a function without branches, and graphs of thousands of nodes make
such functions. Their statements have few *forms* ("a product of two lanes", "the tanh of one"), so where a level of a
nest is long it is planned as a table, one row a statement, which is written down with code for each form only. Values
pass from statement to statement through the arena, whose places are used again when their last reader is done.
"""

from __future__ import annotations

from collections.abc import Sequence

from scg.ir.op import Op
from scg.ops.arithmetic import div_op, floor_op, maximum_op, minimum_op, pow_op, real_op, sign_op
from scg.ops.cancelling import either_op
from scg.ops.density import in_ranges_op, log_density_op
from scg.ops.elementary import sqrt_op
from scg.ops.implicit import gamma_slope_op
from scg.ops.special import weighed_op, xmuly_op
from scg.schedule.language import (
    Apply,
    Buffer,
    Cast,
    Choose,
    Element,
    Expr,
    Lane,
    Let,
    Load,
    Location,
    Num,
    Row,
    Statement,
    Store,
    Table,
    Tally,
    Var,
    parts,
    variables,
)
from scg.schedule.scalars import Header, Nest

LONGEST = 1200  # what the statements of a level may weigh that are written out
DEAR, CHOICE = 8, 3  # functions, which are compiled wherever they are used; choices
CHOICES = (real_op, maximum_op, minimum_op, sign_op, either_op, log_density_op, in_ranges_op, xmuly_op, weighed_op)
INSTRUCTIONS = (div_op, floor_op, sqrt_op, gamma_slope_op)  # one, or a call: dear for a processor, not for a compiler


def long(statements: Sequence[Statement]) -> bool:
    """Whether a level is to be a table."""
    if DEAR * len(statements) <= LONGEST:
        return False
    total = 0
    for statement in statements:
        total += weight(statement)
        if total > LONGEST:
            return True
    return False


def weight(statement: Statement) -> int:
    """How long a statement takes to compile."""
    if isinstance(statement, Tally):
        return 3 if statement.moments else 1
    return _weight(statement)


def _weight(thing) -> int:
    heaviest, waiting = 1, [thing]
    while waiting:
        one = waiting.pop()
        if one.__class__ is Var or one.__class__ is Num:
            continue
        if isinstance(one, Choose):
            heaviest = max(heaviest, CHOICE)
        elif isinstance(one, Apply):
            light = one.op is pow_op and not isinstance(one.args[1], Var)
            heaviest = max(heaviest, 1 if light else weight_of(one.op))
        waiting += parts(one)
    return heaviest


def weight_of(op: Op) -> int:
    """How long a statement of an elementwise op takes to compile."""
    if op in CHOICES:
        return CHOICE
    return 1 if op.work < DEAR or op in INSTRUCTIONS else DEAR


def wide(thing) -> bool:
    """Whether something in it is made a float64."""
    return (isinstance(thing, Cast) and thing.type == "float64") or any(map(wide, parts(thing)))


def place_of(place, by_lane: bool) -> int | None:
    """The slot of an element that is at a known place: in the arena in every lane, or in the plain array."""
    if not isinstance(place, Element) or place.buffer.wide or not isinstance(place.at, Num):
        return None
    if (place.buffer.vector is not None) != by_lane or not (place.lane is None or isinstance(place.lane, Lane)):
        return None
    return None if isinstance(place.lane, Lane) and place.lane.grouped else place.buffer.offset + int(place.at.value)


class Tables:
    """Plans one nest, its long levels as tables.

    Parameters
    ----------
    builder : object
        With `allocate` and `constant_array`.
    nest : Nest
    headers : sequence of Header
        Of the nest's loops.
    by_lane : bool
        Whether the innermost loop is over lanes or rows.
    """

    def __init__(self, builder, nest: Nest, headers: Sequence[Header], by_lane: bool):
        self.b, self.nest, self.headers, self.by_lane = builder, nest, headers, by_lane
        self.locations: dict[str, Location] = {}
        self.homes: dict[str, int] = {}  # variables that stand in a buffer from the start, which is theirs
        self._names: dict[int, list[str]] = {}
        self.lets, self.others = self._sorted_out()
        self.readers = self._readers()

    def _read(self, s: Statement) -> list[str]:
        """The names of the variables in a statement; of a `Let`, of those in its value."""
        if id(s) not in self._names:
            self._names[id(s)] = [v.name for v in variables(s.value if isinstance(s, Let) else s)]
        return self._names[id(s)]

    def _sorted_out(self) -> tuple[list[list[Let]], list[list[Statement]]]:
        """For each level, what goes into its table, and what stays as it is."""
        lets: list[list[Let]] = []
        others: list[list[Statement]] = []
        kept: set[str] = set()  # variables that are of another type than the arrays, or made of such
        for statements in self.nest.levels:
            lets.append([])
            others.append([])
            table = long(statements)
            innermost = self.by_lane and statements is self.nest.levels[-1]
            own: set[str] = set()
            for s in statements:
                if isinstance(s, Store) and isinstance(s.value, Var) and s.value.name in own \
                        and s.value.name not in self.homes and (slot := place_of(s.place, innermost)) is not None:
                    self.homes[s.value.name] = slot
                    continue
                if not isinstance(s, Let):
                    others[-1].append(s)
                    continue
                read = place_of(s.value.place, innermost) if isinstance(s.value, Load) else None
                if table and read is not None:
                    self.locations[s.var.name] = Location(read, innermost, "real")
                    continue
                is_wide = self.nest.dtype == "float32" and wide(s.value)
                if table and not is_wide and kept.isdisjoint(self._read(s)):
                    lets[-1].append(s)
                    own.add(s.var.name)
                    continue
                others[-1].append(s)
                if table or is_wide:
                    kept.add(s.var.name)
        others[-1].extend(self.nest.last)
        return lets, others

    def _readers(self) -> dict[str, int]:
        """The level whose table alone reads a variable; −1 for those that others read too."""
        readers: dict[str, int] = {}
        for depth, lets in enumerate(self.lets):
            for s in lets:
                for name in self._read(s):
                    readers[name] = depth if readers.get(name, depth) == depth else -1
        for others in self.others:
            for other in others:
                readers.update((name, -1) for name in self._read(other))
        return readers

    def statements(self) -> list[Statement]:
        """The whole nest."""
        depth = len(self.headers)
        blocks: list[list[Statement]] = [[] for _ in range(depth + 1)]
        for level in range(depth + 1):
            innermost = self.by_lane and level == depth
            blocks[level - 1 if innermost else level] += self._table(level, innermost)
            blocks[level] += self._ordinary(level)
        body = blocks[-1]
        for header, outer in zip(reversed(self.headers), reversed(blocks[:-1])):
            body = [*outer, header.over(body)]
        return body

    def _ordinary(self, level: int) -> list[Statement]:
        """What stays as it is, with what it reads of tables before it, and what tables further in read of it after."""
        out: list[Statement] = []
        own: set[str] = set()
        for s in self.others[level]:
            for v in variables(s):
                if v.name in self.locations and v.name not in own:
                    own.add(v.name)
                    out.append(Let(v, self._element(v.name)))
            own.update([s.var.name] if isinstance(s, Let) else [])
            out.append(s)
        inner = {name for lets in self.lets[level + 1:] for s in lets for name in self._read(s)}
        for s in self.others[level]:
            if isinstance(s, Let) and s.var.name in inner:
                out.append(Store(self._at(self._keep(s.var, False)), s.var))
        return out

    def _keep(self, var: Var, by_lane: bool, slot: int | None = None) -> Location:
        if slot is None:
            slot = self.b.allocate(1, "lane" if by_lane else None).offset
        kind = var.type if var.type in ("bool", "int") else "real"
        self.locations[var.name] = location = Location(slot, by_lane, kind)
        return location

    def _at(self, location: Location) -> Element:
        vector = "row" if self.headers and self.headers[-1].kind == "tile rows" else "lane"
        buffer = Buffer(location.slot, 1, vector if location.by_lane else None)
        return Element(buffer, Num(0, "int"), Lane(vector) if location.by_lane else None)

    def _element(self, name: str) -> Expr:
        location = self.locations[name]
        value = Load(self._at(location))
        return value if location.type == "real" else Cast(value, location.type)

    # --- tables -----------------------------------------------------------------------------------------------------
    def _table(self, level: int, by_lane: bool) -> list[Statement]:
        lets = self.lets[level]
        if not lets:
            return []
        last = {name: i for i, s in enumerate(lets) for name in self._read(s)}
        rows: list[Row] = []
        free: list[int] = []
        here = {s.var.name for s in lets}
        read: set[str] = set()
        for i, s in enumerate(lets):
            name, names = s.var.name, self._read(s)
            read.update(n for n in names if n in self.locations)
            slot = self.homes[name] if name in self.homes else free.pop() if free else None
            rows.append(Row(name, self._keep(s.var, by_lane, slot).slot, s.value))
            for n in dict.fromkeys((*names, name)):  # not a set: the plan is the same in every process
                if n in here and n not in self.homes and last.get(n, i) == i and self.readers.get(n, level) == level:
                    free.append(self.locations[n].slot)
        loop = (self.headers[-1].var, self.headers[-1].kind) if by_lane else None
        locations = tuple((n, self.locations[n]) for n in sorted(read))
        return [Table(tuple(rows), locations, loop, self.b.constant_array(None), self.nest.dtype)]

"""What the plan of a kernel is built on: statements, elements of nodes that live somewhere, loops over domains."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from scg.analysis.decisions import decided, fusible, in_order
from scg.ir.node import Node
from scg.ir.printer import title
from scg.ops.arithmetic import add_op, mul_op
from scg.ops.leaves import data_op, feed_op, input_op, param_op, placeholder_op, state_op
from scg.ops.scan import out_op
from scg.program import Program
from scg.schedule.buffers import Buffers
from scg.schedule.counting import counted_tallies
from scg.schedule.domains import Domain, domain_of
from scg.schedule.indices import ZERO, Ix, Position, flat
from scg.schedule.language import (
    Buffer,
    Cast,
    Constant,
    Element,
    Expr,
    Lane,
    Leaf,
    Load,
    Note,
    Num,
    Part,
    PartOf,
    Place,
    Plus,
    Replicate,
    RowOf,
    SpreadRows,
    Statement,
    Store,
    Times,
    Var,
)
from scg.schedule.nests import Sink
from scg.schedule.scalars import Header, Nest

SAME_FOR_ALL = {param_op: "param", input_op: "input", state_op: "state"}  # leaves without rows and lanes
LANES = {"lane": "lanes", "row": "tile rows"}  # the loop over a vector dimension
LANE = {"lane": Var("l", "int"), "row": Var("q", "int")}  # and its variable


@dataclass
class Environment:
    """What is known while a body is planned: buffers that hold nodes' values, what placeholders stand for, and the
    places of elements' sums by group."""

    number: int
    ready: dict[int, Buffer] = field(default_factory=dict)
    outs: dict[tuple[int, int], Buffer] = field(default_factory=dict)
    placeholders: dict[int, tuple] = field(default_factory=dict)
    totals: dict[tuple, int] = field(default_factory=dict)
    parent: Environment | None = None


class Ground(Buffers):
    """What all parts of a builder stand on: the kernel so far, its elements, and nests."""

    vector: str | None = None  # the vector dimension of the nest that is being planned
    spreads = False  # whether there is anything that varies by row to be spread over lanes
    spreading = False  # … in the nest that is being planned
    group: Nest | None = None  # the nest over groups that is being planned

    def __init__(self, program: Program):
        self.program, self.layout, self.dtype = program, program.layout, program.layout.dtype
        self.shared = self.layout.shared
        # whether a tile holds replicates of one sequence only: there is no data, or rows are a loop inside the tile
        self.one_sequence = self.shared or not any(leaf.role == "data" for leaf in self.layout.leaves)
        super().__init__()
        self.statements: list[Statement] = []
        self.before_tiles: list[Statement] = []
        self.constants: list[np.ndarray | None] = []
        self.decided = decided([o.node for o in program.outputs])
        self.fusible = fusible([o.node for o in program.outputs])
        self._constants: dict[int, int] = {}
        self._fresh = self.bases = 0
        self.env = Environment(0)
        self._environments = 0
        self.runs: list[Buffer] = []  # of lanes, for what is spread in a nest
        self.uses_rows = self.draws = False
        self.indicators: set[Buffer] = set()  # those whose numbers are 0 and 1
        self.leaves = {(leaf.role, leaf.name): i for i, leaf in enumerate(self.layout.leaves)}

    @cached_property
    def in_order(self) -> dict[int, Node]:
        """What a decision reads by which something jumps; asked where there are large products only.

        What checks compare is far from where they jump, or an error.
        """
        return in_order([o.node for o in self.program.outputs if o.role not in ("check", "tie")])

    # --- statements -------------------------------------------------------------------------------------------------
    @property
    def environment(self) -> int:
        """The number of the body that is being planned."""
        return self.env.number

    def next_environment(self) -> int:
        """A number for another body."""
        self._environments += 1
        return self._environments

    def fresh(self, prefix: str) -> str:
        """A new name."""
        self._fresh += 1
        return f"{prefix}{self._fresh}"

    def index(self, prefix: str = "i") -> Var:
        """A new variable that counts."""
        return Var(self.fresh(prefix), "int")

    def write(self, *statements: Statement) -> None:
        """What is done next."""
        self.statements.extend(statements)

    @contextlib.contextmanager
    def block(self) -> Iterator[list[Statement]]:
        """What is written in here stands in a block of its own."""
        outer, self.statements = self.statements, []
        try:
            yield self.statements
        finally:
            self.statements = outer

    def comment(self, node: Node) -> None:
        """Say which node the next statements compute, and where the user wrote it."""
        self.write(Note(f"{title(node)} {node.shape}" + (f", {node.source}" if node.source else "")))

    def scope(self, roots: Sequence[Node], outside: Callable[[Node], bool], sinks: Sequence[Sink] = ()) -> None:
        """Everything that the roots and sinks need and that is not computed outside."""
        raise NotImplementedError

    # --- elements ---------------------------------------------------------------------------------------------------
    def element(self, buffer: Buffer, at: Ix, nest_vector: str | None) -> Place:
        """An element of a buffer, in the present lane."""
        if buffer.vector is None:
            return Element(buffer, at.expr)
        vector, grouped = nest_vector or buffer.vector, self.group is not None
        if buffer.vector == "row" and vector == "lane":
            return Element(buffer, at.expr, RowOf(grouped))
        if grouped and buffer.vector == "lane":
            return self.in_group(buffer, at)
        return Element(buffer, at.expr, Lane(vector))

    def in_group(self, buffer: Buffer, at: Ix) -> Place:
        """The lane of an element: in the part of its run that is the present group, for an index with an offset is
        tested for being negative, and a loop over such does not vectorise."""
        assert self.group is not None
        if at.depth >= 2:
            return Element(buffer, at.expr, Lane("lane", True))
        return Part(self.group.let(PartOf(buffer, at.expr), 1, "part"), Lane("lane"))

    def read(self, nest: Nest, node: Node, at: Position) -> Expr | None:
        """The element of a node that lives in a buffer or a leaf; None for any other node."""
        buffer = self.env.ready.get(node.id)
        if buffer is None and node.op is out_op:
            buffer = self.env.outs.get((node.args[0].id, node.attrs))
        if buffer is not None:
            worlds = tuple(at.worlds[ax.name] for ax in node.axes if not ax.statistical)
            sizes = tuple(ax.size for ax in node.axes if not ax.statistical)
            where = flat(worlds + at.event, sizes + node.shape)
            depth = where.depth if buffer.vector is None else nest.depth
            place = self.element(buffer, where, self.vector)
            if buffer.vector == "row" and self.vector == "lane" and self.spreads_at(nest, where):
                place = self.spread(nest, Element(buffer, where.expr, Lane("row")), where)
            value = Load(place)
            return nest.let(Cast(value, "bool"), depth, "bool") if buffer.boolean else nest.let(value, depth)
        if node.op is placeholder_op:
            return self._placeholder(nest, node, at)
        if node.op is data_op:
            return self._data(nest, node, at)
        where = flat(at.event, node.shape)
        if node.op is feed_op:
            lane = Replicate(Lane("lane", self.group is not None))
            return nest.let(Load(Leaf(self.leaves["feed", node.attrs.name], where.expr, node.size, lane)), nest.depth)
        if node.op in SAME_FOR_ALL:
            return nest.let(Load(Leaf(self.leaves[SAME_FOR_ALL[node.op], node.attrs.name], where.expr)), where.depth)
        if node.is_const and not all(i.known or s == 1 for i, s in zip(at.event, node.shape)):
            where = flat(tuple(ZERO if s == 1 else i for i, s in zip(at.event, node.shape)), node.shape)
            kind = "bool" if node.kind == "bool" else None
            return nest.let(Load(Constant(self.constant_of(node), where.expr)), where.depth, kind)
        return None

    @contextlib.contextmanager
    def spread_in(self, domain: Domain) -> Iterator[None]:
        """What varies by row is spread over lanes, or rows, in a nest that is planned in here and loops over elements.

        Only beside matrix products: there lanes are many, and to look up each one's row keeps loops from vectorising,
        as reading what lies apart does.
        """
        self.spreading = self.spreads and domain.vector is not None and bool(domain.event)
        self.spread_now: dict[Place, Element] = {}
        try:
            yield
        finally:
            self.spreading = False

    def spreads_at(self, nest: Nest, where: Ix) -> bool:
        """Whether an element by row is known outside of the loop over lanes, so that it is spread there."""
        return self.spreading and where.depth < nest.depth

    def spread(self, nest: Nest, source: Element | Leaf, where: Ix) -> Element:
        """An element's run of lanes, or of rows, with what each one's row has: in the loop over elements, just before
        that over lanes. All nests use the same runs."""
        assert self.vector is not None
        if source not in self.spread_now:
            number = len(self.spread_now)
            if number == len(self.runs):
                self.runs.append(self.allocate(1, "lane"))
            run = replace(self.runs[number], vector=self.vector)
            self.spread_now[source] = Element(run, ZERO.expr, Lane(self.vector))
            nest.do(SpreadRows(run, source), where.depth)
        return self.spread_now[source]

    def constant_of(self, node: Node) -> int:
        """The number of the array that a literal's elements stand in."""
        if node.id not in self._constants:
            array = node.attrs.array.reshape(-1)
            self._constants[node.id] = self.constant_array(array if array.dtype == bool else array.astype(self.dtype))
        return self._constants[node.id]

    def constant_array(self, array: np.ndarray | None) -> int:
        """The number of an array that stands in the module; None is one that a table's operands will be."""
        self.constants.append(array)
        return len(self.constants) - 1

    def _data(self, nest: Nest, node: Node, at: Position) -> Expr:
        where, number = flat(at.event, node.shape), self.leaves["data", node.attrs.name]
        size = int(np.prod(node.shape, dtype=int))
        if self.shared:
            return nest.let(Load(Leaf(number, where.expr, size, Var("r", "int"))), where.depth)
        if self.spreads_at(nest, where):
            source = Leaf(number, where.expr, size, Plus(Var("row", "int"), Lane("row")))
            return nest.let(Load(self.spread(nest, source, where)), nest.depth)
        self.uses_rows = True
        row: Expr = RowOf(self.group is not None) if self.vector == "lane" else Lane("row")
        return nest.let(Load(Leaf(number, where.expr, size, Plus(Var("row", "int"), row))), nest.depth)

    def _placeholder(self, nest: Nest, node: Node, at: Position) -> Expr:
        kind, *rest = self.env.placeholders[node.id]
        if kind == "value":
            return rest[0]
        outer, position = rest[0], at
        if kind == "array":
            position = Position(at.worlds, (rest[1], *at.event))
        inside, self.env = self.env, self.env.parent  # type: ignore[assignment]
        try:
            return nest.value(outer, position)
        finally:
            self.env = inside

    @staticmethod
    def unrolled(domain: Domain):
        """Every position of a domain, as numbers."""
        k = len(domain.worlds)
        for index in np.ndindex((*(s for _, s in domain.worlds), *domain.event)):
            worlds, event = index[:k], index[k:]
            yield Position({name: Ix(i) for (name, _), i in zip(domain.worlds, worlds)}, tuple(Ix(i) for i in event))

    def loops(self, domain: Domain) -> tuple[Nest, Position, list[Header]]:
        """A nest over a domain: its position in terms of the loop variables, and the loops' headers."""
        headers: list[Header] = []

        def over(size: int) -> Ix:
            if size == 1:
                return ZERO
            headers.append(Header(self.index(), "elements", size))
            return Ix(headers[-1].var, len(headers))

        worlds = {name: over(size) for name, size in domain.worlds}
        event = tuple(over(size) for size in domain.event)
        self.vector = domain.vector
        if domain.vector is not None:
            headers.append(Header(LANE[domain.vector], LANES[domain.vector]))
        return Nest(len(headers), self), Position(worlds, event), headers

    def close(self, nest: Nest, headers: Sequence[Header]) -> None:
        """Write a nest: each loop with the statements of its depth."""
        nest.levels[-1].extend(nest.last)
        body = nest.levels[-1]
        for header, outer in zip(reversed(headers), reversed(nest.levels[:-1])):
            body = [*outer, *counted_tallies(header.over(body), self.indicators, self.fresh)]
        self.write(*body)

    @staticmethod
    def flat_of(node: Node, at: Position) -> Ix:
        """The place of an element in a node's buffer: worlds first, then the event, in C order."""
        axes = [ax for ax in node.axes if not ax.statistical]
        return flat(tuple(at.worlds[ax.name] for ax in axes) + at.event, tuple(ax.size for ax in axes) + node.shape)

    def own_buffer(self, node: Node, vector: str | None = None) -> Buffer:
        """A buffer for all elements of a node."""
        domain = domain_of(node, self.shared)
        return self.allocate(domain.elements, vector or domain.vector)

    def copied(self, node: Node, vector: str | None = "lane") -> Buffer:
        """A buffer by lane with the values of a node that lives elsewhere."""
        domain = domain_of(node, self.shared)._replace(vector=vector)
        buffer = self.allocate(domain.elements, vector)
        nest, position, headers = self.loops(domain)
        where = self.element(buffer, self.flat_of(node, position), vector)
        nest.do(Store(where, nest.value(node, position)))
        self.close(nest, headers)
        return buffer

    def step_of(self, stream: Node) -> Expr:
        """The step of a stream, as an integer: counted as such, for float32 has none beyond 2²⁴."""
        step = stream.args[0]
        counted = self._counted(step, self.env)
        if counted is not None:
            return counted
        nest = Nest(0, self)
        self.vector = None
        value = nest.value(step, Position({}, ()))
        self.close(nest, [])
        return Cast(value, "int")

    def _counted(self, node: Node, env: Environment) -> Expr | None:
        """What is made of whole numbers and the steps of loops, as an index; None of anything else."""
        if node.is_const:
            whole = not node.shape and float(node.attrs.array).is_integer()
            return Num(int(node.attrs.array), "int") if whole else None
        if node.op is placeholder_op:
            kind, *rest = env.placeholders.get(node.id, ("",))
            if kind == "value" and isinstance(rest[0], Cast) and isinstance(rest[0].value, Var):
                return rest[0].value
            return self._counted(rest[0], env.parent) if kind == "node" and env.parent is not None else None
        parts = [self._counted(a, env) for a in node.args] if node.op in (add_op, mul_op) else []
        match parts:
            case [Expr() as a, Expr() as b] if node.op is add_op:
                return Plus(a, b)
            case [Num(factor), Expr() as x] | [Expr() as x, Num(factor)]:
                return Times(int(factor), x)
        return None

    def by_row(self, stream: Node) -> bool:
        """Whether a stream has words for each row, or else for each sample index."""
        return not self.shared or any(ax.name == "row" for ax in stream.axes)

"""From a program to the text of a kernel.

A kernel evaluates a range of replicates tile by tile. Everything that varies by lane lives in one array, the *arena*,
at offsets that are multiples of the tile's width W: with one base and constant offsets LLVM can prove that loops over
lanes have no hidden dependences, and vectorises them. What varies by no lane lives in a second, small array.

Without shared sites, rows and samples are flattened into lanes, and a tile holds whole rows or a part of one. With
them, lanes are sample indices, and the rows are a loop inside the tile.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scg.analysis.decisions import decided, fusible
from scg.ir.node import Node
from scg.ir.printer import title
from scg.ops.leaves import data_op, feed_op, input_op, param_op, placeholder_op, state_op
from scg.ops.randomness import MAX_ROUNDS, antithetic_op
from scg.ops.scan import out_op
from scg.program import Program
from scg.source import in_comment
from scg_numba.draws import DrawEmitter, users_of_uniforms
from scg_numba.groups import GroupEmitter
from scg_numba.indices import ZERO, Ix, Position, flat
from scg_numba.loops import Buffer, Environment, ScanEmitter
from scg_numba.nests import Domain, Planner, Sink, Step, domain_of, inlined, letters, positions
from scg_numba.rules import no_rule, rule_of
from scg_numba.scalars import Nest
from scg_numba.sums import SumEmitter, without_dimensions
from scg_numba.tape import Tapes, long

CACHE_BYTES = 192 * 1024  # what a tile's buffers may take: they should stay in the second-level cache
WIDEST, NARROWEST = 1024, 64
SAME_FOR_ALL = {param_op: "param", input_op: "input", state_op: "state"}  # leaves without rows and lanes


class Emitter(ScanEmitter, GroupEmitter, DrawEmitter, SumEmitter):
    """Writes the kernel of one program."""

    def __init__(self, program: Program):
        self.program, self.layout, self.dtype = program, program.layout, program.layout.dtype
        self.shared = self.layout.shared
        # whether a tile holds replicates of one sequence only: there is no data, or rows are a loop inside the tile
        self.one_sequence = self.shared or not any(leaf.role == "data" for leaf in self.layout.leaves)
        self.lines: list[str] = []
        self.before_tiles: list[str] = []
        self.indent = 1
        self.constants: list[np.ndarray] = []
        self.decided = decided([o.node for o in program.outputs])
        self.fusible = fusible([o.node for o in program.outputs])
        self._constant_names: dict[int, str] = {}
        self.pool: dict[str, int] = {}  # arrays that tables of statements read as one, and where they begin
        self.widths = self.plain = self.wide = self.wide_plain = self.weights = self.sums = 0
        self.totals = self.bases = self._fresh = 0
        self.uniforms = users_of_uniforms([o.node for o in program.outputs])
        self.env = Environment(0)
        self._environments = 0
        self.lane0 = "r0"  # the number of the first lane, for streams by row and lane
        self.row_loop = False
        self.uses_rows = self.draws = False
        self.gemms = False
        self.leaf_names = {(leaf.role, leaf.name): f"leaf{i}" for i, leaf in enumerate(self.layout.leaves)}

    # --- text -------------------------------------------------------------------------------------------------------
    @property
    def environment(self) -> int:
        """The number of the body that is being emitted."""
        return self.env.number

    def fresh(self, prefix: str) -> str:
        """A new name."""
        self._fresh += 1
        return f"{prefix}{self._fresh}"

    def write(self, text: str = "") -> None:
        """A line at the present indentation."""
        self.lines.append("    " * self.indent + text if text else "")

    def comment(self, node: Node) -> None:
        """Say which node the next lines compute, and where the user wrote it."""
        text = f"{title(node)} {node.shape}" + (f", {node.source}" if node.source else "")
        self.write(f"# {in_comment(text)}")

    # --- buffers ----------------------------------------------------------------------------------------------------
    def allocate(self, elements: int, vector: str | None, boolean: bool = False) -> Buffer:
        """Space for that many elements by lane, by row, or plain."""
        if vector is None:
            self.plain += elements
            return Buffer(self.plain - elements, None, boolean)
        self.widths += elements
        return Buffer(self.widths - elements, vector, boolean)

    def element(self, buffer: Buffer, at: Ix, nest_vector: str | None, index: str | None = None) -> str:
        """The text of a buffer's element."""
        if buffer.vector is None:
            return f"{buffer.array}[{self._sum(buffer.offset, at)}]"
        lane = index or {"lane": "l", "row": "q"}[nest_vector or buffer.vector]
        if buffer.vector == "row" and nest_vector == "lane":
            lane = self._row_of_lane
        start = f"{self._sum(buffer.offset, at)} * W"
        if self._group is not None and buffer.vector == "lane":
            return f"{self.part(start)}[{lane}]" if at.depth < 2 else f"arena[{start} + at + {lane}]"
        return f"{buffer.array}[{start} + {lane}]"

    @property
    def _row_of_lane(self) -> str:
        """The row of a lane within the tile: a group has one."""
        return "row_of[l]" if self._group is None else "row_of[at]"

    @staticmethod
    def _sum(offset: int, at: Ix) -> str:
        if at.known:
            return str(offset + int(at.text))
        return f"({offset} + {at.text})" if offset else f"({at.text})"

    def read(self, nest: Nest, node: Node, at: Position) -> str | None:
        """A variable that holds the element of a node that lives in a buffer or a leaf; None for any other node."""
        buffer = self.env.ready.get(node.id)
        if buffer is None and node.op is out_op:
            buffer = self.env.outs.get((node.args[0].id, node.attrs))
        if buffer is not None:
            worlds = tuple(at.worlds[ax.name] for ax in node.axes if not ax.statistical)
            sizes = tuple(ax.size for ax in node.axes if not ax.statistical)
            where = flat(worlds + at.event, sizes + node.shape)
            depth = where.depth if buffer.vector is None else nest.depth
            text = self.element(buffer, where, self._vector)
            return nest.let(f"({text} != 0)" if buffer.boolean else text, depth)
        if node.op is placeholder_op:
            return self._placeholder(nest, node, at)
        if node.op is data_op:
            return self._data(nest, node, at)
        if node.op is feed_op:
            return self._fed(nest, node, at)
        if node.op in SAME_FOR_ALL:
            where = flat(at.event, node.shape)
            return nest.let(f"{self.leaf_names[SAME_FOR_ALL[node.op], node.attrs.name]}[{where.text}]", where.depth)
        if node.is_const and not all(i.known or s == 1 for i, s in zip(at.event, node.shape)):
            where = flat(tuple(ZERO if s == 1 else i for i, s in zip(at.event, node.shape)), node.shape)
            return nest.let(f"{self._constant(node)}[{where.text}]", where.depth)
        return None

    def _constant(self, node: Node) -> str:
        if node.id not in self._constant_names:
            array = node.attrs.array.reshape(-1)
            self._constant_names[node.id] = self.constant_array(array if array.dtype == bool else
                                                                array.astype(self.dtype))
        return self._constant_names[node.id]

    def constant_array(self, array: np.ndarray) -> str:
        """The name of an array that stands in the module."""
        self.constants.append(array)
        return f"CONST{len(self.constants) - 1}"

    def pooled(self, name: str) -> int | None:
        """Where an array of numbers of the module begins in the array of all that are asked for here."""
        array = self.constants[int(name.removeprefix("CONST"))]
        if array.dtype.kind != "f":
            return None
        if name not in self.pool:
            self.pool[name] = sum(self.constants[int(n.removeprefix("CONST"))].size for n in self.pool)
        return self.pool[name]

    def _data(self, nest: Nest, node: Node, at: Position) -> str:
        where, name = flat(at.event, node.shape), self.leaf_names["data", node.attrs.name]
        size = int(np.prod(node.shape, dtype=int))
        if self.shared:
            return nest.let(f"{name}[r * {size} + {where.text}]", where.depth)
        self.uses_rows = True
        row = self._row_of_lane if self._vector == "lane" else "q"
        return nest.let(f"{name}[(row + {row}) * {size} + {where.text}]", nest.depth)

    def _fed(self, nest: Nest, node: Node, at: Position) -> str:
        """A replicate's fed value; the lanes that pad a tile repeat the last one."""
        where, name = flat(at.event, node.shape), self.leaf_names["feed", node.attrs.name]
        lane = "l" if self._group is None else "at + l"
        return nest.let(f"{name}[min(r0 + {lane}, samples - 1) * {node.size} + {where.text}]", nest.depth)

    def _placeholder(self, nest: Nest, node: Node, at: Position) -> str:
        kind, *rest = self.env.placeholders[node.id]
        if kind == "text":
            return rest[0]
        outer, position = rest[0], at
        if kind == "array":
            position = Position(at.worlds, (rest[1], *at.event))
        inside, self.env = self.env, self.env.parent
        try:
            return nest.value(outer, position)
        finally:
            self.env = inside

    # --- scopes -----------------------------------------------------------------------------------------------------
    def scope(self, roots: Sequence[Node], outside, sinks: Sequence[Sink] = ()) -> None:
        """Everything that the roots and sinks need and that is not computed outside."""

        def elsewhere(n: Node) -> bool:
            return n.id in self.env.ready or (n.op is out_op and (n.args[0].id, n.attrs) in self.env.outs) \
                or outside(n)

        planner = Planner([r for r in roots if not elsewhere(r)], elsewhere, self.shared, sinks, self.filled)
        for step in planner.steps:
            if step.domain is None:
                self._special(step.roots[0])
            elif step.grouped:
                self._groups(step)
            else:
                self._nest(step)

    def _nest(self, step: Step) -> None:
        nest, position, loops = self.loops(step.domain)
        first: list[str] = []
        after: list[str] = []
        ready: dict[int, Buffer] = {}
        for root in step.roots:
            self.comment(root)
            own = domain_of(root, self.shared)
            ready[root.id] = buffer = self.allocate(own.elements, own.vector, root.kind == "bool")
            if step.unrolled:
                for at in self.unrolled(own):
                    where = self.element(buffer, self.flat_of(root, at), self._vector)
                    nest.do(f"{where} = {nest.value(root, at)}")
            else:
                self._store(nest, root, position, buffer, first, after)
        for sink in step.sinks:
            for at in self.unrolled(sink.domain) if step.unrolled else [position]:
                sink.write(nest, at, nest.value(sink.node, nest.argument(sink.node, at)), sink.last)
        self.env.ready.update(ready)
        if any(sink.counts for sink in step.sinks):
            loops[-1] = "for l in range(lanes):"
        self.close(nest, loops, first, tables=True)
        for text in after:
            self.write(text)

    @staticmethod
    def unrolled(domain: Domain):
        """Every position of a domain, as numbers."""
        for worlds, event in positions(domain):
            yield Position({name: Ix(i) for (name, _), i in zip(domain.worlds, worlds)}, tuple(Ix(i) for i in event))

    def loops(self, domain: Domain, order: Sequence[int] | None = None) -> tuple[Nest, Position, list[str]]:
        """A nest over a domain: its position in terms of the loop variables, and the loops' headers."""
        headers: list[str] = []

        def over(size: int, text: str | None = None) -> Ix:
            if size == 1:
                return ZERO
            name = self.fresh("i")
            headers.append(f"for {name} in {text or f'range({size})'}:")
            return Ix(name, len(headers))

        worlds = {name: over(size) for name, size in domain.worlds}
        event = tuple(over(size) for size in domain.event)
        self._vector = domain.vector
        if domain.vector is not None:
            headers.append("for l in range(padded):" if domain.vector == "lane" else "for q in range(rows):")
        return Nest(len(headers), self), Position(worlds, event), headers

    def close(self, nest: Nest, headers: Sequence[str], first: Sequence[str] = (),
              tables: bool = False) -> None:
        """Write a nest: what comes first, then each loop with the statements of its depth, or with `tables` of them."""
        for text in first:
            self.write(text)
        if tables and any(map(long, nest.levels)):
            Tapes(self, nest, headers, self._vector is not None and bool(headers)).write()
            return
        nest.levels[-1].extend(nest.last)
        for depth, statements in enumerate(nest.levels):
            if depth:
                self.write(headers[depth - 1])
                self.indent += 1
            for text in statements:
                self.write(text)
        if headers and not nest.levels[-1]:
            self.write("pass")
        self.indent -= len(headers)

    def _store(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[str],
               after: list[str]) -> None:
        """Compute a root at a nest's position and store it, or add it to what is reduced."""
        reduction = rule_of(root).reduction
        if reduction is not None and not inlined(root, self.shared):
            reduction(self, nest, root, position, buffer, first, after)
        else:
            value = nest.value(root, position)
            nest.do(f"{self.element(buffer, self.flat_of(root, position), self._vector)} = {value}")

    def reduce_by_op(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[str],
                     after: list[str]) -> None:
        """What the buffer has and what the nest has, combined by an elementwise op."""
        by, start = root.op.combines  # type: ignore[misc]
        value = nest.value(root.args[0], position)
        where = self.element(buffer, self.flat_of(root, without_dimensions(root, position)), self._vector)
        first.append(self.cleared(buffer, domain_of(root, self.shared).elements, nest.number(start)))
        nest.do(f"{where} = {nest.by_op(by, where, value)}")

    def reduce_product(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[str],
                       after: list[str]) -> None:
        """Products, added up over letters and worlds."""
        c, (a, b) = root.attrs, root.args
        by_letter = dict(zip(letters(root), position.event))
        values = [nest.value(arg, nest.argument(arg, Position(position.worlds, tuple(by_letter[ch] for ch in sub))))
                  for arg, sub in ((a, c.left), (b, c.right))]
        at = Position({ax.name: position.worlds[ax.name] for ax in root.axes if not ax.statistical},
                      tuple(by_letter[ch] for ch in c.out))
        if letters(root) == c.out and len(position.worlds) == sum(not ax.statistical for ax in root.axes):
            nest.do(f"{self.element(buffer, self.flat_of(root, at), self._vector)} = {values[0]} * {values[1]}")
            return
        elements = domain_of(root, self.shared).elements
        totals = self.totals_of(buffer, elements)
        first.append(self.cleared(totals, elements))
        after.extend(self.narrowed(buffer, totals, elements))
        left = values[0] if totals is buffer else f"np.float64({values[0]})"
        nest.do(f"{self.element(totals, self.flat_of(root, at), self._vector)} += {left} * {values[1]}")

    @staticmethod
    def flat_of(node: Node, at: Position) -> Ix:
        """The place of an element in a node's buffer: worlds first, then the event, in C order."""
        axes = [ax for ax in node.axes if not ax.statistical]
        return flat(tuple(at.worlds[ax.name] for ax in axes) + at.event, tuple(ax.size for ax in axes) + node.shape)

    # --- special nodes ----------------------------------------------------------------------------------------------
    def _special(self, node: Node) -> None:
        self.comment(node)
        statements = rule_of(node).statements
        if statements is None:
            raise no_rule(node)
        statements(self, node)

    def _own(self, node: Node) -> Buffer:
        domain = domain_of(node, self.shared)
        return self.allocate(domain.elements, domain.vector)

    def _step(self, stream: Node) -> str:
        """The step of a stream, as an integer expression."""
        step = stream.args[0]
        if step.is_const:
            return str(int(step.attrs.array))
        nest = Nest(0, self)
        self._vector = None
        value = nest.value(step, Position({}, ()))
        self.close(nest, [])
        return f"np.int64({value})"

    def _first_lane(self, stream: Node) -> str:
        return self.lane0 if not self.shared or any(ax.name == "row" for ax in stream.axes) else "k"

    def emit_uniform(self, node: Node) -> None:
        buffer, stream = self._own(node), node.args[0]
        elements, step = domain_of(node, self.shared).elements, self._step(stream)
        p, e, self.draws = self.layout.paths.index(stream.attrs.path), self.fresh("e"), True
        self.write(f"for {e} in range({elements}):")
        where = f"({buffer.offset} + {e}) * W"
        fill = "fill_range_fine" if node.attrs.fine else "fill_range_coarse"
        self.write(f"    {fill}(arena[{where} : {where} + padded], scratch, keys[{2 * p}], keys[{2 * p + 1}], "
                   f"{self._first_lane(stream)}, {e}, {step}, {node.attrs.number})")
        self.env.ready[node.id] = buffer

    def emit_leave_one_out(self, node: Node) -> None:
        arg = node.args[0]
        source = self.env.ready.get(arg.id)
        if source is None or source.vector != "lane":
            source = self._copied(arg)
        buffer, e = self._own(node), self.fresh("e")
        self.write(f"for {e} in range({domain_of(node, self.shared).elements}):")
        self.write(f"    leave_one_out(arena, ({source.offset} + {e}) * W, ({buffer.offset} + {e}) * W, edges, count)")
        self.env.ready[node.id] = buffer

    def _copied(self, node: Node, vector: str | None = "lane") -> Buffer:
        """A buffer by lane with the values of a node that lives elsewhere."""
        domain = domain_of(node, self.shared)._replace(vector=vector)
        buffer = self.allocate(domain.elements, vector)
        nest, position, headers = self.loops(domain)
        nest.do(f"{self.element(buffer, self.flat_of(node, position), vector)} = {nest.value(node, position)}")
        self.close(nest, headers)
        return buffer

    def emit_draw_until(self, node: Node) -> None:
        body, stream = node.attrs, node.args[0]
        flipped = stream.op is antithetic_op
        stream = stream.args[0] if flipped else stream
        buffer, domain, step = self._own(node), domain_of(node, self.shared), self._step(stream)
        many = body.wanted > 1
        domain = domain._replace(event=domain.event[1:]) if many else domain
        p = self.layout.paths.index(stream.attrs.path)
        nest, position, headers = self.loops(domain)
        values = [nest.value(a, nest.argument(a, position)) for a in node.args[1:]]
        if self.dtype == "float32":
            values = [nest.let(f"np.float64({v})", nest.depth_of(v)) for v in values]
        owns = [self.flat_of(node, position._replace(event=(Ix(i), *position.event)) if many else position)
                for i in range(body.wanted)]
        self.dtype = nest.dtype = "float64"  # a loop decides
        element = self.flat_of(stream, nest.argument(stream, position))  # worlds under common noise draw the same words
        env = Environment(self._next_environment(), parent=self.env)
        env.placeholders.update({ph.id: ("text", v) for ph, v in zip(body.parameters, values)})
        outer, self.env = self.env, env
        carries = [self.fresh("c") for _ in body.carries]
        for name, start in zip(carries, body.start):
            nest.do(f"{name} = {nest.value(start, Position({}, ()))}")
        env.placeholders.update({ph.id: ("text", c) for ph, c in zip(body.carries, carries)})
        inner, lines = Nest(0, self), []
        names = [self.fresh("u") for _ in body.uniforms]
        env.placeholders.update({ph.id: ("text", u) for ph, u in zip(body.uniforms, names)})
        rounds = self.fresh("n")
        for i, u in enumerate(names):
            text = (f"uniform_at(keys[{2 * p}], keys[{2 * p + 1}], {self._first_lane(stream)} + l, {element.text}, "
                    f"{step}, "
                    f"2 * ({rounds} * {len(names)} + {i}), True)")
            lines.append(f"{u} = {inner.number(1.0)} - {text}" if flipped else f"{u} = {text}")
        after = [inner.value(n, Position({}, ())) for n in body.step]
        done = inner.value(body.done, Position({}, ()))
        lines += [*inner.levels[0], f"{', '.join(carries)} = {', '.join(after)}", f"if {done}:", "    break",
                  f"{rounds} += 1", f"if {rounds} == {int(MAX_ROUNDS)}:",
                  f"    {' = '.join(carries[: body.wanted])} = np.nan", "    break"]
        for text in (f"{rounds} = 0", "while True:", *("    " + line for line in lines),
                     *(f"{self.element(buffer, at, domain.vector)} = {c}" for at, c in zip(owns, carries))):
            nest.do(text)
        self.env, self.dtype = outer, self.layout.dtype
        self.close(nest, headers)
        self.env.ready[node.id] = buffer

    def _next_environment(self) -> int:
        self._environments += 1
        return self._environments


"""Discrete draws in kernels: the coarse uniform decides, and further words where it falls next to a probability.

The loops over lanes compare the one word that nearly always decides, and count the lanes where it does not; these are
marked −1, and drawn again one by one. So draws have their probabilities to the last bit at the price of one word. Where
the probability is the same for all lanes, and the uniform is read by nobody else, words are compared as they are made.
"""

from __future__ import annotations

from typing import NamedTuple

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.randomness import NEAR, antithetic_op, below_op, uniform_op
from scg.ops.scan import scan_op
from scg_numba.indices import Ix, Position
from scg_numba.loops import Buffer
from scg_numba.nests import UNROLLED, domain_of, vector_of
from scg_numba.scalars import Nest


def users_of_uniforms(roots) -> dict[int, list[Node]]:
    """Who reads each uniform, in the bodies of scans too."""
    users: dict[int, list[Node]] = {}
    for n in topological(roots):
        for a in n.args:
            if a.op is uniform_op:
                users.setdefault(a.id, []).append(n)
        if n.op is scan_op:
            for key, found in users_of_uniforms(n.attrs.outputs).items():
                users.setdefault(key, []).extend(found)
    for root in roots:
        if root.op is uniform_op:
            users.setdefault(root.id, []).append(root)
    return users


class _Words(NamedTuple):
    """Where a draw's words come from, as text: the stream, its key and step, and whether its complement is taken."""

    stream: Node
    keys: str
    step: str
    flipped: bool

    def at(self, lane: str, element: str) -> str:
        """The arguments of a function that looks at them."""
        return f"{self.keys}, {lane}, {element}, {self.step}, {self.flipped}"


class DrawEmitter:
    """The part of an emitter that writes discrete draws."""

    def filled(self, uniform: Node) -> bool:
        """Whether a uniform's words are compared as they are made: it has one reader, with the same p for all lanes."""
        readers = self.uniforms.get(uniform.id, ())
        if len(readers) != 1 or readers[0].op is not below_op or readers[0].args[1] is not uniform:
            return False
        draw = readers[0]
        return draw.axes == uniform.axes and all(vector_of(p.axes, self.shared) is None for p in draw.args[2:])

    def _words(self, node: Node) -> _Words:
        stream = node.args[0]
        flipped = stream.op is antithetic_op
        stream = stream.args[0] if flipped else stream
        p = self.layout.paths.index(stream.attrs.path)
        return _Words(stream, f"keys[{2 * p}], keys[{2 * p + 1}]", self._step(stream), flipped)

    def _room_of(self, node: Node) -> Buffer:
        """The draw's buffer: that of its uniform, if nobody else reads it."""
        u = node.args[1]
        known = self.env.ready.get(u.id)
        same = known is not None and domain_of(u, self.shared) == domain_of(node, self.shared)
        return known if same and len(self.uniforms.get(u.id, ())) == 1 else self._own(node)

    # --- events ---------------------------------------------------------------------------------------------------
    def emit_below(self, node: Node) -> None:
        words = self._words(node)
        if self.filled(node.args[1]):
            buffer = self._own(node)
            self._fill_below(node, words, buffer)
        else:
            buffer = self._room_of(node)
            self._compare(node, words, buffer)
        self.env.ready[node.id] = buffer

    def _sides(self, nest: Nest, node: Node, position: Position) -> str:
        """The probability and what is left of 1, as two expressions."""
        given = node.args[-1]
        value = nest.value(given, nest.argument(given, position))
        return f"both_sides({value})" if len(node.args) > 3 else f"np.float64({value}), 1.0 - np.float64({value})"

    def _fill_below(self, node: Node, words: _Words, buffer: Buffer) -> None:
        self.draws = True
        nest, position, headers = self.loops(domain_of(node, self.shared)._replace(vector=None))
        sides = self._sides(nest, node, position)
        where = f"{self._sum(buffer.offset, self.flat_of(node, position))} * W"
        element = self.flat_of(words.stream, nest.argument(words.stream, position))
        p, q = self.fresh("p"), self.fresh("p")
        nest.do(f"{p}, {q} = {sides}")
        if not (headers or self.shared or self.env.number):  # the same for all tiles
            self.before_tiles += ["    " + text for text in nest.levels[0]]
            nest.levels[0] = []
        nest.do(f"fill_range_below(arena[{where} : {where} + padded], scratch, {p}, {q}, "
                f"{words.at(self._first_lane(words.stream), element.text)})")
        self.close(nest, headers)

    def _compare(self, node: Node, words: _Words, buffer: Buffer) -> None:
        near = self._counter()
        nest, position, headers = self.loops(domain_of(node, self.shared))
        u, p = (nest.value(a, nest.argument(a, position)) for a in node.args[1:3])
        one, zero = nest.number(1.0), nest.number(0.0)
        close = nest.let(f"(abs({u} - {p}) <= {nest.number(NEAR[self.dtype])})", nest.depth)
        where = self.element(buffer, self.flat_of(node, position), self._vector)
        nest.do(f"{where} = -{one} if {close} else ({one} if {u} < {p} else {zero})")
        nest.do(f"{near} += np.int64({close})")
        self.close(nest, headers)
        self._again(near)
        nest, position, headers = self.loops(domain_of(node, self.shared))
        sides = self._sides(nest, node, position)
        element = self.flat_of(words.stream, nest.argument(words.stream, position))
        where = self.element(buffer, self.flat_of(node, position), self._vector)
        p, q = self.fresh("p"), self.fresh("p")
        for text in (f"if {where} < 0.0:", f"    {p}, {q} = {sides}",
                     f"    {where} = below_at({p}, {q}, {words.at(self._lane(words), element.text)})"):
            nest.do(text)
        self.close(nest, headers)
        self.indent -= 1

    def _lane(self, words: _Words) -> str:
        return f"{self._first_lane(words.stream)} + l"

    def _counter(self) -> str:
        near = self.fresh("near")
        self.write(f"{near} = 0")
        return near

    def _again(self, near: str) -> None:
        self.write(f"if {near} > 0:  # lanes that one word does not decide")
        self.indent += 1

    # --- categories -------------------------------------------------------------------------------------------------
    def emit_category(self, node: Node) -> None:
        words, size = self._words(node), node.args[2].shape[-1]
        self.weights = max(self.weights, size)
        buffer = self._own(node)
        near = self._counter()
        if size <= UNROLLED:
            self._compare_all(node, size, buffer, near)
        elif searched := vector_of(node.args[2].axes, self.shared) is None:
            self._search(node, size, buffer, near)
        else:
            self._count(node, size, buffer, near)
        self._again(near)
        (self._search_again if size > UNROLLED and searched else self._draw_again)(node, words, size, buffer)
        self.indent -= 1
        self.env.ready[node.id] = buffer

    def _weight(self, nest: Nest, node: Node, position: Position, k: Ix) -> str:
        """The probability of a value, in float64."""
        p = node.args[2]
        value = nest.value(p, nest.argument(p, Position(position.worlds, (*position.event, k))))
        return value if self.dtype == "float64" else nest.let(f"np.float64({value})", nest.depth_of(value))

    def _compare_all(self, node: Node, size: int, buffer: Buffer, near: str) -> None:
        """A few values: the sums are compared one after another."""
        nest, position, headers = self.loops(domain_of(node, self.shared))
        u = nest.value(node.args[1], nest.argument(node.args[1], position))
        one, zero, edge = nest.number(1.0), nest.number(0.0), repr(NEAR[self.dtype])
        total, index, close = None, [], []
        for k in range(size - 1):
            weight = self._weight(nest, node, position, Ix(k))
            total = weight if total is None else nest.let(f"({total} + {weight})", nest.depth_of(total, weight))
            index.append(nest.let(f"({one} if {total} <= {u} else {zero})", nest.depth))
            close.append(nest.let(f"(abs({u} - {total}) <= {edge})", nest.depth))
        where = self.element(buffer, self.flat_of(node, position), self._vector)
        if not index:
            nest.do(f"{where} = {zero}")
        else:
            found = nest.let(f"({' | '.join(close)})", nest.depth)
            nest.do(f"{where} = -{one} if {found} else {nest._added(index)}")
            nest.do(f"{near} += np.int64({found})")
        self.close(nest, headers)

    def _search(self, node: Node, size: int, buffer: Buffer, near: str) -> None:
        """Many values, the same for all lanes: their sums are made once, and searched by halves."""
        domain = domain_of(node, self.shared)
        self.sums = max(self.sums, 2 * domain.elements * size)
        nest, position, headers = self.loops(domain._replace(vector=None, event=(*domain.event, size)))
        at, k = Position(position.worlds, position.event[:-1]), position.event[-1]
        flat = self.flat_of(node, at)
        weight = self._weight(nest, node, at, k)
        first = f"({flat.text}) * {size} + {k.text}"
        nest.do(f"sums[{first}] = {weight} + (sums[{first} - 1] if {k.text} > 0 else 0.0)")
        self.close(nest, headers)
        nest, position, headers = self.loops(domain)
        u = nest.value(node.args[1], nest.argument(node.args[1], position))
        flat = self.flat_of(node, position)
        where = self.element(buffer, flat, self._vector)
        part = nest.let(f"sums[({flat.text}) * {size} : ({flat.text} + 1) * {size}]", flat.depth)
        nest.do(f"{where} = index_among({part}, {size - 1}, np.float64({u}), {NEAR[self.dtype]!r})")
        nest.do(f"{near} += np.int64({where} < 0.0)")
        self.close(nest, headers)

    def _count(self, node: Node, size: int, buffer: Buffer, near: str) -> None:
        """Many values, other ones for each lane: all sums of a lane grow together."""
        domain = domain_of(node, self.shared)
        sums = self.allocate_wide(domain.elements)
        self.write(self.cleared(buffer, domain.elements))
        self.write(self.cleared(sums, domain.elements))
        nest, position, headers = self.loops(domain._replace(event=(*domain.event, size - 1)))
        at = Position(position.worlds, position.event[:-1])
        u = nest.value(node.args[1], nest.argument(node.args[1], at))
        weight = self._weight(nest, node, at, position.event[-1])
        flat = self.flat_of(node, at)
        where, total = self.element(buffer, flat, self._vector), self.element(sums, flat, self._vector)
        value, one, zero = self.fresh("v"), nest.number(1.0), nest.number(0.0)
        far = nest.number(-1e9)
        for text in (f"{value} = {total} + {weight}", f"{total} = {value}",
                     f"{where} += ({one} if {value} <= {u} else {zero}) "
                     f"+ ({far} if abs({u} - {value}) <= {NEAR[self.dtype]!r} else {zero})"):
            nest.do(text)
        self.close(nest, headers)
        nest, position, headers = self.loops(domain)
        nest.do(f"{near} += np.int64({self.element(buffer, self.flat_of(node, position), self._vector)} < 0.0)")
        self.close(nest, headers)

    def _search_again(self, node: Node, words: _Words, size: int, buffer: Buffer) -> None:
        """As `_draw_again`, by halves too: the sums from both ends are known."""
        domain = domain_of(node, self.shared)
        nest, position, headers = self.loops(domain._replace(vector=None, event=(*domain.event, size)))
        at, k = Position(position.worlds, position.event[:-1]), position.event[-1]
        weight = self._weight(nest, node, at, k)
        nest.do(f"sums[{domain.elements * size} + ({self.flat_of(node, at).text}) * {size} + {k.text}] = {weight}")
        self.close(nest, headers)
        self.write(f"sum_from_the_end(sums, {domain.elements * size}, {domain.elements}, {size})")
        nest, position, headers = self.loops(domain)
        element = self.flat_of(words.stream, nest.argument(words.stream, position))
        flat = self.flat_of(node, position)
        where = self.element(buffer, flat, self._vector)
        low, high = (f"sums[{start}({flat.text}) * {size} : {start}({flat.text} + 1) * {size}]"
                     for start in ("", f"{domain.elements * size} + "))
        nest.do(f"if {where} < 0.0:")
        nest.do(f"    {where} = category_among({low}, {high}, {words.at(self._lane(words), element.text)})")
        self.close(nest, headers)

    def _draw_again(self, node: Node, words: _Words, size: int, buffer: Buffer) -> None:
        nest, position, headers = self.loops(domain_of(node, self.shared))
        k = self.fresh("i")
        headers.append(f"for {k} in range({size}):")
        nest = Nest(len(headers), self)
        weight = self._weight(nest, node, position, Ix(k, len(headers)))
        element = self.flat_of(words.stream, nest.argument(words.stream, position))
        where = self.element(buffer, self.flat_of(node, position), self._vector)
        for text in (f"if {where} < 0.0:", f"    weights[{k}] = {weight}", f"    if {k} == {size - 1}:",
                     f"        {where} = category_at(weights, {size}, {words.at(self._lane(words), element.text)})"):
            nest.do(text)
        self.close(nest, headers)

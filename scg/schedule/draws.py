"""Draws in plans: words in runs, discrete draws, and loops that sample until a test holds.

The coarse uniform decides a discrete draw, and further words where it falls next to a probability. The loops over lanes
compare the one word that nearly always decides, and count the lanes where it does not; these are marked −1, and drawn
again one by one. So draws have their probabilities to the last bit at the price of one word. Where the probability is
the same for all lanes, and the uniform is read by nobody else, words are compared as they are made.
"""

from __future__ import annotations

from functools import cached_property

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.randomness import MAX_ROUNDS, NEAR, antithetic_op, below_op, uniform_op
from scg.ops.scan import scan_op
from scg.schedule.domains import UNROLLED, domain_of, vector_of
from scg.schedule.ground import Environment, Ground
from scg.schedule.indices import Ix, Position
from scg.schedule.language import (
    Add,
    Ascending,
    AtMost,
    BelowAt,
    Buffer,
    Cast,
    CategoryAmong,
    CategoryAt,
    Choose,
    Cumulate,
    Equal,
    Expr,
    FillBelow,
    FillElements,
    FillUniform,
    If,
    IndexAmong,
    Lane,
    Less,
    Load,
    Loop,
    Near,
    Num,
    Place,
    Recheck,
    Rounds,
    Set,
    Sides,
    Some,
    Statement,
    Store,
    SumFromTheEnd,
    Total,
    Undecided,
    Var,
    Weight,
    Words,
)
from scg.schedule.scalars import Header, Nest

NOTHING = Num(0.0, "float64")
FAR = -1e9  # what is added to an index of lanes that one word does not decide: it stays below zero


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


class DrawBuilder(Ground):
    """The part of a builder that plans draws."""

    @cached_property
    def uniforms(self) -> dict[int, list[Node]]:
        """Who reads each uniform."""
        return users_of_uniforms([o.node for o in self.program.outputs])

    def filled(self, uniform: Node) -> bool:
        """Whether a uniform's words are compared as they are made: it has one reader, with the same p for all lanes."""
        readers = self.uniforms.get(uniform.id, ())
        if len(readers) != 1 or readers[0].op is not below_op or readers[0].args[1] is not uniform:
            return False
        draw = readers[0]
        return draw.axes == uniform.axes and all(vector_of(p.axes, self.shared) is None for p in draw.args[2:])

    def _words(self, node: Node) -> tuple[Node, Words]:
        """A draw's stream, and its words in all lanes of the first element."""
        stream = node.args[0]
        flipped = stream.op is antithetic_op
        stream = stream.args[0] if flipped else stream
        return stream, self._words_of(stream, self.step_of(stream), flipped)

    def _words_of(self, stream: Node, step: Expr, flipped: bool = False) -> Words:
        return Words(self.layout.paths.index(stream.attrs.path), self.by_row(stream), None, Num(0, "int"), step,
                     flipped)

    def _at(self, nest: Nest, stream: Node, position: Position, words: Words, lane: Expr | None = None) -> Words:
        """The words of an element at a nest's position."""
        return words._replace(lane=lane, element=self.flat_of(stream, nest.argument(stream, position)).expr)

    def _room_of(self, node: Node) -> Buffer:
        """The draw's buffer: that of its uniform, if nobody else reads it."""
        u = node.args[1]
        known = self.env.ready.get(u.id)
        alone = len(self.uniforms.get(u.id, ())) == 1 and domain_of(u, self.shared) == domain_of(node, self.shared)
        return known if known is not None and alone else self.own_buffer(node)

    # --- words ------------------------------------------------------------------------------------------------------
    def uniform(self, node: Node) -> None:
        """The words of every element, in runs."""
        buffer, stream = self.own_buffer(node), node.args[0]
        self.env.ready[node.id] = buffer
        words, kind = self._words_of(stream, self.step_of(stream)), (node.attrs.number, node.attrs.fine)
        if buffer.vector is None:
            self.write(FillElements(buffer, words, *kind))
            return
        e, self.draws = self.index("e"), True
        self.write(Loop(e, "elements", (FillUniform(buffer, words._replace(element=e), *kind),), buffer.elements))

    # --- events -----------------------------------------------------------------------------------------------------
    def below(self, node: Node) -> None:
        """Whether a uniform is below a probability."""
        stream, words = self._words(node)
        if self.filled(node.args[1]):
            buffer = self.own_buffer(node)
            self._fill_below(node, stream, words, buffer)
        else:
            buffer = self._room_of(node)
            self._compare(node, stream, words, buffer)
        self.env.ready[node.id] = buffer

    def _sides(self, nest: Nest, node: Node, position: Position) -> tuple[Expr, bool]:
        """What tells the probability and what is left of 1, and whether it stands for both."""
        given = node.args[-1]
        return nest.value(given, nest.argument(given, position)), len(node.args) > 3

    def _two_sides(self) -> tuple[Var, Var]:
        return Var(self.fresh("p"), "float64"), Var(self.fresh("p"), "float64")

    def _fill_below(self, node: Node, stream: Node, words: Words, buffer: Buffer) -> None:
        self.draws = True
        self.indicators.add(buffer)
        nest, position, headers = self.loops(domain_of(node, self.shared)._replace(vector=None))
        sides = self._sides(nest, node, position)
        p, q = self._two_sides()
        nest.do(Sides(p, q, *sides))
        if not (headers or self.shared or self.env.number):  # the same for all tiles
            self.before_tiles += nest.levels[0]
            nest.levels[0] = []
        nest.do(FillBelow(buffer, self.flat_of(node, position).expr, p, q, self._at(nest, stream, position, words)))
        self.close(nest, headers)

    def _compare(self, node: Node, stream: Node, words: Words, buffer: Buffer) -> None:
        near = self.counter()
        nest, position, headers = self.loops(domain_of(node, self.shared))
        with self.spread_in(domain_of(node, self.shared)):
            u, p = (nest.value(a, nest.argument(a, position)) for a in node.args[1:3])
        one, zero = nest.number(1.0), nest.number(0.0)
        close = nest.let(Near(u, p, nest.number(NEAR[self.dtype])), nest.depth, "bool")
        where = self.element(buffer, self.flat_of(node, position), self.vector)
        nest.do(Store(where, Choose(Undecided(self.dtype), close, Choose(one, Less(u, p), zero))))
        nest.do(Add(near, Cast(close, "int")))
        self.close(nest, headers)
        with self.block() as again:
            nest, position, headers = self.loops(domain_of(node, self.shared))
            sides = self._sides(nest, node, position)
            where = self.element(buffer, self.flat_of(node, position), self.vector)
            low, high = self._two_sides()
            drawn = BelowAt(low, high, self._at(nest, stream, position, words, Lane("lane")))
            nest.do(If(Less(Load(where), NOTHING), (Sides(low, high, *sides), Store(where, drawn))))
            self.close(nest, headers)
        self.write(Recheck(near, tuple(again)))

    def counter(self, prefix: str = "near") -> Var:
        """A new variable that lanes are counted in."""
        found = self.index(prefix)
        self.write(Set(found, Num(0, "int")))
        return found

    # --- categories -------------------------------------------------------------------------------------------------
    def category(self, node: Node) -> None:
        """The index that a uniform falls on among probabilities."""
        (stream, words), size = self._words(node), node.args[2].shape[-1]
        self.weights = max(self.weights, size)
        buffer = self.own_buffer(node)
        near = self.counter()
        same = vector_of(node.args[2].axes, self.shared) is None
        if size <= UNROLLED:
            self._compare_all(node, size, buffer, near)
        elif same:
            self._search(node, size, buffer, near)
        else:
            self._count(node, size, buffer, near)
        with self.block() as again:
            (self._search_again if size > UNROLLED and same else self._draw_again)(node, stream, words, size, buffer)
        self.write(Recheck(near, tuple(again)))
        self.env.ready[node.id] = buffer

    def _weight(self, nest: Nest, node: Node, position: Position, k: Ix) -> Expr:
        """The probability of a value, in float64."""
        p = node.args[2]
        return nest.wide(nest.value(p, nest.argument(p, Position(position.worlds, (*position.event, k)))))

    def _compare_all(self, node: Node, size: int, buffer: Buffer, near: Var) -> None:
        """A few values: the sums are compared one after another."""
        nest, position, headers = self.loops(domain_of(node, self.shared))
        u = nest.value(node.args[1], nest.argument(node.args[1], position))
        one, zero, edge = nest.number(1.0), nest.number(0.0), Num(NEAR[self.dtype], "float64")
        total: Expr | None = None
        index, close = [], []
        for k in range(size - 1):
            weight = self._weight(nest, node, position, Ix(k))
            total = weight if total is None else nest.plus(total, weight)
            index.append(nest.let(Choose(one, AtMost(total, u), zero), nest.depth))
            close.append(nest.let(Near(u, total, edge), nest.depth, "bool"))
        where = self.element(buffer, self.flat_of(node, position), self.vector)
        if not index:
            nest.do(Store(where, zero))
        else:
            found = nest.let(Some(tuple(close)), nest.depth, "bool")
            nest.do(Store(where, Choose(Undecided(self.dtype), found, nest.added(index))))
            nest.do(Add(near, Cast(found, "int")))
        self.close(nest, headers)

    def _search(self, node: Node, size: int, buffer: Buffer, near: Var) -> None:
        """Many values, the same for all lanes: their sums are made once, and searched by halves."""
        domain = domain_of(node, self.shared)
        self.sums = max(self.sums, 2 * domain.elements * size)
        nest, position, headers = self.loops(domain._replace(vector=None, event=(*domain.event, size)))
        at, k = Position(position.worlds, position.event[:-1]), position.event[-1]
        row = self.flat_of(node, at).expr
        weight = self._weight(nest, node, at, k)
        nest.do(Cumulate(Ascending(0, row, size, k.expr), weight))
        self.close(nest, headers)
        nest, position, headers = self.loops(domain)
        u = nest.value(node.args[1], nest.argument(node.args[1], position))
        flat = self.flat_of(node, position)
        where = self.element(buffer, flat, self.vector)
        sums = nest.let(Load(Ascending(0, flat.expr, size)), flat.depth, "part")
        edge = Num(NEAR[self.dtype], "float64")
        nest.do(Store(where, IndexAmong(sums, size - 1, Cast(u, "float64"), edge)))
        nest.do(self._undecided(near, where))
        self.close(nest, headers)

    @staticmethod
    def _undecided(near: Var, where: Place) -> Add:
        """Count a lane that one word does not decide."""
        return Add(near, Cast(Less(Load(where), NOTHING), "int"))

    def _count(self, node: Node, size: int, buffer: Buffer, near: Var) -> None:
        """Many values, other ones for each lane: all sums of a lane grow together."""
        domain = domain_of(node, self.shared)
        sums = self.allocate_wide(domain.elements)
        self.write(self.cleared(buffer), self.cleared(sums))
        nest, position, headers = self.loops(domain._replace(event=(*domain.event, size - 1)))
        at = Position(position.worlds, position.event[:-1])
        u = nest.value(node.args[1], nest.argument(node.args[1], at))
        weight = self._weight(nest, node, at, position.event[-1])
        flat = self.flat_of(node, at)
        where, total = self.element(buffer, flat, self.vector), self.element(sums, flat, self.vector)
        value, one, zero = Var(self.fresh("v"), "float64"), nest.number(1.0), nest.number(0.0)
        close = Near(u, value, Num(NEAR[self.dtype], "float64"))
        nest.do(Set(value, Total((Load(total), weight))))
        nest.do(Store(total, value))
        nest.do(Add(where, Total((Choose(one, AtMost(value, u), zero), Choose(nest.number(FAR), close, zero)))))
        self.close(nest, headers)
        nest, position, headers = self.loops(domain)
        nest.do(self._undecided(near, self.element(buffer, self.flat_of(node, position), self.vector)))
        self.close(nest, headers)

    def _search_again(self, node: Node, stream: Node, words: Words, size: int, buffer: Buffer) -> None:
        """As `_draw_again`, by halves too: the sums from both ends are known."""
        domain = domain_of(node, self.shared)
        start = domain.elements * size
        nest, position, headers = self.loops(domain._replace(vector=None, event=(*domain.event, size)))
        at, k = Position(position.worlds, position.event[:-1]), position.event[-1]
        weight = self._weight(nest, node, at, k)
        nest.do(Store(Ascending(start, self.flat_of(node, at).expr, size, k.expr), weight))
        self.close(nest, headers)
        self.write(SumFromTheEnd(start, domain.elements, size))
        nest, position, headers = self.loops(domain)
        flat = self.flat_of(node, position)
        where = self.element(buffer, flat, self.vector)
        drawn = CategoryAmong(Ascending(0, flat.expr, size), Ascending(start, flat.expr, size),
                              self._at(nest, stream, position, words, Lane("lane")))
        nest.do(If(Less(Load(where), NOTHING), (Store(where, drawn),)))
        self.close(nest, headers)

    def _draw_again(self, node: Node, stream: Node, words: Words, size: int, buffer: Buffer) -> None:
        nest, position, headers = self.loops(domain_of(node, self.shared))
        k = self.index()
        headers.append(Header(k, "elements", size))
        nest = Nest(len(headers), self)
        weight = self._weight(nest, node, position, Ix(k, len(headers)))
        where = self.element(buffer, self.flat_of(node, position), self.vector)
        drawn = CategoryAt(size, self._at(nest, stream, position, words, Lane("lane")))
        nest.do(If(Less(Load(where), NOTHING), (
            Store(Weight(k), weight), If(Equal(k, Num(size - 1, "int")), (Store(where, drawn),)))))
        self.close(nest, headers)

    # --- loops that sample ------------------------------------------------------------------------------------------
    def draw_until(self, node: Node) -> None:
        """Rounds of a body until its test holds."""
        body = node.attrs
        (stream, words), buffer, domain = self._stream_of(node), self.own_buffer(node), domain_of(node, self.shared)
        words = words._replace(step=self.step_of(stream))
        many = body.wanted > 1
        domain = domain._replace(event=domain.event[1:]) if many else domain
        nest, position, headers = self.loops(domain)
        given = [nest.wide(nest.value(a, nest.argument(a, position))) for a in node.args[1:]]
        owns = [self.flat_of(node, position._replace(event=(Ix(i), *position.event)) if many else position)
                for i in range(body.wanted)]
        self.dtype = nest.dtype = "float64"  # a loop decides
        words = self._at(nest, stream, position, words, Lane("lane"))  # worlds under common noise draw the same words
        env = Environment(self.next_environment(), parent=self.env)
        env.placeholders.update({ph.id: ("value", v) for ph, v in zip(body.parameters, given)})
        outer, self.env = self.env, env
        carries = [Var(self.fresh("c"), "float64") for _ in body.carries]
        for carry, start in zip(carries, body.start):
            nest.do(Set(carry, nest.value(start, Position({}, ()))))
        env.placeholders.update({ph.id: ("value", c) for ph, c in zip(body.carries, carries)})
        inner = Nest(0, self)
        uniforms = [Var(self.fresh("u"), "float64") for _ in body.uniforms]
        env.placeholders.update({ph.id: ("value", u) for ph, u in zip(body.uniforms, uniforms)})
        rounds = self.index("n")
        after = [inner.value(n, Position({}, ())) for n in body.step]
        done = inner.value(body.done, Position({}, ()))
        statements: list[Statement] = [
            Rounds(rounds, tuple(uniforms), words, tuple(inner.levels[0]), tuple(carries), tuple(after), done,
                   body.wanted, int(MAX_ROUNDS)),
            *(Store(self.element(buffer, at, domain.vector), c) for at, c in zip(owns, carries))]
        for statement in statements:
            nest.do(statement)
        self.env, self.dtype = outer, self.layout.dtype
        self.close(nest, headers)
        self.env.ready[node.id] = buffer

    def _stream_of(self, node: Node) -> tuple[Node, Words]:
        stream = node.args[0]
        flipped = stream.op is antithetic_op
        stream = stream.args[0] if flipped else stream
        return stream, self._words_of(stream, Num(0, "int"), flipped)

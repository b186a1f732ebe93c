"""Scans in plans: carries in place where that is safe, outputs stacked, the body as a scope of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scg.ir.node import Node
from scg.ir.traverse import ancestors
from scg.ops.leaves import placeholder_op
from scg.ops.scan import ScanBody, increment, split
from scg.rules.idle import OVER, idle
from scg.schedule.domains import UNROLLED, domain_of
from scg.schedule.draws import DrawBuilder
from scg.schedule.ground import Environment
from scg.schedule.indices import Ix, Position, flat
from scg.schedule.language import (
    Add,
    Buffer,
    Cast,
    Choose,
    Copy,
    Equal,
    Expr,
    If,
    Less,
    Load,
    Loop,
    Num,
    Statement,
    Store,
    Var,
)
from scg.schedule.nests import Planner, Sink
from scg.schedule.scalars import Nest


class Advance(NamedTuple):
    """How a scan's step replaces its carries: what is written in nests, and copies when all are done."""

    sinks: list[Sink]
    copies: list[Statement]


class Growing(NamedTuple):
    """A carry that steps only add to: what they add, where it is added up in float64, and whether steps read it."""

    increment: Node
    total: Buffer
    read: bool


class ScanBuilder(DrawBuilder):
    """The part of a builder that plans scans."""

    def scan(self, node: Node) -> None:
        """All steps, with the carries and stacked outputs in buffers."""
        body = node.attrs
        inits, consts, arrays = split(node)
        carries = [self._widened(init, like) for init, like in zip(inits, body.carries)]
        outputs = []
        for y in body.ys:
            domain = domain_of(y, self.shared)
            outputs.append(self.allocate(domain.elements * body.length, domain.vector, y.kind == "bool"))
        sums = self._summed(body, carries)
        t = self.index("t")
        env = Environment(self.next_environment(), parent=self.env)
        for leaf, buffer in zip(body.carries, carries):
            env.ready[leaf.id] = buffer
        env.placeholders.update({leaf.id: ("node", c) for leaf, c in zip(body.consts, consts)})
        env.placeholders.update({leaf.id: ("array", a, Ix(t)) for leaf, a in zip(body.xs, arrays)})
        env.placeholders[body.step.id] = ("value", Cast(t, self.dtype))
        with self.block() as steps:
            outer, self.env = self.env, env
            with self.block() as working:
                sinks, advance = self._outputs(body, outputs, t), self._advance(body, carries, sums)
                self.scope([], lambda n: n.op is placeholder_op, [*sinks, *advance.sinks])
                self.write(*advance.copies)
            self._unless_idle(body, outputs, t, working)
            self.env = outer
        self.write(Loop(t, "back" if body.reverse else "elements", tuple(steps), body.length))
        for own, grown in zip(carries, sums):
            if grown is not None and not grown.read:
                self.write(*self.narrowed(own, grown.total))
        for i, buffer in enumerate((*carries, *outputs)):
            self.env.outs[node.id, i] = buffer

    def _unless_idle(self, body: ScanBody, outputs: Sequence[Buffer], t: Var, working: Sequence[Statement]) -> None:
        """What a step does, if the loop is not over in all lanes; else what is known of what it puts out."""
        found = idle(body)
        if found is None:
            self.write(*working)
            return
        busy = self.counter("busy")
        nest, position, headers = self.loops(domain_of(found.mask, self.shared))
        over = Equal(nest.value(found.mask, position), nest.number(OVER))
        nest.do(Add(busy, Choose(Num(0, "int"), over, Num(1, "int"))))
        self.close(nest, headers)
        with self.block() as resting:
            for y, known, buffer in zip(body.ys, found.ys, outputs):
                nest, position, headers = self.loops(domain_of(y, self.shared))
                value = nest.value(known, nest.argument(known, position))
                self._writer(y, buffer, (body.length, t))(nest, position, value, False)
                self.close(nest, headers)
        self.write(If(Less(Num(0, "int"), busy), tuple(working), tuple(resting)))

    def _widened(self, init: Node, like: Node) -> Buffer:
        """A carry's buffer with its first value, repeated along the axes that only the carry has."""
        domain = domain_of(like, self.shared)
        buffer = self.allocate(domain.elements, domain.vector)
        nest, position, headers = self.loops(domain)
        value = nest.value(init, nest.argument(init, position))
        nest.do(Store(self.element(buffer, self.flat_of(like, position), domain.vector), value))
        self.close(nest, headers)
        return buffer

    def _outputs(self, body, buffers: Sequence[Buffer], t: Var) -> list[Sink]:
        """What each step puts out, stacked."""
        return [Sink(y, domain_of(y, self.shared), self._writer(y, buffer, (body.length, t)))
                for y, buffer in zip(body.ys, buffers)]

    def _writer(self, like: Node, buffer: Buffer, stacked: tuple[int, Var] | None = None):
        axes = [ax for ax in like.axes if not ax.statistical]
        sizes, length = tuple(ax.size for ax in axes), ((stacked[0],) if stacked else ())

        def write(nest: Nest, at: Position, value: Expr, last: bool) -> None:
            worlds = tuple(at.worlds[ax.name] for ax in axes)
            where = flat((*worlds, *((Ix(stacked[1]),) if stacked else ()), *at.event), (*sizes, *length, *like.shape))
            store = Store(self.element(buffer, where, self.vector), value)
            nest.last.append(store) if last else nest.do(store)

        return write

    def _advance(self, body, carries: Sequence[Buffer], sums: Sequence[Growing | None]) -> Advance:
        """The new carries: in place if one unrolled nest reads and writes them, else by way of other buffers."""
        domains = [domain_of(leaf, self.shared) for leaf in body.carries]
        vectors = {d.vector for d in domains}
        if all(d.elements <= UNROLLED for d in domains) and len(vectors) == 1 and self._one_nest(body, vectors):
            return Advance([Sink(new, d, self._writer(leaf, own), True) if grown is None else
                            Sink(grown.increment, d, self._adder(leaf, grown.total, own if grown.read else None), True)
                            for leaf, new, d, own, grown in
                            zip(body.carries, body.new_carries, domains, carries, sums)], [])
        sinks: list[Sink] = []
        copies: list[Statement] = []
        for leaf, new, domain, own, grown in zip(body.carries, body.new_carries, domains, carries, sums):
            if grown is not None:
                sinks.append(Sink(grown.increment, domain, self._adder(leaf, grown.total)))
                copies += self.narrowed(own, grown.total) if grown.read else []
                continue
            buffer = self.allocate(domain.elements, domain.vector)
            sinks.append(Sink(new, domain, self._writer(leaf, buffer)))
            copies.append(Copy(own, buffer))
        return Advance(sinks, copies)

    def _summed(self, body: ScanBody, carries: Sequence[Buffer]) -> list[Growing | None]:
        """The carries that steps only add to, with their first values; None for any other carry."""
        if self.dtype == "float64":
            return [None] * len(carries)
        added = [increment(leaf, new) for leaf, new in zip(body.carries, body.new_carries)]
        read = ancestors([new if more is None else more for new, more in zip(body.new_carries, added)] + [*body.ys])
        found: list[Growing | None] = []
        for leaf, more, own in zip(body.carries, added, carries):
            total = None if more is None else self.totals_of(own, own.elements)
            if more is None or total is None:
                found.append(None)
                continue
            self.write(*self.narrowed(total, own))
            found.append(Growing(more, total, leaf.id in read))
        return found

    def _adder(self, like: Node, total: Buffer, own: Buffer | None = None):
        """Adds to a carry's sum; `own` is the carry's buffer, if it may be written at once."""

        def write(nest: Nest, at: Position, value: Expr, last: bool) -> None:
            where = self.flat_of(like, at)
            element = self.element(total, where, self.vector)
            statements: list[Statement] = [Add(element, value)]
            if own is not None:
                statements.append(Store(self.element(own, where, self.vector), Load(element)))
            (nest.last if last else nest.levels[-1]).extend(statements)

        return write

    def _one_nest(self, body, vectors) -> bool:
        """Whether nothing after the last unrolled nest of a body reads the old carries: all its nests are unrolled."""
        planner = Planner([], lambda n: n.op is placeholder_op, self.shared,
                          [Sink(n, domain_of(n, self.shared), lambda *a: None) for n in body.outputs], self.filled)
        nests = [s for s in planner.steps if s.domain is not None]
        return all(s.unrolled and s.key is not None and s.key[1] in vectors for s in nests)

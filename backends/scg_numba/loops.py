"""Scans in kernels: carries in place where that is safe, outputs stacked, the body as a scope of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scg.ir.node import Node
from scg.ops.leaves import placeholder_op
from scg.ops.scan import increment, split
from scg_numba.indices import Ix, Position, flat
from scg_numba.nests import UNROLLED, Planner, Sink, domain_of
from scg_numba.scalars import Nest


class Buffer(NamedTuple):
    """Where a node's elements live: in the arena by lane or row (offset in widths), or in the plain array.

    What is `wide` has arrays of its own, in float64 whatever the working type: there long sums are added up.
    """

    offset: int
    vector: str | None
    boolean: bool
    wide: bool = False

    @property
    def array(self) -> str:
        """The name of its array."""
        return ("wide_plain" if self.wide else "plain") if self.vector is None else "wide" if self.wide else "arena"

    def run(self, elements: int) -> tuple[str, str]:
        """The bounds of so many elements in the array."""
        width = "" if self.vector is None else " * W"
        return f"{self.offset}{width}", f"{self.offset + elements}{width}"


@dataclass
class Environment:
    """What is known while a body is emitted: buffers that hold nodes' values, what placeholders stand for, and the
    places of elements' sums by group."""

    number: int
    ready: dict[int, Buffer] = field(default_factory=dict)
    outs: dict[tuple[int, int], Buffer] = field(default_factory=dict)
    placeholders: dict[int, tuple] = field(default_factory=dict)
    totals: dict[tuple, int] = field(default_factory=dict)
    parent: Environment | None = None


class Advance(NamedTuple):
    """How a scan's step replaces its carries: what is written in nests, and copies when all are done."""

    sinks: list[Sink]
    copies: list[str]


class ScanEmitter:
    """The part of an emitter that writes scans."""

    def emit_scan(self, node: Node) -> None:
        body = node.attrs
        inits, consts, arrays = split(node)
        carries = [self._widened(init, like) for init, like in zip(inits, body.carries)]
        outputs = []
        for y in body.ys:
            domain = domain_of(y, self.shared)
            outputs.append(self.allocate(domain.elements * body.length, domain.vector, y.kind == "bool"))
        sums = [self._summed(leaf, new, own) for leaf, new, own in zip(body.carries, body.new_carries, carries)]
        t = self.fresh("t")
        env = Environment(self._next_environment(), parent=self.env)
        for leaf, buffer in zip(body.carries, carries):
            env.ready[leaf.id] = buffer
        env.placeholders.update({leaf.id: ("node", c) for leaf, c in zip(body.consts, consts)})
        env.placeholders.update({leaf.id: ("array", a, Ix(t)) for leaf, a in zip(body.xs, arrays)})
        env.placeholders[body.step.id] = ("text", f"{'np.float32' if self.dtype == 'float32' else 'np.float64'}({t})")
        back = body.reverse
        self.write(f"for {t} in range({f'{body.length - 1}, -1, -1' if back else body.length}):")
        self.indent += 1
        outer, self.env = self.env, env
        sinks, advance = self._outputs(body, outputs, t), self._advance(body, carries, sums)
        self.scope([], lambda n: n.op is placeholder_op, [*sinks, *advance.sinks])
        for text in advance.copies:
            self.write(text)
        self.env = outer
        self.indent -= 1
        for i, buffer in enumerate((*carries, *outputs)):
            self.env.outs[node.id, i] = buffer

    def _widened(self, init: Node, like: Node) -> Buffer:
        """A carry's buffer with its first value, repeated along the axes that only the carry has."""
        domain = domain_of(like, self.shared)
        buffer = self.allocate(domain.elements, domain.vector)
        nest, position, headers = self.loops(domain)
        value = nest.value(init, nest.argument(init, position))
        nest.do(f"{self.element(buffer, self.flat_of(like, position), domain.vector)} = {value}")
        self.close(nest, headers)
        return buffer

    def _outputs(self, body, buffers: Sequence[Buffer], t: str) -> list[Sink]:
        """What each step puts out, stacked."""
        return [Sink(y, domain_of(y, self.shared), self._writer(y, buffer, (body.length, t)))
                for y, buffer in zip(body.ys, buffers)]

    def _writer(self, like: Node, buffer: Buffer, stacked: tuple[int, str] | None = None):
        axes = [ax for ax in like.axes if not ax.statistical]
        sizes, length = tuple(ax.size for ax in axes), ((stacked[0],) if stacked else ())

        def write(nest: Nest, at: Position, value: str, last: bool) -> None:
            worlds = tuple(at.worlds[ax.name] for ax in axes)
            where = flat((*worlds, *((Ix(stacked[1]),) if stacked else ()), *at.event), (*sizes, *length, *like.shape))
            text = f"{self.element(buffer, where, self._vector)} = {value}"
            nest.last.append(text) if last else nest.do(text)

        return write

    def _advance(self, body, carries: Sequence[Buffer], sums: Sequence[Buffer | None]) -> Advance:
        """The new carries: in place if one unrolled nest reads and writes them, else by way of other buffers."""
        domains = [domain_of(leaf, self.shared) for leaf in body.carries]
        vectors = {d.vector for d in domains}
        if all(d.elements <= UNROLLED for d in domains) and len(vectors) == 1 and self._one_nest(body, vectors):
            return Advance([Sink(new, d, self._writer(leaf, own), True) if total is None else
                            Sink(increment(leaf, new), d, self._adder(leaf, total, own), True)
                            for leaf, new, d, own, total in
                            zip(body.carries, body.new_carries, domains, carries, sums)], [])
        sinks, copies = [], []
        for leaf, new, domain, own, total in zip(body.carries, body.new_carries, domains, carries, sums):
            if total is not None:
                sinks.append(Sink(increment(leaf, new), domain, self._adder(leaf, total)))
                copies += self.narrowed(own, total, domain.elements)
                continue
            buffer = self.allocate(domain.elements, domain.vector)
            sinks.append(Sink(new, domain, self._writer(leaf, buffer)))
            width = "" if buffer.vector is None else " * W"
            array = "plain" if buffer.vector is None else "arena"
            copies.append(f"copy({array}, {own.offset}{width}, {buffer.offset}{width}, {domain.elements}{width})")
        return Advance(sinks, copies)

    def _summed(self, leaf: Node, new: Node, own: Buffer) -> Buffer | None:
        """Where a carry that steps only add to is kept in float64, with its first value; None for any other carry."""
        if self.dtype == "float64" or increment(leaf, new) is None:
            return None
        elements = domain_of(leaf, self.shared).elements
        total = self.totals_of(own, elements)
        for text in self.narrowed(total, own, elements):
            self.write(text)
        return total

    def _adder(self, like: Node, total: Buffer, own: Buffer | None = None):
        """Adds to a carry's sum; `own` is the carry's buffer, if it may be written at once."""

        def write(nest: Nest, at: Position, value: str, last: bool) -> None:
            flat = self.flat_of(like, at)
            lines = [f"{self.element(total, flat, self._vector)} += {value}"]
            if own is not None:
                lines.append(f"{self.element(own, flat, self._vector)} = {self.element(total, flat, self._vector)}")
            (nest.last if last else nest.levels[-1]).extend(lines)

        return write

    def _one_nest(self, body, vectors) -> bool:
        """Whether nothing after the last unrolled nest of a body reads the old carries: all its nests are unrolled."""
        planner = Planner([], lambda n: n.op is placeholder_op, self.shared,
                          [Sink(n, domain_of(n, self.shared), lambda *a: None) for n in body.outputs], self.filled)
        looped = [s for s in planner.steps if not (s.domain is None or s.unrolled)]
        return not looped and all(s.domain is None or s.key[1] in vectors for s in planner.steps)

"""Long sums in kernels: in float32 they are added up in arrays of float64, and rounded once."""

from __future__ import annotations

import numpy as np

from scg.ir.node import Node
from scg_numba.indices import Ix, Position, flat, plus, scaled
from scg_numba.loops import Buffer
from scg_numba.nests import Domain, domain_of
from scg_numba.orders import order_of
from scg_numba.scalars import Nest


def without_dimensions(root: Node, position: Position) -> Position:
    """Where a reduction over dimensions puts what its argument has at a position."""
    return Position(position.worlds, tuple(ix for d, ix in enumerate(position.event) if d not in root.attrs))


class SumEmitter:
    """The part of an emitter that knows where sums are added up, and writes running ones."""

    # --- where they are added up ------------------------------------------------------------------------------------
    def allocate_wide(self, elements: int, vector: str | None = "lane") -> Buffer:
        """Space for that many elements in float64, whatever the working type."""
        if vector is None:
            self.wide_plain += elements
            return Buffer(self.wide_plain - elements, None, False, True)
        self.wide += elements
        return Buffer(self.wide - elements, vector, False, True)

    def totals_of(self, buffer: Buffer, elements: int) -> Buffer:
        """Where a sum with this buffer is added up: in float64."""
        return buffer if self.dtype == "float64" else self.allocate_wide(elements, buffer.vector)

    def cleared(self, buffer: Buffer, elements: int, value: str = "0.0") -> str:
        """The statement that fills a buffer."""
        return f"fill({buffer.array}, {', '.join(buffer.run(elements))}, {value})"

    def narrowed(self, buffer: Buffer, totals: Buffer, elements: int) -> list[str]:
        """Statements that give a buffer what was added up elsewhere."""
        if totals is buffer:
            return []
        (start, stop), source = buffer.run(elements), totals.run(elements)[0]
        return [f"narrow({buffer.array}, {start}, {totals.array}, {source}, {stop} - {start})"]

    # --- sums over dimensions and over worlds -----------------------------------------------------------------------
    def reduce_sum(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[str],
                   after: list[str]) -> None:
        """Add to a sum over dimensions what the nest has, in NumPy's order if a decision reads it."""
        if root.id in self.decided:
            self._store_in_order(nest, root, position, buffer, first, after)
        else:
            self._add(nest, root, position, without_dimensions(root, position), buffer, first, after)

    def reduce_axis_sum(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[str],
                        after: list[str]) -> None:
        """Add to a sum over worlds what the nest has."""
        kept = Position({k: v for k, v in position.worlds.items() if k not in root.attrs}, position.event)
        self._add(nest, root, position, kept, buffer, first, after)

    def _add(self, nest: Nest, root: Node, position: Position, kept: Position, buffer: Buffer, first: list[str],
             after: list[str]) -> None:
        value = nest.value(root.args[0], position)
        elements = domain_of(root, self.shared).elements
        totals = self.totals_of(buffer, elements)
        where = self.element(totals, self.flat_of(root, kept), self._vector)
        first.append(self.cleared(totals, elements))
        after.extend(self.narrowed(buffer, totals, elements))
        nest.do(f"{where} += {value}")

    # --- in NumPy's order -------------------------------------------------------------------------------------------
    def _store_in_order(self, nest: Nest, root: Node, position: Position, buffer: Buffer, first: list[str],
                        after: list[str]) -> None:
        """A sum that a decision reads: by partial sums, which are added to each other behind the nest."""
        arg, elements = root.args[0], domain_of(root, self.shared).elements
        order = order_of(arg.shape, root.attrs)
        slots, steps = (self.constant_array(np.array(a, np.int64).reshape(-1)) for a in (order.slots, order.steps))
        allocate = self.allocate_wide if self.dtype == "float32" else self.allocate
        partial = allocate(elements * order.count, buffer.vector)
        event = position.event
        number = flat(tuple(event[d] for d in root.attrs), tuple(arg.shape[d] for d in root.attrs))
        slot = nest.let(f"{slots}[{number.text}]", number.depth)
        own = scaled(self.flat_of(root, without_dimensions(root, position)), order.count)
        where = self.element(partial, plus(own, Ix(slot, max(own.depth, number.depth))), self._vector)
        first.append(self.cleared(partial, elements * order.count))
        nest.do(f"{where} += {nest.value(arg, position)}")
        e, width = self.fresh("e"), "1" if buffer.vector is None else "W"
        start = f"({partial.offset} + {e} * {order.count}) * {width}"
        after += [f"for {e} in range({elements}):",
                  f"    add_partial_sums({partial.array}, {start}, {steps}, {width})",
                  f"    narrow({buffer.array}, ({buffer.offset} + {e}) * {width}, {partial.array}, {start}, {width})"]

    # --- running sums -----------------------------------------------------------------------------------------------
    def emit_suffix_sum(self, node: Node) -> None:
        """Sums from each index to the end."""
        self._running(node, backwards=True)

    def emit_prefix_sum(self, node: Node) -> None:
        """Sums up to each index."""
        self._running(node, backwards=False)

    def _running(self, node: Node, backwards: bool) -> None:
        domain, buffer = domain_of(node, self.shared), self._own(node)
        size = node.shape[0]
        if self.dtype == "float32":
            self._running_wide(node, domain, buffer, backwards)
            return
        at = self.fresh("i")
        self.write(f"for {at} in range({f'{size - 1}, -1, -1' if backwards else size}):")
        self.indent += 1
        nest, inner, headers = self.loops(domain._replace(event=domain.event[1:]))
        here, before = Ix(at), Ix(f"({at} {'+' if backwards else '-'} 1)")
        position = Position(inner.worlds, (here, *inner.event))
        value = nest.value(node.args[0], position)
        last = self.element(buffer, self.flat_of(node, Position(inner.worlds, (before, *inner.event))), domain.vector)
        where = self.element(buffer, self.flat_of(node, position), domain.vector)
        self.write(f"if {at} == {size - 1 if backwards else 0}:")
        self.indent += 1
        nest.do(f"{where} = {value}")
        self.close(nest, headers)
        self.indent -= 1
        self.write("else:")
        self.indent += 1
        nest.levels[-1][-1] = f"{where} = {last} + {value}"
        self.close(nest, headers)
        self.indent -= 2
        self.env.ready[node.id] = buffer

    def _running_wide(self, node: Node, domain: Domain, buffer: Buffer, backwards: bool) -> None:
        """As `_running`, added up in float64."""
        size, at, part = node.shape[0], self.fresh("i"), domain._replace(event=domain.event[1:])
        totals = self.totals_of(buffer, part.elements)
        self.write(self.cleared(totals, part.elements))
        self.write(f"for {at} in range({f'{size - 1}, -1, -1' if backwards else size}):")
        self.indent += 1
        nest, inner, headers = self.loops(part)
        position = Position(inner.worlds, (Ix(at), *inner.event))
        element = flat((*(inner.worlds[name] for name, _ in part.worlds), *inner.event),
                       (*(s for _, s in part.worlds), *part.event))
        total = self.element(totals, element, part.vector)
        nest.do(f"{total} += {nest.value(node.args[0], position)}")
        nest.do(f"{self.element(buffer, self.flat_of(node, position), part.vector)} = {total}")
        self.close(nest, headers)
        self.indent -= 1
        self.env.ready[node.id] = buffer

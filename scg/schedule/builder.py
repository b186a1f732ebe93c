"""From a program's nodes to the statements of a kernel.

A kernel evaluates a range of replicates tile by tile. Everything that varies by lane lives in one array, the *arena*,
at offsets that are multiples of the tile's width W: with one base and constant offsets a compiler can prove that loops
over lanes have no hidden dependences, and vectorises them. What varies by no lane lives in a second, small array.

Without shared sites, rows and samples are flattened into lanes, and a tile holds whole rows or a part of one. With
them, lanes are sample indices, and the rows are a loop inside the tile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from scg.ir.node import Node
from scg.ops.scan import out_op
from scg.schedule.calls import CallBuilder
from scg.schedule.changes import ChangeBuilder
from scg.schedule.domains import domain_of, inlined
from scg.schedule.groups import GroupBuilder
from scg.schedule.language import (
    Block,
    Buffer,
    LeaveOneOut,
    Loop,
    Statement,
    Store,
)
from scg.schedule.nests import Planner, Sink, Step
from scg.schedule.rules import no_rule, rule_of
from scg.schedule.scans import ScanBuilder
from scg.schedule.sums import SumBuilder
from scg.schedule.tables import Tables, long


class Builder(CallBuilder, ScanBuilder, GroupBuilder, SumBuilder, ChangeBuilder):
    """Plans the kernel of one program."""

    # --- scopes -----------------------------------------------------------------------------------------------------
    def scope(self, roots: Sequence[Node], outside: Callable[[Node], bool], sinks: Sequence[Sink] = ()) -> None:
        """Everything that the roots and sinks need and that is not computed outside."""

        def elsewhere(n: Node) -> bool:
            return n.id in self.env.ready or (n.op is out_op and (n.args[0].id, n.attrs) in self.env.outs) \
                or outside(n)

        planned = functools.partial(Planner, [r for r in roots if not elsewhere(r)], elsewhere, self.shared, sinks,
                                    self.filled, self.spreads and self.env.parent is None)
        planner = planned()
        if planner.better_in_loops():
            planner = planned(most=1)
        for step in planner.steps:
            if step.domain is None:
                self._special(step.roots[0])
            elif step.grouped:
                self.sums_of_groups(step)
            else:
                with self.spread_in(step.domain):
                    self._nest(step, planner.most)

    def _nest(self, step: Step, most: int) -> None:
        assert step.domain is not None
        nest, position, loops = self.loops(step.domain)
        first: list[Statement] = []
        after: list[Statement] = []
        ready: dict[int, Buffer] = {}
        whole: Callable[[Block], Statement] | None = None  # what stands for the nest
        for root in step.roots:
            self.comment(root)
            own = domain_of(root, self.shared)
            ready[root.id] = buffer = self.allocate(own.elements, own.vector, root.kind == "bool")
            if step.unrolled:
                for at in self.unrolled(own):
                    where = self.element(buffer, self.flat_of(root, at), self.vector)
                    nest.do(Store(where, nest.value(root, at)))
            else:
                reduction = None if inlined(root, self.shared, most) else rule_of(root).reduction
                if reduction is not None:
                    whole = reduction(self, nest, root, position, buffer, first, after)
                else:
                    nest.do(Store(self.element(buffer, self.flat_of(root, position), self.vector),
                                  nest.value(root, position)))
        for sink in step.sinks:
            for at in self.unrolled(sink.domain) if step.unrolled else [position]:
                assert sink.write is not None
                sink.write(nest, at, nest.value(sink.node, nest.argument(sink.node, at)), sink.last)
        self.env.ready.update(ready)
        if any(sink.counts for sink in step.sinks):
            loops[-1] = loops[-1]._replace(kind="counted")
        with self.block() as body:
            if any(map(long, nest.levels)):
                self.write(*Tables(self, nest, loops, self.vector is not None and bool(loops)).statements())
            else:
                self.close(nest, loops)
        self.write(*first, *(body if whole is None else [whole(tuple(body))]), *after)

    # --- special nodes ----------------------------------------------------------------------------------------------
    def _special(self, node: Node) -> None:
        self.comment(node)
        statements = rule_of(node).statements
        if statements is None:
            raise no_rule(node)
        statements(self, node)

    def leave_one_out(self, node: Node) -> None:
        """The mean over the others, as an array."""
        arg = node.args[0]
        source = self.env.ready.get(arg.id)
        if source is None or source.vector != "lane":
            source = self.copied(arg)
        buffer, e = self.own_buffer(node), self.index("e")
        self.write(Loop(e, "elements", (LeaveOneOut(buffer, source, e),), domain_of(node, self.shared).elements))
        self.env.ready[node.id] = buffer

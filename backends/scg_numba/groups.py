"""Leave-one-out groups in kernels: loops over the groups of a tile and, inside, over the lanes of a group.

The mean over the others of a group is (S − x) / (n − 1) with S the group's sum. So what follows a leave-one-out mean
needs no array of means: one nest adds up S for all groups of the tile, the next computes (S − x) / (n − 1) where it is
used, and adds up what is wanted by group. In a single line of replicates such sums are the observations of standard
errors, and need registers only. Where there are several rows, or replicates are the observations, values are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scg.errors import InternalError
from scg.ir.node import Node
from scg.ir.printer import title
from scg_numba.nests import Step, domain_of
from scg_numba.scalars import Ix, Nest, Position

Element = tuple[Node, Position]


class Run(NamedTuple):
    """Elements that follow each other: the offset of the first in the arena, its place in the vector of means, how many
    there are, and whether moments are kept."""

    offset: int
    first: int
    size: int
    moments: bool

    def __str__(self) -> str:
        return f"({self.offset}, {self.first}, {self.size}, {int(self.moments)})"


class GroupEmitter:
    """The part of an emitter that writes nests over groups."""

    _group: Nest | None = None  # the nest over groups that is being written

    def _groups(self, step: Step) -> None:
        """Sums by group of a step's sinks, and what they need; each is observed."""
        for means in step.levels:
            self._named("sums by group for the mean over the others", [n.args[0] for n in means])
            self._add_up([e for n in means for e in self._elements_of(n.args[0])])
        self._named("sums by group", [sink.node for sink in step.sinks])
        if not any(sink.sums.moments for sink in step.sinks):
            self._sums_by_group(step)
            return
        self.write("if by_group and not many:")
        self.indent += 1
        self._sums_by_group(step)
        self.indent -= 1
        self.write("else:")
        self.indent += 1
        self._replicates(step)
        self.indent -= 1

    def _named(self, what: str, nodes: Sequence[Node]) -> None:
        self.write(f"# {what}: " + ", ".join(title(n) for n in nodes))

    def _elements_of(self, node: Node) -> list[Element]:
        return [(node, at) for at in self.unrolled(domain_of(node, self.shared))]

    # --- nests ------------------------------------------------------------------------------------------------------
    def _open_groups(self) -> Nest:
        self._group = nest = Nest(2, self)
        self._vector = "lane"
        nest.do("at = edges[g]", 1)
        nest.do("size = edges[g + 1] - at", 1)
        return nest

    def _close_groups(self, nest: Nest, after: Sequence[str] = ()) -> None:
        self._group = None
        self.close(nest, ["for g in range(count):", "for l in range(size):"])
        self.indent += 1
        for text in after:
            self.write(text)
        self.indent -= 1

    def _sum_of(self, nest: Nest, node: Node, at: Position) -> str:
        """A variable that holds an element's sum over the present group."""
        name, value = self.fresh("s"), nest.value(node, at)
        nest.do(f"{name} = 0.0", 1)
        nest.do(f"{name} += " + (f"np.float64({value})" if self.dtype == "float32" else value))
        return name

    def _add_up(self, elements: Sequence[Element]) -> None:
        """One nest: the groups' sums of elements that have none yet, into `totals`."""
        wanted = {self._element_key(*e): e for e in elements}
        wanted = {key: e for key, e in wanted.items() if key not in self.env.totals}
        if not wanted:
            return
        nest = self._open_groups()
        names = [self._sum_of(nest, *e) for e in wanted.values()]
        slots = {key: self.totals + i for i, key in enumerate(wanted)}
        self.totals += len(slots)
        self._close_groups(nest, [f"totals[{slot} * W + g] = {name}" for slot, name in zip(slots.values(), names)])
        self.env.totals.update(slots)

    def _sums_by_group(self, step: Step) -> None:
        """The sinks' sums by group, each an observation, in registers."""
        nest, after = self._open_groups(), ["share = 1.0 / size"]
        for sink in step.sinks:
            for i, (node, at) in enumerate(self._elements_of(sink.node), sink.sums.first):
                slot = self.env.totals.get(self._element_key(node, at))
                total = self._sum_of(nest, node, at) if slot is None else f"totals[{slot} * W + g]"
                after += [f"total{i} += {total}", *(self._observation(i, total) if sink.sums.moments else ())]
        self._close_groups(nest, [*after, "seen += 1.0"])

    def _observation(self, i: int, total: str) -> list[str]:
        """Statements that add a group's mean to the observations of an element, as its gap to a pivot: the first."""
        gap = self.fresh("d")
        return [f"{gap} = {total} * share", f"pivot{i} = {gap} if seen == 0.0 else pivot{i}", f"{gap} -= pivot{i}",
                f"sum{i} += {gap}", f"square{i} += {gap} * {gap}"]

    def _replicates(self, step: Step) -> None:
        nest, runs = self._open_groups(), []
        for sink in step.sinks:
            elements = self._elements_of(sink.node)
            buffer = self.allocate(len(elements), "lane")
            runs.append(Run(buffer.offset, sink.sums.first, len(elements), sink.sums.moments))
            for i, (node, at) in enumerate(elements):
                nest.do(f"{self.element(buffer, Ix(i), 'lane')} = {nest.value(node, at)}")
        self._close_groups(nest)
        self.observe_all(runs, "rows", True)

    def observe_all(self, runs: Sequence[Run], rows: str, coupled: bool) -> None:
        """Observe what stands in the arena by lane: one call in a loop, for it is inlined where it stands."""
        if not runs:
            return
        closing = "many and end == samples"
        self._over(runs)
        self.write(f"        x = arena[(where + i) * W : (where + i) * W + {rows} * (end - k)]")
        call = f"observe(x, first + i, {rows}, kept != 0, sums, moments, variances, {closing})"
        if coupled:
            self.write("        if by_group:")
            self.write(f"            observe_by_group(x, first + i, {rows}, edges, count, kept != 0, sums, moments, "
                       f"variances, {closing})")
            self.write("        else:")
            call = "    " + call
        self.write(f"        {call}")

    def observe_constants(self, runs: Sequence[Run], rows: str, coupled: bool) -> None:
        """Observe what stands in the plain array, and is the same for all lanes."""
        if not runs:
            return
        observations = f"count // {rows} if by_group else end - k" if coupled else "end - k"
        self.write(f"seen_now = float({observations})")
        self._over(runs)
        self.write(f"        observe_constant(plain[where + i], first + i, {rows}, end - k, seen_now, kept != 0, sums, "
                   "moments, variances, many and end == samples)")

    def _over(self, runs: Sequence[Run]) -> None:
        self.write(f"for where, first, size, kept in ({', '.join(map(str, runs))},):")
        self.write("    for i in range(size):")

    @staticmethod
    def opening_of_groups(sums: Sequence[int], kept: Sequence[int]) -> list[str]:
        """Registers for the sums, and for the moments, of elements that are summed by group."""
        return ["    seen = 0.0", *(f"    total{i} = 0.0" for i in sums),
                *(f"    sum{i} = square{i} = pivot{i} = 0.0" for i in kept)]

    @staticmethod
    def closing_of_groups(sums: Sequence[int], kept: Sequence[int]) -> list[str]:
        """What becomes of them at the end of a chunk."""
        lines = [f"    sums[{i}] += total{i}" for i in sums]
        if kept:
            lines.append("    if by_group and not many:")
        for i in kept:
            lines.append(f"        moments[0, {i}], moments[1, {i}] = seen, sum{i} + seen * pivot{i}")
            lines.append(f"        moments[2, {i}] = max(square{i} - sum{i} * sum{i} / seen, 0.0)")
        return lines

    # --- elements ---------------------------------------------------------------------------------------------------
    def _element_key(self, node: Node, at: Position) -> tuple:
        worlds = tuple(at.worlds[ax.name].text for ax in node.axes if not ax.statistical)
        return node.id, worlds, tuple(ix.text for ix in at.event)

    def part(self, start: str) -> str:
        """The lanes of the present group in a run of the arena: a slice, for an index with an offset is tested for
        being negative, and the loop does not vectorise."""
        return self._group.let(f"arena[{start} + at : {start} + at + size]", 1)

    def others(self, nest: Nest, node: Node, at: Position) -> str:
        """The mean over the others of a group, from the group's sum; 0 in a group of one."""
        arg = node.args[0]
        inner = nest.argument(arg, at)
        slot = self.env.totals.get(self._element_key(arg, inner))
        if nest is not self._group or slot is None:
            raise InternalError("", "A leave-one-out mean is used outside a loop over groups.",
                                "The schedule should have given it a buffer.")
        real = "np.float32({})" if self.dtype == "float32" else "{}"
        total = nest.let(real.format(f"totals[{slot} * W + g]"), 1)
        share = nest.let(real.format("(1.0 / (size - 1) if size > 1 else 0.0)"), 1)
        return nest.let(f"(({total} - {nest.value(arg, inner)}) * {share})", nest.depth)



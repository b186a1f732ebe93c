"""Leave-one-out groups in plans: loops over the groups of a tile and, inside, over the lanes of a group.

The mean over the others of a group is (S − x) / (n − 1) with S the group's sum. So what follows a leave-one-out mean
needs no array of means: one nest adds up S for all groups of the tile, the next computes (S − x) / (n − 1) where it is
used, and adds up what is wanted by group; for sums of products even one nest will do (`one_pass`). In a single sequence
of replicates such sums are the observations of standard errors, and need registers only. Where there are several rows,
or replicates are the observations, values are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scg.errors import InternalError
from scg.ir.node import Node
from scg.ir.printer import title
from scg.ir.traverse import downstream
from scg.ops.arithmetic import mul_op, sub_op
from scg.program import LARGEST_GROUP
from scg.schedule.counting import counted_groups
from scg.schedule.domains import domain_of
from scg.schedule.ground import Ground
from scg.schedule.indices import Ix, Position
from scg.schedule.language import (
    Apply,
    ByGroup,
    Cast,
    Expr,
    Groups,
    GroupTotal,
    Load,
    Note,
    Num,
    Observe,
    ObserveConstants,
    ObserveSums,
    OthersShare,
    Run,
    Set,
    Statement,
    Store,
    Sum,
    Var,
)
from scg.schedule.nests import Step
from scg.schedule.one_pass import OnePass, Term, terms_of
from scg.schedule.scalars import Nest

ElementOf = tuple[Node, Position]
SHORT = 40  # statements of a loop over lanes that is written out for groups of the usual size, too
NOTHING = Num(0.0, "float64")


class Observed(NamedTuple):
    """What becomes of the sums of a nest over groups: runs of them that are stored, the statements behind the lanes of
    a group, and the bases, each with the sum of the gaps to it."""

    runs: list[Run]
    after: list[Statement]
    bases: Sequence[tuple[Var, Var]]


def merged(runs: Sequence[Run]) -> list[Run]:
    """The same elements in fewer runs, where one follows another in the arena and in the vector of means."""
    out: list[Run] = []
    for run in runs:
        last = out[-1] if out else None
        if last and last._replace(offset=last.offset + last.size, first=last.first + last.size, size=run.size) == run:
            out[-1] = last._replace(size=last.size + run.size)
        else:
            out.append(run)
    return out


class GroupBuilder(Ground):
    """The part of a builder that plans nests over groups, and what adds lanes to the numbers of a chunk."""

    def sums_of_groups(self, step: Step) -> None:
        """Sums by group of a step's sinks, and what they need; each is observed."""
        terms, known = self._terms(step), dict(self.env.totals)
        if not any(sink.sums is not None and sink.sums.moments for sink in step.sinks):
            self._sums_by_group(step, terms if self.one_sequence else None)
            return
        with self.block() as sums:
            self._sums_by_group(step, terms)
        self.env.totals = dict(known)
        with self.block() as values:
            self._means(step)
            self._replicates(step)
        self.env.totals = known
        self.write(ByGroup(not self.one_sequence, tuple(sums), tuple(values)))

    def _means(self, step: Step) -> None:
        """The groups' sums that the leave-one-out means of a step are made of."""
        for means in step.levels:
            self._named("sums by group for the mean over the others", [n.args[0] for n in means])
            self._add_up([e for n in means for e in self._elements_of(n.args[0])])

    def _terms(self, step: Step) -> list[tuple[int, bool, list[Term]]] | None:
        """The elements of a step by number, with moments or without, if all can be summed in one pass."""
        nodes = [sink.node for sink in step.sinks]
        bound = downstream([n for means in step.levels for n in means], nodes)
        out = []
        for sink in step.sinks:
            assert sink.sums is not None
            for i, element in enumerate(self._elements_of(sink.node), sink.sums.first):
                terms = terms_of(element, bound)
                if terms is None:
                    return None
                out.append((i, sink.sums.moments, terms))
        return out

    def _named(self, what: str, nodes: Sequence[Node]) -> None:
        self.write(Note(f"{what}: " + ", ".join(title(n) for n in nodes)))

    def _elements_of(self, node: Node) -> list[ElementOf]:
        return [(node, at) for at in self.unrolled(domain_of(node, self.shared))]

    # --- nests ------------------------------------------------------------------------------------------------------
    def _open_groups(self) -> Nest:
        self.group = nest = Nest(2, self)
        self.vector = "lane"
        return nest

    def _close_groups(self, nest: Nest, after: Sequence[Statement] = (), usual: int | None = None,
                      bases: Sequence[tuple[Var, Var]] = ()) -> None:
        """Write a nest over groups, with what follows the lanes of each; short ones twice, for the usual size too."""
        self.group = None
        usual = usual if len(nest.levels[-1]) <= SHORT else None
        groups = Groups(tuple(nest.levels[1]), (*nest.levels[-1], *nest.last), tuple(after), usual, tuple(bases))
        self.write(*nest.levels[0], counted_groups(groups, self.indicators, self.fresh))

    def _sum_of(self, nest: Nest, node: Node, at: Position) -> Var:
        """A variable that holds an element's sum over the present group."""
        var, value = Var(self.fresh("s"), "float64"), nest.value(node, at)
        nest.do(Set(var, NOTHING), 1)
        nest.do(Sum(var, (value,)))
        return var

    def _add_up(self, elements: Sequence[ElementOf]) -> None:
        """One nest: the groups' sums of elements that have none yet, into `totals`."""
        wanted = {self._element_key(*e): e for e in elements}
        wanted = {key: e for key, e in wanted.items() if key not in self.env.totals}
        if not wanted:
            return
        nest = self._open_groups()
        sums = [self._sum_of(nest, *e) for e in wanted.values()]
        slots = {key: self.totals + i for i, key in enumerate(wanted)}
        self.totals += len(slots)
        self._close_groups(nest, [Store(GroupTotal(slot), var) for slot, var in zip(slots.values(), sums)])
        self.env.totals.update(slots)

    def _sums_by_group(self, step: Step, terms: list[tuple[int, bool, list[Term]]] | None) -> None:
        """The sinks' sums by group, each an observation; in one pass if their terms are given."""
        if terms is None:
            self._means(step)
        self._named("sums by group", [sink.node for sink in step.sinks])
        nest = self._open_groups()
        runs, after, bases = self._totals_of(nest, step) if terms is None else self._totals_in_one_pass(nest, terms)
        if after or nest.levels[-1]:
            self._close_groups(nest, after, self.layout.group or LARGEST_GROUP, bases)
        self.group = None
        for run in merged(runs):
            self.write(ObserveSums(run, self.index()))

    def _totals_of(self, nest: Nest, step: Step) -> Observed:
        """The groups' sums of a step's elements."""
        out = Observed([], [], [])
        for sink in step.sinks:
            assert sink.sums is not None
            for i, (node, at) in enumerate(self._elements_of(sink.node), sink.sums.first):
                slot = self.env.totals.get(self._element_key(node, at))
                if slot is None:
                    self._observed(out, self._sum_of(nest, node, at), i, sink.sums.moments)
                else:
                    out.runs.append(Run(slot, i, 1, sink.sums.moments))
        return out

    def _totals_in_one_pass(self, nest: Nest, terms: list[tuple[int, bool, list[Term]]]) -> Observed:
        sums: dict[tuple[Expr, ...], Var] = {}

        def accumulate(*factors: Expr) -> Var:
            if factors not in sums:
                sums[factors] = var = Var(self.fresh("s"), "float64")
                nest.do(Set(var, NOTHING), 1)
                nest.do(Sum(var, factors))
            return sums[factors]

        one = OnePass(nest, accumulate, lambda e: self._element_key(*e), self.bases)
        for _, _, parts in terms:
            one.register(parts)
        self.bases += len(one.bases)
        out = Observed([], [], one.bases)
        for i, moments, parts in terms:
            self._observed(out, one.total(parts), i, moments)
        return out

    def _observed(self, out: Observed, value: Expr, i: int, moments: bool) -> None:
        """Store a group's sum of element i."""
        out.runs.append(Run(self.totals, i, 1, moments))
        out.after.append(Store(GroupTotal(self.totals), value))
        self.totals += 1

    def _replicates(self, step: Step) -> None:
        nest, runs = self._open_groups(), []
        for sink in step.sinks:
            assert sink.sums is not None
            elements = self._elements_of(sink.node)
            buffer = self.allocate(len(elements), "lane")
            runs.append(Run(buffer.offset, sink.sums.first, len(elements), sink.sums.moments))
            for i, (node, at) in enumerate(elements):
                where = self.element(buffer, Ix(i), "lane")
                nest.do(Store(where, nest.value(node, at)))
        self._close_groups(nest)
        self.observe_all(runs, not self.one_sequence)

    def observe_all(self, runs: Sequence[Run], by_group: bool) -> None:
        """Add what stands in the arena by lane to the numbers of its elements, in loops: it is inlined where it stands.

        `by_group` says whether groups may be the observations.
        """
        for run in merged(runs):
            self.write(Observe(run, self.index(), "all" if by_group else None))

    def observe_constants(self, runs: Sequence[Run]) -> None:
        """Observe what stands in the plain array, and is the same for all lanes."""
        if runs:
            self.write(ObserveConstants(tuple((run, self.index()) for run in merged(runs))))

    # --- elements ---------------------------------------------------------------------------------------------------
    def _element_key(self, node: Node, at: Position) -> tuple:
        worlds = tuple(at.worlds[ax.name].value for ax in node.axes if not ax.statistical)
        return node.id, worlds, tuple(ix.value for ix in at.event)

    def others(self, nest: Nest, node: Node, at: Position) -> Expr:
        """The mean over the others of a group, from the group's sum; 0 in a group of one."""
        arg = node.args[0]
        inner = nest.argument(arg, at)
        slot = self.env.totals.get(self._element_key(arg, inner))
        if nest is not self.group or slot is None:
            raise InternalError("", "A leave-one-out mean is used outside a loop over groups.",
                                "The schedule should have given it a buffer.")
        total, share = [nest.let(Cast(x, "float32") if self.dtype == "float32" else x, 1)
                        for x in (Load(GroupTotal(slot)), OthersShare())]
        less = Apply(sub_op, (total, nest.value(arg, inner)), self.dtype)
        return nest.let(Apply(mul_op, (less, share), self.dtype), nest.depth)

"""Leave-one-out groups in kernels: loops over the groups of a tile and, inside, over the lanes of a group.

The mean over the others of a group is (S − x) / (n − 1) with S the group's sum. So what follows a leave-one-out mean
needs no array of means: one nest adds up S for all groups of the tile, the next computes (S − x) / (n − 1) where it is
used, and adds up what is wanted by group; for sums of products even one nest will do (`one_pass`). In a single sequence
of replicates such sums are the observations of standard errors, and need registers only. Where there are several rows,
or replicates are the observations, values are stored.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from scg.errors import InternalError
from scg.ir.node import Node
from scg.ir.printer import title
from scg.ir.traverse import downstream
from scg.program import LARGEST_GROUP
from scg.source import in_comment
from scg.sums import SUM
from scg_numba.indices import Ix, Position
from scg_numba.nests import Step, domain_of
from scg_numba.one_pass import OnePass, Term, terms_of
from scg_numba.scalars import Nest

Element = tuple[Node, Position]
SHORT = 40  # statements of a loop over lanes that is written out for groups of the usual size, too


class Run(NamedTuple):
    """Elements that follow each other: the offset of the first in the arena, its place in the vector of means, how many
    there are, and whether moments are kept."""

    offset: int
    first: int
    size: int
    moments: bool


class Observed(NamedTuple):
    """What becomes of the sums of a nest over groups: runs of them that are stored, the statements behind the lanes of
    a group, and the bases, each with the sum of the gaps to it."""

    runs: list[Run]
    after: list[str]
    bases: Sequence[tuple[str, str]]


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


def _again(statements: Sequence[str]) -> list[str]:
    """The same statements with variables of their own: one that is assigned twice takes Numba much longer."""
    names = {text.split()[0] for text in statements if re.match(r" *v\d+ = ", text)}
    return [re.sub(r"\bv\d+\b", lambda found: found[0] + "u" if found[0] in names else found[0], text)
            for text in statements]


class GroupEmitter:
    """The part of an emitter that writes nests over groups, and what adds lanes to the numbers of a chunk."""

    _group: Nest | None = None  # the nest over groups that is being written

    def _groups(self, step: Step) -> None:
        """Sums by group of a step's sinks, and what they need; each is observed."""
        terms, known = self._terms(step), dict(self.env.totals)
        if not any(sink.sums.moments for sink in step.sinks):
            self._sums_by_group(step, terms if self.one_sequence else None)
            return
        self.write("if by_group:" if self.one_sequence else "if by_group and not many:")
        self.indent += 1
        self._sums_by_group(step, terms)
        self.indent -= 1
        self.env.totals = dict(known)
        self.write("else:")
        self.indent += 1
        self._means(step)
        self._replicates(step)
        self.indent -= 1
        self.env.totals = known

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
            for i, element in enumerate(self._elements_of(sink.node), sink.sums.first):
                terms = terms_of(element, bound)
                if terms is None:
                    return None
                out.append((i, sink.sums.moments, terms))
        return out

    def _named(self, what: str, nodes: Sequence[Node]) -> None:
        self.write(f"# {what}: " + in_comment(", ".join(title(n) for n in nodes)))

    def _elements_of(self, node: Node) -> list[Element]:
        return [(node, at) for at in self.unrolled(domain_of(node, self.shared))]

    # --- nests ------------------------------------------------------------------------------------------------------
    def _open_groups(self) -> Nest:
        self._group = nest = Nest(2, self)
        self._vector = "lane"
        return nest

    def _close_groups(self, nest: Nest, after: Sequence[str] = (), usual: int | None = None,
                      bases: Sequence[tuple[str, str]] = ()) -> None:
        """Write a nest over groups, with what follows the lanes of each, and for groups of the usual size a second one,
        whose loop over lanes has a known length; the first of a chunk's groups is run before, for the bases."""
        self._group = None
        for text in nest.levels[0]:
            self.write(text)
        lanes = [*nest.levels[-1], *nest.last] or ["pass"]

        def group(length: int | str, *head: str) -> list[str]:
            return [*head, *nest.levels[1], f"for l in range({length}):", *("    " + text for text in lanes)]

        first, opening = "0", []
        if bases:
            first, opening = "-1 if seen == 0.0 else 0", [self._by_size("share"), "if g < 0:"]
            opening += [*(f"    {base} = {gaps} * share" for base, gaps in bases), "    continue"]
        twice = usual is not None and len(nest.levels[-1]) <= SHORT
        if twice:
            self.write(f"even = shortest == {usual} and lanes == {usual} * count")
        self._loop(f"for g in range({first}, {'0 if even else count' if twice else 'count'}):",
                   group("size", "at = edges[max(g, 0)]", "size = edges[max(g, 0) + 1] - at"), opening, after)
        if twice:
            after = ["share = short_share", *after] if bases else after
            self._loop("for g in range(count if even else 0):",
                       _again([*group(usual, f"at, size = {usual} * g, {usual}"), *after]))

    def _loop(self, head: str, *parts: Sequence[str]) -> None:
        self.write(head)
        for text in itertools.chain(*parts):
            self.write("    " + text)

    def _sum_of(self, nest: Nest, node: Node, at: Position) -> str:
        """A variable that holds an element's sum over the present group."""
        name, value = self.fresh("s"), nest.value(node, at)
        nest.do(f"{name} = 0.0", 1)
        nest.do(f"{name} = added({name}, {value})")
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

    def _sums_by_group(self, step: Step, terms: list[tuple[int, bool, list[Term]]] | None) -> None:
        """The sinks' sums by group, each an observation; in one pass if their terms are given."""
        if terms is None:
            self._means(step)
        self._named("sums by group", [sink.node for sink in step.sinks])
        nest = self._open_groups()
        runs, after, bases = self._totals_of(nest, step) if terms is None else self._totals_in_one_pass(nest, terms)
        if after or nest.levels[-1]:
            self._close_groups(nest, after, self.layout.group or LARGEST_GROUP, bases)
        self._group = None
        for run in merged(runs):
            i = self.fresh("i")
            self.write(f"for {i} in range({run.size}):")
            sums = f"totals[({run.offset} + {i}) * W : ({run.offset} + {i}) * W + count]"
            self.write(f"    observe_sums({sums}, edges, {run.first} + {i}, numbers)" if run.moments else
                       f"    numbers[{SUM}, {run.first} + {i}] += row_sum({sums})")

    def _totals_of(self, nest: Nest, step: Step) -> Observed:
        """The groups' sums of a step's elements."""
        out = Observed([], [], [])
        for sink in step.sinks:
            for i, (node, at) in enumerate(self._elements_of(sink.node), sink.sums.first):
                slot = self.env.totals.get(self._element_key(node, at))
                if slot is None:
                    self._observed(out, self._sum_of(nest, node, at), i, sink.sums.moments)
                else:
                    out.runs.append(Run(slot, i, 1, sink.sums.moments))
        return out

    def _totals_in_one_pass(self, nest: Nest, terms: list[tuple[int, bool, list[Term]]]) -> Observed:
        sums: dict[str, str] = {}

        def accumulate(*factors: str) -> str:
            text = ", ".join(factors)
            if text not in sums:
                sums[text] = name = self.fresh("s")
                nest.do(f"{name} = 0.0", 1)
                nest.do(f"{name} = {'added' if len(factors) == 1 else 'added_product'}({name}, {text})")
            return sums[text]

        one = OnePass(nest, accumulate, lambda e: self._element_key(*e), self.bases)
        for _, _, parts in terms:
            one.register(parts)
        self.bases += len(one.bases)
        out = Observed([], [self._by_size("ratio")] if one.bases else [], one.bases)
        for i, moments, parts in terms:
            self._observed(out, one.total(parts), i, moments)
        return out

    def _observed(self, out: Observed, value: str, i: int, moments: bool) -> None:
        """Store a group's sum of element i."""
        out.runs.append(Run(self.totals, i, 1, moments))
        out.after.append(f"totals[{self.totals} * W + g] = {value}")
        self.totals += 1

    def _replicates(self, step: Step) -> None:
        nest, runs = self._open_groups(), []
        for sink in step.sinks:
            elements = self._elements_of(sink.node)
            buffer = self.allocate(len(elements), "lane")
            runs.append(Run(buffer.offset, sink.sums.first, len(elements), sink.sums.moments))
            for i, (node, at) in enumerate(elements):
                nest.do(f"{self.element(buffer, Ix(i), 'lane')} = {nest.value(node, at)}")
        self._close_groups(nest)
        self.observe_all(runs, None if self.one_sequence else "by_group")

    def observe_all(self, runs: Sequence[Run], by_group: str | None = "by_group") -> None:
        """Add what stands in the arena by lane to the numbers of its elements, in loops: it is inlined where it stands.

        `by_group` says in the kernel whether groups are the observations; None where they are not.
        """
        for where, first, size, moments in merged(runs):
            i = self.fresh("i")
            self.write(f"for {i} in range({size}):")
            self.indent += 1
            self.observe(f"({where} + {i}) * W", f"{first} + {i}", moments, by_group)
            self.indent -= 1

    def observe(self, where: str, element: str, moments: bool, by_group: str | None, width: int = 0) -> None:
        """Add the lanes of the tile from an offset of the arena on to the numbers of an element.

        With a `width`, rows have numbers of their own, so many apart; else they are closed one after the other.
        """
        numbers, lanes = "by_row" if width else "numbers", "lanes"
        apart = not self.one_sequence and (moments or bool(width))
        x, groups = f"{where} : {where} + lanes", "edges[: count + 1]"
        if apart:
            self.write("for part in range(rows):")
            self.indent += 1
            lanes, each = "(end - k)", "(count // rows)"
            groups = f"edges[part * {each} : (part + 1) * {each} + 1]"
            element += f" + part * {width}" if width else ""
            where += f" + part * {lanes}"
        part = f"{where} : {where} + {lanes}"
        if not moments:
            self.write(f"{numbers}[{SUM}, {element}] += row_sum(arena[{part}])")
        else:
            replicates = f"observe_replicates(arena[{part}], {element}, {numbers})"
            self._either(by_group, f"observe_groups(arena[{x}], {groups}, {element}, {numbers})", replicates)
            if apart and not width:
                self._close_rows(element)
        self.indent -= apart

    def _either(self, by_group: str | None, then: str, otherwise: str) -> None:
        if by_group is None:
            self.write(otherwise)
            return
        for line in (f"if {by_group}:", f"    {then}", "else:", f"    {otherwise}"):
            self.write(line)

    def _close_rows(self, element: str) -> None:
        self.write("if many and end == samples:")
        self.write(f"    close_row({element}, numbers)")

    def observe_constants(self, runs: Sequence[Run], coupled: bool) -> None:
        """Observe what stands in the plain array, and is the same for all lanes."""
        if not runs:
            return
        each = "count" if self.one_sequence else "count // rows"
        self.write(f"seen_now = float({f'{each} if by_group else end - k' if coupled else 'end - k'})")
        for where, first, size, moments in merged(runs):
            i = self.fresh("i")
            self.write(f"for {i} in range({size}):")
            self.indent += 1
            value, element = f"plain[{where} + {i}]", f"{first} + {i}"
            if not moments:
                self.write(f"numbers[{SUM}, {element}] += np.float64({value}) * lanes")
            else:
                apart = not self.one_sequence
                if apart:
                    self.write("for part in range(rows):")
                self.indent += apart
                self.write(f"observe_constant({value}, {element}, end - k, seen_now, numbers)")
                if apart:
                    self._close_rows(element)
                self.indent -= apart
            self.indent -= 1

    def opening_of_groups(self) -> list[str]:
        """What is known of the groups of a chunk, and the bases of their sums."""
        return ["    seen, shortest = 0.0, samples // groups",
                "    short_share, long_share = 1.0 / shortest, 1.0 / (shortest + 1)",
                "    short_other, long_other = 1.0 / (shortest - 1) if shortest > 1 else 0.0, short_share",
                "    short_ratio, long_ratio = shortest * short_other, (shortest + 1) * long_other",
                *(f"    base{i} = 0.0" for i in range(self.bases))]

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
        other = nest.let(real.format("(short_other if size == shortest else long_other)"), 1)
        return nest.let(f"(({total} - {nest.value(arg, inner)}) * {other})", nest.depth)

    @staticmethod
    def _by_size(name: str) -> str:
        """A quotient of group sizes: there are two of these, and divisions are slow."""
        return f"{name} = short_{name} if size == shortest else long_{name}"



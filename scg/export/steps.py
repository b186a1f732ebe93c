"""Steps of loops as text: ``h[t]``, ``x[t]``, and carries, ``pos[t]`` by key or ``carry_0[t]`` by place, with what they
begin with and turn into.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from scg.export.names import Names
from scg.export.noise_shown import is_noise
from scg.ir.node import Node
from scg.ir.printer import name_of, numbers
from scg.ir.said import carry_over
from scg.ir.sharing import Shared
from scg.ir.traverse import substitute, topological
from scg.ops.randomness import sample_op
from scg.ops.scan import of_step, opening, out_op, stacked
from scg.ops.termination import going_on
from scg.passes.scans import handed_on

_SHORT = 40  # characters of numbers that are written where a step reads them


class Line(NamedTuple):
    """A definition: what is defined, a template in nodes, and names of nodes that hold in it alone."""

    name: str
    template: str
    nodes: tuple[Node, ...]
    names: Mapping[int, str] = MappingProxyType({})
    sign: str = "="
    bare: bool = True

    def text(self, writer: Shared) -> str:
        """The line."""
        texts = [writer.write(node, self.bare and self.sign == "=") for node in self.nodes]
        return f"{self.name} {self.sign} {re.sub(r'{([0-9]+)}', lambda hole: texts[int(hole[1])], self.template)}"


def until_over(draw: Node, count: int) -> tuple[str, tuple[Node, ...]]:
    """Where a draw is none that comes after the end of its loop, in a template for more nodes than so many."""
    live = going_on(draw)
    return ("", ()) if live is None else (f", where {{{count}}}", (live,))


def of_cost(name: str, node: Node) -> Line:
    """What a cost is: the sum of the elements of what it was declared as."""
    return Line(name, "sum({0})" if node.ndim else "{0}", (node,), bare=False)


class Steps:
    """A loop: names of what a step reads and draws, and definitions of its carries.

    Nodes of its body, which may be in the bodies of loops around it, are shown over leaves of its own.

    Parameters
    ----------
    scan : Node
    loops : Loops
    around : Steps, optional
        The loop in whose steps it is.
    """

    def __init__(self, scan: Node, loops: Loops, around: Steps | None = None):
        self.scan, self.body, self.around, self._table, self._loops = scan, scan.attrs, around, loops.table, loops
        self._held = _dynamics(scan)  # an id means nothing when its node is gone
        self._opened, self._opening = opened, _ = opening(scan, *([] if around is None else [around.shown]))
        self._inits = opened.inits
        self.depth: int = 0 if around is None else around.depth + 1
        self.t = self._table.step(self.depth)
        self.prefix, self._own = loops.told_apart(self)
        self._named: dict[Node, str] = {}  # the user's nodes in it, as they are shown
        self.arrays: dict[str, Node] = {}  # what it runs along, if that is long and has no name of the user's
        self._read: dict[int, str] = {opened.step.id: self.t}
        for i, carry in enumerate(opened.carries):
            self._read[carry.id] = self.carry(i)
        for i, (x, array) in enumerate(zip(opened.xs, opened.arrays)):
            self._read[x.id] = self._along(i, array)
        order = topological(self.body.outputs)
        self._read |= {self.shown(n).id: self._draw(n) for n in order if n.op is sample_op}
        for n in order:
            if n.op is out_op:
                self._read[self.shown(n).id] = loops.left(n, self)

    @property
    def names(self) -> dict[int, str]:
        """What a step reads, by the ids of nodes as they are shown."""
        return {**self.outside, **self._read}

    @property
    def outside(self) -> dict[int, str]:
        """What the steps of loops around it read, and what they are called that the user has named there."""
        around = self.around
        return {} if around is None else {**around.names, **{n.id: name for n, name in around._named.items()}}

    def shown(self, node: Node) -> Node:
        """A node of the body over the leaves that have names."""
        return self._opening(node)

    def within(self, scan: Node) -> Steps:
        """A loop in the steps of this one, as its body has it."""
        return self._loops.steps(scan, self)

    @property
    def chain(self) -> list[Steps]:
        """The loops around it, outer ones first, and itself."""
        return [*(self.around.chain if self.around else []), self]

    @cached_property
    def dynamics(self) -> tuple[int, ...]:
        """What identifies it among loops with the same ones around."""
        return _ids(self._held)

    @property
    def words(self) -> str:
        """A step of it, and of those around it."""
        return self.t if self.around is None else f"{self.t} of each step {self.around.words}"

    def _along(self, i: int, array: Node) -> str:
        """What a step sees of an array."""
        if array.is_const and np.array_equal(array.attrs.array, np.arange(self.body.length)):
            return self.t
        text = name_of(array) or (numbers(array.attrs.array) if array.is_const else "")
        if array.id in self.outside:
            return f"{self.outside[array.id]}[{self.t}]"
        if not text or len(text) > _SHORT:
            text = self._table.clear(f"{self.prefix}xs_{i}")
            self.arrays[text] = array
        return f"{text}[{self.t}]"

    def at(self, name: str, step: str | int) -> str:
        """A name in a step of this loop, and in a typical one of those around it."""
        return self._table.at(name, step, self.depth)

    def _draw(self, n: Node) -> str:
        return self.at(name_of(n) or "", self.t)

    def _step(self, by: int) -> str:
        by = -by if self.body.reverse else by
        return f"{self.t}{by:+d}" if by else self.t

    def carry(self, i: int) -> str:
        """What the carry is called as a step begins: a draw of the step before, if it is one."""
        new = self.body.new_carries[i]
        if new.op is sample_op:
            return self.at(name_of(new) or "", self._step(-1))
        return self.at(self.carried_as(i), self.t)

    def carried_as(self, i: int) -> str:
        """What the carry is called, without a step."""
        called = self._table.unlike(self.body.carry_name(i))
        return self._table.clear(called if called in self._own else f"{self.prefix}{called}")

    def last(self, i: int) -> str:
        """What it is called after the loop."""
        new = self.body.new_carries[i]
        end = 0 if self.body.reverse else self.body.length - 1
        if new.op is sample_op:
            return self.at(name_of(new) or "", end)
        return self.at(self.carried_as(i), -1 if self.body.reverse else self.body.length)

    def inside(self, nodes: Sequence[Node], themselves: bool = False) -> tuple[tuple[Node, ...], dict[int, str]]:
        """Nodes of the body as they are shown, and the names in them; of these nodes `themselves` too."""
        new = tuple(map(self.shown, nodes))
        carry_over(nodes, self._opening)
        own = set() if themselves else {n.id for n in new}
        named = {n.id: name for n, name in self._named.items() if n.id not in own}
        drawn = {self.shown(n).id: self._draw(n) for n in topological(nodes) if n.op is sample_op}  # in this loop
        return new, {**self.names, **drawn, **named}

    def in_place_of(self, other: Steps, node: Node) -> Node:
        """A node of the body as it is shown in the steps of a loop that this one, rewritten, stands for."""
        mine, theirs = self._opened, other._opened
        leaves = dict(zip((mine.step, *mine.carries), (theirs.step, *theirs.carries)))
        leaves |= {x: y for x, a in zip(mine.xs, mine.arrays) for y, b in zip(theirs.xs, theirs.arrays) if a is b}
        return substitute([self.shown(node)], leaves)[0]

    def call(self, name: str, node: Node) -> None:
        """Give a node of the body a name of the user's, unless it is a draw, a leaf or a number."""
        (inner,), _ = self.inside((node,))
        if (inner.args or (inner.is_const and inner.ndim)) and inner.op is not sample_op:
            self._named.setdefault(inner, self.indexed(name, inner))

    def indexed(self, name: str, node: Node) -> str:
        """A name in a typical step; what is the same in all of them has none."""
        return name if node.is_const else self.at(name, self.t)

    def read(self, nodes: Sequence[Node]) -> set[int]:
        """The carries that nodes of the body are made of, in this step or through others."""
        found: set[int] = set()
        waiting = list(nodes)
        place = {c.id: i for i, c in enumerate(self.body.carries)}
        while waiting:
            for n in topological([waiting.pop()]):
                i = place.get(n.id)
                if i is not None and i not in found:
                    found.add(i)
                    waiting.append(self.body.new_carries[i])
        return found

    def carried(self, i: int) -> Iterator[Line]:
        """How a carry begins, and what a step makes of it."""
        first = self.body.length - 1 if self.body.reverse else 0
        if self.body.new_carries[i].op is sample_op:
            before = self.body.length if self.body.reverse else -1
            name = name_of(self.body.new_carries[i]) or ""
            yield Line(self.at(name, before), "{0}", (self._inits[i],), self.outside)
            return
        yield Line(self.at(self.carried_as(i), first), "{0}", (self._inits[i],), self.outside)
        nodes, names = self.inside((self.body.new_carries[i],), themselves=True)
        yield Line(self.at(self.carried_as(i), self._step(1)), "{0}", nodes, names)


class Loops:
    """The loops of some nodes: those with the same steps are one, whatever else they put out.

    Parameters
    ----------
    order : sequence of Node
    table : Names
    """

    def __init__(self, order: Sequence[Node], table: Names):
        self.table = table
        self._prefixes: dict[tuple, tuple[str, Set[str]]] = {}
        self._known: dict[tuple, Steps] = {}
        self._others: dict[tuple, str] = {}
        self.last: dict[int, str] = {}  # what is read of a loop at its end, and all that no name is for, by id
        self.unnamed: dict[str, tuple[Steps, Node]] = {}  # the latter: the loop, and the node of its body
        for n in order:
            if n.op is out_op:
                self.last[n.id] = self.left(n)

    def steps(self, scan: Node, around: Steps | None = None) -> Steps:
        """The loop, as it is called; one that is in the steps of another, as the body of that has it."""
        key = (scan.id, around)
        if key not in self._known:
            self._known[key] = steps = Steps(scan, self, around)
            for name in self.table.graph.per_step:
                at, inner = self._below(self.table.graph.nodes[name])
                if [_ids(_dynamics(one)) for one in at] == [s.dynamics for s in steps.chain]:
                    steps.call(name, inner)
        return self._known[key]

    @property
    def known(self) -> list[Steps]:
        """All loops so far."""
        return [*self._known.values()]

    def of_output(self, node: Node) -> tuple[Steps, Node]:
        """Of what loops put out step by step: the innermost of them, and the node of its body."""
        scans, inner = self._below(node)
        return self.of_scans(scans), inner

    def of_scans(self, scans: Sequence[Node]) -> Steps:
        """The innermost of loops that are in each other, outer ones first."""
        steps = self.steps(scans[0])
        for scan in scans[1:]:
            steps = steps.within(scan)
        return steps

    def _below(self, node: Node) -> tuple[list[Node], Node]:
        """The loops that put a node out, outer ones first, and the node of the innermost one's body."""
        scans = []
        while stacked(node):
            scans.append(node.args[0])
            node = of_step(node)
        return scans, node

    def told_apart(self, steps: Steps) -> tuple[str, Set[str]]:
        """What stands before the names of a loop's carries, and before which of the user's it need not.

        It need not before those that no other loop inside of as many has: in a loop inside of it they have more steps.
        """
        key = tuple(s.dynamics for s in steps.chain)
        if key not in self._prefixes:
            number = len(self._prefixes) + 1
            names = {self.table.unlike(name) for name in steps.body.called if name}
            there = [own for chain, (_, own) in self._prefixes.items() if len(chain) == len(key)]
            self._prefixes[key] = f"loop{number}_" if number > 1 else "", names.difference(*there)
        return self._prefixes[key]

    def arrays(self, text: str) -> Iterator[tuple[str, str]]:
        """The arrays that a text says are read step by step, and that only loops have a name for."""
        found = {name: (array, steps) for steps in self.known for name, array in steps.arrays.items()}
        for name, (array, steps) in found.items():
            if mentions(text, name):
                yield name, Shared([array], {**self.last, **steps.outside}).write(array, True)

    def carried(self, text: str) -> Iterator[Line]:
        """How the carries that a text mentions begin, and what a step makes of them."""
        for steps in self.known:
            for i in range(len(steps.body.carries)):
                if steps.body.new_carries[i].op is not sample_op and mentions(text, steps.carry(i).partition("[")[0]):
                    yield from steps.carried(i)

    def lettered(self, text: str) -> Iterator[str]:
        """What the letters of steps are, where a text has them."""
        t = self.table.own("t")
        if not re.search(rf"\[:?{re.escape(t)}[\]:+,-]", text):
            return
        for depth in range(max(steps.depth for steps in self._known.values()) + 1):
            lengths = {steps.body.length for steps in self._known.values() if steps.depth == depth}
            which = "the loop" if not depth else "the loop inside"
            which = f"{which}, 0 to {lengths.pop() - 1}" if len(lengths) == 1 else "its loop"
            letter, said = self.table.step(depth), f"; {self.table.own('L')} sums over them all"
            if depth:  # its steps are those of all the loops together
                on = re.search(rf", (:{letter}|{letter}(\+1)?:)", text)
                said = f"; those before or after it are in other steps {self.table.step(depth - 1)} too" if on else ""
            yield f"{letter}: a step of {which}{said}"

    def left(self, n: Node, around: Steps | None = None) -> str:
        """What a loop leaves, or puts out, is called outside of it."""
        steps = self.steps(n.args[0], around)
        if not stacked(n):
            return steps.last(n.attrs)
        scans, inner = self._below(n)
        for scan in scans[1:]:
            steps = steps.within(scan)
        name = name_of(n) or (steps.at(name_of(inner) or "", steps.t) if inner.op is sample_op else None)
        if name is None:
            nodes, names = steps.inside((inner,))
            noise = {n.id: self.table.text(self.table.noise(n)) for n in topological(nodes) if is_noise(n)}
            written = Shared(nodes, {**names, **noise}).write(nodes[0])
            if len(written) <= _SHORT:  # what it is, in its place
                return written
            key = steps.prefix, written
            name = self._others.setdefault(key, self.table.clear(f"y{len(self._others) + 1}"))
            self.unnamed[name] = steps, inner
            return steps.indexed(name, inner)
        return name


def mentions(text: str, name: str) -> bool:
    """Whether a name stands in a text."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _dynamics(scan: Node) -> tuple[Node, ...]:
    """What loops with the same steps have in common."""
    return (*scan.args[: len(scan.attrs.carries)], *handed_on(scan.attrs))


def _ids(nodes: Sequence[Node]) -> tuple[int, ...]:
    return tuple(n.id for n in nodes)

"""Steps of loops as text: ``h[t]``, ``x[t]``, and carries ``carry_0[t]`` with what they begin with and turn into."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from scg.export.names import Names
from scg.export.noise_shown import is_noise
from scg.ir.node import Node
from scg.ir.printer import name_of, numbers
from scg.ir.said import carry_over
from scg.ir.sharing import Shared
from scg.ir.traverse import Substitution, topological
from scg.ops.randomness import sample_op
from scg.ops.scan import of_step, out_op, split, stacked
from scg.ops.termination import going_on

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

    Parameters
    ----------
    scan : Node
    prefix : str
        Tells the carries of several loops apart.
    table : Names
    """

    def __init__(self, scan: Node, prefix: str, table: Names):
        self.scan, self.body, self.prefix, self._table = scan, scan.attrs, prefix, table
        self.t = table.own("t")
        inits, consts, arrays = split(scan)
        self._inits = inits
        self._outer = dict(zip(self.body.consts, consts))
        self._named: dict[Node, str] = {}  # the user's nodes in it, over outer nodes
        self.arrays: dict[str, Node] = {}  # what it runs along, if that is long and has no name of the user's
        self.names: dict[int, str] = {self.body.step.id: self.t}
        for i, carry in enumerate(self.body.carries):
            self.names[carry.id] = self.carry(i)
        for i, (x, array) in enumerate(zip(self.body.xs, arrays)):
            self.names[x.id] = self._along(i, array)
        self.names |= {n.id: self._draw(n) for n in topological(self.body.outputs) if n.op is sample_op}

    def _along(self, i: int, array: Node) -> str:
        """What a step sees of an array."""
        if array.is_const and np.array_equal(array.attrs.array, np.arange(self.body.length)):
            return self.t
        text = name_of(array) or (numbers(array.attrs.array) if array.is_const else "")
        if not text or len(text) > _SHORT:
            text = self._table.clear(f"{self.prefix}xs_{i}")
            self.arrays[text] = array
        return f"{text}[{self.t}]"

    def _draw(self, n: Node) -> str:
        return f"{name_of(n)}[{self.t}]"

    def _step(self, by: int) -> str:
        by = -by if self.body.reverse else by
        return f"{self.t}{by:+d}" if by else self.t

    def carry(self, i: int) -> str:
        """What the carry is called as a step begins: a draw of the step before, if it is one."""
        new = self.body.new_carries[i]
        if new.op is sample_op:
            return f"{name_of(new)}[{self._step(-1)}]"
        return f"{self._carry(i)}[{self.t}]"

    def carried_as(self, i: int) -> str:
        """What the carry is called, without a step."""
        return self._carry(i)

    def _carry(self, i: int) -> str:
        return self._table.clear(f"{self.prefix}carry_{i}")

    def last(self, i: int) -> str:
        """What it is called after the loop."""
        new = self.body.new_carries[i]
        end = 0 if self.body.reverse else self.body.length - 1
        if new.op is sample_op:
            return f"{name_of(new)}[{end}]"
        return f"{self._carry(i)}[{-1 if self.body.reverse else self.body.length}]"

    def inside(self, nodes: Sequence[Node], themselves: bool = False) -> tuple[tuple[Node, ...], dict[int, str]]:
        """Nodes of the body over outer nodes, and the names in them; of these nodes `themselves` too."""
        replaced = Substitution(self._outer)
        new = tuple(map(replaced, nodes))
        carry_over(nodes, replaced)
        own = set() if themselves else {n.id for n in new}
        named = {n.id: name for n, name in self._named.items() if n.id not in own}
        drawn = {replaced(n).id: self._draw(n) for n in topological(nodes) if n.op is sample_op}  # in this loop
        return new, {**self.names, **drawn, **named}

    def call(self, name: str, node: Node) -> None:
        """Give a node of the body a name of the user's, unless it is a draw, a leaf or a number."""
        (inner,), _ = self.inside((node,))
        if (inner.args or (inner.is_const and inner.ndim)) and inner.op is not sample_op:
            self._named.setdefault(inner, self.indexed(name, inner))

    def indexed(self, name: str, node: Node) -> str:
        """A name in a typical step; what is the same in all of them has none."""
        return name if node.is_const else f"{name}[{self.t}]"

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
            yield Line(f"{name_of(self.body.new_carries[i])}[{before}]", "{0}", (self._inits[i],))
            return
        yield Line(f"{self._carry(i)}[{first}]", "{0}", (self._inits[i],))
        nodes, names = self.inside((self.body.new_carries[i],), themselves=True)
        yield Line(f"{self._carry(i)}[{self._step(1)}]", "{0}", nodes, names)


class Loops:
    """The loops of some nodes: those with the same steps are one, whatever else they put out.

    Parameters
    ----------
    order : sequence of Node
    table : Names
    """

    def __init__(self, order: Sequence[Node], table: Names):
        self._table = table
        self._prefixes: dict[tuple, str] = {}
        self._known: dict[int, Steps] = {}
        self._others: dict[tuple, str] = {}
        self.last: dict[int, str] = {}  # what is read of a loop at its end, and all that no name is for, by id
        self.unnamed: dict[str, Node] = {}  # the latter
        for n in order:
            if n.op is out_op:
                self.last[n.id] = self._name(n)

    def steps(self, scan: Node) -> Steps:
        """The loop, as it is called."""
        if scan.id not in self._known:
            key = _dynamics(scan)
            number = len(self._prefixes) + 1
            prefix = self._prefixes.setdefault(key, f"loop{number}_" if number > 1 else "")
            self._known[scan.id] = steps = Steps(scan, prefix, self._table)
            for name in self._table.graph.per_step:
                node = self._table.graph.nodes[name]
                if stacked(node) and _dynamics(node.args[0]) == key:
                    steps.call(name, of_step(node))
        return self._known[scan.id]

    def arrays(self, text: str) -> Iterator[tuple[str, str]]:
        """The arrays that a text says are read step by step, and that only loops have a name for."""
        found = {name: array for steps in self._known.values() for name, array in steps.arrays.items()}
        for name, array in found.items():
            if mentions(text, name):
                yield name, Shared([array], self.last).write(array, True)

    def carried(self, text: str) -> Iterator[Line]:
        """How the carries that a text mentions begin, and what a step makes of them."""
        for steps in self._known.values():
            for i in range(len(steps.body.carries)):
                if steps.body.new_carries[i].op is not sample_op and mentions(text, steps.carry(i).partition("[")[0]):
                    yield from steps.carried(i)

    def lettered(self, text: str) -> Iterator[str]:
        """What the letter of steps is, where a text has it."""
        t = self._table.own("t")
        if re.search(rf"\[:?{re.escape(t)}[\]:+-]", text):
            lengths = {steps.body.length for steps in self._known.values()}
            which = f"the loop, 0 to {lengths.pop() - 1}" if len(lengths) == 1 else "its loop"
            yield f"{t}: a step of {which}; {self._table.own('L')} sums over them all"

    def _name(self, n: Node) -> str:
        steps = self.steps(n.args[0])
        if not stacked(n):
            return steps.last(n.attrs)
        inner = of_step(n)
        name = name_of(n) or (f"{name_of(inner)}[{steps.t}]" if inner.op is sample_op else None)
        if name is None:
            nodes, names = steps.inside((inner,))
            noise = {n.id: self._table.text(self._table.noise(n)) for n in topological(nodes) if is_noise(n)}
            written = Shared(nodes, {**names, **noise}).write(nodes[0])
            if len(written) <= _SHORT:  # what it is, in its place
                return written
            key = (steps.prefix, *(m.id for m in nodes))
            name = self._others.setdefault(key, self._table.clear(f"y{len(self._others) + 1}"))
            self.unnamed[name] = n
            return steps.indexed(name, inner)
        return name


def mentions(text: str, name: str) -> bool:
    """Whether a name stands in a text."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _dynamics(scan: Node) -> tuple[int, ...]:
    """What loops with the same steps have in common."""
    return tuple(n.id for n in (*scan.args[: len(scan.attrs.carries)], *scan.attrs.new_carries))

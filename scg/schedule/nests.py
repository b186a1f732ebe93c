"""Which nodes get buffers, and which share a loop nest.

A node needs a buffer if it is a reduction, is drawn, is wanted, or if recomputing it where it is used would cost more
than storing it. Nodes with buffers that run over the same domain share a nest where their dependences allow it: what
one computes at a position the next uses from a register.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.measure import event_to_axis_op, leave_one_out_op
from scg.ops.randomness import uniform_op
from scg.ops.scan import out_op, scan_op
from scg.schedule.domains import UNROLLED, Domain, domain_of, inlined, nest_domain, own_loops
from scg.schedule.rules import NONE, rule_of
from scg.schedule.scalars import is_view
from scg.schedule.tables import LONGEST, weight_of

RECOMPUTED = 6  # what two nests over the same groups rather compute twice than store: so many cheap operations
IN_LANES = 16  # what rather is computed in all lanes of a row than once and spread: so many
FOLDED = 1.5  # how many times as long a nest is by its nodes as it may be when what is known is put in
SAVED = 4  # loops are planned where a nest written out would be a table, of more than so many times as many statements
MOST_ROUNDS = 20  # of looking for what need not be stored: a chain could take as many as it has nodes


@dataclass
class Step:
    """A loop nest over a domain with its roots and sinks, or (`domain` None) one special node.

    An unrolled nest has a domain without worlds and events: every element of its roots has statements of its own.
    A grouped one stands for nests over groups: one for each of `levels`, the leave-one-out means that are computed
    where they are used, by how many others stand below them, and one for the sinks.
    """

    domain: Domain | None
    roots: list[Node] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)
    key: tuple | None = None
    levels: list[list[Node]] = field(default_factory=list)

    @property
    def grouped(self) -> bool:
        """Whether it sums over groups."""
        return self.key is not None and self.key[0] == "grouped"

    @property
    def unrolled(self) -> bool:
        """Whether elements are written out."""
        return self.key is not None and self.key[0] == "unrolled"


class GroupSum(NamedTuple):
    """Where sums by group go: the place of the first element in the vector of means, and whether moments are kept."""

    first: int
    moments: bool


class Sink(NamedTuple):
    """A node whose elements are also written elsewhere: ``write(nest, position, value)``, over a domain.

    `last` sinks are written when everything in the nest has been read: they may overwrite what it reads. Sinks that
    `count` must not see the lanes that pad a tile. What has `sums` is not written but summed by group.
    """

    node: Node
    domain: Domain
    write: Callable | None = None
    last: bool = False
    counts: bool = False
    sums: GroupSum | None = None


def free(node: Node) -> bool:
    """Whether a node is read in place: a leaf, a literal, or one whose numbers are those of worlds."""
    return node.op.kind == "leaf" or node.kind == "noise" or (node.op is event_to_axis_op and node.args[0].is_const)


def picked_from(node: Node) -> list[Node]:
    """The arguments of which a node reads elements that others of its arguments name."""
    return [a for i, a in enumerate(node.args) if i not in node.op.reads] if node.op.reads else []


def of_a_loop(node: Node) -> bool:
    """Whether a node is a scan or what one puts out: its arguments are not read where it is."""
    return node.op is scan_op or node.op is out_op


def key_of(domain: Domain, node: Node | None = None, most: int = UNROLLED) -> tuple:
    """What nests must have in common to become one, where so many elements are written out at most."""
    rule = NONE if node is None else rule_of(node)
    if domain.elements <= most and rule.reduction is None:
        return ("unrolled", domain.vector)
    return ("looped", domain, node.id if node is not None and rule.space is not None else None)


class Planner:
    """Buffers and nests of one scope.

    Parameters
    ----------
    roots : sequence of Node
        What the scope must compute.
    outside : callable
        ``outside(node) -> bool``: whether a node is computed elsewhere.
    shared : bool
        Whether rows are an outer loop.
    sinks : sequence of Sink
        What is written elsewhere besides.
    filled : callable
        ``filled(uniform) -> bool``: whether it is compared as it is made, and never stored.
    spreads : bool
        Whether what varies by row is spread over lanes where these read it.
    most : int
        A node of at most so many elements is written out element by element.
    """

    def __init__(self, roots: Sequence[Node], outside: Callable[[Node], bool], shared: bool,
                 sinks: Sequence[Sink] = (), filled: Callable[[Node], bool] = lambda uniform: False,
                 spreads: bool = False, most: int = UNROLLED):
        self.shared, self.outside, self.sinks, self.filled, self.spreads = shared, outside, sinks, filled, spreads
        self.most = most
        self.order = topological([*roots, *(s.node for s in sinks)], outside)
        self.buffered: dict[int, Node] = {}
        self._wanted(roots)
        self._needed_by_ops()
        self._cheaper_stored()
        self.steps = self._place()
        rounds = 0
        while self._shared_between_nests(rounds < MOST_ROUNDS):
            rounds += 1
            self.steps = self._place()
        while self._means_outside_groups():
            self.steps = self._place()

    def better_in_loops(self) -> bool:
        """Whether some nest written out would be a long table of what are few statements in loops."""
        return not any(s.last for s in self.sinks) and any(map(self._is_long, self.steps))

    def _is_long(self, step: Step) -> bool:
        """Whether a nest would be a table of many more statements than there are in loops."""
        if not step.unrolled:
            return False
        written = looped = 0
        for n in [*step.roots, *self._computed_by([*step.roots, *(s.node for s in step.sinks)])]:
            each = weight_of(n.op) if n.op.kind == "elementwise" else 1
            added_up = nest_domain(n, self.shared).elements if self._inlined_here(n) else 0  # each a product and a sum
            written += each * domain_of(n, self.shared).elements + 2 * added_up
            looped += each
        return written > max(FOLDED * LONGEST, SAVED * looped)

    def _inlined_here(self, n: Node) -> bool:
        """Whether a node is a reduction or running sum that is written out where it is used."""
        return inlined(n, self.shared, self.most)

    def _mark(self, node: Node) -> None:
        while node.op.transparent:
            node = node.args[0]
        if not free(node) and not of_a_loop(node) and not self.outside(node):
            self.buffered[node.id] = node
            if node.op is leave_one_out_op:
                self._mark(node.args[0])

    def _wanted(self, roots: Sequence[Node]) -> None:
        for root in roots:
            self._mark(root)

    def _needed_by_ops(self) -> None:
        for n in self.order:
            rule = rule_of(n)
            if n.op is leave_one_out_op:
                if not self._fits_groups(n):
                    self._mark(n)
            elif n.op is uniform_op and self.filled(n):
                continue
            elif (rule.statements or rule.reduction) and not self._inlined_here(n):
                self.buffered[n.id] = n
            for a in rule.stored(n):
                self._mark(a)
            for a in picked_from(n):  # their elements are picked anywhere
                if a.op.kind != "leaf":
                    self._mark(a)

    def _fits_groups(self, n: Node) -> bool:
        """Whether a leave-one-out mean may be computed where it is used, in nests over groups."""
        domain = domain_of(n, self.shared)
        return any(s.sums for s in self.sinks) and domain.vector == "lane" and domain.elements <= UNROLLED

    def _computed(self, n: Node) -> bool:
        """Whether the node's elements cost something, unlike those of a view."""
        return n.op.kind == "elementwise" or n.op is leave_one_out_op or self._inlined_here(n)

    def _cheaper_stored(self) -> None:
        """Arguments that would be recomputed for every element of a larger domain."""
        for n in self.order:
            if free(n) or of_a_loop(n):
                continue
            size = self._size(n)
            for a in n.args:
                inner = a
                while is_view(inner) and inner.args and not self.outside(inner):
                    inner = inner.args[0]
                fewer = self._size(inner, self._inlined_here(inner)) < size and size[1] > self.most
                if self._computed(inner) and (fewer or self._size(inner)[0] < size[0]) and not self._lanes(inner, size):
                    self._mark(inner)

    def _lanes(self, n: Node, size: tuple[int, int]) -> bool:
        """Whether a few operations on what one node has by row take less time in lanes than in a nest over rows."""
        if not self.spreads or size[0] != 2 or self._size(n) != (1, size[1]) or self._cost(n, IN_LANES) > IN_LANES:
            return False
        known = lambda m: m is not n and (free(m) or m.id in self.buffered or self.outside(m))
        return len({a.id for m in topological([n], known) for a in m.args if known(a) and self._size(a)[0] == 1}) <= 1

    def _size(self, n: Node, itself: bool = False) -> tuple[int, int]:
        domain = (domain_of if itself else nest_domain)(n, self.shared)
        return (0 if domain.vector is None else 1 if domain.vector == "row" else 2, domain.elements)

    # --- nests ------------------------------------------------------------------------------------------------------
    def _place(self) -> list[Step]:
        steps: list[Step] = []
        read = _Read(self)
        for n in self.order:
            if n.id in self.buffered:
                domain = None if own_loops(n, self.shared, self.most) else self._nest_of(n)
                key = None if domain is None else key_of(domain, None if self._inlined_here(n) else n, self.most)
                rule = rule_of(n)
                aligned = n.op.kind == "elementwise" or (rule.reduction is not None and rule.space is None)
                low = read.earliest(n.args, aligned, key, steps, picked_from(n))
                self._join(steps, low, domain, key).roots.append(n)
                read.put(n, self._where)
            else:
                read.put(n)
        for sink in self.sinks:
            key = ("grouped",) if sink.sums else key_of(sink.domain)
            low = read.earliest([sink.node], True, key, steps)
            if sink.last:
                low = max(low, len(steps) - 1)
            self._join(steps, low, sink.domain, key).sinks.append(sink)
        for step in steps:
            if step.grouped:
                step.levels = self._levels(step)
        return steps

    def _levels(self, step: Step) -> list[list[Node]]:
        """The leave-one-out means that a grouped step computes where it uses them, innermost first."""
        inside: dict[int, Node] = {}
        for sink in step.sinks:
            inside.update((n.id, n) for n in self._inlined(sink.node) if n.op is leave_one_out_op)
        levels: list[list[Node]] = []
        depth: dict[int, int] = {}
        for n in self.order:
            if n.id in inside:
                depth[n.id] = 1 + max((depth.get(m.id, -1) for m in self._inlined(n.args[0])), default=-1)
                levels += [[] for _ in range(depth[n.id] + 1 - len(levels))]
                levels[depth[n.id]].append(n)
        return levels

    def _nest_of(self, n: Node) -> Domain:
        return domain_of(n, self.shared) if self._inlined_here(n) else nest_domain(n, self.shared)

    def _join(self, steps: list[Step], low: int, domain: Domain | None, key: tuple | None) -> Step:
        """The first nest from `low` on that fits, or a new one at the end."""
        found = next((i for i in range(max(low, 0), len(steps)) if key is not None and steps[i].key == key), None)
        if found is None:
            found = len(steps)
            if key is not None and key[0] == "unrolled" and domain is not None:
                domain = Domain((), (), domain.vector)
            steps.append(Step(domain, key=key))
        self._where = found
        return steps[found]

    def _shared_between_nests(self, sparing: bool) -> bool:
        """Costly nodes that two nests would both compute get buffers; whether there were any.

        Sparing, only those that no other such node needs: when these are stored, what is below them may be computed
        once.
        """
        steps = self._steps_that_compute()
        within = {n.id for step in self.steps for n in self._computed_by([m.args[0] for lv in step.levels for m in lv])}
        costly = [n for n in self.order if n.id in steps and n.op is not leave_one_out_op and self._computed(n) and (
            (steps[n.id][1] is not None and self._cost(n) > 2) or (n.id in within and self._cost(n) > RECOMPUTED))]
        below = {m.id for m in self._walked([a for n in costly for a in n.args])}
        for n in costly:
            if not sparing or n.id not in below:
                self._mark(n)
        return bool(costly)

    def _steps_that_compute(self) -> dict[int, tuple[int, int | None]]:
        """Of each node that has no buffer one step that computes it, and another one, if there is one."""
        found: dict[int, tuple[int, int | None]] = {}

        def add(n: Node, step: int | None) -> None:
            if step is not None and n.id not in self.buffered and not self.outside(n):
                one, other = found.get(n.id) or (step, None)
                found[n.id] = (one, step if other is None and step != one else other)

        for i, step in enumerate(self.steps):
            for n in self._begun_from([*step.roots, *(s.node for s in step.sinks)]):
                add(n, i)
        for n in reversed(self.order):
            if n.id in found and not of_a_loop(n):
                for a in n.args:
                    for step_of_it in found[n.id]:
                        add(a, step_of_it)
        return found

    def _begun_from(self, roots: Sequence[Node]) -> list[Node]:
        return [n for root in roots for n in (root.args if root.id in self.buffered else (root,))]

    def _computed_by(self, roots: Sequence[Node]) -> list[Node]:
        return self._walked(self._begun_from(roots))

    def _means_outside_groups(self) -> bool:
        """Leave-one-out means that a nest over other things than groups would compute get buffers."""
        elsewhere = [r for step in self.steps if not step.grouped for r in [*step.roots, *(s.node for s in step.sinks)]]
        found = [n for n in self._computed_by(elsewhere) if n.op is leave_one_out_op]
        for n in found:
            self._mark(n)
        return bool(found)

    def _inlined(self, root: Node) -> list[Node]:
        return self._computed_by([root])

    def _walked(self, start: Sequence[Node]) -> list[Node]:
        """What is computed from some nodes down to what has buffers."""
        out, stack, seen = [], list(start), set()
        while stack:
            n = stack.pop()
            if n.id in seen or n.id in self.buffered or self.outside(n):
                continue
            seen.add(n.id)
            if self._computed(n):
                out.append(n)
            if not of_a_loop(n):
                stack.extend(n.args)
        return out

    def _cost(self, n: Node, most: int = RECOMPUTED) -> int:
        """How many cheap operations it takes, as far as it matters."""
        cost, stack, seen = 0, [n], set()
        while stack and cost <= most:
            m = stack.pop()
            if m.id in seen or (m is not n and m.id in self.buffered) or self.outside(m):
                continue
            seen.add(m.id)
            if m.op.kind == "elementwise":
                cost += m.op.work
            elif self._computed(m):
                cost += 4
            if not of_a_loop(m):
                stack.extend(m.args)
        return cost


class _Read:
    """What is read of the steps that are placed so far: by each node, the last of them.

    A nest may read what it computes itself, at the same position, or at any that is known where elements are written
    out; not what it picks. Only of the last step that it reads it matters
    whether that is this very nest, for it must stand behind all the others anyway.
    """

    def __init__(self, planner: Planner):
        self.planner = planner
        self._last: dict[int, int] = {}  # the last step that a node, or what it is computed from, has a buffer in
        self._picking: set[int] = set()  # what is computed of elements that are picked of that step's
        self._aligned: dict[Domain, dict[int, bool]] = {}

    def put(self, n: Node, step: int | None = None) -> None:
        """The next node in topological order, and the step that it has been placed in, if it has a buffer."""
        self._last[n.id] = last = self._of(n.args) if step is None else step
        if step is None and last >= 0 and self._picks(n.args, picked_from(n), last):
            self._picking.add(n.id)

    def _picks(self, read: Sequence[Node], picked: Sequence[Node], last: int) -> bool:
        """Whether what reads some nodes, and picks elements of some, picks those of a step."""
        return any(self._last.get(n.id, -1) == last for n in picked) or any(
            n.id in self._picking and self._last[n.id] == last for n in read)

    def _of(self, nodes: Iterable[Node]) -> int:
        return max([self._last.get(n.id, -1) for n in nodes], default=-1)

    def earliest(self, start: Sequence[Node], aligned: bool, key: tuple | None, steps: list[Step],
                 picked: Sequence[Node] = ()) -> int:
        """The first step that may compute what reads some nodes, `aligned` if it reads them at its own position.

        Of those that are `picked` it reads whatever elements others name.
        """
        last = self._of(start)
        if last < 0:
            return 0
        joined = key is not None and steps[last].key == key and not self._picks(start, picked, last)
        if joined and not steps[last].unrolled:
            same = key[1] if key is not None and key[0] == "looped" else None
            joined = aligned and all(self._at_the_same(n, same) for n in start if self._last.get(n.id, -1) == last)
        return last if joined else last + 1

    def _at_the_same(self, root: Node, same: Domain | None) -> bool:
        """Whether all that a node of a nest over that domain reads of its last step is read at the same position."""
        if same is None:
            return False
        known, waiting = self._aligned.setdefault(same, {}), [root]
        while waiting:
            n = waiting[-1]
            here = n.op.kind == "elementwise" and domain_of(n, self.planner.shared) == same
            read = [a for a in n.args if self._last.get(a.id, -1) == self._last[n.id]]
            if n.id in known or not here or n.id in self.planner.buffered:
                known.setdefault(n.id, here)
                waiting.pop()
            elif missing := [a for a in read if a.id not in known]:
                waiting += missing
            else:
                known[n.id] = all(known[a.id] for a in read)
                waiting.pop()
        return known[root.id]

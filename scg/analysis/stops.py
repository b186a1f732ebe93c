"""What the user's stopped gradients hide, and graphs that look through them.

A gradient is that of the expected cost as a function of its values, and ⊥x has the value of x. So where a parameter
moves x, and x moves a cost or the distribution of a site, what the estimator leaves out there is part of the gradient.
Nothing is hidden where ⊥ stands on constants and data, or on what a parameter moves through sites alone: their
estimators ask for values of the costs, which ⊥ leaves as they are.

The motion is followed as a derivative is, with ⊥ as the identity, and past jumps too where something random with a
density stands at them: x > ⊥θ moves in expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from scg.errors import in_a_row
from scg.ir.location import derived_from
from scg.ir.node import Node, make
from scg.ir.op import Smoothness
from scg.ir.traverse import rebuild, topological
from scg.ops.cancelling import either_op
from scg.ops.control import is_stop
from scg.ops.leaves import noise_op
from scg.ops.randomness import sample_op
from scg.ops.scan import out_op, scan_op

MOST_NAMED = 4  # stops that a verdict names

STILL, SMOOTHLY, IN_EXPECTATION = range(3)


class Motion(NamedTuple):
    """How a node moves with the parameters.

    Attributes
    ----------
    how : int
        Not along a path (`STILL`), along one that has a derivative, or behind a jump, in expectation only.
    has_density : bool
        Whether it is random with a density.
    stops : tuple of Node
        Stopped gradients on these paths.
    behind : tuple of Node
        Stopped gradients on the way to the distributions of the sites that it depends on.
    """

    how: int = STILL
    has_density: bool = False
    stops: tuple[Node, ...] = ()
    behind: tuple[Node, ...] = ()

    @property
    def hidden(self) -> tuple[Node, ...]:
        """Stopped gradients that hide part of how it moves."""
        return _united(self.stops, self.behind)


class Hidden(NamedTuple):
    """A stopped gradient that hides something, and the names of what moves what it stops."""

    stop: Node
    names: tuple[str, ...]


def has_stops(roots: Iterable[Node]) -> bool:
    """Whether there is one below the roots, in the bodies of scans too."""
    return any(is_stop(n) or (n.op is scan_op and has_stops(n.attrs.outputs)) for n in topological(roots))


def hiding(stops: Sequence[Hidden], names: Iterable[str]) -> str:
    """What these stopped gradients hide, in words, of how some names move it."""
    lines = lines_of(stops)
    moved = [f'"{name}"' for name in names if any(name in h.names for h in stops)]
    return (f"scg.stop_gradient at {in_a_row(lines)} hide{'s' if len(lines) == 1 else ''} part of how "
            f"{in_a_row(moved)} move{'s' if len(moved) == 1 else ''} it")


def lines_of(stops: Sequence[Hidden]) -> list[str]:
    """The user's lines that they stand on, in order."""
    return [*dict.fromkeys(map(str, sorted((h.stop.source for h in stops), key=lambda at: at or ("", 0))))]


def hidden(roots: Sequence[Node], sources: Mapping[str, Node],
           through: Callable[[Node], bool]) -> list[tuple[Hidden, ...]]:
    """For each root the stopped gradients that hide part of how the sources move it.

    Parameters
    ----------
    roots : sequence of Node
    sources : dict of str to Node
        What is differentiated with respect to, by name.
    through : callable
        ``through(sample node) -> bool``: whether a derivative flows through that site.
    """
    if not has_stops(roots):
        return [()] * len(roots)
    walk = _Walk(sources, through)
    known: dict[int, Motion] = {}
    walk.run(roots, known)
    found = [known[root.id].hidden[:MOST_NAMED] for root in roots]
    return [tuple(Hidden(stop, walk.names_at(stop)) for stop in stops) for stops in found]


class _Walk:
    """The analysis of one graph."""

    def __init__(self, sources: Mapping[str, Node], through: Callable[[Node], bool]):
        self.sources = {node.id: name for name, node in sources.items()}
        self.through = through
        self.moved: dict[int, set[str]] = {}  # names of the sources that move a node, by its id

    def names_at(self, stop: Node) -> tuple[str, ...]:
        """The sources that move what is stopped, in the order in which they were given."""
        return tuple(name for name in self.sources.values() if name in self.moved.get(stop.id, ()))

    def run(self, roots: Sequence[Node], known: dict[int, Motion]) -> None:
        for node in topological(roots):
            if node.id in known:
                continue
            if node.op is scan_op:
                known[node.id] = self._scan(node, known)  # type: ignore[assignment]
                continue
            motion = self._motion(node, known)
            names = set().union(*(self.moved.get(a.id, ()) for a in node.args)) if motion.how else set()
            if node.id in self.sources:
                motion = motion._replace(how=max(motion.how, SMOOTHLY))
                names.add(self.sources[node.id])
            self.moved[node.id] = names
            known[node.id] = motion

    def _motion(self, node: Node, known: dict) -> Motion:
        if node.op is out_op:
            return known[node.args[0].id][node.attrs]
        args = [known[a.id] for a in node.args]
        if node.op is sample_op:
            return self._sampled(node, args[:-1])
        behind = _united(*(m.behind for m in args))
        random = any(m.has_density for m in args)
        how = STILL
        stops: tuple[Node, ...] = ()
        for i, m in enumerate(args):
            passed = m.how
            if passed == SMOOTHLY and node.op.smooth_in(i) is Smoothness.DISCONTINUOUS:
                passed = IN_EXPECTATION if random else STILL
            if passed:
                how, stops = max(how, passed), _united(stops, m.stops)
        if is_stop(node) and how:
            stops = _united(stops, (node,))
        discrete = node.kind == "bool" or node.op.is_integral(node) == "always"
        return Motion(how, not discrete and (random or node.op is noise_op), stops, behind)

    def _sampled(self, node: Node, parameters: Sequence[Motion]) -> Motion:
        behind = _united(*(m.hidden for m in parameters))
        has_density = not node.attrs.family.support.integral
        if not self.through(node):
            return Motion(has_density=has_density, behind=behind)
        return Motion(max((m.how for m in parameters), default=STILL), has_density,
                      _united(*(m.stops for m in parameters)), behind)

    def _scan(self, node: Node, known: dict) -> tuple[Motion, ...]:
        body = node.attrs
        k = len(body.carries)
        leaves = (*body.carries, *body.consts, *body.xs)
        start = {leaf.id: known[a.id] for leaf, a in zip(leaves, node.args)}
        for leaf, a in zip(leaves, node.args):
            self.moved[leaf.id] = set(self.moved.get(a.id, ()))
        while True:
            inner = {**start, body.step.id: Motion()}
            self.run(body.outputs, inner)
            motions = tuple(inner[n.id] for n in body.outputs)
            wider = {c.id: _joined(start[c.id], m) for c, m in zip(body.carries, motions)}
            names = {c.id: self.moved[c.id] | self.moved[n.id] for c, n in zip(body.carries, body.new_carries)}
            if all(wider[c.id] == start[c.id] and names[c.id] == self.moved[c.id] for c in body.carries):
                self.moved[node.id] = set().union(*(self.moved[n.id] for n in body.outputs))
                return tuple(_joined(start[c.id], m) for c, m in zip(body.carries, motions)) + motions[k:]
            start.update(wider)
            self.moved.update(names)


def _united(*parts: tuple[Node, ...]) -> tuple[Node, ...]:
    """The first few of several tuples together, each once."""
    found = [p for p in parts if p]
    if len(found) < 2:
        return found[0] if found else ()
    return tuple(dict.fromkeys(n for part in found for n in part))[:MOST_NAMED + 1]


def _joined(a: Motion, b: Motion) -> Motion:
    return Motion(max(a.how, b.how), a.has_density or b.has_density, _united(a.stops, b.stops),
                  _united(a.behind, b.behind))


# --- looking through -------------------------------------------------------------------------------------------------
Seen = Callable[[Node], Node | None]


def looked_through(roots: Sequence[Node]) -> list[Node]:
    """The roots with x in the place of every ⊥x of the user's, in the bodies of scans too."""
    return _seen_as(roots, lambda n: n.args[0] if is_stop(n) else None)


def written_plainly(roots: Sequence[Node]) -> list[Node]:
    """The roots with every number that is computed in one of two ways in the plain one, in the bodies of scans too."""
    return _seen_as(roots, lambda n: n.args[2] if n.op is either_op else None)


def _seen_as(roots: Sequence[Node], seen: Seen) -> list[Node]:
    """The roots with one of their arguments in the place of some nodes."""
    memo: dict[int, Node] = {}
    for node in topological(roots):
        found = seen(node)
        memo[node.id] = _rebuilt(node, tuple(memo[a.id] for a in node.args), seen) if found is None else memo[found.id]
    return [memo[root.id] for root in roots]


def _rebuilt(node: Node, args: tuple[Node, ...], seen: Seen) -> Node:
    if node.op is scan_op:
        outputs = _seen_as(node.attrs.outputs, seen)
        if any(new is not old for new, old in zip(outputs, node.attrs.outputs)):
            with derived_from(node.source):
                node = make(node.op, node.args, node.attrs.with_outputs(outputs))
    return node if all(new is old for new, old in zip(args, node.args)) else rebuild(node, args)

"""Which draws of a site reach which elements of a node.

The graph is evaluated in sets of draws: what an element depends on is a set of steps of the site (a Python integer,
bit t for step t; of a site outside of loops there is bit 0 alone), an element made of others depends on the union of
theirs, and ops that move elements about move their sets. Where all elements of a node have one set, it is one integer.

Independence is a matter of words of noise, and no two sites of a graph draw the same words: a site is known by its name
here, also after the estimators of other sites have rewritten the node that the costs see. Stopping a gradient does not
stop dependence. A leave-one-out mean depends on the *other* replicates only.
"""

from __future__ import annotations

import math
from collections.abc import Container, Hashable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

import numpy as np

from scg.ir.draws import MOST_ELEMENTS, Draws, elementwise, moved, of_all, united, whole
from scg.ir.node import Node
from scg.ir.traverse import topological, unknown
from scg.ops.leaves import placeholder_op
from scg.ops.measure import leave_one_out_op
from scg.ops.randomness import sample_op
from scg.ops.scan import ScanBody, out_op, scan_op, split

MOST_STEPS = 1 << 16  # of a loop over arrays whose elements depend on other draws each


class Dependence:
    """Dependence on the draws of sites, of every node that is asked about.

    Parameters
    ----------
    *sites : str
        The draws of each have one bit, in this order.
    apart : bool
        Whether the draws of the steps of a loop have bits of their own, if there is one site.
    marks : array of int, optional
        If there is one site, the set that each element of it stands for, in the place of its bit.
    width : int
        Of how many bits these are.
    given : dict of Node to sets, optional
        What placeholders depend on, for nodes inside a step.
    """

    def __init__(self, *sites: str, apart: bool = False, marks: np.ndarray | None = None, width: int = 1,
                 given: Mapping[Node, Draws] | None = None):
        self.apart, self.width = apart, width
        self.bits = {name: 1 << i for i, name in enumerate(sites)}
        self._own: Mapping[str, Draws] = self.bits if marks is None else dict.fromkeys(sites, marks)
        self._known: dict[int, Draws] = {node.id: draws for node, draws in (given or {}).items()}
        self._first, self._at = self._own, 0  # the sets of a first step, and which step of all loops it is
        self._scans: dict[int, list[Draws]] = {}

    def __call__(self, node: Node) -> Draws:
        """The sets of draws that the elements of the node depend on."""
        for n in unknown([node], self._known):
            self._known[n.id] = self._of(n)
        return self._known[node.id]

    def any(self, node: Node) -> int:
        """The draws that some element of the node depends on."""
        return united(self(node))

    def on_its_own(self, node: Node) -> int | None:
        """A bit, one for each element, that reaches the node's element of its number (any that reaches a scalar)."""
        found = self(node)
        if not node.ndim:
            return _lowest(united(found)) if united(found) else None
        return next((i for i, draws in enumerate(whole(found, node).flat) if draws >> i & 1), None)

    def in_its_own_step(self, node: Node) -> bool:
        """Whether draws of a step reach some element of the same step, which is the index along the first dimension."""
        return any(united(draws) >> t & 1 for t, draws in enumerate(whole(self(node), node)))

    # --- one node ---------------------------------------------------------------------------------------------------
    def _of(self, n: Node) -> Draws:
        if n.op is scan_op:
            self._scans[n.id] = self._through(n)
            return reduce(or_, map(united, self._scans[n.id]), 0)
        if n.op is out_op:
            return self._scans[n.args[0].id][n.attrs]
        own = self._own.get(n.attrs.site, 0) if n.op is sample_op else 0
        return own | combined(n, [self._known[a.id] for a in n.args])

    # --- loops ------------------------------------------------------------------------------------------------------
    def _through(self, scan: Node) -> list[Draws]:
        """What the outputs of a scan depend on, by going through its steps until they repeat themselves."""
        body: ScanBody = scan.attrs
        inits, consts, arrays = ([self._known[a.id] for a in group] for group in split(scan))
        given = dict(zip((c.id for c in body.consts), consts))
        leaves = zip((*body.carries, *body.consts, *body.xs), (*inits, *consts, *arrays))
        begin = [leaf for leaf, draws in leaves if united(draws)]
        order = _reached(body, self.bits, begin)
        if not order and not begin:  # a placeholder can be an output itself: a cost of a step that reads nothing in it
            return [0] * len(body.outputs)
        steps = range(body.length - 1, -1, -1) if body.reverse else range(body.length)
        if self.apart and self.holds(scan):
            walk = self._each_step(body, given, order, inits, arrays, steps)
        elif body.length > MOST_STEPS or all(isinstance(a, int) for a in arrays):
            walk = self._alike(body, given, order, inits, [*map(united, arrays)])
        else:
            walk = self._each_step(body, given, order, inits, arrays, steps, known={})
        k = len(inits)
        stacked = [walk.stacked(k + i, body.length, y.shape, body.reverse) for i, y in enumerate(body.ys)]
        return [*walk.at(body.length - 1)[:k], *stacked]

    def _each_step(self, body: ScanBody, given: Mapping[int, Draws], order: Sequence[Node], inits: list[Draws],
                   arrays: list[Draws], steps: Sequence[int], known: dict[tuple, list[Draws]] | None = None) -> _Walk:
        """Every step's outputs; with `known`, those of a step that begins as one before did are not computed again."""
        carries = inits
        outputs: list[list[Draws]] = []
        for s in steps:
            along = [a if isinstance(a, int) else a[s] for a in arrays]
            begun = () if known is None else (*map(_key, carries), *map(_key, along))
            result = None if known is None else known.get(begun)
            if result is None:
                result = self._step(body, given, order, [*carries, *along], self._at * body.length + s)
                if known is not None:
                    known[begun] = result
            carries = result[: len(inits)]
            outputs.append(result)
        return _Walk(outputs, len(outputs))

    def _alike(self, body: ScanBody, given: Mapping[int, Draws], order: Sequence[Node], inits: list[Draws],
               arrays: list[Draws]) -> _Walk:
        """The outputs of steps that differ in what they begin with only, up to where that comes back."""
        carries = inits
        outputs: list[list[Draws]] = []
        begun: dict[Hashable, int] = {}
        while len(outputs) < body.length:
            state = (*map(_key, carries),)
            if state in begun:
                return _Walk(outputs, begun[state])
            begun[state] = len(outputs)
            result = self._step(body, given, order, [*carries, *arrays], self._at)
            carries = result[: len(inits)]
            outputs.append(result)
        return _Walk(outputs, len(outputs))

    def _step(self, body: ScanBody, given: Mapping[int, Draws], order: Sequence[Node], begin: Sequence[Draws],
              at: int) -> list[Draws]:
        known = {**given, **{leaf.id: draws for leaf, draws in zip((*body.carries, *body.xs), begin)}}
        return _Step(self, known, at).outputs(order, body.outputs)

    def holds(self, scan: Node) -> bool:
        """Whether one of the sites stands in the body of that scan."""
        return any(_draws(n, self.bits) for n in topological(scan.attrs.outputs))

    # --- paths ------------------------------------------------------------------------------------------------------
    def path(self, node: Node, step: int) -> list[Node]:
        """A path by which a draw, by its bit, reaches the node, from the sample to the node."""
        self(node)
        bit = 1 << step
        found = [node]
        while True:
            n = found[-1]
            if n.op is sample_op and n.attrs.site in self.bits:
                break
            if n.op is out_op:
                inside = _path_inside(n.args[0].attrs, n.args[0].attrs.outputs[n.attrs], self.bits)
                if inside:
                    found += inside
                    break
            after = next((a for a in n.args if united(self._known[a.id]) & bit), None)
            if after is None:
                break
            found.append(after)
        return [n for n in found[::-1] if n.op is not scan_op]


class _Walk(NamedTuple):
    """Outputs of steps in the order in which they run; those from `back` on are repeated for ever."""

    outputs: list[list[Draws]]
    back: int

    def at(self, i: int) -> list[Draws]:
        """The outputs of the i-th step that runs."""
        n = len(self.outputs)
        return self.outputs[i if i < n else self.back + (i - self.back) % (n - self.back)]

    def stacked(self, which: int, length: int, shape: tuple[int, ...], reverse: bool) -> Draws:
        """One output's sets along a new first dimension, or one set for all of them."""
        parts = [output[which] for output in self.outputs]
        if all(isinstance(p, int) and p == parts[0] for p in parts):
            return parts[0]
        if length * max(math.prod(shape), 1) > MOST_ELEMENTS and len(parts) < length:
            return reduce(or_, map(united, parts), 0)
        out = np.empty((length, *shape), dtype=object)
        period = len(parts) - self.back
        for i, part in enumerate(parts):
            out[i : i + 1 if i < self.back else length : max(period, 1)] = part
        return out[::-1] if reverse else out


class _Step(Dependence):
    """The body of a scan in one step, that of a number: apart, draws have bits that are so many places higher."""

    def __init__(self, outer: Dependence, known: Mapping[int, Draws], at: int):
        super().__init__(apart=outer.apart, width=outer.width)
        self.bits, self._at, self._first = outer.bits, at, outer._first
        shift = at * outer.width if outer.apart else 0
        self._own = {name: own << shift for name, own in outer._first.items()} if shift else outer._first
        self._known = dict(known)

    def outputs(self, order: Sequence[Node], outputs: Sequence[Node]) -> list[Draws]:
        """The outputs' draws, of nodes in an order in which those not listed depend on nothing."""
        for n in order:
            if n.id not in self._known:
                self._known[n.id] = self._inside(n)
        return [self._known.get(n.id, 0) for n in outputs]

    def _inside(self, n: Node) -> Draws:
        for a in n.args:
            self._known.setdefault(a.id, 0)
        return self._of(n)


def _draws(n: Node, sites: Container[str]) -> bool:
    """Whether the node is a draw of one of the sites, or a scan that holds one."""
    if n.op is scan_op:
        return any(_draws(inner, sites) for inner in topological(n.attrs.outputs))
    return n.op is sample_op and n.attrs.site in sites


def _reached(body: ScanBody, sites: Container[str], leaves: Sequence[Node]) -> list[Node]:
    """The nodes of a body that may depend on the sites, given those of its placeholders that do, arguments first."""
    order = topological(body.outputs)
    begin = [*leaves, *(n for n in order if _draws(n, sites))]
    within = body.downstream(begin)
    return [n for n in order if n.id in within and n.op is not placeholder_op]


def _path_inside(body: ScanBody, target: Node, sites: Container[str]) -> list[Node]:
    """From an output of a body back to a sample of the sites in it: in its step if it can, else through carries."""
    new = dict(zip((c.id for c in body.carries), body.new_carries))
    for through in (False, True):
        parent: dict[int, Node | None] = {target.id: None}
        waiting = [target]
        for n in waiting:  # grows as it is walked: breadth first
            inside: list[Node] = []
            if n.op is out_op and _draws(n.args[0], sites):  # of a loop in the loop
                inside = _path_inside(n.args[0].attrs, n.args[0].attrs.outputs[n.attrs], sites)
            if inside or (n.op is sample_op and n.attrs.site in sites):
                back = [] if inside else [n]
                up = parent[n.id]
                while up is not None:
                    back, up = [*back, up], parent[up.id]
                return [*back[::-1], *inside]
            nexts = [new[n.id]] if through and n.id in new else [a for a in n.args if n.op is not leave_one_out_op]
            for a in nexts:
                if a.id not in parent:
                    parent[a.id] = n
                    waiting.append(a)
    return []


# --- sets of draws ---------------------------------------------------------------------------------------------------
def _lowest(draws: int) -> int:
    return (draws & -draws).bit_length() - 1


def _key(draws: Draws) -> Hashable:
    """What two sets of draws have in common if they are equal."""
    return draws if isinstance(draws, int) else (draws.shape, *draws.flat)


def combined(n: Node, of: list[Draws]) -> Draws:
    """What a node depends on, from what its arguments depend on."""
    if not any(map(united, of)):
        return 0
    op = n.op
    moves = op.kind == "structural" and op.axes is None and op.moves and not op.reads
    rule = op.depends or (moved if moves else elementwise if op.kind == "elementwise" else None)
    found = of_all(of) if rule is None else rule(n, of)
    return found if isinstance(found, np.ndarray) and found.ndim else int(np.asarray(found)[()])

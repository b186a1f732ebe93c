"""Where elements of a node stay as they are, however what is differentiated moves.

An element stays where nothing that it is made of moves, and where what moves has no say: in a product with a 0 that
stays, in the branch that a choice leaves out. So a probability that is 0 by a mask is told from one that happens to be
0 and is on its way elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping, Sequence

import numpy as np

from scg.analysis.bounds import EndlessRanges, Ranges
from scg.analysis.facts import InsideAStep
from scg.analysis.infinities import Infinities
from scg.analysis.reals import Reals
from scg.ir.interval import Interval
from scg.ir.node import Node, as_real, constant, make
from scg.ir.op import Smoothness
from scg.ir.traverse import topological
from scg.ops.arithmetic import where_op
from scg.ops.control import held
from scg.ops.structure import broadcast_to


class Fixed:
    """Where the elements of nodes stay.

    Parameters
    ----------
    moves : callable
        ``moves(node) -> bool``: whether a derivative flows into a node.
    sources : container of int
        The ids of the nodes from which derivatives flow: these move, whatever they are made of.
    """

    def __init__(self, moves: Callable[[Node], bool], sources: Container[int]):
        self._moves, self._sources = moves, sources
        self._known: dict[int, Node | None] = {}

    def __call__(self, node: Node) -> Node | None:
        """A comparison that holds where an element stays; None if none does, for all that is known."""
        if not self._moves(node):
            return constant(True)
        for n in topological([node]):
            if n.id not in self._known:
                self._known[n.id] = self._of(n) if self._moves(n) else constant(True)
        return self._known[node.id]

    def _of(self, node: Node) -> Node | None:
        if node.id in self._sources:
            return None
        args = [self._known[a.id] for a in node.args]
        if node.op.kind != "elementwise":
            return None if node.op.chooses else self._rearranged(node, node.op.picked(node))
        if node.op is where_op:
            taken = (node.args[0], ~node.args[0])
            return _either(*(None if a is None else c & a for c, a in zip(taken, args[1:])))
        stays: Node | None = None
        for i, own in enumerate(args):
            if node.op.smooth_in(i) in (Smoothness.DISCONTINUOUS, Smoothness.BLOCKING):
                continue
            heeded = _either(own, self._ignored(node, i, args))
            if heeded is None:
                return None
            stays = heeded if stays is None else stays & heeded
        return stays

    def _rearranged(self, node: Node, moved: Sequence[int]) -> Node | None:
        """Where the elements that the op moves stay: masks, moved like them."""
        stays = {i: self._known[node.args[i].id] for i in moved}
        if all(m is None for m in stays.values()):
            return None
        args = [*node.args]
        for i, m in stays.items():
            args[i] = broadcast_to(as_real(constant(False) if m is None else m), args[i].shape)
        return make(node.op, tuple(args), node.attrs) != 0.0

    def _ignored(self, node: Node, position: int, args: list[Node | None]) -> Node | None:
        """Where the argument has no say, because of others that stay: 0 · x, −∞ + x."""
        others = [i for i in range(len(args)) if i != position]
        if not others or any(args[i] is None for i in others):
            return None
        if node.op.may_multiply(node) and all(Ranges()(node.args[i]).clear_of_zero for i in others):
            return None
        still = [held(a) if self._moves(a) else a for a in node.args]
        if node.op.is_linear(node):
            other = still[others[0]]
            found = None if Ranges()(other).finite else abs(other) == np.inf
        else:
            found = None if node.op.ignores is None else node.op.ignores(position, *still)
        for i in others:
            found = None if found is None else found & args[i]
        return found


def _either(a: Node | None, b: Node | None) -> Node | None:
    return b if a is None else a if b is None else a | b


def may_mask(dist, given: Mapping[str, Node]) -> bool:
    """Whether a distribution at these parameters may mask a value, for all that is certain of them."""
    return dist.may_mask({name: Reals()(node) for name, node in given.items()}, _within(given))


def is_masked(dist, given: Mapping[str, Node]) -> bool:
    """Whether a distribution may mask values though no call makes an infinity of what has none."""
    return dist.may_mask({name: not Infinities()(node) for name, node in given.items()}, _within(given))


def _within(given: Mapping[str, Node]) -> dict[str, Interval]:
    """Where parameters lie; what a step is handed may be infinite, where nobody says what it is handed."""
    found = {name: EndlessRanges()(node) for name, node in given.items()}
    endless = {name for name, x in found.items() if math.isinf(x.low) and InsideAStep()(given[name])}
    return {name: x._replace(low_open=False) if name in endless else x for name, x in found.items()}


def nowhere(node: Node) -> None:
    """Of whatever is not known to stay."""

"""Which nodes are differentiated, and where a jump stands in a derivative's way.

A node is *differentiated* if a derivative flows to it from a parameter (or from any other node that is asked about). If
a differentiated value enters an op where it is discontinuous, the almost-everywhere derivative misses the jump, and
everything below is *tainted* by that op, until a blocking op (a stopped gradient, a sample) makes a constant of it, or
`assume_continuous` vouches for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from scg.ir.node import Node
from scg.ir.op import Smoothness
from scg.ir.traverse import topological


class State(NamedTuple):
    """What is known of a node: whether a derivative flows to it, and the jump that taints it."""

    differentiated: bool = False
    jump: Node | None = None


_PLAIN = State()
Through = Callable[[Node], bool]


def flow(roots: Sequence[Node], sources: Iterable[Node], through: Through = lambda sample: False) -> dict[int, State]:
    """States of all nodes below the roots.

    Parameters
    ----------
    roots : sequence of Node
    sources : iterable of Node
        Where derivatives start; one may lie below another.
    through : callable
        ``through(sample node) -> bool``: whether a derivative flows through that site (it is reparameterised).
    """
    known: dict = {}
    _run(roots, known, through, frozenset(n.id for n in sources))
    return known


def _run(roots: Sequence[Node], known: dict, through: Through, sources: frozenset[int]) -> None:
    for node in topological(roots):
        if node.id in known:
            continue
        if node.op.name == "scan":
            known[node.id] = _scan(node, known, through, sources)
        else:
            state = _state(node, known, through)
            known[node.id] = State(True, state.jump) if node.id in sources else state


def _state(node: Node, known: dict, through: Through) -> State:
    if node.op.name == "out":
        return known[node.args[0].id][node.attrs]
    states = [known[a.id] for a in node.args]
    if node.op.name == "sample":
        if not through(node):
            return _PLAIN
        inner = states[:-1]
        return State(any(s.differentiated for s in inner), next((s.jump for s in inner if s.jump is not None), None))
    if node.op.name == "assume_continuous":
        return State(states[0].differentiated or states[0].jump is not None)
    differentiated, jump = False, None
    for i, s in enumerate(states):
        how = node.op.smooth_in(i)
        if how is Smoothness.BLOCKING:
            continue
        if how is Smoothness.DISCONTINUOUS:
            if s.differentiated and node.op.name != "real":
                jump = node if jump is None else jump
        else:
            differentiated = differentiated or s.differentiated
        if s.jump is not None:
            jump = s.jump if jump is None else jump
    return State(differentiated, jump)


def _scan(node: Node, known: dict, through: Through, sources: frozenset[int]) -> tuple[State, ...]:
    body = node.attrs
    k = len(body.carries)
    leaves = (*body.carries, *body.consts, *body.xs)
    start = {leaf.id: known[a.id] for leaf, a in zip(leaves, node.args)}
    while True:
        inner = dict(start)
        inner[body.step.id] = _PLAIN
        _run(body.outputs, inner, through, sources)
        states = tuple(inner[n.id] for n in body.outputs)
        wider = {c.id: _join(start[c.id], s) for c, s in zip(body.carries, states[:k])}
        if all(_same(wider[c.id], start[c.id]) for c in body.carries):
            return tuple(_join(start[c.id], s) for c, s in zip(body.carries, states[:k])) + states[k:]
        start.update(wider)


def _same(a: State, b: State) -> bool:
    return a.differentiated == b.differentiated and a.jump is b.jump


def _join(a: State, b: State) -> State:
    return State(a.differentiated or b.differentiated, a.jump if a.jump is not None else b.jump)

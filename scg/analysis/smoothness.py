"""Which nodes are differentiated, and what stands in a derivative's way.

A node is *differentiated* if a derivative flows to it from a parameter (or from any other node that is asked about). If
a differentiated value enters an op where it is discontinuous, the almost-everywhere derivative misses the jump, and
that op is an *obstacle* for everything below, until a blocking op (a stopped gradient, a sample) makes a constant of
it, or `assume_continuous` vouches for it.

*Poles* are obstacles too, where they are asked about: 1/x is smooth but at 0, so it jumps as x passes 0. That matters
if x is random and has a density; the derivative at one point, of a parameter, does not meet a pole elsewhere.
A pole is also where a function's derivative has no integral: log x is not defined below 0, and jumps nowhere, but what
comes close to 0 has no expectation of 1/x.

A value that passes a pole is *wild*: 1/u of a normal u has no mean. A derivative that is multiplied by it has none
either, even where the function is bounded: that of sin(x/u) in x is cos(x/u)/u. Where paths of samples are asked about,
that is an obstacle too. So it is if u only *touches* 0, with density up to there: an exponential. (A logarithm that
touches 0 has a mean.)

What is below a *stopped* gradient is still influenced: for a parameter that is what was asked for, but the derivative
along the path of a sample misses it.

Sources are told apart by bits, so that one walk answers for all the sites of a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.bounds import Ranges
from scg.analysis.first_step import first_step
from scg.analysis.growth import grown, grown_on, of_draw
from scg.analysis.near_poles import AtPoints, Intervals, UpToEnds
from scg.ir.node import Node
from scg.ir.op import Smoothness
from scg.ir.traverse import unknown
from scg.ops.arithmetic import assume_continuous_op, div_op, mul_op
from scg.ops.contract import contract_op
from scg.ops.control import is_stop
from scg.ops.leaves import input_op, noise_op, param_op, placeholder_op
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import Opened, out_op, scan_op


class State(NamedTuple):
    """What is known of a node.

    Attributes
    ----------
    differentiated : int
        The sources from which a derivative flows to it.
    jump : Node or None
        The op that is an obstacle for it.
    stop : Node or None
        A stopped gradient through which it depends on the sources all the same.
    has_density : bool
        Whether it is random with a density.
    jumped : int
        The sources for which there is one; `jump` is the op for one of them.
    stopped : int
        The sources on which it depends through a stopped gradient; `stop` is that for one of them.
    noise : int
        Of which noise it is made, in bits: the difference of two numbers that share noise may have no density.
    atomic : bool
        Whether, although it has a density, it may take a value with positive probability: max(z, 0), b · z for a
        coin b.
        Like `noise`, found where `Question.atoms` asks for it.
    wild : bool
        Whether it may be random without a mean: it passes a pole, for all that is known. Found where `Question.means`
        asks for it.
    touching : bool
        Whether its density is not 0 at a finite end of its range, for certain: it comes as close to a pole that stands
        there as one that passes it.
    growth : float
        How fast it grows, beside the density of the draws that it is made of: eᵛ has a mean for certain if this is
        below 1. It is ½ of a normal draw, 1 of its square. Found, like `explosive`, where `Question.means` asks for it.
    explosive : bool
        Whether it may have no mean by the way it grows: it is made of an exponential of what grows too fast. A cost may
        be such a one, and have a mean all the same; but what oscillates over it hides that its derivative has none.
    """

    differentiated: int = 0
    jump: Node | None = None
    stop: Node | None = None
    has_density: bool = False
    jumped: int = 0
    stopped: int = 0
    noise: int = 0
    atomic: bool = False
    wild: bool = False
    touching: bool = False
    growth: float = 0.0
    explosive: bool = False


Through = Callable[[Node], bool]


class Question(NamedTuple):
    """What `flow` was asked: where derivatives start, which sites they pass, what is an obstacle, and of atoms."""

    sources: Mapping[int, int]  # by the ids of nodes
    through: Through
    poles: bool
    inside: dict[int, dict[int, State]]  # what was found in the bodies of scans
    atoms: dict[int, int] | None = None  # the bits of noise, by its node, if atoms are looked for
    means: bool = False  # whether it is asked what has a mean
    draws: bool = False  # whether a draw from what moves is an obstacle
    beginnings: bool = True  # whether a derivative flows into what loops begin with


def flow(roots: Sequence[Node], sources: Iterable[Node], through: Through = lambda sample: False, *,
         poles: bool = False, means: bool = False, draws: bool = False,
         ranges: Ranges | None = None) -> dict[int, State]:
    """States of all nodes below the roots.

    Parameters
    ----------
    roots : sequence of Node
    sources : iterable of Node
        Where derivatives start; one may lie below another, or in the body of a scan.
    through : callable
        ``through(sample node) -> bool``: whether a derivative flows through that site (it is reparameterised).
    poles : bool
        Whether they are obstacles too.
    means : bool
        Whether what multiplies a derivative by a value without a mean is one too.
    draws : bool
        Whether a draw from a distribution that moves is one too: the derivative of one draw is none of
        its expectation.
    ranges : Ranges, optional
        Where values lie, if that is to be taken otherwise than it is known.
    """
    found = Flow(dict.fromkeys(sources, 1), through, poles=poles, means=means, draws=draws, ranges=ranges)
    for root in roots:
        found(root)
    return found.known


class Flow:
    """States of the nodes that are asked about, where sources are told apart.

    Parameters
    ----------
    sources : dict of Node to int
        The bits of each.
    through, poles, means, draws, ranges
        As for `flow`.
    """

    def __init__(self, sources: Mapping[Node, int], through: Through = lambda sample: False, *, poles: bool = False,
                 means: bool = False, draws: bool = False, ranges: Ranges | None = None):
        self.known: dict[int, State] = {}
        self._asked = Question({n.id: bits for n, bits in sources.items()}, through, poles, {}, means=means,
                               draws=draws)
        self._ranges = Intervals(AtPoints() if ranges is None else ranges, UpToEnds())

    def __call__(self, root: Node) -> State:
        if root.id not in self.known:
            _run([root], self.known, self._asked, self._ranges)
        return self.known[root.id]

    @property
    def sources(self) -> Mapping[int, int]:
        """The ids of the nodes where derivatives start, with their bits."""
        return self._asked.sources

    def moves(self, node: Node) -> bool:
        """Whether a derivative flows into the node. Of a leaf that nobody knows of it is assumed."""
        for n in unknown([node], self.known):
            if n.op is placeholder_op:
                self.known[n.id] = State(1)
            else:
                _run([n], self.known, self._asked, self._ranges)
        found = self.known[node.id]
        return any(s.differentiated for s in (found if node.op is scan_op else (found,)))  # type: ignore

    def learn(self, opened: Opened) -> None:
        """What the fresh leaves of a scan that was taken apart stand for."""
        start = {opened.step.id: State(), **{leaf.id: self(n) for leaf, n in zip(
            (*opened.carries, *opened.xs), (*opened.inits, *opened.arrays))}}
        while True:
            inner = {**self.known, **start}
            _run(opened.new_carries, inner, self._asked, self._ranges)
            wider = {c.id: _join(start[c.id], inner[n.id]) for c, n in zip(opened.carries, opened.new_carries)}
            if all(_same(wider[leaf], start[leaf]) for leaf in wider):
                break
            start.update(wider)
        self.known.update(start)


def of_beginnings(jump: Node, roots: Sequence[Node], sources: Iterable[Node], through: Through) -> bool:
    """Whether a jump is one because of what loops begin with: nothing else that is differentiated reaches it."""
    asked = Question(dict.fromkeys((n.id for n in sources), 1), through, True, {}, beginnings=False)
    known: dict[int, Any] = {}
    _run(roots, known, asked, Intervals(AtPoints(), UpToEnds()))
    return all(states[jump.id].jump is not jump for states in (known, *asked.inside.values()) if jump.id in states)


def flow_inside(roots: Sequence[Node], sources: Iterable[Node]) -> tuple[dict[int, State], dict[int, dict[int, State]]]:
    """`flow`, where no site passes a derivative, and the states of the nodes in the bodies of scans, by the scan.

    Atoms are looked for.
    """
    known: dict[int, State] = {}
    asked = Question({n.id: 1 for n in sources}, lambda sample: False, False, {}, {})
    _run(roots, known, asked, Intervals(Ranges(), UpToEnds()))
    return known, asked.inside


def _run(roots: Sequence[Node], known: dict, asked: Question, ranges: Intervals,
         others: Mapping[int, Node | None] | None = None) -> None:
    """The states of all nodes below the roots; of those that `others` stand for, theirs."""
    for node in unknown(roots, known):
        if node.op is scan_op:
            known[node.id] = _scan(node, known, asked, ranges)
            continue
        if others is not None and node.id in others:
            other = others[node.id]
            state = State() if other is None else known[other.id]
        else:
            state = _state(node, known, asked, ranges)
            if asked.atoms is not None and state.has_density and node.op is not out_op:
                state = _with_atoms(node, state, known, asked.atoms, ranges)
        own = asked.sources.get(node.id, 0)
        known[node.id] = state._replace(differentiated=state.differentiated | own) if own else state


def _state(node: Node, known: dict, asked: Question, ranges: Intervals) -> State:
    if node.op is out_op:
        return known[node.args[0].id][node.attrs]
    if node.op.stands_for is not None:  # no pole of how it is computed is one of the number
        return known[node.args[node.op.stands_for].id]
    states = [known[a.id] for a in node.args]
    if node.op is sample_op:
        state = _sampled(node, states[:-1], asked)
        return state._replace(growth=of_draw(node, states[:-1], ranges(node))) if asked.means else state
    has_density = _has_density(node, states)
    stop, stopped = _first(s.stop for s in states), _united(s.stopped for s in states)
    if node.op is assume_continuous_op:
        return State(states[0].differentiated | states[0].jumped, None, stop, has_density, 0, stopped)
    differentiated, jump, jumped = 0, None, 0
    for i, s in enumerate(states):
        how = node.op.smooth_in(i)
        if how is Smoothness.BLOCKING:
            reached = s.differentiated | s.jumped
            if reached and is_stop(node):
                stop, stopped = node if stop is None else stop, stopped | reached
            continue
        if s.differentiated & ~jumped and (_is_obstacle(node, i, s, asked, ranges, known) or (
                asked.means and (_multiplied(node, i, states, ranges) or (node.op.oscillates and s.explosive)))):
            jump, jumped = node if jump is None else jump, jumped | s.differentiated
        if how is not Smoothness.DISCONTINUOUS:
            differentiated |= s.differentiated
        jump, jumped = s.jump if jump is None else jump, jumped | s.jumped
    wild = asked.means and _wild(node, states, ranges)
    growth, explosive = grown(node, states, ranges(node)) if asked.means else (0.0, False)
    return State(differentiated, jump, stop, has_density, jumped, stopped, wild=wild, touching=_touching(node, states),
                 growth=growth, explosive=explosive)


def _first(nodes: Iterable[Node | None]) -> Node | None:
    return next((n for n in nodes if n is not None), None)


def _united(bits: Iterable[int]) -> int:
    return reduce(or_, bits, 0)


def _sampled(node: Node, parameters: Sequence[State], asked: Question) -> State:
    has_density, touching = not node.attrs.family.support.integral, distribution_of(node).touches()
    if not asked.through(node):
        moved = _united(s.differentiated | s.jumped for s in parameters) if asked.draws else 0
        return State(jump=node if moved else None, has_density=has_density, jumped=moved, touching=touching)
    return State(_united(s.differentiated for s in parameters), _first(s.jump for s in parameters),
                 _first(s.stop for s in parameters), has_density, _united(s.jumped for s in parameters),
                 _united(s.stopped for s in parameters), touching=touching)


def _has_density(node: Node, states: Sequence[State]) -> bool:
    """Whether a value is random with a density, for all that is known: not if it is a count or a choice."""
    discrete = node.kind == "bool" or node.op.is_integral(node) == "always"
    return not discrete and (node.op is noise_op or any(s.has_density for s in states))


def _touching(node: Node, states: Sequence[State]) -> bool:
    """Whether a value touches an end of its range as the only random number does that it is made of.

    A choice may be what keeps it from there.
    """
    random = [s for s in states if s.has_density]
    chosen = any(a.kind == "bool" for a in node.args)
    return not (node.op.steep or chosen) and len(random) == 1 and random[0].touching


# --- atoms of what has a density -------------------------------------------------------------------------------------
def may_tie(node: Node, known: Mapping[int, State]) -> bool:
    """Whether the arguments of an op with a kink may stand at it with positive probability."""
    states = [known[a.id] for a in node.args]
    return not known[node.id].has_density or _overlap(states)


def _overlap(states: Sequence[State]) -> bool:
    """Whether a sum of the arguments may have an atom: one of them has, or they share the noise that spreads them."""
    seen = 0
    for s in states:
        if s.atomic or s.noise & seen:
            return True
        seen |= s.noise
    return False


def _with_atoms(node: Node, state: State, known: Mapping[int, State], bits: dict[int, int],
                ranges: Intervals) -> State:
    if node.op is noise_op:
        return state._replace(noise=bits.setdefault(node.id, 1 << len(bits)))
    states = [known[a.id] for a in node.args]
    if node.op is sample_op:  # given its parameters it has a density
        return state._replace(noise=states[-1].noise)
    still = [a for a, s in zip(node.args, states) if not s.has_density and a.kind == "real"]
    # weights that are given are not all 0: a sum of products is counted for chance zeros alone
    if node.op is contract_op:
        still = [a for a in still if a.op not in (param_op, input_op)]
    absorbs = node.op.may_multiply(node) or node.op.ignores is not None
    atomic = _overlap(states) or node.op.is_flat(node) or (node.op.rearranges(node) and bool(still)) or (
        absorbs and not all(ranges(a).clear_of_zero for a in still))
    return state._replace(noise=_united(s.noise for s in states), atomic=atomic)


def _multiplied(node: Node, position: int, states: Sequence[State], ranges: Intervals) -> bool:
    """Whether an argument's derivative is multiplied by what has no mean, for all that is known."""
    within = node.op.combines is not None  # elements of one argument multiply each other
    return node.op.may_multiply(node) and any(s.wild or _blows_up(node, i, s, ranges)
                                              for i, s in enumerate(states) if i != position or within)


def _wild(node: Node, states: Sequence[State], ranges: Intervals) -> bool:
    """Whether a value passes a pole itself, or is made of one that does, and is not bounded."""
    if any(_blows_up(node, i, s, ranges) for i, s in enumerate(states)):
        return True
    if node.kind != "real" or node.op.logarithmic or not any(s.wild for s in states):
        return False
    here = ranges(node)
    return not (-np.inf < here.low and here.high < np.inf)


def _blows_up(node: Node, position: int, state: State, ranges: Intervals) -> bool:
    """Whether a random argument meets a pole of the op, and what comes of it there need not have a mean."""
    pole = node.op.pole_in(position)
    return pole is not None and pole.order > 0.0 and (
        _passes(node, position, state, ranges) or _reaches(node, position, state, ranges))


def _passes(node: Node, position: int, state: State, ranges: Intervals) -> bool:
    """Whether a random argument passes the op's pole."""
    pole = node.op.pole_in(position)
    return state.has_density and pole is not None and not pole.avoided(node, *(ranges(a) for a in node.args))


def _reaches(node: Node, position: int, state: State, ranges: Intervals) -> bool:
    """Whether a random argument has density up to the op's pole, which stands at an end of its range."""
    pole = node.op.pole_in(position)
    if not state.touching or pole is None or pole.order < 1.0:
        return False
    return not pole.avoided(node, *map(ranges.closed, node.args))


def _is_obstacle(node: Node, position: int, state: State, asked: Question, ranges: Intervals,
                 known: Mapping[int, Any]) -> bool:
    """Whether a differentiated argument passes a jump of the op, or a pole."""
    if node.op.smooth_in(position) is Smoothness.DISCONTINUOUS:
        return node.args[position].kind == "real" and not node.op.is_settled(node, map(ranges.endless, node.args))
    if not asked.poles or not _passes(node, position, state, ranges):
        return False
    pole = node.op.pole_in(position)
    return not (pole is not None and pole.cancels and _cancels(node.args[position], known, ranges))


def _cancels(node: Node, known: Mapping[int, Any], ranges: Intervals) -> bool:
    """Whether a factor of the argument of a logarithm is one that does not move, or keeps clear of 0."""
    if node.op in (mul_op, div_op):
        return all(_cancels(a, known, ranges) for a in node.args)
    return ranges(node).clear_of_zero or not (known[node.id].differentiated or known[node.id].jumped)


def _scan(node: Node, known: dict, asked: Question, ranges: Intervals) -> tuple[State, ...]:
    """The states of what a loop puts out: those of its first step apart, where it is known which branches that takes.

    Later steps need not know of where the loop began.
    """
    body, within = node.attrs, ranges.inside(node) if asked.poles else ranges
    leaves = (*body.carries, *body.consts, *body.xs)
    start = {leaf.id: known[a.id] for leaf, a in zip(leaves, node.args)} | {body.step.id: State()}
    others, k = first_step(node), len(body.carries)
    if not asked.beginnings:
        start.update((c.id, start[c.id]._replace(differentiated=0, jump=None, jumped=0)) for c in body.carries)
    first: dict[int, Any] = {}
    if others:
        first = dict(start)
        _run(body.outputs, first, asked, within, others)
        start.update((c.id, first[new.id]) for c, new in zip(body.carries, body.new_carries))
    while True:
        inner = dict(start)
        _run(body.outputs, inner, asked, within)
        wider = {c.id: _join(start[c.id], inner[new.id]) for c, new in zip(body.carries, body.new_carries)}
        if all(_same(wider[c.id], start[c.id]) for c in body.carries):
            break
        start.update(wider)
    asked.inside[node.id] = {n: _joined(first[n], state) if n in first else state for n, state in inner.items()}
    every = asked.inside[node.id]
    # what the last step hands on is what some step makes, and there is one at least
    return tuple(inner[n.id] for n in body.new_carries) + tuple(every[n.id] for n in body.outputs[k:])


def _joined(a: Any, b: Any) -> Any:
    """What is known of a node in two steps: of a loop, of all that it puts out."""
    return _join(a, b) if isinstance(a, State) else tuple(map(_join, a, b))


def _same(a: State, b: State) -> bool:
    return a.jump is b.jump and a.stop is b.stop and a._replace(jump=None, stop=None) == b._replace(
        jump=None, stop=None)


def _join(a: State, b: State) -> State:
    return State(a.differentiated | b.differentiated, _first((a.jump, b.jump)), _first((a.stop, b.stop)),
                 a.has_density or b.has_density, a.jumped | b.jumped, a.stopped | b.stopped, a.noise | b.noise,
                 a.atomic or b.atomic or a.has_density is not b.has_density, a.wild or b.wild,
                 a.touching and b.touching, grown_on(a.growth, b.growth), a.explosive or b.explosive)

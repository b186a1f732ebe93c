"""Reverse loops that only add up are done in the loop that they would reverse, so that no step's values are kept.

In: roots. Out: the same roots. The reverse of a loop under a score function adds up Σₜ wₜ sₜ, where the weight
wₜ = Σᵤ≥ₜ pᵤ + qₜ + r is what is still to come: costs of this step and of later ones, what the step knows,
and what is known at the end. Step by step forwards that is Σᵤ pᵤ Zᵤ + Σₜ qₜ sₜ + r Z, where Zᵤ = Σₜ≤ᵤ sₜ is a carry:
the *eligibility trace* (Baxter & Bartlett 2001, "Infinite-horizon policy-gradient estimation", §3). A mean over other
replicates, as a baseline is one, is linear, and may be taken at each step. So a replicate needs what a step needs,
however many steps there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from scg.analysis.affine import bend
from scg.analysis.by_step import ByStep, Loop, Sum
from scg.analysis.decisions import decided
from scg.ir.axes import union
from scg.ir.node import Node, constant, make
from scg.ir.op import Op
from scg.ir.traverse import ancestors, substitute, topological
from scg.ops.arithmetic import add_op, div_op, mul_op, neg_op, sub_op
from scg.ops.leaves import feed
from scg.ops.measure import leave_one_out_op
from scg.ops.scan import Opened, free_nodes, increment, open_scan, out_op, scan_op, stacked
from scg.ops.structure import broadcast_to, broadcast_to_op, suffix_sum_op
from scg.rules.given import is_zero, with_numbers

FEW = 64  # numbers that may be carried for it in each replicate, whatever the number of steps
KEPT = 1 << 17  # numbers that a replicate may keep of its steps; longer loops carry as many as that saves


def forward_only(roots: Sequence[Node]) -> list[Node]:
    """The roots without such reverse loops."""
    roots = list(roots)
    while (mapping := _forwards(roots)) is not None:
        roots = substitute(roots, mapping)
    return roots


def _forwards(roots: Sequence[Node]) -> dict[Node, Node] | None:
    """For the first reverse loop that can go forwards, what becomes of its results and of those of the other loop."""
    order = topological(roots)
    for node in (n for n in order if n.op is scan_op and n.attrs.reverse and n.attrs.length > 1 and not n.attrs.ys):
        read = decided(roots)
        if any(n.op is out_op and n.args[0] is node and n.id in read for n in order):
            continue
        found = _Reverse.of(node)
        terms = None if found is None else found.terms()
        if found is not None and terms is not None:
            return found.moved(terms, order)
    return None


@dataclass(frozen=True)
class _Weight:
    """What is still to come, from its parts: of later steps, of these and the own one, of the own one, of the end."""

    later: Node | None = None
    still: Node | None = None
    own: Node | None = None
    end: Node | None = None

    def each(self, change: Callable[[Node], Node]) -> _Weight:
        """The same done to each part that there is."""
        return _Weight(*(None if part is None else change(part) for part in self.parts))

    def plus(self, other: _Weight, less: bool = False) -> _Weight:
        """The sum, or difference."""
        return _Weight(*(_plus(a, b, less) for a, b in zip(self.parts, other.parts)))

    @property
    def parts(self) -> tuple[Node | None, ...]:
        """All of them."""
        return self.later, self.still, self.own, self.end

    @property
    def carries(self) -> bool:
        """Whether scores must be added up for it."""
        return self.later is not None or self.still is not None or self.end is not None


@dataclass(frozen=True)
class _Term:
    """What a weight is multiplied by in what a step adds to a carry; all of it in the other loop's step."""

    carry: int
    score: Node
    weight: _Weight


class _Reverse:
    """A reverse loop of which all carries are sums, and the loop that it reverses."""

    def __init__(self, node: Node, opened: Opened, added: Sequence[Node], steps: ByStep):
        self.node, self.opened, self.added, self.steps = node, opened, added, steps

    @classmethod
    def of(cls, node: Node) -> _Reverse | None:
        """The loop, if it can go forwards as far as that can be seen at once."""
        opened = open_scan(node)
        scans = {a.args[0] for a in opened.arrays if stacked(a)}
        added = [x for x in map(increment, opened.carries, opened.new_carries) if x is not None]
        if len(added) < len(opened.carries) or not ancestors(added).isdisjoint(c.id for c in opened.carries):
            return None
        if len(scans) != 1 or (scan := scans.pop()).attrs.length != opened.length or scan.attrs.reverse:
            return None
        steps = ByStep(scan)
        outer = free_nodes(added, (opened.step, *opened.carries, *opened.xs))
        return None if any(steps.below(n) for n in outer) else cls(node, opened, added, steps)

    def terms(self) -> list[_Term] | None:
        """What is added up, for each carry and weight; None if it is more than that, or too much."""
        known = {x: self.steps(a) for x, a in zip(self.opened.xs, self.opened.arrays)}
        weights = {x: self._weight(a) for x, a in zip(self.opened.xs, self.opened.arrays) if known[x] is None}
        if not weights or any(w is None or x.shape or any(not ax.statistical for ax in x.axes)
                              for x, w in weights.items()) or not self._is_linear(list(weights)):
            return None
        mapping = {self.opened.step: self.steps.opened.step, **{x: n for x, n in known.items() if n is not None}}
        found = []
        for x, weight in weights.items():
            assert weight is not None
            slopes = map(with_numbers({other: float(other is x) for other in weights}), self.added)
            scores = substitute(list(slopes), mapping)
            found += [_Term(i, score, weight) for i, score in enumerate(scores) if not is_zero(score)]
        return found if self._is_worth_it(found, len(weights)) else None

    def _is_linear(self, weights: Sequence[Node]) -> bool:
        """Whether what is added is, in all weights together."""
        nothing = with_numbers(dict.fromkeys(weights, 0.0))
        if not all(is_zero(nothing(added)) for added in self.added):
            return False
        one = feed("weights", (len(weights),), union(*(w.axes for w in weights)))
        moved = substitute(self.added, {w: one[i] for i, w in enumerate(weights)})
        return all(bend(added, one) is None for added in moved)

    def _is_worth_it(self, terms: Sequence[_Term], weights: int) -> bool:
        """Whether fewer numbers are kept, and so few that steps are not longer for it, or the loop is."""
        carried = sum(t.score.size for t in terms) + sum(c.size for c in self.opened.carries)
        tape = self.opened.length * (weights + sum(
            x.size for x, a in zip(self.opened.xs, self.opened.arrays) if self.steps.below(a)))
        return carried < tape and (carried <= FEW or tape > KEPT)

    # --- weights ----------------------------------------------------------------------------------------------------
    def _weight(self, node: Node) -> _Weight | None:
        """An array over the steps as what is still to come, if that is what it is."""
        along = self.steps(node)
        if along is not None:
            return _Weight(own=node)
        if not node.shape:
            return _Weight(end=node)
        if node.ndim != 1:
            return None
        if node.op is suffix_sum_op:
            return _Weight(still=node.args[0]) if self.steps(node.args[0]) is not None else None
        return next((rule(self, node) for ops, rule in _RULES.items() if node.op in ops), None)

    def _sum(self, node: Node) -> _Weight | None:
        parts = [self._weight(a) if a.ndim in (0, 1) and a.shape[:1] != (1,) else None for a in node.args]
        if any(part is None for part in parts):
            return None
        if node.op is sub_op and node.args[0].op is suffix_sum_op and node.args[0].args[0] is node.args[1]:
            return _Weight(later=node.args[1])
        first, second = (part for part in parts if part is not None)
        return first.plus(second, node.op is sub_op)

    def _negated(self, node: Node) -> _Weight | None:
        found = self._weight(node.args[0])
        return None if found is None else found.each(lambda part: -part)

    def _of_others(self, node: Node) -> _Weight | None:
        found = self._weight(node.args[0])
        return None if found is None else found.each(lambda part: make(leave_one_out_op, (part,), node.attrs))

    def _multiple(self, node: Node) -> _Weight | None:
        """A weight times what is the same for all steps and known before them."""
        for i in (0, 1) if node.op is mul_op else (1,):
            factor, other = node.args[i], node.args[1 - i]
            if not factor.shape and not self.steps.below(factor):
                found = self._weight(other)
                return None if found is None else found.each(
                    lambda part, f=factor: make(node.op, (f, part) if i == 0 else (part, f)))
        return None

    def _repeated(self, node: Node) -> _Weight | None:
        return self._weight(node.args[0]) if not node.args[0].shape else None

    # --- the loop ---------------------------------------------------------------------------------------------------
    def moved(self, terms: Sequence[_Term], order: Sequence[Node]) -> dict[Node, Node]:
        """What becomes of the results of both loops."""
        traces: list[Sum | None] = []
        added: list[list[Node]] = [[] for _ in self.added]
        for t in terms:
            trace = self.steps.adds(t.score) if t.weight.carries else None
            traces.append(trace)
            if t.weight.own is not None:
                added[t.carry].append(self._in_step(t.weight.own) * t.score)
            if t.weight.later is not None and trace is not None:
                added[t.carry].append(self._in_step(t.weight.later) * trace.carry)
            if t.weight.still is not None and trace is not None:
                added[t.carry].append(self._in_step(t.weight.still) * make(add_op, trace))
        sums = [None if not parts else self.steps.adds(reduce(add, parts)) for parts in added]
        loop = self.steps.adding([s for s in (*traces, *sums) if s is not None])
        mapping = loop.instead(n for n in order if n.op is out_op and n.args[0] is self.steps.scan)
        results = self._results(terms, traces, sums, loop)
        return {**mapping, **{n: substitute([results[n.attrs]], mapping)[0]
                              for n in order if n.op is out_op and n.args[0] is self.node}}

    def _in_step(self, node: Node) -> Node:
        found = self.steps(node) if node.shape else node
        assert found is not None
        return found

    def _results(self, terms: Sequence[_Term], traces: Sequence[Sum | None], sums: Sequence[Sum | None],
                 loop: Loop) -> list[Node]:
        """The first values, what was added up, and what the end weighs."""
        found = [[] if is_zero(init) else [init] for init in self.opened.inits]
        numbers = {s.carry.id: i for i, s in enumerate(s for s in (*traces, *sums) if s is not None)}
        for i, s in enumerate(sums):
            if s is not None:
                found[i].append(loop.total(numbers[s.carry.id]))
        for t, trace in zip(terms, traces):
            if t.weight.end is not None and trace is not None:
                found[t.carry].append(t.weight.end * loop.total(numbers[trace.carry.id]))
        return [reduce(add, parts) if parts else broadcast_to(constant(0.0), init.shape)
                for parts, init in zip(found, self.opened.inits)]


def _plus(a: Node | None, b: Node | None, less: bool) -> Node | None:
    if b is None:
        return a
    return (-b if less else b) if a is None else a - b if less else a + b


_RULES: dict[tuple[Op, ...], Callable[[_Reverse, Node], _Weight | None]] = {
    (add_op, sub_op): _Reverse._sum, (neg_op,): _Reverse._negated, (leave_one_out_op,): _Reverse._of_others,
    (mul_op, div_op): _Reverse._multiple, (broadcast_to_op,): _Reverse._repeated}

"""Which costs of which steps a draw is weighed by: those of its own step, and those that are still to come."""

from __future__ import annotations

from math import prod

import numpy as np

from scg.ir.node import Node, constant
from scg.ir.traverse import downstream
from scg.ops.reduce import total
from scg.ops.scan import Opened, open_scan, stacked
from scg.ops.structure import broadcast_to, prefix_sum, reshape, suffix_sum, transpose
from scg.surrogate.in_loops import drawn_in, holds, inner


class Reached:
    """Which outputs of an opened scan a site that is drawn in it reaches, and in which steps.

    Of an output that `d` loops, one inside the other, put out step by step `by` says d + 1 times whether it is reached:
    in later steps of the first loop, in later ones of the next within the same step of the first, and so on; and in the
    very step in which the site is drawn.
    """

    def __init__(self, site: str, opened: Opened):
        draw = drawn_in(opened, site)
        begin = inner(opened, site) if draw is None else [draw]
        reached = opened.downstream(begin)
        self._site, self._ys, self._first = site, opened.ys, len(opened.carries)
        self._now = downstream(begin, opened.ys)
        self._later = opened.downstream([c for c in opened.carries if c.id in reached])

    def by(self, output: int) -> tuple[bool, ...]:
        """Of an output, by its number."""
        y = self._ys[output - self._first]
        later = y.id in self._later
        if stacked(y) and holds(y.args[0], self._site):
            return later, *Reached(self._site, open_scan(y.args[0])).by(y.attrs)
        return later, y.id in self._now


def still_to_come(per_step: Node, loops: tuple[int, ...], reached: tuple[bool, ...], reverse: bool = False) -> Node:
    """For each step of all loops together, the costs of the steps that are reached from there.

    Parameters
    ----------
    per_step : Node
        A dimension for each of the first loops, as many as there are numbers in `reached` but one, and others.
    loops : tuple of int
        The lengths of the loops that the draws stand in.
    reached : tuple of bool
        See `Reached`.
    reverse : bool
        Whether the loop, of which there is one then, runs backwards.
    """
    depth = len(reached) - 1
    if depth == 1 == len(loops):
        ahead = prefix_sum(per_step) if reverse else suffix_sum(per_step)
        if all(reached):
            return ahead
        if reached[0]:
            return ahead - per_step
        return per_step if reached[1] else constant(np.zeros(per_step.shape))
    rest = per_step.shape[depth:]
    if all(reached):
        found = suffix_sum(reshape(per_step, (prod(loops[:depth]), *rest)))
    else:
        found = _by_loops(per_step, loops[:depth], reached, rest)
    behind = prod(loops[depth:])
    wide = broadcast_to(reshape(found, (found.shape[0], 1, *rest)), (found.shape[0], behind, *rest))
    return reshape(wide, (found.shape[0] * behind, *rest))


def _by_loops(per_step: Node, loops: tuple[int, ...], reached: tuple[bool, ...], rest: tuple[int, ...]) -> Node:
    """`still_to_come` where not every step is reached: first those of the innermost loop, then of those around it."""
    found = per_step if reached[-1] else constant(np.zeros(per_step.shape))
    for i in reversed([i for i in range(len(loops)) if reached[i]]):
        steps = reshape(total(per_step, axis=tuple(range(i + 1, len(loops)))), (prod(loops[:i]), loops[i], prod(rest)))
        steps = transpose(steps, (1, 0, 2))  # sums run along the first dimension
        ahead = transpose(suffix_sum(steps) - steps, (1, 0, 2))
        wide = reshape(ahead, (*loops[: i + 1], *(1,) * (len(loops) - i - 1), *rest))
        found = found + broadcast_to(wide, per_step.shape)
    return reshape(found, (prod(loops), *rest))


def still_to_come_in_worlds(per_step: Node, loops: tuple[int, ...], reached: tuple[bool, ...],
                            reverse: bool = False) -> Node:
    """`still_to_come`, where every step of all loops has a world of its own, in the leading dimension."""
    depth, count = len(reached) - 1, prod(loops)
    worlds = np.array(np.unravel_index(np.arange(count), loops))[:depth].reshape((depth, count, *(1,) * depth))
    steps = np.indices(loops[:depth]).reshape((depth, 1, *loops[:depth]))
    credited, same = np.zeros((count, *loops[:depth])), np.ones((count, *loops[:depth]), dtype=bool)
    for i in range(depth):
        ahead = steps[i] < worlds[i] if reverse else steps[i] > worlds[i]
        credited += (same & ahead) * float(reached[i])
        same &= steps[i] == worlds[i]
    credited += same * float(reached[-1])
    wide = credited.reshape((*credited.shape, *(1,) * (per_step.ndim - 1 - depth)))
    return total(per_step * wide, axis=tuple(range(1, 1 + depth)))

"""Phantom chains: two runs that differ in one draw, under common noise, until they meet or are given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_

import numpy as np

from scg.errors import Problem
from scg.ir.node import Node, as_real, constant
from scg.ops.arithmetic import choose
from scg.ops.measure import axis_sum
from scg.ops.randomness import distribution_of
from scg.ops.reduce import amax
from scg.ops.structure import indicators
from scg.surrogate.chain_advice import has_paths, without_phantoms
from scg.surrogate.draft import Draft, Measured
from scg.surrogate.stationary import Block, Stationary
from scg.surrogate.steps import check_steps, steps_of
from scg.surrogate.switched import Switched
from scg.surrogate.transition import Moved, Transition, looped
from scg.surrogate.triples import moved_by_triples


@dataclass(frozen=True)
class Pairs:
    """A rule that follows pairs of phantom chains, from either value of a draw until they have met or are given up.

    Parameters
    ----------
    truncation : int, optional
    """

    truncation: int | None = None

    def __post_init__(self):
        check_steps(self.truncation, f"{type(self).__name__}(truncation={self.truncation!r})",
                    "for how many steps phantom chains are followed")

    @property
    def said(self) -> str:
        """What the gradient in a param, "@", is, in words."""
        raise NotImplementedError

    @property
    def steps(self) -> int:
        """For how many steps phantoms are followed."""
        return steps_of(self.truncation)

    def begin(self, chain: Stationary, switched: Switched, step: Node) -> Begun:
        """From the switches of a transition, and its step, the phantoms."""
        raise NotImplementedError

    def objection(self, chain: Stationary) -> Problem | None:
        """Why phantoms of the chain's transition cannot be followed, or None."""
        return objection(chain, f"{self} was asked for.", self.steps)

    def rewrite(self, chain: Stationary) -> Draft:
        """The draft whose gradients are those of pairs of phantoms."""
        return by_phantoms(chain, self.steps, partial(self.begin, chain), self.truncation is not None, self.said)

    def reason(self, chain: Stationary) -> str:
        """What is left out."""
        return (f"{chain.transition.beginning}, and phantoms that have not met "
                f"after {self.steps} steps are given up (see r.coupling)")


@dataclass(frozen=True)
class Begun:
    """Phantoms after the transition that parts them, and what is made of the difference of their costs from then on.

    Where all elements of an estimate are one number or its negative, `length` is that number.
    """

    plus: Moved
    minus: Moved
    weigh: Callable[[Node], Mapping[str, Node]]
    length: Callable[[Node], Node] | None = None


def objection(chain: Stationary, asked: str, steps: int) -> Problem | None:
    """Why phantoms of the chain's transition cannot be followed for so many steps, or None."""
    if steps >= chain.transition.horizon:
        return Problem(chain.transition.line, asked, f"A pair of phantom chains takes {steps + 1} steps, and the "
                       f"horizon is {chain.transition.horizon}.", "Use a larger horizon=, or a smaller truncation=.")
    for x in chain.typical.draws:
        dist, family = distribution_of(x), x.attrs.family
        moving = [name for name, p in dist.params.items() if chain.moves(p)]
        if not moving:
            continue
        covered = moved_by_triples(dist) if family.can("weak_derivative") else set(dist.params) - set(moving)
        lost = [] if covered is None else [name for name in moving if name not in covered]
        if lost:
            return Problem(chain.site_where(x), asked,
                           f"No weak derivative of {family.__name__} in {' and '.join(lost)} is known.",
                           f"Use {without_phantoms(chain)}.")
    return chain.carried_by_path()


def by_phantoms(chain: Stationary, steps: int, begin: Callable[[Switched, Node], Begun], given: bool,
                said: str) -> Draft:
    """The draft whose gradients are those of pairs of phantoms, which begin one after another.

    Parameters
    ----------
    chain : Stationary
    steps : int
        For how many steps a pair is followed after the transition that parts it; then the next one begins.
    begin : callable
        From the switches of a transition, and its step, the phantoms.
    given : bool
        Whether the user chose that number, and so accepts what it leaves out.
    said : str
        What gradients are, in words.
    """
    tr, k, reach = chain.transition, len(chain.transition.carries), steps + 1

    def block(state: Sequence[Node], t: Node) -> Block:
        moved = tr.at(state, t)
        pair = begin(Switched(moved, chain.moves, state[:k]), t)
        paths = chain.by_path(moved)
        gap, apart, sums = pair.plus.cost - pair.minus.cost, _differ(pair.plus.state, pair.minus.state), [
            *moved.costs.values(), *chain.failures(moved), *paths.values()]
        after = list(moved.state)
        if steps:
            def onward(carries: Sequence[Node], i: Node):
                x = tr.at(carries, t + 1.0 + i)
                return x.state, [*x.costs.values(), *chain.failures(x), *chain.by_path(x).values()]

            after, others = looped(steps, after, onward, tr.called)
            more, later = followed(tr, [*pair.plus.state, *pair.minus.state], t + 1.0, steps)
            gap, apart, sums = gap + more, apart + later, [a + b for a, b in zip(sums, others)]
        met = indicators(apart, reach + 1)
        worlds = tuple(ax for ax in met.axes if not ax.statistical)
        met = axis_sum(met, tuple(ax.name for ax in worlds)) / float(np.prod([ax.size for ax in worlds], initial=1.0))
        end, direct = len(sums) - len(paths), dict(zip(paths, sums[len(sums) - len(paths):]))
        grads = dict(pair.weigh(gap))
        length = constant(0.0) if pair.length is None else pair.length(gap)
        squares = {name: length * length for name in grads if pair.length is not None and name not in direct}
        for name, path in direct.items():
            grads[name] = grads[name] + path / float(reach) if name in grads else path / float(reach)
        return Block(after, sums[: len(tr.costs)], grads, sums[len(tr.costs) : end], [met], squares)

    pairs = tr.horizon // reach
    run = chain.run(chain.warm(), pairs, reach, block, pairs * reach)
    refused = None if given else Problem(
        tr.line, "Phantom chains were followed until they meet.",
        f"More than half of the pairs had not met after {steps} steps, so that a part of the derivative is lost.",
        f"Use {without_phantoms(chain)}: states of continuous numbers hardly ever become equal." if has_paths(chain)
        else f"Follow them for longer, with truncation= and a larger horizon=; or use {without_phantoms(chain)}.")
    return chain.with_run(run, said, [Measured("coupling", "", run.sums[0] / float(pairs), refused)])


def followed(tr: Transition, pair: Sequence[Node], first: Node, steps: int) -> tuple[Node, Node]:
    """By how much the costs of two states exceed each other in so many steps, and in how many they have parted.

    Two that have met stay as they are: where all have, a step of them need not be computed (`scg.rules.idle`).
    """
    k = len(pair) // 2

    def onward(carries: Sequence[Node], i: Node):
        *old, met = carries
        plus, minus = (tr.at(old[j * k : (j + 1) * k], first + i) for j in range(2))
        new = [choose(met != 0.0, a, b) for a, b in zip(old, (*plus.state, *minus.state))]
        apart = choose(met != 0.0, 0.0, _differ(new[:k], new[k:]))
        return [*new, 1.0 - apart], [choose(met != 0.0, 0.0, plus.cost - minus.cost), apart]

    _, (gap, apart) = looped(steps, [*pair, 1.0 - _differ(pair[:k], pair[k:])], onward)
    return gap, apart


def _differ(plus: Sequence[Node], minus: Sequence[Node]) -> Node:
    """1 where two states differ, else 0."""
    return as_real(reduce(or_, (amax(as_real(a != b)) > 0.5 for a, b in zip(plus, minus))))

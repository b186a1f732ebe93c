"""A derivative coupling: the draw that another draw is moved to as a parameter moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scg.functions import maximum
from scg.ir.node import Node, NodeLike, as_real
from scg.ops.arithmetic import choose
from scg.ops.control import held
from scg.ops.reduce import amax, total
from scg.ops.structure import indicators, reshape

RARE = 0.1  # of an equal share: what is less probable is rare


@dataclass(frozen=True)
class Coupling:
    """One term of a stochastic derivative: ∂E[f(X)] = E[∂eta · weight · (f(to) − f(X))], all of the draw X.

    Parameters
    ----------
    eta : Node
        The probability, or parameter, whose derivative says how often draws are moved.
    weight : Node or float
        At least 0; 0 where the draw stays. By these one of several draws is chosen.
    to : Node
        What the draw is moved to.
    direction : Node, optional
        Where it is given, the sum of eta times it along their last dimension stands for eta. It has no derivative.
    by_chance : bool
        Whether the weight is one by the chance of the value that was drawn: of what has probability 0, and will not
        keep it, nothing is then ever moved.
    """

    eta: Node
    weight: NodeLike
    to: Node
    direction: Node | None = None
    by_chance: bool = False


def among(p: Node, x: Node) -> Coupling:
    """A coupling of the numbers x from 0 on with probabilities p.

    Arya et al. (2022) move x to x − 1, with the weight ∂P(k < x) / p(x). What passes through a rare value between
    common ones would be moved by its rare draws alone, with weights without a bound. So mass is moved between common
    values, past the rare ones, and between each rare value and its common one: the next below, or else the first. Such
    moves make a tree of the values. Each draw moves along it towards one value, whose own draws stay: of the rare ones
    the most probable, or else the least probable of all. Then a rare draw is moved with the weight of its score, and a
    common one with a weight of at most 1 / p(x). Of two values, the more probable one moves.

    Parameters
    ----------
    p : Node
        Along the last dimension; they add up to 1.
    x : Node
    """
    size = p.shape[-1]
    values, chances = np.arange(float(size)), held(p)
    common = chances * float(size) >= RARE

    def last(where: Node) -> Node:
        return amax(choose(where, values, -1.0), axis=-1)

    def first(where: Node) -> Node:
        return -amax(choose(where, -values, -float(size)), axis=-1)

    def common_of(k: Node) -> Node:
        below = last(common & (values <= _wide(k)))
        return choose(below < 0.0, first(common), below)

    closeness = choose(common, -chances, 1.0 + chances)
    end = first(closeness >= amax(closeness, axis=-1, keepdims=True))
    centre, own, mine = common_of(end), common_of(x), indicators(x, size)
    along = choose(x > centre, last(common & (values < _wide(x))), first(common & (values > _wide(x))))
    between = choose(x > centre, 1.0, -1.0)  # the mass below the higher one moves down, or up
    to = choose(x == end, x, choose(x != own, own, choose(x == centre, end, along)))
    common_moves = _wide(between) * as_real(_wide(maximum(x, to)) > values)
    moved = choose(_wide(x != own), -mine, choose(_wide(x == centre), indicators(end, size), common_moves))
    chance = total(mine * chances, axis=-1)
    return Coupling(p, choose((to != x) & (chance > 0.0), 1.0 / chance, 0.0), to, moved, by_chance=True)


def _wide(k: Node) -> Node:
    """With a last dimension, for the values."""
    return reshape(k, (*k.shape, 1))

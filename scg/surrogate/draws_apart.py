"""The draws of a site summed out each by itself: the values of all of them together are never formed.

Given what is upstream, the draws of a site are independent. What is summed is linear in *ends*, and an element of an
end is made of a few of the draws: its expectation takes the probabilities of these alone. Draws that meet in an element
have different *colours*, and there is an axis of values for each colour, along which all draws of that colour have
their values side by side. If no draws meet there is one; if each meets the next, there are two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from operator import mul
from typing import NamedTuple

import numpy as np

from scg.analysis.dependence import Dependence
from scg.ir.axes import Axis
from scg.ir.draws import Draws, each_alone
from scg.ir.node import Node, as_real, constant
from scg.ir.printer import title
from scg.ir.traverse import Substitution, substitute
from scg.ops.arithmetic import choose
from scg.ops.control import stop_gradient
from scg.ops.indices import getitem
from scg.ops.measure import axis_sum, event_to_axis
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.declared_site import DeclaredSite
from scg.surrogate.draft import Draft
from scg.surrogate.elimination import Eliminated
from scg.surrogate.parts import linear_ends

MOST_DRAWS = 1 << 14  # of a site, whose draws are told apart
MOST_VALUES = 1 << 16  # of draws that meet


class Joined(Exception):
    """Too many draws meet somewhere: where, in words."""


def marks_of(draws: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    """A bit for each draw, for all elements of a sample node of that shape."""
    bits = each_alone(np.arange(math.prod(draws)))
    return np.broadcast_to(bits.reshape((*draws, *(1,) * (len(shape) - len(draws)))), shape)


def single(found: Draws) -> bool:
    """Whether each element is made of one draw, or of none."""
    return not any(draws & (draws - 1) for draws in np.asarray(found, dtype=object).flat)


def numbers(draws: int) -> Iterator[int]:
    """The draws of a set, by number."""
    while draws:
        low = draws & -draws
        yield low.bit_length() - 1
        draws ^= low


def where_joined(node: Node, known: Dependence) -> str:
    """The first node, from the site on, where draws come together, and how many."""
    while (before := next((a for a in node.args if not single(known(a))), None)) is not None:
        node = before
    most = max(draws.bit_count() for draws in np.asarray(known(node), dtype=object).flat)
    return f"the {title(node)} joins {most} of its draws"


def which_draw(node: Node, known: Dependence) -> np.ndarray:
    """The draw that each element is made of, by number, or -1.

    Raises
    ------
    Joined
        If an element is made of several.
    """
    if not single(known(node)):
        raise Joined(where_joined(node, known))
    sets = np.broadcast_to(np.asarray(known(node), dtype=object), node.shape)
    return np.array([draws.bit_length() - 1 for draws in sets.flat], dtype=int).reshape(node.shape)


def gathered(weight: Node, which: np.ndarray, none: float) -> Node:
    """Of a quantity of each draw that of the draws of these numbers, in their shape; `none` where there is -1."""
    n = weight.size
    if which.size == n and np.array_equal(which.reshape(-1), np.arange(n)):
        return reshape(weight, which.shape)
    found = getitem(reshape(weight, (n,)), np.maximum(which, 0))
    return found if np.all(which >= 0) else choose(constant(which >= 0), found, none)


class Coloured(NamedTuple):
    """The draws of one colour: which they are, their axis, and the chance of each value of each draw along it."""

    mine: np.ndarray
    axis: Axis
    chance: Node


class DrawsApart:
    """The draws of a site outside of loops, of which those that meet in something are summed out together.

    Parameters
    ----------
    site : DeclaredSite
    values : array
        Of each draw.
    draft : Draft
        What they are summed out of.

    Raises
    ------
    Joined
        If that saves nothing, or too many draws meet.
    """

    def __init__(self, site: DeclaredSite, values: np.ndarray, draft: Draft):
        self._site, self._values = site, values
        if math.prod(site.draws) > MOST_DRAWS:
            raise Joined("its draws are too many to be told apart")
        self._known = Dependence(site.name, marks=marks_of(site.draws, site.node.shape))
        self._most = int(math.log(MOST_VALUES) / math.log(max(len(values), 2)) * (1.0 + 1e-12))
        meeting = [self._sets(n) for root in draft.roots()[: -len(draft.shown()) or None] for n in self._ends(root)]
        whole = [*draft.indices(), *(t.passed for t in draft.terms if t.passed is not None)]
        for n in whole:
            self._check(n)
        meeting += [self._sets(n) for n in whole]
        self._colours = self._coloured(meeting)
        self.many = int(self._colours.max(initial=0)) + 1
        if self.many > self._most or self.many == self._colours.size:
            raise Joined("each of its draws meets all others")
        self._by_colour = [self._of_colour(c) for c in range(self.many)]
        self._placed: dict[tuple[int, ...], Substitution] = {}

    # --- who meets whom ---------------------------------------------------------------------------------------------
    def _sets(self, node: Node) -> np.ndarray:
        return np.broadcast_to(np.asarray(self._known(node), dtype=object), node.shape)

    def _ends(self, root: Node) -> Sequence[Node]:
        """What the root is linear in, where its elements are made of one draw, or are linear in nothing else."""
        if not self.made_of(root):
            return ()
        ends = linear_ends(root, self.made_of, self.single)
        for end in ends:
            self._check(end)
        return ends

    def _check(self, node: Node) -> None:
        if max((draws.bit_count() for draws in self._sets(node).flat), default=0) > self._most:
            raise Joined(where_joined(node, self._known))

    def _coloured(self, meeting: Iterable[np.ndarray]) -> np.ndarray:
        """A colour for each draw, such that those in one of the sets have different ones."""
        met = [0] * math.prod(self._site.draws)
        for draws in {draws for sets in meeting for draws in sets.flat}:
            for i in numbers(draws):
                met[i] |= draws
        colours: list[int] = []
        for i, others in enumerate(met):
            taken = {colours[j] for j in numbers(others & ((1 << i) - 1))}
            colours.append(next(c for c in range(len(taken) + 1) if c not in taken))
        return np.array(colours, dtype=int)

    def single(self, node: Node) -> bool:
        """Whether each of its elements is made of one draw, or of none."""
        return single(self._known(node))

    def made_of(self, node: Node) -> bool:
        """Whether a node is made of the draws."""
        return bool(self._known.any(node))

    def fits(self, node: Node) -> bool:
        """Whether no two draws of a colour meet in the node."""
        return all(len({self._colours[i] for i in numbers(draws)}) == draws.bit_count() for draws in {
            *self._sets(node).flat})

    # --- the axes ---------------------------------------------------------------------------------------------------
    def _of_colour(self, c: int) -> Coloured:
        axis = Axis(f"{self._site.name} support{f' {c}' if self.many > 1 else ''}", len(self._values))
        chance = broadcast_to(self._site.of(lambda dist, x: dist.probability(self._along(axis))), self._site.draws)
        return Coloured(self._colours == c, axis, chance)

    def _along(self, axis: Axis) -> Node:
        """The values along an axis, for all draws."""
        return broadcast_to(event_to_axis(constant(self._values), axis), self._site.shape)

    def _seen(self, colours: tuple[int, ...]) -> Substitution:
        """What puts the values along these colours' axes in the place of the draws."""
        if colours not in self._placed:
            site, (first, *others) = self._site, colours or (0,)
            v = self._along(self._by_colour[first].axis)
            for c in others:
                mine = self._by_colour[c].mine.reshape((*site.draws, *(1,) * (len(site.shape) - len(site.draws))))
                v = choose(constant(mine), self._along(self._by_colour[c].axis), v)
            v = v if not site.masks else site.possible(site.dist, v, site.dist.unmasked(site.fixed))
            self._placed[colours] = Substitution({site.node: v})
        return self._placed[colours]

    def _which(self, node: Node) -> dict[int, np.ndarray]:
        """Of each colour that the node is made of, the number of the draw that each element is made of, or -1."""
        sets, found = self._sets(node), {}
        for c, coloured in enumerate(self._by_colour):
            mine = sum(1 << int(i) for i in np.flatnonzero(coloured.mine))
            own = np.array([(draws & mine).bit_length() - 1 for draws in sets.flat], dtype=int).reshape(node.shape)
            if np.any(own >= 0):
                found[c] = own
        return found

    def _chances(self, which: dict[int, np.ndarray], stopped: bool) -> Node:
        """The probability of the values that each element is made of."""
        found = []
        for c, own in which.items():
            chance = self._by_colour[c].chance
            found.append(gathered(stop_gradient(chance) if stopped else chance, own, 1.0 / max(len(self._values), 1)))
        return reduce(mul, found)

    # --- what is summed ---------------------------------------------------------------------------------------------
    def expected(self, root: Node, stopped: bool = False) -> Node:
        """The expectation of a node; `stopped` if the probabilities are not differentiated."""
        return substitute([root], {end: self._expected_end(end, stopped) for end in self._ends(root)})[0]

    def _expected_end(self, end: Node, stopped: bool) -> Node:
        which = self._which(end)
        names = tuple(self._by_colour[c].axis.name for c in which)
        return axis_sum(self._chances(which, stopped) * as_real(self.placed(end)), names)

    def placed(self, node: Node) -> Node:
        """The node as a table over the values of the draws that it is made of."""
        return self._seen(tuple(self._which(node)))(node)

    def shown(self, node: Node) -> Node:
        """An index as such a table: as it is in worlds that may come about, and else 0."""
        which = self._which(node)
        return choose(self._chances(which, False) != 0.0, self.placed(node), 0.0) if which else node

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Those along which the draws have their values."""
        return tuple(coloured.axis for coloured in self._by_colour)

    @property
    def said(self) -> Eliminated:
        """How they are summed out."""
        return Eliminated((self._site.name,), (self._site.name,), len(self._values) ** self.many)

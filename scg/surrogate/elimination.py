"""Several sites summed out together, by elimination: no table has an axis for each of them, if that can be helped.

What is summed is linear in *ends*, and an end is a product of factors. Each is made of few of the sites, its *scope*,
and is a table over their values. An end's expectation needs the probabilities of its scope, and of what these are
given: of the other sites the probabilities add up to 1. Then site after site is summed out of the product: that whose
*bucket*, the factors that it is in, makes the smallest table comes first; of equals those of which nothing but
probabilities are known, from upstream on, so that many ends share what is left of these (the forward messages of a
chain); else those downstream. All is exact, and its derivative is that of the expected cost.

References
----------
Zhang & Poole 1994; Dechter 1999 (bucket elimination); Rabiner 1989 (forward messages).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import pairwise
from operator import mul, or_
from typing import NamedTuple

from scg.errors import EstimatorError
from scg.ir.axes import Axis
from scg.ir.node import LARGEST, Node, as_real
from scg.ir.traverse import Substitution, substitute, unknown
from scg.ops.arithmetic import add_op, choose, mul_op, sub_op
from scg.ops.control import stop_gradient
from scg.ops.measure import axis_sum
from scg.surrogate.parts import affine, linear_ends


class Sum(NamedTuple):
    """A site that is summed out.

    Attributes
    ----------
    site : str
    where : str
        The first part of an error message about it.
    node : Node
        Its draws.
    axis : Axis
        Along which it has each of its values.
    seen : Node
        These, as they are put in the place of the draws.
    chance : Node
        Their probabilities, given the draws of sites upstream.
    """

    site: str
    where: str
    node: Node
    axis: Axis
    seen: Node
    chance: Node


class Factor(NamedTuple):
    """A table over the values of the sites of its scope; `pure` if it is made of nothing but probabilities."""

    node: Node
    scope: int
    pure: bool


class Eliminated(NamedTuple):
    """How sites were summed out.

    Attributes
    ----------
    order : tuple of str
        The sites, one after another, where most of them were summed out of one product.
    widest : tuple of str
        Those over whose values the largest table was.
    values : int
        How many it had.
    """

    order: tuple[str, ...]
    widest: tuple[str, ...]
    values: int


class Elimination:
    """The expectations of nodes over the draws of sites, which have one bit each in the scopes.

    Parameters
    ----------
    sums : sequence of Sum
        Those upstream first.
    enough : callable
        ``enough(node) -> bool``: whether it need not be taken apart for other reasons than the size of its tables.
    """

    def __init__(self, sums: Sequence[Sum], enough: Callable[[Node], bool] = lambda node: True):
        self._sums, self._enough = sums, enough
        self._own = {s.node.id: 1 << i for i, s in enumerate(sums)}
        self._logs = [math.log(max(s.axis.size, 1)) for s in sums]
        self._scopes: dict[int, int] = {}
        self._widths: dict[int, float] = {}
        self._rests: dict[int, bool] = {}
        self._placed = Substitution()
        self._above: list[int] = []  # of each site, those that move its probabilities
        self._families: list[float] = []  # the largest table of the probabilities of these, and of its own
        self._marginals: dict[tuple[int, bool], Node] = {}
        self._fronts: dict[int, float] = {0: 0.0}
        self._longest: list[int] = []
        self._widest = 0
        for i, s in enumerate(sums):
            self._scopes[s.node.id] = 1 << i | self.scope(s.seen)
            self._placed.put(s.node, self._placed(s.seen))
            given = [*_bits(self.scope(s.chance))]
            self._above.append(reduce(or_, (self._above[j] | 1 << j for j in given), 0))
            own = self._size(self.scope(s.chance) | 1 << i)
            self._families.append(max([own, *(self._families[j] for j in given)]))

    # --- scopes -----------------------------------------------------------------------------------------------------
    def scope(self, node: Node) -> int:
        """The sites whose draws a node is made of."""
        known = self._scopes
        for n in unknown([node], known):
            known[n.id] = reduce(or_, [known[a.id] for a in n.args], 0)
        return known[node.id]

    def _size(self, scope: int) -> float:
        """The logarithm of the size of a table."""
        return sum(self._logs[i] for i in _bits(scope))

    def _width(self, node: Node) -> float:
        """The logarithm of the largest table that is made of a node: of its ends, or of their factors."""
        known = self._widths
        for n in unknown([node], known):
            known[n.id] = self._width_of(n, known)
        return known[node.id]

    def _width_of(self, n: Node, known: dict[int, float]) -> float:
        positions = [i for i, a in enumerate(n.args) if self.scope(a)]
        whole = self._size(self.scope(n))
        if not positions or self.scope(n).bit_count() == 1 or n.id in self._own:
            return whole
        inner = max(known[n.args[i].id] for i in positions)
        return inner if inner < whole and (n.op is mul_op or affine(n, positions)) else whole

    def _pays(self, node: Node) -> bool:
        """Whether its tables become smaller when it is taken apart."""
        return self._width(node) < self._size(self.scope(node)) * (1.0 - 1e-9)

    def _has_rest(self, node: Node) -> bool:
        """Whether it is linear in what is made of draws, and something is added to that which is made of none.

        Of that the expectation is itself: weighed with probabilities, what is large would hide what is small.
        """
        known = self._rests
        for n in unknown([node], known):
            made = [self.scope(a) for a in n.args]
            positions = [i for i, scope in enumerate(made) if scope]
            if not positions or n.id in self._own or not affine(n, positions):
                known[n.id] = False
            else:
                added = n.op in (add_op, sub_op) and not all(made)
                known[n.id] = added or any(known[n.args[i].id] for i in positions)
        return known[node.id]

    # --- sums -------------------------------------------------------------------------------------------------------
    def expected(self, root: Node, stopped: bool = False) -> Node:
        """The expectation of a node; `stopped` if the probabilities are not differentiated."""
        if not self.scope(root):
            return root
        ends = linear_ends(root, self.made_of,
                           lambda n: not self._pays(n) and not self._has_rest(n) and self._enough(n))
        return substitute([root], {end: self._expected_end(end, stopped) for end in ends})[0]

    def _expected_end(self, end: Node, stopped: bool) -> Node:
        return self._eliminated([as_real(n) for n in self._factors(end)], 0, stopped)

    def _factors(self, end: Node) -> Iterator[Node]:
        """What is multiplied to an end, where its tables become smaller so."""
        waiting = [end]
        while waiting:
            node = waiting.pop()
            if node.op is mul_op and self._pays(node):
                waiting += [*reversed(node.args)]
            else:
                yield node

    def made_of(self, node: Node) -> bool:
        """Whether a node is made of the draws of the sites."""
        return bool(self.scope(node))

    def shown(self, node: Node) -> Node:
        """An index as a table: as it is where the values may come about together, and else 0."""
        scope = self.scope(node)
        return choose(self._eliminated([], scope, False) != 0.0, self.placed(node), 0.0) if scope else node

    def placed(self, node: Node) -> Node:
        """The node as a table over the values of its scope."""
        self._check(Factor(node, self.scope(node), False), [])
        return self._placed(node)

    def fits(self, node: Node) -> bool:
        """Whether that table is small enough."""
        return self._size(self.scope(node)) + math.log(max(node.size, 1)) <= math.log(LARGEST)

    def _eliminated(self, nodes: Iterable[Node], kept: int, stopped: bool) -> Node:
        """The product of the nodes and of the probabilities, summed over all sites but those that are kept."""
        nodes = [*nodes]
        own = [Factor(n, self.scope(n), False) for n in nodes]
        needed = reduce(or_, (f.scope for f in own), kept)
        needed = reduce(or_, (self._above[i] | 1 << i for i in _bits(needed)), 0)
        for f in own:
            self._check(f, [])
        at_once = reduce(or_, (f.scope for f in own), kept)
        if at_once != needed and self._is_narrow(at_once, len(own)):
            return self._from_upstream(own, at_once, kept, stopped)
        tables = [self._chance(i, stopped) for i in _bits(needed)]
        tables += [f._replace(node=self._placed(f.node)) for f in own]
        buckets, order = Buckets(tables, self._size), []
        for i in buckets.order(needed & ~kept):
            inside, joint = buckets.taken(i)
            self._check(joint, inside)
            self._widest = max(self._widest, joint.scope, key=self._size)
            order.append(i)
            product = reduce(mul, [f.node for f in inside])
            buckets.put(Factor(axis_sum(product, (self._sums[i].axis.name,)), joint.scope & ~(1 << i), joint.pure))
        self._longest = max(self._longest, order, key=len)
        return reduce(mul, [f.node for f in buckets.left()])

    # --- from upstream on -------------------------------------------------------------------------------------------
    def _from_upstream(self, own: Sequence[Factor], scope: int, kept: int, stopped: bool) -> Node:
        """The same of few sites at once, with the probabilities of its sites, which other ends may ask for too."""
        p = self._marginal(scope, stopped)
        names = tuple(self._sums[i].axis.name for i in _bits(scope & ~kept))
        return axis_sum(reduce(mul, [p, *(self._placed(f.node) for f in own)]), names)

    def _before(self, scope: int) -> int:
        """The sites of a scope but the last one, with those that the last one is given."""
        last = scope.bit_length() - 1
        return scope & ~(1 << last) | self.scope(self._sums[last].chance)

    def _is_narrow(self, scope: int, factors: int) -> bool:
        """Whether the probabilities of these sites follow from upstream on, by tables that any order would need.

        These are those of the probabilities, and of the factor, if it is one.
        """
        path = [scope]
        while path[-1] not in self._fronts:
            path.append(self._before(path[-1]))
        for before, own in pairwise(path[::-1]):
            self._fronts[own] = max(self._fronts[before], self._size(before | own))
        least = max([self._size(scope) if factors < 2 else 0.0, *(self._families[i] for i in _bits(scope))])
        return self._fronts[scope] <= least * (1.0 + 1e-9)

    def _marginal(self, scope: int, stopped: bool) -> Node:
        """The probability of values of these sites together."""
        path, known = [scope], self._marginals
        while path[-1] and (path[-1], stopped) not in known:
            path.append(self._before(path[-1]))
        for before, own in pairwise(path[::-1]):
            last = own.bit_length() - 1
            joint, p = before | own, self._chance(last, stopped)
            self._widest = max(self._widest, joint, key=self._size)
            self._check(p._replace(scope=joint), [])
            gone = tuple(self._sums[i].axis.name for i in _bits(before & ~own))
            known[own, stopped] = axis_sum(known[before, stopped] * p.node if before else p.node, gone)
        order = [i for i in range(scope.bit_length()) if (self._above[scope.bit_length() - 1] | scope) >> i & 1]
        self._longest = max(self._longest, order, key=len)
        return known[scope, stopped]

    def _chance(self, i: int, stopped: bool) -> Factor:
        s = self._sums[i]
        p = self._placed(s.chance)
        return Factor(stop_gradient(p) if stopped else p, self.scope(s.chance) | 1 << i, True)

    @property
    def said(self) -> Eliminated:
        """How the sites were summed out by now."""
        widest = [self._sums[i] for i in _bits(self._widest)]
        return Eliminated(tuple(self._sums[i].site for i in self._longest), tuple(s.site for s in widest),
                          math.prod(s.axis.size for s in widest))

    def _check(self, table: Factor, inside: Sequence[Factor]) -> None:
        """Refuse a table that is too large.

        Raises
        ------
        EstimatorError
        """
        size = max([table.node.size, *(f.node.size for f in inside)])
        if self._size(table.scope) + math.log(max(size, 1)) <= math.log(LARGEST) * (1.0 + 1e-12):
            return
        among = [self._sums[i] for i in _bits(table.scope)]
        names = [f'"{s.site}"' for s in among]
        shown = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) < 8 else (
            f"{', '.join(names[:3])} … {names[-1]} ({len(names)} sites)")
        raise EstimatorError(
            among[-1].where, f"Sites {shown} were to be summed out together.",
            f"Something is made of all of them at once, and they have {' · '.join(_powers(among))} values: more than "
            f"{LARGEST:,} are not summed over.",
            "Write costs as sums, or products, of what few of the sites are in; or use LocalExpectation(), which sums "
            "out one draw at a time.")


class Buckets:
    """The factors of a product, by the sites that they are made of."""

    def __init__(self, factors: Sequence[Factor], size: Callable[[int], float]):
        self._size = size
        self._factors: dict[int, Factor] = {}
        self._of: dict[int, set[int]] = {}
        self._keys: dict[int, tuple] = {}
        self._next = 0
        for f in factors:
            self.put(f)

    def put(self, factor: Factor) -> None:
        """One more factor."""
        number, self._next = self._next, self._next + 1
        self._factors[number] = factor
        for i in _bits(factor.scope):
            self._of.setdefault(i, set()).add(number)
            self._keys.pop(i, None)

    def order(self, sites: int) -> Iterator[int]:
        """The sites, one after another, as they are best summed out; each is `taken` before the next is asked for."""
        left = set(_bits(sites))
        while left:
            best = min(left, key=self._key)
            left.discard(best)
            yield best

    def _key(self, i: int) -> tuple:
        if i not in self._keys:
            joint = self._joint(i)
            self._keys[i] = (round(self._size(joint.scope), 9), not joint.pure, i if joint.pure else -i)
        return self._keys[i]

    def _joint(self, i: int) -> Factor:
        inside = [self._factors[n] for n in self._of[i]]
        return Factor(inside[0].node, reduce(or_, (f.scope for f in inside)), all(f.pure for f in inside))

    def taken(self, i: int) -> tuple[list[Factor], Factor]:
        """The factors that the site is in, which are taken out, and what stands for their product."""
        joint = self._joint(i)
        numbers = sorted(self._of[i])
        inside = [self._factors.pop(n) for n in numbers]
        for j in _bits(joint.scope):
            self._of[j] -= {*numbers}
            self._keys.pop(j, None)
        return sorted(inside, key=lambda f: not f.pure), joint

    def left(self) -> list[Factor]:
        """The factors that are left."""
        return [*self._factors.values()]


def _bits(scope: int) -> Iterator[int]:
    """The sites of a scope, by number."""
    while scope:
        low = scope & -scope
        yield low.bit_length() - 1
        scope ^= low


def _powers(sums: Sequence[Sum]) -> list[str]:
    """How many values there are, as a product of powers."""
    counts: dict[int, int] = {}
    for s in sums:
        counts[s.axis.size] = counts.get(s.axis.size, 0) + 1
    return [f"{size}^{n}" if n > 1 else f"{size}" for size, n in counts.items()]

"""A cost as a sum of parts, each of which is made of few draws of a site: a sum ends what is made element by element.

From the cost downwards, whatever is linear in what depends on the site is gone through, until the elements of a node
are made of one draw each, or something that is not linear joins them. The cost is then a sum of these nodes' elements,
with weights that do not depend on the site, and of what does not depend on it. The weights are the slopes of the cost
in these nodes, by reverse mode.

A cost is credited along a dimension of the draws if all of its parts are. Where some are not, the others may cancel
with them, so that what would be left varies more than the whole: such parts are for the user to declare as two costs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import numpy as np

from scg.analysis.affine import affine
from scg.analysis.bounds import Ranges
from scg.analysis.credit import DrawBits, Shares, shares
from scg.analysis.reach import sum_of
from scg.differentiate.guards import Finite
from scg.differentiate.reverse_mode import gradients
from scg.ir.axes import union
from scg.ir.node import Node, constant
from scg.ir.printer import title
from scg.ir.said import call_of
from scg.ir.traverse import ancestors, substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.leaves import feed
from scg.ops.measure import axis_sum
from scg.ops.randomness import sample_op
from scg.ops.scan import Opened, of_step, open_scan, out_op, stacked
from scg.ops.structure import reshape, stack

TOO_MANY = "its elements are too many to be told apart"


class Part(NamedTuple):
    """A part of a cost: the sum of a node's elements.

    Attributes
    ----------
    cost : str
        The name of the cost.
    node : Node
    source : Node
        What the node is made of by multiplying it with what does not depend on the site.
    shares : Shares
        How the elements are shared out among the draws; those of a step, if it is credited step by step.
    alone : Shares
        The same along those dimensions only of which each element has one index.
    by_step : bool
        Whether `source` is put out, step by step, by a scan in which the site is drawn, and so are the other parts.
    why : str
        What joins the elements of the cost, if they are not told apart along every dimension of the draws.
    """

    cost: str
    node: Node
    source: Node
    shares: Shares = Shares()
    alone: Shares = Shares()
    by_step: bool = False
    why: str = ""


class Parts:
    """The parts of costs that a site is credited for.

    Parameters
    ----------
    site : str
    bits : DrawBits
    holds : callable
        ``holds(scan) -> bool``: whether the site is drawn in the steps of that scan.
    """

    def __init__(self, site: str, bits: DrawBits, holds: Callable[[Node], bool]):
        self._site, self._bits, self._holds = site, bits, holds
        self._known = bits.dependence(site)
        self._told: dict[int, bool] = {}

    def _apart(self, node: Node) -> bool:
        """Whether each element of a node is made of one draw; it is asked again for every cost."""
        if node.id not in self._told:
            self._told[node.id] = self._bits.apart(self._known(node))
        return self._told[node.id]

    def of(self, name: str, cost: Node, within: Collection[int] | None = None) -> list[Part]:
        """The parts of a cost, which are told apart along dimensions of the draws that are `within`, if it is given."""
        ends = linear_ends(cost, lambda n: bool(self._known.any(n)), self._apart)
        found = weighted(cost, ends) if self._may_differ(ends) else None
        pairs = [(cost, cost)] if found is None else self._stacked(self._stepwise(found))
        by_step = all(self.loops(source) for _, source in pairs)
        whole = [self._shared(source, by_step) for _, source in pairs]
        dims = set.intersection(*(set(known.dims) for known in whole))
        dims = dims if within is None else dims & set(within)
        joined = [d for d, size in enumerate(self._bits.draws) if size > 1 and d not in dims]
        why = next((self._why(known, source, cost) for known, (_, source) in zip(whole, pairs)
                    if not set(joined) <= set(known.dims)), "")
        if not dims and by_step is bool(self.loops(cost)):
            pairs = [(cost, cost)]
        return [Part(name, node, source, self._shared(source, by_step, dims), self._shared(source, by_step, dims, True),
                     by_step, why) for node, source in pairs]

    def _may_differ(self, ends: Sequence[Node]) -> bool:
        """Whether draws may have parts of their own: not where one end mixes them all, wherever it stands."""
        return not any(not stacked(end) and not self._apart(end) and not self._shared(end, False).dims
                       for end in ends)

    def alone(self, name: str, cost: Node) -> list[Part]:
        """The parts of a cost along those dimensions only of which each element has one index."""
        parts = self.of(name, cost)
        dims = set.intersection(*(set(part.alone.dims) for part in parts))
        if all(set(part.shares.dims) == dims for part in parts):
            return parts
        why = f"several draws of {self._site} are in an element of it, and replaced at once"
        return [part._replace(why=part.why or why) for part in self.of(name, cost, dims)]

    def _shared(self, source: Node, by_step: bool, dims: Collection[int] | None = None, alone: bool = False) -> Shares:
        found, shape = self._known(source), source.shape
        if by_step:
            loops = self.loops(source)
            each = np.broadcast_to(np.asarray(found, dtype=object), shape).reshape((-1, *shape[loops:]))
            alike = each.shape[0] > 0 and not np.any(each != each[:1])
            found, shape = (each[0] if alike else self._known.any(source)), shape[loops:]
        return shares(found, shape, self._bits, dims, alone=alone)

    def _why(self, known: Shares, source: Node, cost: Node) -> str:
        """What keeps elements from being told apart."""
        if known.crowded:
            return TOO_MANY
        return f"the {_as_called(self._joint(source), cost)} mixes the elements of {self._site}"

    def _joint(self, node: Node) -> Node:
        """The first node, from the site on, where what is made of different draws comes together."""
        while True:
            before = next((a for a in node.args if not self._apart(a)), None)
            if before is None or node.op is out_op:
                return node
            node = before

    def loops(self, node: Node) -> int:
        """How many loops, one inside the other, in which the site is drawn it has a value for each step of."""
        return len(loops_of(node, self._holds))

    def _stacked(self, found: Sequence[tuple[Node, Node]]) -> list[tuple[Node, Node]]:
        """The same, where numbers that are made of few draws each stand in one array."""
        few: list[tuple[Node, Node]] = []
        others: list[tuple[Node, Node]] = []
        for node, source in found:
            alone = not source.ndim and self._bits.apart(self._known(source))
            (few if alone else others).append((node, source))
        if len(few) < 2:
            return list(found)
        nodes, sources = (stack([pair[i] for pair in few]) for i in (0, 1))
        return [*others, (nodes, sources)]

    # --- inside steps -----------------------------------------------------------------------------------------------
    def _stepwise(self, found: Sequence[Weighed]) -> list[tuple[Node, Node]]:
        """What is weighed and the nodes behind it, where numbers that steps put out are split inside the steps."""
        pairs: list[tuple[Node, Node]] = []
        for part in found:
            source = part.source
            inside = self._inside(source) if stacked(source) and source.ndim == 1 else []
            pairs += [(Weighed(own, part.along(own)).node, own) for own in inside or [source]]
        return pairs

    def _inside(self, source: Node) -> list[Node]:
        """What the steps put out in parts that add up to it; none if it is one."""
        if self._bits.apart(self._known(source)):
            return []
        opened, k = open_scan(source.args[0]), len(source.args[0].attrs.carries)
        y, below = opened.ys[source.attrs - k], opened.downstream(self._begin(opened))
        ends = linear_ends(y, lambda n: n.id in below, lambda n: False)
        parts = None if ends[0] is y else weighted(y, ends)
        if parts is None:
            return []
        return opened.put_out([part.node for part in parts])

    def _begin(self, opened: Opened) -> list[Node]:
        """What depends on the site in the body of a scan before anything in it does."""
        leaves = zip((*opened.carries, *opened.xs), (*opened.inits, *opened.arrays))
        return [*(leaf for leaf, outer in leaves if self._known.any(outer)),
                *(n for n in topological(opened.outputs) if n.op is sample_op and n.attrs.site == self._site)]


def loops_of(node: Node, holds: Callable[[Node], bool]) -> tuple[int, ...]:
    """The lengths of the loops that a node is put out by step by step, one inside the other, as far as they hold it."""
    if not (stacked(node) and holds(node.args[0])):
        return ()
    return (node.args[0].attrs.length, *loops_of(of_step(node), holds))


class Weighed(NamedTuple):
    """A node, and what multiplies its elements; None if that is 1."""

    source: Node
    weight: Node | None

    @property
    def node(self) -> Node:
        """Their product; what has the weight 0 has no say, even if it is infinite."""
        if self.weight is None:
            return self.source
        if Finite()(self.source) or Ranges()(self.weight).clear_of_zero:
            return self.source * self.weight
        return choose(self.weight != 0.0, self.source * self.weight, 0.0)

    def along(self, other: Node) -> Node | None:
        """The weights for a node that has more dimensions."""
        w = self.weight
        return w if w is None else reshape(w, (*w.shape, *(1,) * (other.ndim - w.ndim)))


def linear_ends(root: Node, depends: Callable[[Node], bool], enough: Callable[[Node], bool]) -> list[Node]:
    """Where one comes from the root, through what is linear in all that depends on the site, until it is enough."""
    ends, seen, waiting = [], {root.id}, [root]
    while waiting:
        node = waiting.pop()
        positions = [i for i, a in enumerate(node.args) if depends(a)]
        if not positions or enough(node) or not affine(node, positions):
            ends.append(node)
            continue
        for i in reversed(positions):
            if node.args[i].id not in seen:
                seen.add(node.args[i].id)
                waiting.append(node.args[i])
    return ends


def weighted(root: Node, ends: Sequence[Node]) -> list[Weighed] | None:
    """Weights with which the elements of these nodes add up to those of the root, but for an addend; None if unknown.

    Unknown are those of nodes that vary by row or replicate where the root, a mean of theirs, does not.
    """
    if ends[0] is root:
        return [Weighed(root, None)]
    if any(ax.statistical and ax not in root.axes for end in ends for ax in end.axes):
        return None
    leaves = [feed(f"end {i}", end.shape, union(end.axes, root.axes)) for i, end in enumerate(ends)]
    (top,) = substitute([root], dict(zip(ends, leaves)))
    slopes = [g for g in gradients({sum_of([top]): constant(1.0)}, leaves, ("row", "lane")) if g is not None]
    if len(slopes) < len(leaves) or not ancestors(slopes).isdisjoint(leaf.id for leaf in leaves):
        return None
    found = []
    for end, slope in zip(ends, slopes):
        one = Ranges()(slope).only(1.0)
        worlds = tuple(ax.name for ax in union(end.axes, slope.axes) if not ax.statistical and ax not in root.axes)
        if worlds:
            end, one, slope = axis_sum(Weighed(end, None if one else slope).node, worlds), True, constant(1.0)
        found.append(Weighed(end, None if one else slope))
    return found


def _as_called(node: Node, root: Node) -> str:
    """How an error calls a node below a root: as the call that it is a part of, if it is."""
    for n in topological([root]):
        call = call_of(n)
        if call is not None:
            given = {a.id for a in call.args}
            if any(m is node for m in topological([n], lambda m, given=given: m.id in given)):
                return call.template.partition("(")[0]
    return title(node)

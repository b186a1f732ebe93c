"""A site and its signals: which draws are weighed by which parts of its costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, reduce
from math import prod
from operator import add
from typing import NamedTuple

import numpy as np

from scg.analysis.cancelling import own_draws_cancel
from scg.analysis.credit import DrawBits, Shares
from scg.analysis.dependence import Dependence
from scg.analysis.reach import sum_of
from scg.functions import exp
from scg.ir.draws import each_alone
from scg.ir.node import Node, constant
from scg.ir.traverse import substitute, topological
from scg.ops.control import stop_gradient
from scg.ops.leaves import feed
from scg.ops.randomness import sample_op
from scg.ops.reduce import total
from scg.ops.scan import stacked
from scg.ops.structure import broadcast_to
from scg.surrogate.declared_site import DeclaredSite
from scg.surrogate.draft import Term
from scg.surrogate.log_sums import LogSums, log_sums
from scg.surrogate.mark import COSTS, RATIO, SCORE
from scg.surrogate.parts import TOO_MANY, Part, Parts


class Weighing(NamedTuple):
    """Along which dimensions draws of one step are weighed by signals of their own.

    Attributes
    ----------
    credit : str
        ``"steps"``: none; ``"aligned"``: those along which every cost is a sum of parts that are made of few draws
        each; ``"alone"``: those along which these have one index each; ``"elements"``: those along which some cost is
        a sum of parts that are made of few.
    along : tuple of int
        Dimensions of the draws along which they are besides, whatever the costs are made of.
    held : bool
        Whether later draws are held where their sites have terms that are passed on: then these terms weigh draws
        beside the costs (see `scg.surrogate.draft.Term`).
    """

    credit: str = "steps"
    along: tuple[int, ...] = ()
    held: bool = False


class CreditedSite(DeclaredSite):
    """The part of a `Site` that knows of signals: what weighs its draws, in which shape."""

    weighing = Weighing()

    @cached_property
    def weighed_by(self) -> dict[str, Node]:
        """What its draws are weighed by: the costs downstream; with later draws held, what else they move.

        These are the costs that change with the site's own draws alone, and the terms that are passed on.
        """
        if not self.weighing.held:
            return self.influenced
        nodes = {**self.influenced, **{f"the term of {t.site}": t.node for t in self._passed}}
        instead = feed(f"{self.name} (another draw)", self.node.shape, self.node.axes)
        moved = substitute(list(nodes.values()), {self.node: instead, **self.held})
        return {name: node for (name, node), new in zip(nodes.items(), moved) if new is not node}

    @property
    def _passed(self) -> list[Term]:
        return [t for t in self.draft.terms if t.passed is not None]

    @cached_property
    def held(self) -> dict[Node, Node]:
        """The later draws, and weights, that stay where the site's own draws are replaced: each as itself."""
        if not self.weighing.held:
            return {}
        sites = {t.site for t in self._passed}
        roots = [*self.draft.costs.values(), *(t.node for t in self._passed)]
        draws = [n for n in topological(roots) if n.op is sample_op and n.attrs.site in sites]
        return {n: n for n in [*draws, *(t.passed for t in self._passed if t.passed is not None)]}

    @property
    def moved_draws(self) -> list[Node]:
        """The held draws whose distributions the site's own draws move."""
        instead = feed(f"{self.name} (another draw)", self.node.shape, self.node.axes)
        draws = [n for n in self.held if n.op is sample_op]
        return [n for n in draws if any(new is not a for new, a in zip(
            substitute(n.args, {self.node: instead, **self.held}), n.args))]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The downstream costs; in parts, where these are made of few draws each and that is asked for."""
        if self.weighing.credit == "steps" or prod(self.draws) < 2:
            return tuple(self._whole(name) for name in self.weighed_by)
        if not DrawBits.fit(self.draws):
            return tuple(self._whole(name, TOO_MANY) for name in self.weighed_by)
        found = Parts(self.name, DrawBits(self.draws, self.shape), self._draws_in)
        alone = self.weighing.credit == "alone"
        parts = {name: found.alone(name, cost) if alone else found.of(name, cost)
                 for name, cost in self.weighed_by.items()}
        if self.weighing.credit == "elements":
            return tuple(part for of_cost in parts.values() for part in of_cost)
        dims = {name: {d for part in of_cost for d in part.shares.dims} for name, of_cost in parts.items()}
        common = set.intersection(*dims.values()) if dims else set()
        return tuple(part for name, of_cost in parts.items() for part in self._aligned(found, of_cost, dims, common))

    def _aligned(self, found: Parts, parts: Sequence[Part], dims: Mapping[str, set[int]],
                 common: set[int]) -> Sequence[Part]:
        """The parts of a cost along the dimensions that all costs have in common; the whole cost if there are none."""
        name, why = parts[0].cost, parts[0].why
        if dims[name] > common:
            other = next(other for other in dims if not dims[name] <= dims[other])
            why = f'as the cost "{other}" is'
            parts = found.of(name, self.weighed_by[name], common) if common else parts
        return [part._replace(why=why) for part in parts] if common else [self._whole(name, why)]

    def _whole(self, name: str, why: str = "") -> Part:
        """A cost as one part."""
        cost = self.weighed_by[name]
        return Part(name, cost, cost, by_step=stacked(cost) and self._draws_in(cost.args[0]), why=why)

    def _draws_in(self, scan: Node) -> bool:
        """Whether it is drawn in the steps of a scan."""
        return False

    @cached_property
    def credit(self) -> tuple[int, ...]:
        """The dimensions of the draws along which they have signals of their own."""
        return tuple(sorted({*self.weighing.along, *(d for part in self.parts for d in part.shares.dims)}))

    @property
    def credits(self) -> dict[str, str]:
        """How each cost that it influences is credited to its draws, in words; nothing of a site of one draw."""
        if prod(self.draws) < 2 and not self.steps:
            return {}
        of = {name: [part for part in self.parts if part.cost == name] for name in self.influenced}
        return {name: self._credited_by(parts) if parts else "by the terms of later sites"
                for name, parts in of.items()}

    def _credited_by(self, parts: Sequence[Part]) -> str:
        """"by step", "by element", both, or "whole"; and why, if it could be more."""
        every = {d for d, size in enumerate(self.draws) if size > 1}
        common = set(parts[0].shares.dims)
        ways = ["step"] if parts[0].by_step else []
        if common:
            along = "" if common == every else f" along dimension {', '.join(map(str, sorted(common)))}"
            ways.append(f"element{along}")
        text = f"by {' and '.join(ways)}" if ways else "whole"
        return f"{text}: {parts[0].why}" if parts[0].why else text

    @property
    def signal_shape(self) -> tuple[int, ...]:
        """The shape of signals: the steps, and the dimensions of the draws along which they have signals of their own.

        Which these are is asked by its estimator (`weighing`).
        """
        return (*self.steps, *(self.draws[d] for d in self.credit))

    def per_signal(self, node: Node, by: Callable[..., Node] = total) -> Node:
        """A quantity or value of the site summed over the draws that share a signal; or their `product`."""
        own = {len(self.steps) + d for d in self.credit}
        return by(node, axis=tuple(k for k in range(len(self.steps), node.ndim) if k not in own))

    @cached_property
    def score(self) -> Node:
        """What a signal multiplies, in its shape: log p, or in ratio form p/⊥p, which has the same gradient."""
        log_p = self.per_signal(self.log_prob)
        if self.form == "log":
            return self.called(SCORE, log_p)
        return self.called(RATIO, exp(log_p - stop_gradient(log_p)))

    @cached_property
    def cost(self) -> Node:
        """Q̂, a signal: the sum of the downstream costs, as far as they are made of the draws that it weighs."""
        found = self._reach.sum_of(self.weighed_by.values()) if not self.credit else self._summed(self._nodes)
        return self.called(COSTS, found)

    @property
    def _nodes(self) -> list[Node]:
        """The parts of the costs."""
        return [part.node for part in self.parts]

    def _summed(self, nodes: Sequence[Node]) -> Node:
        """The sum of the parts, which have these nodes now: along the dimensions of `credit` each draw's own."""
        if not self.credit:
            return sum_of(nodes)
        found = [self._shared_out(part, part.shares, node, (), self.credit) for part, node in zip(self.parts, nodes)]
        return broadcast_to(reduce(add, found or [constant(0.0)]), self.signal_shape[len(self.steps):])

    def _shared_out(self, part: Part, shares: Shares, node: Node, lead: tuple[int, ...],
                    kept: Sequence[int]) -> Node:
        """What a part, of which this is the node now, gives to each draw along the dimensions `kept`."""
        return shares.summed(node, len(lead), self.draws, kept)

    def signal_axis(self, dim: int) -> int:
        """The dimension of signals that belongs to a dimension of `credit`."""
        return len(self.steps) + self.credit.index(dim)

    def log_sums(self, dim: int) -> list[LogSums]:
        """The costs that are linear in log Σ exp, each summand of which is made of the draws of one index."""
        if not DrawBits.fit(self.draws):
            return []
        bits = DrawBits(self.draws, self.shape)
        found = [log_sums(self.name, bits, cost, dim) for cost in self.influenced.values()]
        return [cost for cost in found if cost is not None]

    def own_sample_path(self, node: Node) -> list[Node] | None:
        """How a replicate's own draw reaches `node`, step by step for a site of a scan; None if it does not.

        Of a node of the shape of a signal, an element must not depend on the draws that are weighed by it; one without
        dimensions on no draw at all.
        """
        if not self._depends(node):
            return None
        known = self._own_draws()
        bit = known.on_its_own(node)
        if bit is None or (not self.steps and own_draws_cancel(
                node, self.name, np.broadcast_to(self._signals, self.draws))):
            return None
        return known.path(node, bit)

    @property
    def _signals(self) -> np.ndarray:
        """For each draw of a sample the number of the signal that it is weighed by; 1 along what all draws share."""
        own = [size if d in self.credit else 1 for d, size in enumerate(self.draws)]
        return np.arange(prod(own)).reshape(own)

    def _own_draws(self) -> Dependence:
        """Dependence on the draws, with a bit for those of each element of a signal."""
        if not self.credit:
            return Dependence(self.name, apart=bool(self.steps))
        signals = self._signals
        marks = each_alone(signals).reshape(*signals.shape, *(1 for _ in self.shape[len(self.draws):]))
        return Dependence(self.name, apart=bool(self.steps), width=signals.size,
                          marks=np.broadcast_to(marks, self.shape))

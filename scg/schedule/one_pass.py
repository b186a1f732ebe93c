"""Sums over a leave-one-out group of products with a baseline, in one pass over the group's lanes.

With o the mean of c over the others of a group of n, and m that over all of them, c − o = (c − m) · n / (n − 1). So

    Σ w (c − o) = (Σ w d − (Σ w) (Σ d) / n) · n / (n − 1),    d = c − base,

for any base: three sums, and no pass for the group's mean before the one that uses it. The base, a mean of c that is
known already (that of a chunk's first group), keeps the two products from cancelling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from scg.ir.node import Node
from scg.ops.arithmetic import add_op, mul_op, neg_op, sub_op
from scg.ops.measure import leave_one_out_op
from scg.schedule.indices import Position
from scg.schedule.language import AboutBase, Apply, Cast, Expr, Signed, Var
from scg.schedule.scalars import Nest

Element = tuple[Node, Position]
_MINUS = {"+": "-", "-": "+"}
_SIGNS = {add_op: "++", sub_op: "+-", neg_op: "-"}


class Term(NamedTuple):
    """A part of an element: sign × the product of factors, and × (c − mean of c over the others) if there is a c."""

    sign: str
    factors: tuple[Element, ...]
    cost: Element | None


def terms_of(element: Element, bound: set[int]) -> list[Term] | None:
    """An element as a sum of such terms, or None if it is none; `bound` are the ids of nodes that hold a baseline."""
    found: list[Term] = []
    waiting: list[tuple[Element, str, tuple[Element, ...]]] = [(element, "+", ())]  # with what multiplies the element
    while waiting:
        (node, at), sign, factors = waiting.pop()
        if node.id not in bound:
            found.append(Term(sign, ((node, at), *factors), None))
            continue
        args = [(a, Nest.argument(a, at)) for a in node.args] if node.op.kind == "elementwise" else []
        held = [arg for arg in args if arg[0].id in bound]
        if node.op is sub_op and node.args[1].op is leave_one_out_op and node.args[1].args[0] is node.args[0]:
            if len(held) > 1:
                return None
            found.append(Term(sign, factors, args[0]))
        elif node.op in _SIGNS:
            signs = _SIGNS[node.op]
            waiting += [(arg, sign if s == "+" else _MINUS[sign], factors) for s, arg in zip(signs, args)][::-1]
        elif node.op is mul_op and len(held) == 1:
            waiting.append((held[0], sign, (*(arg for arg in args if arg[0].id not in bound), *factors)))
        else:
            return None
    return found


class OnePass:
    """Plans the sums of one nest over groups.

    Parameters
    ----------
    nest : Nest
        Over groups, and inside over the lanes of a group.
    accumulate : callable
        ``accumulate(*factors) -> variable`` that holds the sum of an expression, or of the product of two, over the
        lanes of the group.
    key : callable
        What two elements have in common if they are one.
    first : int
        Number of the first base that is free.
    """

    def __init__(self, nest: Nest, accumulate: Callable[..., Var], key: Callable[[Element], tuple], first: int):
        self.nest, self.accumulate, self.key, self.first = nest, accumulate, key, first
        self._costs: dict[tuple, tuple[Var, Expr, Var]] = {}

    @property
    def bases(self) -> list[tuple[Var, Var]]:
        """The bases, each with the sum of the gaps to it."""
        return [(base, total) for base, _, total in self._costs.values()]

    def register(self, terms: Sequence[Term]) -> None:
        """Give a base to each cost of some terms; before anything is summed."""
        for cost in (t.cost for t in terms if t.cost is not None):
            if self.key(cost) not in self._costs:
                base = Var(f"base{self.first + len(self._costs)}", "float64")
                less = Apply(sub_op, (self._value(cost), base), "float64", fused=True)
                gap = self.nest.let(less, self.nest.depth, "float64")
                self._costs[self.key(cost)] = base, gap, self.accumulate(gap)

    def total(self, terms: Sequence[Term]) -> Signed:
        """The sum of an element over the group, as an expression behind the loop over its lanes."""
        return Signed(tuple((t.sign, self._sum_of(t)) for t in terms))

    def _sum_of(self, term: Term) -> Expr:
        if term.cost is None:
            known = self._costs.get(self.key(term.factors[0])) if len(term.factors) == 1 else None
            return AboutBase(known[0], known[2]) if known else self.accumulate(self._product(term.factors))
        base, gap, gaps = self._costs[self.key(term.cost)]
        if not term.factors:  # a cost less the mean of the others sums to zero, and one alone is itself
            return AboutBase(base, gaps, centred=True)
        weight = self._product(term.factors)
        both, weights = self.accumulate(weight, gap), self.accumulate(weight)
        return AboutBase(base, gaps, both, weights, True)

    def _product(self, factors: Sequence[Element]) -> Expr:
        product = self._value(factors[0])
        for factor in factors[1:]:
            both = Apply(mul_op, (product, self._value(factor)), "float64")
            product = self.nest.let(both, self.nest.depth, "float64")
        return product

    def _value(self, element: Element) -> Expr:
        value = self.nest.value(*element)
        return Cast(value, "float64") if self.nest.dtype == "float32" else value

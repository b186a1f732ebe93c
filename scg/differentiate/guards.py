"""Masks of adjoints: where a choice leaves out a branch, that branch has no say in the derivative.

The adjoint of a branch that is not taken is 0. Times an infinite derivative that would be NaN: 1/x at the 0 that
``where(x > 0, t / x, 0.0)`` guards against. So reverse mode knows of an adjoint where it is not masked, as a boolean
node, and masks what is made of it once more wherever a derivative need not be finite. A 0 that is a number, not a
choice, is no mask: the derivative of (√x)² at 0 is not 0, nor is that of exp(log x), whose adjoint is exp(−∞).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import NamedTuple

import numpy as np

from scg.analysis.facts import Certainties
from scg.analysis.fixed import Fixed
from scg.ir.axes import union
from scg.ir.node import Node, as_real, constant, make
from scg.ops.arithmetic import choose, not_op, where_op
from scg.ops.contract import Contraction, contract_op
from scg.ops.control import held
from scg.ops.implicit import implicit_op
from scg.ops.leaves import placeholder_op
from scg.ops.measure import expect_op, reduce_axes
from scg.ops.reduce import total
from scg.ops.scan import out_op
from scg.ops.structure import broadcast_to, reshape, transpose


class Adjoint(NamedTuple):
    """An adjoint, and where it is not masked: a boolean node that broadcasts to its shape; None means everywhere.

    Where it is masked the value is 0, exactly.
    """

    value: Node
    mask: Node | None = None

    def plus(self, other: Adjoint) -> Adjoint:
        """The sum: masked where both are."""
        mask = None if self.mask is None or other.mask is None else self.mask | other.mask
        return Adjoint(self.value + other.value, mask)


class Finite(Certainties):
    """Whether values are finite for certain, and derivatives of what computes them too (overflow of sums aside).

    Parameters
    ----------
    leaves : dict of int to bool, optional
        What is known of values, by id: of placeholders, and of nodes that a call is refused without.
    """

    def __init__(self, leaves: Mapping[int, bool] | None = None):
        super().__init__(leaves)
        self._given = frozenset(leaves or ())

    def slopes(self, node: Node) -> bool:
        """Whether its derivatives are finite too, where its value was not found so by way of them."""
        return self(node) and (node.id not in self._given or self._is_made_so(node))

    def _is_made_so(self, node: Node) -> bool:
        return node.op.is_regular(node) and all(self(a) for a in node.args)

    def _of(self, node: Node) -> bool:
        if node.is_const:
            return node.attrs.ask("finite")
        if node.op is out_op:
            return self.inside(node.args[0])(node.args[0].attrs.outputs[node.attrs])
        return node.op is not placeholder_op and node.op.is_regular(node) and all(self._known[a.id] for a in node.args)


def unless_it_rests(node: Node, g: Adjoint, fixed: Fixed) -> Adjoint:
    """What flows into an argument, but where it is one of some numbers and stays it (`Op.rests`)."""
    arg = node.args[0]
    stays = fixed(arg)
    if stays is None:
        return g
    at = reduce(or_, [held(arg) == number for number in node.attrs])
    mask = ~(stays & at)
    return Adjoint(choose(mask, g.value, 0.0), mask if g.mask is None else mask & g.mask)


# --- what flows from a node into its arguments -----------------------------------------------------------------------
def flows(node: Node, g: Adjoint, finite: Finite, moving: set[int] | None = None) -> list[Adjoint | None]:
    """Adjoints of a node's arguments, before they are fitted to these.

    Parameters
    ----------
    node : Node
    g : Adjoint
        Its own.
    finite : Finite
    moving : set of int, optional
        Ids of the nodes that are differentiated, for a cautious pass: an argument that is ignored because of others
        that do not move (0 · x) is masked, and at a kink either slope counts.
    """
    values = node.op.derivative(g.value, node, *node.args)
    if node.op is contract_op:
        return [_contracted(node, i, g, value, finite) for i, value in enumerate(values)]
    if node.op.kind != "elementwise" and node.op is not implicit_op:  # slopes are multiplied element by element
        masks = _moved(node, g.mask)
        return [None if v is None else Adjoint(v, mask) for v, mask in zip(values, masks)]
    through = [None if v is None else _through(node, g, constant(v), finite) for v in values]
    return through if moving is None else [_heeded(node, i, flow, g, moving) for i, flow in enumerate(through)]


def _heeded(node: Node, position: int, flow: Adjoint | None, g: Adjoint, moving: set[int]) -> Adjoint | None:
    """What flows into an argument: all of it at a kink, and nothing where the op ignores the argument."""
    if flow is not None and node.op.tied is not None:
        tied = node.op.tied(node)
        mask = None if flow.mask is None else flow.mask | (tied if g.mask is None else tied & g.mask)
        flow = Adjoint(choose(tied, g.value, flow.value), mask)
    others = [a for i, a in enumerate(node.args) if i != position]
    if flow is None or node.op.ignores is None or any(a.id in moving for a in others):
        return flow
    ignored = node.op.ignores(position, *node.args)
    if ignored is None:
        return flow
    mask = ~ignored
    return Adjoint(choose(mask, flow.value, 0.0), mask if flow.mask is None else mask & flow.mask)


def _through(node: Node, g: Adjoint, value: Node, finite: Finite) -> Adjoint | None:
    """What an elementwise op passes on: masked where its adjoint was, and where it chose another argument.

    Nothing, if by a literal it always chose another: what would be made of zeros need not be computed.
    """
    chosen = _choice(value)
    if chosen is not None and _never(chosen):
        return None
    mask = g.mask if chosen is None else chosen if g.mask is None else chosen & g.mask
    passed_on = value is g.value or (chosen is not None and any(a is g.value for a in value.args[1:]))
    if g.mask is None or passed_on or finite.slopes(node):
        return Adjoint(value, mask)
    return Adjoint(choose(g.mask, value, 0.0), mask)


def seed(value: Node) -> Adjoint:
    """A root's adjoint: masked if it is a choice between something and 0."""
    return Adjoint(value, _choice(value))


def _choice(value: Node) -> Node | None:
    """Where a choice between something and 0 takes the former; None if it is no such choice."""
    if value.op is not where_op:
        return None
    condition, a, b = value.args
    return condition if _zero(b) else ~condition if _zero(a) else None


def _never(condition: Node) -> bool:
    """Whether it is known to hold nowhere."""
    if condition.op is not_op:
        return condition.args[0].is_const and bool(np.all(condition.args[0].attrs.array))
    return condition.is_const and not np.any(condition.attrs.array)


def _zero(node: Node) -> bool:
    return node.is_const and node.kind == "real" and not node.attrs.ask("any")


def _moved(node: Node, mask: Node | None) -> Sequence[Node | None]:
    """Masks of what an op that moves and adds elements passes on: its derivative has no negative coefficients."""
    if node.op is expect_op or (mask is None and not node.op.chooses):
        return [None] * len(node.args)
    whole = constant(np.ones(node.shape)) if mask is None else broadcast_to(as_real(mask), node.shape)
    return [None if v is None else v != 0.0 for v in node.op.derivative(whole, node, *node.args)]


# --- contractions ----------------------------------------------------------------------------------------------------
def _contracted(node: Node, position: int, g: Adjoint, value: Node, finite: Finite) -> Adjoint:
    """What a contraction passes on: where the other factor need not be finite, products are masked before the sum."""
    if g.mask is None:
        return Adjoint(value)
    c, other = node.attrs, node.args[1 - position]
    to, theirs = (c.left, c.right) if position == 0 else (c.right, c.left)
    mask = broadcast_to(g.mask, node.shape)
    if not finite(other):
        every = to + "".join(letter for letter in dict.fromkeys(c.out + theirs) if letter not in to)
        products = make(contract_op, (g.value, other), Contraction(c.out, theirs, every,
                                                                  union(g.value.axes, other.axes)))
        kept = choose(_laid(mask, c.out, every), products, 0.0)
        value = total(kept, axis=tuple(range(len(to), len(every))))
    gone = tuple(i for i, letter in enumerate(c.out) if letter not in to)
    if gone:
        mask = total(as_real(mask), axis=gone) != 0.0
    return Adjoint(value, _laid(mask, "".join(letter for letter in c.out if letter in to), to))


def _laid(node: Node, letters: str, along: str) -> Node:
    """A node whose dimensions have these letters, laid out along others that hold them all."""
    order = [letters.index(letter) for letter in along if letter in letters]
    moved = transpose(node, order) if node.ndim else node
    sizes = dict(zip(letters, node.shape))
    return reshape(moved, tuple(sizes.get(letter, 1) for letter in along))


# --- masks at other shapes -------------------------------------------------------------------------------------------
def fit_mask(mask: Node | None, arg: Node, keep: frozenset[str]) -> Node | None:
    """A mask for the adjoint of `arg`: where it has more elements than that, whether any of them is not masked."""
    if mask is None:
        return None
    gone = {ax.name for ax in mask.axes} - {ax.name for ax in arg.axes} - keep
    extra = max(mask.ndim - arg.ndim, 0)
    sizes = (1,) * max(arg.ndim - mask.ndim, 0) + mask.shape[extra:]
    dims = tuple(range(extra)) + tuple(i + extra - max(arg.ndim - mask.ndim, 0) for i, size in enumerate(sizes)
                                       if size != 1 and arg.shape[i] == 1)
    if not gone and not dims:
        return mask
    count = reduce_axes(as_real(mask), gone)
    if dims:
        count = reshape(total(count, axis=dims, keepdims=True), tuple(
            1 if i in dims else s for i, s in enumerate(count.shape))[extra:])
    return count != 0.0


def as_number(g: Adjoint | None, like: Node) -> Node:
    """The mask of an adjoint as numbers of the shape of a node: 0 where it is masked, and where there is no adjoint."""
    mask = constant(0.0) if g is None else constant(1.0) if g.mask is None else as_real(g.mask)
    return broadcast_to(mask, like.shape)

"""The element of a node at given indices, one rule per op: where it comes from, or how it is computed.

An index is an int or an expression in summation indices. A rule is ``rule(converter, node, index, at) -> expression``.
"""

from __future__ import annotations

import functools

import numpy as np
import sympy

from scg.analysis.integers import indexing
from scg.export.sympy import forms, reals
from scg.export.sympy.calls import function_of
from scg.export.sympy.loops import LOOPS
from scg.export.sympy.to_sympy import ELEMENTS, KINDS
from scg.functions import sign
from scg.ir.axes import union
from scg.ir.index_map import Piece, Within, position, repeated
from scg.ir.node import Node, as_real
from scg.ir.op import Smoothness
from scg.ops.arithmetic import (
    NUMBER,
    abs_op,
    eq_op,
    index_op,
    maximum_op,
    minimum_op,
    real_op,
    stop_gradient_op,
    where_op,
)
from scg.ops.call import CALLS, given_of, unless_of
from scg.ops.contract import contract_op
from scg.ops.implicit import implicit_op
from scg.ops.leaves import GIVEN, const_op
from scg.ops.measure import (
    axis_sum_op,
    axis_to_event_op,
    event_to_axis_op,
    expect_op,
    leave_one_out_op,
    replace_one_op,
)
from scg.ops.randomness import below_op, draw_until_op, uniform_op
from scg.ops.reduce import sum_op
from scg.ops.scan import stacked
from scg.ops.special import ndtri_op
from scg.ops.structure import prefix_sum_op, suffix_sum_op


# --- leaves and elementwise ops --------------------------------------------------------------------------------------
def _leaf(c, n: Node, index, at):
    if n.op in GIVEN:
        return c.leaf(n.attrs.name, index)
    return c.symbol(c.names.brought(n), index)


def _const(c, n: Node, index, at):
    return c.constant(n.attrs, index)


def _stopped(c, n: Node, index, at):
    if n.attrs[:1] == NUMBER:
        return c.drawn(c.names.number(n, at.frame), n, index, at)
    return _elementwise(c, n, index, at)


def _elementwise(c, n: Node, index, at):
    value = _computed(c, n, index, at)
    if n.op.smoothness is Smoothness.DISCONTINUOUS:
        c.decide(value, n, index, at)
    elif n.op in _SLOPES:
        for jump, node in _SLOPES[n.op](c, n, value, index, at):
            c.decide(jump, node, index, at)
    return value


def _slope_of_abs(c, n: Node, value, index, at):
    """What the derivative of |x| jumps by, as an expression and as a node."""
    return [(reals.sign(value.args[0]), sign(n.args[0]))] if isinstance(value, reals.Abs) else []


def _slopes_of_extreme(c, n: Node, value, index, at):
    """The same of the larger, or smaller, of two numbers: of each the share of the derivative that it has."""
    if not isinstance(value, (reals.Max, reals.Min)) or len(value.args) != 2:
        return []
    first = sympy.sympify(c.element(n.args[0], repeated(index, n.args[0].shape), at))
    sides = n.args if value.args[0] == first else n.args[::-1]
    return [(value.fdiff(i + 1), _share(mine, other, isinstance(value, reals.Max)))
            for i, (mine, other) in enumerate(zip(sides, sides[::-1]))]


def _share(mine: Node, other: Node, largest: bool) -> Node:
    above = other < mine if largest else mine < other
    return as_real(above) + 0.5 * as_real(mine == other)


_SLOPES = {abs_op: _slope_of_abs, maximum_op: _slopes_of_extreme, minimum_op: _slopes_of_extreme}


def _computed(c, n: Node, index, at):
    n = c.plain(n)
    if n.op.kind != "elementwise":
        return c.element(n, index, at)
    if n.op is ndtri_op and n.args[0].op is uniform_op:
        return _uniform(c, n, repeated(index, n.args[0].shape), at)
    if n.op is real_op and n.args[0].op is eq_op and not c.depends_on_parameters(n.args[0]):
        n, op = n.args[0], sympy.KroneckerDelta
    else:
        op = _OWN.get(n.op)
    args = [sympy.sympify(c.element(a, repeated(index, a.shape), at)) for a in n.args]
    return op(*args) if op else n.op.sympy(reals.of_reals, *args, *(n.attrs if isinstance(n.attrs, tuple) else ()))


# Ops that have forms of their own here, which keep what sympy would rearrange
_OWN = {where_op: forms.Choice, real_op: lambda c: forms.Choice(c, 1, 0), stop_gradient_op: forms.stop_gradient}


# --- reductions and products -----------------------------------------------------------------------------------------
def runs_over_steps(n: Node, dim: int) -> bool:
    """Whether a dimension of a node runs over the steps of a scan (it only decides how its index is called)."""
    waiting, seen = [(n, dim)], set()
    while waiting:
        n, dim = waiting.pop()
        if (n.id, dim) in seen:
            continue
        seen.add((n.id, dim))
        if dim == 0 and stacked(n):
            return True
        if n.op.kind == "elementwise":
            waiting += [(a, dim - n.ndim + a.ndim) for a in n.args if a.ndim >= n.ndim - dim]
        elif n.op in (suffix_sum_op, prefix_sum_op):
            waiting.append((n.args[0], dim))
        elif n.op is sum_op:
            kept = [d for d in range(n.args[0].ndim) if d not in n.attrs]
            waiting.append((n.args[0], kept[dim]))
    return False


def _sum(c, n: Node, index, at):
    return _over(c, n.args[0], list(n.attrs), index, at)


def _over(c, arg: Node, dims: list[int], index: tuple, at):
    """The sum over some dimensions of `arg`; `index` lacks those still in `dims`, the lowest first."""
    if not dims:
        return c.element(arg, index, at)
    d, *rest = dims
    return c.summation(0, arg.shape[d] - 1, lambda i, at: _over(c, arg, rest, (*index[:d], i, *index[d:]), at), at,
                       runs_over_steps(arg, d))


def _reduced(n: Node, index) -> list[tuple]:
    """The indices of the elements that an element of a reduction over dimensions is made of."""
    (arg,) = n.args
    indices: list[tuple] = [()]
    for d in range(arg.ndim):
        options = range(arg.shape[d]) if d in n.attrs else [index[d - sum(x < d for x in n.attrs)]]
        indices = [(*done, i) for done in indices for i in options]
    return indices


def _combined(c, n: Node, index, at):
    by, start = n.op.combines
    elements = [sympy.sympify(c.element(n.args[0], i, at)) for i in _reduced(n, index)]
    if len(elements) < 2:
        return elements[0] if elements else sympy.sympify(start)
    whole = reals.of_several(by.sympy(reals.of_reals, *elements[:2]), elements)
    return functools.reduce(lambda a, b: by.sympy(reals.of_reals, a, b), elements) if whole is None else whole


def _running(c, n: Node, index, at):
    suffix, i = n.op is suffix_sum_op, index[0]
    if c.expand and isinstance(i, int) and runs_over_steps(n, 0):  # each from the next one, which may be shared
        here, other = c.element(n.args[0], index, at), i + 1 if suffix else i - 1
        return here + c.element(n, (other, *index[1:]), at) if 0 <= other < n.shape[0] else here
    low, high = (index[0], n.shape[0] - 1) if n.op is suffix_sum_op else (0, index[0])
    return c.summation(low, high, lambda i, at: c.element(n.args[0], (i, *index[1:]), at), at, runs_over_steps(n, 0))


def _contract(c, n: Node, index, at):
    k, (a, b) = n.attrs, n.args
    sizes = {**dict(zip(k.left, a.shape)), **dict(zip(k.right, b.shape))}
    kept = {ax.name for ax in k.axes}
    gone = [ax for ax in union(a.axes, b.axes) if ax.name not in kept]
    worlds = [ax for ax in gone if not ax.statistical]
    letters = sorted(set(k.left + k.right) - set(k.out))

    def product(found: dict, at, letters, worlds):
        if worlds:
            ax, *rest = worlds
            return c.summation(0, ax.size - 1, lambda i, at: product(found, at.along(ax.name, i), letters, rest), at,
                               axis=ax.name)
        if letters:
            letter, *rest = letters
            return c.summation(0, sizes[letter] - 1, lambda i, at: product({**found, letter: i}, at, rest, ()), at)
        return (c.element(a, tuple(found[x] for x in k.left), at) * c.element(b, tuple(found[x] for x in k.right), at))

    value = product(dict(zip(k.out, index)), at, letters, worlds)
    return forms.Expectation(value) if len(worlds) < len(gone) else value


# --- axes ------------------------------------------------------------------------------------------------------------
def _axis_sum(c, n: Node, index, at):
    sizes = {ax.name: ax.size for ax in n.args[0].axes}

    def over(names, at):
        if not names:
            return c.element(n.args[0], index, at)
        name, *rest = names
        return c.summation(0, sizes[name] - 1, lambda i, at: over(rest, at.along(name, i)), at, axis=name)

    return over(list(n.attrs), at)


def _event_to_axis(c, n: Node, index, at):
    return c.element(n.args[0], (at.world(n.attrs.name), *index), at)


def _axis_to_event(c, n: Node, index, at):
    return c.element(n.args[0], index[1:], at.along(n.attrs.name, index[0]))


def _expect(c, n: Node, index, at):
    return forms.Expectation(c.element(n.args[0], index, at))


def _leave_one_out(c, n: Node, index, at):
    return forms.LOO(c.element(n.args[0], index, at))


def _replace_one(c, n: Node, index, at):
    x, v = n.args
    element_index, world = position(index, n.shape), at.world(n.attrs.name)
    x, v = c.element(x, index, at), c.element(v, repeated(index, v.shape), at)
    return forms.Choice(sympy.Eq(world, element_index), v, x)


# --- noise and samples -----------------------------------------------------------------------------------------------
def _uniform(c, n: Node, index, at):
    return c.drawn(c.names.noise(n), n, index, at)


def _draw(c, n: Node, index, at):
    return c.drawn(c.names.draw(n), n, index, at)


def _below(c, n: Node, index, at):
    """1 where a uniform lies below a probability."""
    u, p = (sympy.sympify(c.element(a, repeated(index, a.shape), at)) for a in n.args[1:3])
    return forms.Choice(u < p, 1, 0)


def _implicit(c, n: Node, index, at):
    """The draw, and a term that is 0 and has its derivative."""
    draw, *given = (sympy.sympify(c.element(a, repeated(index, a.shape), at)) for a in n.args)
    return draw + sum(forms.Stopped(slope) * (p - forms.Stopped(p)) for p, slope in zip(given[::2], given[1::2]))


def _called(c, n: Node, index, at):
    """An element of what a function of the user's returns, of all elements of its arguments."""
    given, over = given_of(n), unless_of(n)
    flat = [sympy.sympify(c.element(a, i, at)) for a in given for i in np.ndindex(*a.shape)]
    unless = [] if over is None else [sympy.sympify(c.element(over, (), at))]
    return function_of(n.attrs[0], tuple(a.shape for a in given), bool(unless))(*index, *flat, *unless)


# --- where elements come from ----------------------------------------------------------------------------------------
def _moved(c, n: Node, index, at):
    """An element of an argument. What is nowhere has no value: a formula is of what has one."""
    options = []
    for piece in n.op.pieces_of(n, index, lambda argument, where: c.element(n.args[argument], where, at)):
        hit = sympy.And(*map(_condition, piece.where)) if isinstance(piece, Piece) else sympy.true
        if hit != sympy.false:
            options.append((piece, hit))
        if hit == sympy.true:
            break
    if len(options) > 1:
        c.ask_for_numbers(sympy.Tuple(*(hit for _, hit in options)), at)
    found = [(c.element(n.args[p.argument], p.at, at) if isinstance(p, Piece) else sympy.sympify(p), hit)
             for p, hit in options]
    value = found[-1][0]
    for option, hit in found[-2::-1]:
        value = forms.Choice(hit, option, value)
    return value


def _condition(condition: Within):
    index, low, high = condition
    if high == low + 1:
        return sympy.Eq(index, low)
    return sympy.And(sympy.Ge(index, low), sympy.Lt(index, high))


def _indexing(c, n: Node, index, at):
    """What indexes. A call refuses what is no index of a table that it reads; a formula is of what has a value."""
    return c.element(indexing(n), index, at)


KINDS.update({"moving": _moved, "combining": _combined, "leaf": _leaf, "elementwise": _elementwise})
ELEMENTS.update({
    const_op: _const, sum_op: _sum, suffix_sum_op: _running, prefix_sum_op: _running,
    contract_op: _contract, axis_sum_op: _axis_sum, event_to_axis_op: _event_to_axis, axis_to_event_op: _axis_to_event,
    expect_op: _expect, leave_one_out_op: _leave_one_out, replace_one_op: _replace_one, uniform_op: _uniform,
    index_op: _indexing, below_op: _below, draw_until_op: _draw, implicit_op: _implicit, stop_gradient_op: _stopped,
    **dict.fromkeys(CALLS, _called), **LOOPS,
})  # fmt: skip

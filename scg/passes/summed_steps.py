"""Large products that a loop adds up, taken out of it: they become one product, which is summed over the steps too.

In: roots. Out: the same roots. What is differentiated with respect to a weight that every step reads is a carry of the
adjoint loop, to which a step adds an outer product: as many numbers in each replicate as the weight has. The sides of
these products are put out step by step instead. Behind the loop stands Σₜ aₜ bₜᵀ, a product like that of a weight that
is read once, of which a kernel needs the sum over replicates alone. Out of a loop in a loop they are taken twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from scg.analysis.decisions import decided
from scg.ir.axes import union
from scg.ir.node import Node, make
from scg.ir.traverse import ancestors, substitute, topological
from scg.ops.arithmetic import add_op, numbered, with_numbers_of
from scg.ops.bodies import in_bodies
from scg.ops.contract import contract_op
from scg.ops.scan import Opened, increment, last_outputs, open_scan, out, out_op, scan_op
from scg.ops.structure import broadcast_to_op

LARGE = 1 << 8  # elements of a product from which on it is worth it, measured: 2 times as fast at 20 by 20
KEPT = 1 << 17  # elements that are put out for it, at most: longer loops add up in place
LETTERS = "tuvwxyzabcdefghijklmnopqrs"


class Added(NamedTuple):
    """A product, and the numbers that it is multiplied or divided by, one after another, as nodes that do so."""

    product: Node
    factors: tuple[Node, ...]


def sum_products(roots: Sequence[Node]) -> list[Node]:
    """Carries to which steps add large products become sums over steps, outside of their loops; inner loops first."""
    read = decided(roots)
    roots = in_bodies(roots, sum_products, {n.args[0] for n in topological(roots) if n.op is out_op and n.id in read})
    while (mapping := _taken_out(roots)) is not None:
        roots = substitute(roots, mapping)
    return roots


def _taken_out(roots: Sequence[Node]) -> dict[Node, Node] | None:
    """For the first loop that has such carries, what becomes of its results."""
    order = topological(roots)
    for scan in (n for n in order if n.op is scan_op):
        opened = open_scan(scan)
        found = {i: product for i in range(len(opened.carries)) if (product := _added(opened, i)) is not None}
        if not found:
            continue
        outs, read = [n for n in order if n.op is out_op and n.args[0] is scan], decided(roots)
        found = {i: p for i, p in found.items() if not any(n.attrs == i and n.id in read for n in outs)}
        if found:
            return _summed(opened, found, outs)
    return None


def _added(opened: Opened, i: int) -> Added | None:
    """What each step adds to a carry, if that is a large product and it does nothing else with the carry."""
    carry, rest = opened.carries[i], [*opened.new_carries[:i], *opened.new_carries[i + 1 :], *opened.ys]
    added = increment(carry, opened.new_carries[i])
    if added is None or carry.id in ancestors([added, *rest]):
        return None
    factors: list[Node] = []
    while added.op.transparent or numbered(added) is not None:
        factors += [] if added.op.transparent else [added]
        added = added.args[numbered(added) or 0]
    if added.op is not contract_op or added.size < LARGE or added.attrs.axes != union(*(a.axes for a in added.args)) \
            or not all(ax.statistical for ax in added.attrs.axes):
        return None
    own = sum(a.size for a in added.args if a.id in _inside(opened) and not _is_read(opened, a))
    if opened.length * own > KEPT or not any(a.id in _inside(opened) for a in added.args):
        return None
    return Added(added, tuple(reversed(factors)))


def _inside(opened: Opened) -> set[int]:
    """What has a value in each step."""
    return opened.downstream([opened.step, *opened.carries, *opened.xs])


def _is_read(opened: Opened, side: Node) -> bool:
    """Whether a side is an array's part, so that it is there already."""
    return any(side is x for x in opened.xs)


def _summed(opened: Opened, found: dict[int, Added], outs: Sequence[Node]) -> dict[Node, Node]:
    """The loop without these carries, and the sums."""
    inside = _inside(opened)
    sides = list({a.id: a for added in found.values() for a in added.product.args
                  if a.id in inside and not _is_read(opened, a)}.values())
    kept = [i for i in range(len(opened.carries)) if i not in found]
    fewer = replace(opened, carries=tuple(opened.carries[i] for i in kept), inits=tuple(opened.inits[i] for i in kept),
                    new_carries=tuple(opened.new_carries[i] for i in kept), ys=(*opened.ys, *sides)).close()
    arrays = {x.id: a for x, a in zip(opened.xs, opened.arrays)}
    arrays.update((a.id, y) for a, y in zip(sides, last_outputs(fewer, len(sides))))
    k = len(opened.carries)
    numbers = {old: new for new, old in enumerate(kept)} | {k + i: len(kept) + i for i in range(len(opened.ys))}
    return {n: out(fewer, numbers[n.attrs]) if n.attrs in numbers else
            _total(found[n.attrs], arrays, opened.inits[n.attrs]) for n in outs}


def _total(added: Added, arrays: dict[int, Node], start: Node) -> Node:
    """The first value, and the products of all steps."""
    product, c = added.product, added.product.attrs
    t = next(letter for letter in LETTERS if letter not in c.left + c.right)
    sides = [arrays.get(a.id, a) for a in product.args]
    left, right = (t * (a.id in arrays) + names for a, names in zip(product.args, (c.left, c.right)))
    total = make(contract_op, tuple(sides), c._replace(left=left, right=right, axes=union(*(a.axes for a in sides))))
    for factor in added.factors:
        total = with_numbers_of(factor, total)
    first = start
    while first.op is broadcast_to_op:
        first = first.args[0]
    return total if first.is_const and not np.any(first.attrs.array) else make(add_op, (start, total))

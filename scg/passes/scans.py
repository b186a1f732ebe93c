"""Scans merged, split and pruned.

In: roots. Out: the same roots, in which numbers that a scan gives to all steps alike stand in its steps, scans that
advance the same carries are one scan with all their outputs, or two if some of these vary by row and some do not, and
no scan carries or puts out what nobody uses, or carries what no step changes. Estimators and reverse mode add outputs
to scans one by one, each in a scan of its own; without this pass the forward loop would run several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from scg.ir.axes import ROW
from scg.ir.node import Node, constant, make
from scg.ir.traverse import Substitution, ancestors, rebuild, substitute, topological
from scg.ops.bodies import has_scans, in_bodies, of_body
from scg.ops.leaves import placeholder
from scg.ops.scan import ScanBody, begin, open_scan, out, out_op, scan_op, split


def give_to_all_steps(roots: Sequence[Node]) -> list[Node]:
    """An array that a scan runs along, of which all steps have the same known numbers, is these numbers, in bodies too.

    What is done with them is then known to the rules, and to be what another scan does.
    """
    new = Substitution()
    for node in topological(roots):
        if node.op is scan_op and any(_same_in_all(array) is not None for array in split(node)[2]):
            new.put(node, _with_given(rebuild(node, tuple(map(new, node.args)))))
    return in_bodies(list(map(new, roots)), give_to_all_steps)


def _with_given(node: Node) -> Node:
    opened = open_scan(node)
    given = {x: same for x, array in zip(opened.xs, opened.arrays) if (same := _same_in_all(array)) is not None}
    left = [i for i, x in enumerate(opened.xs) if x not in given]
    return opened.mapped(given).close(xs=tuple(opened.xs[i] for i in left),
                                      arrays=tuple(opened.arrays[i] for i in left))


def _same_in_all(array: Node) -> Node | None:
    """The numbers of every step, where they are known and are the same in all."""
    if not array.is_const or not array.shape[0]:
        return None
    numbers = array.attrs.array
    return constant(numbers[0]) if numbers.tobytes() == np.broadcast_to(numbers[:1], numbers.shape).tobytes() else None


def merge_scans(roots: Sequence[Node]) -> list[Node]:
    """Scans with the same length, direction, first values and steps of the carries become one, in bodies too."""
    roots, known = list(roots), dict[Node, _Signature]()
    while groups := _mergeable(roots, known):
        roots = substitute(roots, {old: new for group in groups for old, new in _merged(group, roots).items()})
    return in_bodies(roots, merge_scans)


@dataclass(frozen=True)
class _Signature:
    """A scan over placeholders named by what they stand for, so that equal bodies are the same nodes.

    These nodes are held here: an id means nothing when its node is gone.
    """

    node: Node
    key: tuple
    carries: tuple[Node, ...]
    ys: tuple[Node, ...]


def _signature(node: Node) -> _Signature:
    body = node.attrs
    inits, consts, arrays = split(node)
    names = dict(zip(body.consts, consts))
    names.update((x, placeholder(f"x of {a.id}", x.shape, x.axes, x.kind)) for x, a in zip(body.xs, arrays))
    k, news = len(inits), handed_on(body)
    outputs = substitute([*news, *body.ys], names)
    key = (body.length, body.reverse, tuple(n.id for n in inits), tuple(c.id for c in body.carries),
           tuple(n.id for n in outputs[:k]))
    return _Signature(node, key, tuple(outputs[:k]), tuple(outputs[k:]))


def handed_on(body: ScanBody) -> list[Node]:
    """The new carries: what a scan inside puts out besides is no part of how they go on."""
    news = list(body.new_carries)
    return of_body(body, news, prune_scans) if has_scans(news) else news


def _mergeable(roots: Sequence[Node], known: dict[Node, _Signature]) -> list[list[_Signature]]:
    """Groups of scans that can be one: none of them depends on another, nor on one of another group."""
    groups: dict[tuple, list[_Signature]] = {}
    for node in topological(roots):
        if node.op is scan_op:
            if node not in known:
                known[node] = _signature(node)
            groups.setdefault(known[node].key, []).append(known[node])
    found, taken, over = list[list[_Signature]](), set[int](), set[int]()
    for group in (g for g in groups.values() if len(g) > 1):
        above = {s.node.id: ancestors(s.node.args) for s in group}
        free = [s for s in group if not any(o.node.id in above[s.node.id] for o in group)
                and taken.isdisjoint(above[s.node.id]) and s.node.id not in over]
        if len(free) > 1:
            found.append(free)
            taken |= {s.node.id for s in free}
            over |= set[int]().union(*(above[s.node.id] for s in free))
    return found


def _merged(group: Sequence[_Signature], roots: Sequence[Node]) -> dict[Node, Node]:
    """What each `out` of the group's scans becomes."""
    first = group[0].node
    inits = split(first)[0]
    arrays = list({a.id: a for s in group for a in split(s.node)[2]}.values())
    ys = list({y.id: y for s in group for y in s.ys}.values())
    fresh = begin(first.attrs.length, first.attrs.carries, arrays, first.attrs.reverse, called=first.attrs.called)
    names = dict(zip((first.attrs.step, *first.attrs.carries), (fresh.step, *fresh.carries)))
    names.update((placeholder(f"x of {a.id}", a.shape[1:], a.axes, a.kind), x) for a, x in zip(arrays, fresh.xs))
    carried = open_scan(first)  # its own new carries, over its own leaves
    steps = substitute([*carried.new_carries], dict(zip((carried.step, *carried.carries, *carried.xs), (
        fresh.step, *fresh.carries, *(fresh.xs[[a.id for a in arrays].index(b.id)] for b in carried.arrays)))))
    scan = replace(fresh, inits=inits, new_carries=tuple(steps), ys=tuple(substitute(ys, names))).close()
    k, position = len(inits), {y.id: i for i, y in enumerate(ys)}
    by_node = {s.node.id: s for s in group}
    mapping = {}
    for node in topological(roots):
        if node.op is out_op and (s := by_node.get(node.args[0].id)) is not None:
            index = node.attrs if node.attrs < k else k + position[s.ys[node.attrs - k].id]
            mapping[node] = out(scan, index)
    return mapping


def split_scans(roots: Sequence[Node]) -> list[Node]:
    """What does not vary by row comes from a scan of its own, if other outputs of its scan do, from first to last.

    So it can be computed outside of a loop over the rows, where what is shared by them needs it.
    """
    roots = list(roots)
    while (mapping := _taken_apart(roots)) is not None:
        roots = substitute(roots, mapping)
    return roots


def _taken_apart(roots: Sequence[Node]) -> dict[Node, Node] | None:
    """For the first scan of whose outputs some vary by row and some do not, what becomes of the latter."""
    used: dict[Node, list[Node]] = {}
    for node in topological(roots):
        if node.op is out_op:
            used.setdefault(node.args[0], []).append(node)
    for scan in (n for n in topological(roots) if n in used):
        apart = [n for n in used[scan] if ROW not in n.axes]
        if 0 < len(apart) < len(used[scan]):
            new, index = pruned(scan, {n.attrs for n in apart})
            if new is not scan:  # a mean over rows within it would need all of it
                return {n: out(new, index[n.attrs]) for n in apart}
    return None


def prune_scans(roots: Sequence[Node]) -> list[Node]:
    """Carries and outputs that nobody uses are dropped, in bodies too, and a carry that no step changes is its first
    value."""
    order = topological(roots)
    live, used = {root.id for root in roots}, dict[int, set[int]]()
    kept: dict[int, _Kept] = {}
    for node in reversed(order):  # what uses a scan comes before it
        if node.op is out_op and node.id in live:
            used.setdefault(node.args[0].id, set()).add(node.attrs)
        if node.op is scan_op and node.id in used:
            kept[node.id] = found = _kept(node, used[node.id])
            live |= {n.id for n in (*found.scan.args, *found.fixed.values())}
        elif node.id in live:
            live |= {a.id for a in node.args}
    new, rebuilt = Substitution(), dict[int, Node]()
    for node in order:
        if node.op is not out_op or node.id not in live:
            continue
        number, found = node.args[0].id, kept[node.args[0].id]
        if node.attrs in found.fixed:
            new.put(node, new(found.fixed[node.attrs]))
            continue
        if number not in rebuilt:
            rebuilt[number] = new(found.scan)
        if rebuilt[number] is not node.args[0]:
            new.put(node, out(rebuilt[number], found.numbers[node.attrs]))
    return in_bodies([new(root) for root in roots], prune_scans)


class _Kept(NamedTuple):
    """What is left of a scan: itself, the new number of each output, and what results are that no step changes."""

    scan: Node
    numbers: dict[int, int]
    fixed: dict[int, Node]


def _kept(node: Node, used: set[int]) -> _Kept:
    body, inits = node.attrs, split(node)[0]
    fixed = {i: inits[i] for i, (c, n) in enumerate(zip(body.carries, body.new_carries)) if n is c}
    if fixed:
        opened = open_scan(node)
        node = opened.mapped({opened.carries[i]: first for i, first in fixed.items()}).close()
    return _Kept(*pruned(node, used - set(fixed)), {i: first for i, first in fixed.items() if i in used})


def pruned(node: Node, used: set[int]) -> tuple[Node, dict[int, int]]:
    """The scan without what is not used, and the new number of each output."""
    body = node.attrs
    k, inside = len(body.carries), has_scans(body.outputs)
    ys = [i for i in range(len(body.ys)) if k + i in used]
    kept = {i for i in range(k) if i in used}
    while True:
        numbers = [*sorted(kept), *(k + i for i in ys)]
        outputs = [body.outputs[i] for i in numbers]
        if inside:  # of a scan inside, what nobody uses needs nothing
            outputs = of_body(body, outputs, prune_scans)
        reached = ancestors(outputs)
        more = {i for i in range(k) if body.carries[i].id in reached} - kept
        if not more:
            break
        kept |= more
    carries = sorted(kept)
    xs = [i for i, x in enumerate(body.xs) if x.id in reached]
    index = {old: new for new, old in enumerate(carries)}
    index.update({k + old: len(carries) + new for new, old in enumerate(ys)})
    if len(carries) == k and len(ys) == len(body.ys) and len(xs) == len(body.xs):
        return node, index
    if inside:
        instead = dict(zip(numbers, outputs))
        body = body.with_outputs(tuple(instead.get(i, n) for i, n in enumerate(body.outputs)))
    opened = open_scan(make(scan_op, node.args, body))
    new = replace(opened, carries=tuple(opened.carries[i] for i in carries),
                  inits=tuple(opened.inits[i] for i in carries),
                  new_carries=tuple(opened.new_carries[i] for i in carries), ys=tuple(opened.ys[i] for i in ys),
                  xs=tuple(opened.xs[i] for i in xs), arrays=tuple(opened.arrays[i] for i in xs)).close()
    return new, index

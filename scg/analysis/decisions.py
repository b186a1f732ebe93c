"""Which nodes a decision reads: a comparison, a rounding, a sign, an index.

What a decision reads must be computed as the graph is written, for on a tie the last bit decides. So rules that change
the last bit leave these nodes alone, and backends add their elements in the same order. A comparison with noise is
exempt: a uniform ties with a probability of one in 2⁵², which one bit of the other side does not change. So is one with
an infinite literal, which no rounding crosses, and so are integers: sums of them have no last bit to lose.

Where nothing jumps (`Op.seamless`), because two ways to write one number meet there, or a number and an error, the last
bit is no matter, though what is compared should be as accurate: its sums may be added in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from scg.ir.node import Node
from scg.ir.op import Smoothness
from scg.ir.traverse import topological
from scg.ops.randomness import uniform_op
from scg.ops.scan import out_op, scan_op, split

_LENIENT = (Smoothness.SMOOTH, Smoothness.BLOCKING)
_KNOWN: ContextVar[dict[tuple[Node, ...], Mapping[int, Node]] | None] = ContextVar("decided", default=None)


def decided(roots: Sequence[Node]) -> Mapping[int, Node]:
    """The nodes below the roots that a decision reads, in the bodies of scans too, by id."""
    known = _KNOWN.get()
    if known is None:
        return _decided(roots)
    key = tuple(roots)
    if key not in known:
        known[key] = _decided(roots)
    return known[key]


@contextmanager
def remembering() -> Iterator[None]:
    """Passes that ask again about what the one before has left as it was are told the same; then it is forgotten."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def _decided(roots: Sequence[Node]) -> Mapping[int, Node]:
    return _read(roots, lambda order: {n.id for n in order})


def in_order(roots: Sequence[Node]) -> dict[int, Node]:
    """Those that a decision reads by which something jumps: their sums are added in NumPy's order."""
    return _read(roots, lambda order: _jumping(order, [*roots, *_put_out(order)]))


def _read(roots: Sequence[Node], jumping: Callable[[Sequence[Node]], set[int]]) -> dict[int, Node]:
    every: dict[int, Node] = {}
    given: dict[int, list[Node]] = {}  # what placeholders of scans stand for; equal ones of two scans are one node
    _collect(roots, every, given)
    order = sorted(every.values(), key=lambda n: n.id)  # arguments have smaller ids than their users
    rough, whole, jumps = _rough(order), _whole(order), jumping(order)
    stack: list[Node] = []
    for n in every.values():
        if n.kind == "bool" and n.id not in jumps:
            continue
        read = [n.args[i] for i in n.op.decides(n)]
        stack += [] if any(a.id in rough or _infinite(a) for a in read) else read
    found: dict[int, Node] = {}
    while stack:
        n = stack.pop()
        if n.id in found or n.id in rough or n.id in whole or _drawn(n):
            continue
        found[n.id] = n
        stack.extend(given.get(n.id, ()))
        if n.op is out_op:
            scan, index = n.args[0], n.attrs
            stack.append(scan.attrs.outputs[index])
            stack.extend(split(scan)[0][index : index + 1])
        else:
            deciding = n.op.decides(n)
            stack.extend(a for i, a in enumerate(n.args) if i not in deciding)
    return found


def _drawn(node: Node) -> bool:
    """Whether it is a stream, or drawn from one."""
    return node.kind == "noise" or any(a.kind == "noise" for a in node.args)


def _infinite(node: Node) -> bool:
    return node.is_const and node.kind == "real" and node.attrs.ask("infinite")


def fusible(roots: Sequence[Node]) -> set[int]:
    """Ids of nodes whose products and sums may be fused, a·b + c rounded once: their last bit is no matter.

    All that reads them, directly or not, is smooth and finite wherever its arguments are: where a difference of equal
    products comes out as 1e-17 for 0, a square root would be NaN, and a comparison another. The bodies of scans are
    left out, and what goes into them.
    """
    order = topological(roots)
    fragile: set[int] = set()
    for n in reversed(order):
        sound = n.op.kind != "loop" and n.op.is_regular(n) and n.id not in fragile
        for i, a in enumerate(n.args):
            if not (sound and n.op.smooth_in(i) in _LENIENT):
                fragile.add(a.id)
    return {n.id for n in order} - fragile


def _collect(roots: Sequence[Node], every: dict[int, Node], given: dict[int, list[Node]]) -> None:
    bodies = [list(roots)]
    while bodies:
        for n in topological(bodies.pop()):
            if n.id in every:
                continue
            every[n.id] = n
            if n.op is scan_op:
                body = n.attrs
                bodies.append(list(body.outputs))
                for leaf, outer in zip((*body.carries, *body.consts, *body.xs), n.args):
                    given.setdefault(leaf.id, []).append(outer)
                for leaf, new in zip(body.carries, body.new_carries):
                    given.setdefault(leaf.id, []).append(new)


def _rough(order: Sequence[Node]) -> set[int]:
    """Ids of nodes that vary continuously with noise: they depend on it, and not by way of a decision only."""
    rough: set[int] = set()
    for n in order:
        numbers = sum(a.kind == "real" for a in n.args)
        deciding = numbers > 0 and len(n.op.decides(n)) == numbers
        if n.op is uniform_op or (not deciding and n.kind == "real" and any(a.id in rough for a in n.args)):
            rough.add(n.id)
    return rough


def _put_out(order: Sequence[Node]) -> list[Node]:
    """What loops put out, carry on or are given."""
    return [n for scan in order if scan.op is scan_op for n in (*scan.attrs.outputs, *scan.args)]


def _jumping(order: Sequence[Node], roots: Sequence[Node]) -> set[int]:
    """Ids of the conditions by which something may jump, as they or what is made of them is read."""
    jumps = {n.id for n in roots}
    for n in reversed(order):
        if n.kind != "bool" or n.id in jumps:
            jumps.update(a.id for i, a in enumerate(n.args) if a.kind == "bool" and i not in n.op.seamless)
    return jumps


def _whole(order: Sequence[Node]) -> set[int]:
    """Ids of nodes that are integers, made of integers."""
    whole: set[int] = set()
    for n in order:
        if n.is_const:
            integer = n.attrs.ask("whole")
        else:
            integer = n.kind == "bool" or n.op.is_integral(n) == "always" or (
                n.op.is_integral(n) == "closed" and bool(n.args) and all(a.id in whole for a in n.args))
        if integer:
            whole.add(n.id)
    return whole

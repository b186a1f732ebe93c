"""Scan: a loop over steps as one node, whose body lives in the same hash-cons table as everything else.

A body is *closed*: it refers only to placeholders, which are canonical (named by role and position), so that equal
scans are the same node. To change a scan, `open_scan` it (its placeholders become fresh leaves, its constants the outer
nodes themselves), edit the nodes like any others, and `close` it again; tracing the user's step function is the same
thing from nothing. Carry axes are found by fixpoint when it closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from scg.errors import ShapeError
from scg.ir import loop_numbers
from scg.ir.axes import Axes, union
from scg.ir.location import here
from scg.ir.node import Node, make
from scg.ir.op import Op, register
from scg.ir.said import carry_over
from scg.ir.traverse import Hook, Substitution, downstream, topological
from scg.ops.arithmetic import NEUTRAL, add_op, named_op, stop_gradient_op, sub_op
from scg.ops.leaves import placeholder


class _Loop:
    """What a body has whether it is closed or opened."""

    carries: tuple[Node, ...]
    new_carries: tuple[Node, ...]
    ys: tuple[Node, ...]

    @property
    def outputs(self) -> tuple[Node, ...]:
        """New carries, then what each step puts out."""
        return self.new_carries + self.ys

    def downstream(self, nodes: Sequence[Node]) -> set[int]:
        """Ids of body nodes that depend on one of `nodes`, in the same step or, through the carries, in a later one."""
        reached = list(nodes)
        while True:
            below = downstream(reached, self.outputs)
            more = [c for c, new in zip(self.carries, self.new_carries) if new.id in below and c.id not in below]
            if not more:
                return below
            reached += more


    def upstream(self, outputs: Iterable[int]) -> set[int]:
        """Those outputs, by number, and the carries that they are made of, in the same step or in earlier ones."""
        made: set[int] = set()
        new = set(outputs)
        while new:
            made |= new
            below = {n.id for n in topological([self.outputs[i] for i in made])}
            new = {i for i, c in enumerate(self.carries) if c.id in below} - made
        return made


class ScanBody(_Loop):
    """Attributes of a scan node: its length and direction, placeholders, and outputs.

    `called` has the user's name of each carry, empty where there is none. It takes no part in what the scan is.
    """

    def __init__(self, length, reverse, step, carries, consts, xs, new_carries, ys, called=()):
        self.length, self.reverse, self.step = length, reverse, step
        self.carries, self.consts, self.xs = tuple(carries), tuple(consts), tuple(xs)
        self.new_carries, self.ys = tuple(new_carries), tuple(ys)
        self.called = tuple(called) or ("",) * len(self.carries)
        groups = (self.carries, self.consts, self.xs, self.new_carries, self.ys)
        self._key = (length, reverse, step.id, *(tuple(n.id for n in group) for group in groups))

    def __hash__(self):
        return hash(self._key)

    def __eq__(self, other):
        return isinstance(other, ScanBody) and self._key == other._key

    @property
    def identity(self) -> tuple:
        """What stands for it where its nodes must not be kept."""
        return (type(self).__name__, *self._key)

    def __reduce__(self):
        return ScanBody, (self.length, self.reverse, self.step, self.carries, self.consts, self.xs, self.new_carries,
                          self.ys, self.called)

    def carry_name(self, i: int) -> str:
        """What the carry at a place is called: by the user, or by its place."""
        name = self.called[i] or f"carry_{i}"
        while not self.called[i] and name in self.called:
            name += "_"
        return name

    @property
    def uncalled(self) -> ScanBody:
        """The same without names."""
        return ScanBody(self.length, self.reverse, self.step, self.carries, self.consts, self.xs, self.new_carries,
                        self.ys)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that it holds, or what these are computed from."""
        return (self.step, *self.carries, *self.consts, *self.xs, *self.outputs)

    @cached_property
    def roles(self) -> dict[int, tuple]:
        """What each placeholder is, by its id: ``("step",)``, or ``"carry"``, ``"const"`` or ``"x"`` and which."""
        groups = {"carry": self.carries, "const": self.consts, "x": self.xs}
        return {self.step.id: ("step",),
                **{n.id: (role, i) for role, group in groups.items() for i, n in enumerate(group)}}

    def with_outputs(self, outputs) -> ScanBody:
        """The same body with other outputs over the same placeholders."""
        k = len(self.carries)
        return ScanBody(self.length, self.reverse, self.step, self.carries, self.consts, self.xs, outputs[:k],
                        outputs[k:], self.called)


scan_op = register(Op("scan", "loop", shape=lambda args, attrs: (), axes=lambda args, attrs: (), result="tuple",
                      rebuild=lambda node, args, hook: _rebuild(node, args, hook)))


def _out_shape(args, index):
    body = args[0].attrs
    k = len(body.carries)
    return body.carries[index].shape if index < k else (body.length, *body.ys[index - k].shape)


def _out_axes(args, index):
    body = args[0].attrs
    k = len(body.carries)
    return body.carries[index].axes if index < k else body.ys[index - k].axes


out_op = register(Op("out", "structural", shape=_out_shape, axes=_out_axes,
                     result=lambda args, index: args[0].attrs.outputs[index].kind))


def increment(carry: Node, new: Node) -> Node | None:
    """What a step adds to a carry, or takes away, if that is all it does to it: such a carry is a long sum."""
    if new.op not in (add_op, sub_op) or new.shape != carry.shape:
        return None
    first, second = new.args
    if new.op is sub_op:
        return -second if first is carry else None
    return second if first is carry else first if second is carry else None


def out(scan: Node, index: int) -> Node:
    """A final carry (the first indices) or a stacked output (after them) of a scan."""
    return make(out_op, (scan,), index)


def stacked(node: Node) -> bool:
    """Whether a scan puts the node out step by step: it has a value for each step."""
    return node.op is out_op and node.attrs >= len(node.args[0].attrs.carries)


def of_step(node: Node) -> Node:
    """The node of a scan's step whose values a stacked node holds."""
    body = node.args[0].attrs
    return body.ys[node.attrs - len(body.carries)]


def last_outputs(scan: Node, count: int) -> list[Node]:
    """So many of a scan's outputs, from the end."""
    end = len(scan.attrs.outputs)
    return [out(scan, i) for i in range(end - count, end)]


def put_out(scan: Node, inner: Node) -> Node:
    """A node of a scan's body as it stands there, put out step by step besides all that is."""
    body = scan.attrs.with_outputs((*scan.attrs.outputs, inner))
    return last_outputs(make(scan.op, scan.args, body), 1)[0]


@dataclass(frozen=True)
class Opened(_Loop):
    """A scan taken apart: `step`, `carries` and `xs` are fresh leaves; the outputs are ordinary nodes over them.

    `inits` and `arrays` are what the loop starts from and runs along; every other outer node that the outputs use
    becomes a constant of the body when it is closed.
    """

    length: int
    reverse: bool
    step: Node
    carries: tuple[Node, ...]
    inits: tuple[Node, ...]
    xs: tuple[Node, ...]
    arrays: tuple[Node, ...]
    new_carries: tuple[Node, ...] = ()
    ys: tuple[Node, ...] = ()

    def close(self, **changes) -> Node:
        """The scan node, after changes to any field."""
        return _close(replace(self, **changes))

    def put_out(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes of the body as arrays over the steps: what the scan puts out last, besides all that it did."""
        return last_outputs(self.close(ys=(*self.ys, *nodes)), len(nodes))

    def mapped(self, mapping, hook: Hook | None = None) -> Opened:
        """With nodes of the body replaced, wherever its outputs depend on them."""
        rebuilt = Substitution(mapping, hook)
        new = [*map(rebuilt, self.outputs)]
        if hook is None:
            carry_over(self.outputs, rebuilt)
        return replace(self, new_carries=tuple(new[: len(self.carries)]), ys=tuple(new[len(self.carries):]))


def begin(length: int, inits: Sequence[Node], arrays: Sequence[Node], reverse: bool = False,
          axes: Sequence[Axes] | None = None, whole: Sequence[int] = (), called: Sequence[str] = ()) -> Opened:
    """Fresh leaves for a body that is about to be written.

    `axes` are those that each carry may come to have; `whole` says of carries and arrays whether they are whole;
    `called` has the user's names of carries, from the first on.
    """
    tag = loop_numbers.fresh()
    widest = [union(n.axes, more) for n, more in zip(inits, axes or [()] * len(inits))]
    known = [*whole] or [0] * (len(inits) + len(arrays))
    names = [*called, *[""] * (len(inits) - len(called))]
    carries = (placeholder(f"{tag}:carry {i}", n.shape, a, whole=w, called=name)
               for i, (n, a, w, name) in enumerate(zip(inits, widest, known, names)))
    xs = (placeholder(f"{tag}:x {i}", n.shape[1:], n.axes, n.kind, w)
          for i, (n, w) in enumerate(zip(arrays, known[len(inits):])))
    return Opened(length, reverse, placeholder(f"{tag}:step", (), ()), tuple(carries), tuple(inits), tuple(xs),
                  tuple(arrays))


def open_scan(node: Node) -> Opened:
    """The scan's body with fresh leaves, and with its constants as the outer nodes themselves."""
    return opening(node)[0]


def opening(node: Node, outside: Callable[[Node], Node] = lambda n: n) -> tuple[Opened, Substitution]:
    """A scan's body, opened, and what makes its nodes of those of the body; `outside` is what stands for arguments."""
    body: ScanBody = node.attrs
    inits, consts, arrays = (tuple(map(outside, group)) for group in split(node))
    fresh = begin(body.length, body.carries, arrays, body.reverse, called=body.called)
    leaves = dict(zip((body.step, *body.carries, *body.consts, *body.xs),
                      (fresh.step, *fresh.carries, *consts, *fresh.xs)))
    opened = Substitution(leaves)
    new = [*map(opened, body.outputs)]
    carry_over(body.outputs, opened)
    k = len(body.carries)
    return replace(fresh, inits=inits, new_carries=tuple(new[:k]), ys=tuple(new[k:])), opened


def split(node: Node) -> tuple[tuple[Node, ...], tuple[Node, ...], tuple[Node, ...]]:
    """Initial carries, constants and arrays among the arguments of a scan."""
    i, j = len(node.attrs.carries), len(node.attrs.carries) + len(node.attrs.consts)
    return node.args[:i], node.args[i:j], node.args[j:]


def keys_below(roots: Sequence[Node]) -> Iterator[str]:
    """The user's names of what loops below the roots carry, also of those in loops."""
    for n in topological(roots):
        if n.op is scan_op:
            yield from filter(None, n.attrs.called)
            yield from keys_below(n.attrs.outputs)


OUTSIDE = ("Such a node has a value per step, and none outside.",
           "Return it from the step as part of ys: then it is an array over the steps.")


def free_nodes(outputs: Sequence[Node], leaves: Sequence[Node]) -> list[Node]:
    """The largest outer nodes that a body uses: they do not depend on its leaves, and are not computed from literals.

    A sample is drawn where it was declared, even one whose parameters are literals; and a named node is one node. What
    a step holds, where its loop is over, it holds itself: only what is held is from outside.
    """
    order = topological(outputs)
    inside = downstream(leaves, outputs)
    literal: set[int] = set()
    for node in order:
        if (node.op.kind != "leaf" or node.is_const) and not node.axes and node.op is not named_op:
            if all(a.id in literal for a in node.args):
                literal.add(node.id)
    found: dict[int, Node] = {}
    for node in order:
        if node.id in inside:
            outer = [a.args[0] if a.op is stop_gradient_op and a.attrs == NEUTRAL else a for a in node.args]
            found.update((a.id, a) for a in outer if a.id not in inside and a.id not in literal)
    found.update((n.id, n) for n in outputs if n.id not in inside and n.id not in literal)
    return list(found.values())


def _close(o: Opened) -> Node:
    for old, new in zip(o.carries, o.new_carries):
        if old.shape != new.shape:
            raise ShapeError(
                str(here() or ""), f"A scan's step turned a carry of shape {old.shape} into one of shape {new.shape}.",
                "A carry must keep its shape from step to step.", "Broadcast the initial value, or reduce the new one.")
    consts = free_nodes(o.outputs, (o.step, *o.carries, *o.xs))
    axes = [n.axes for n in o.inits]
    while True:
        leaves = (placeholder("step", (), ()),
                  *(placeholder(f"carry {i}", n.shape, a) for i, (n, a) in enumerate(zip(o.inits, axes))),
                  *(placeholder(f"const {i}", n.shape, n.axes, n.kind) for i, n in enumerate(consts)),
                  *(placeholder(f"x {i}", n.shape[1:], n.axes, n.kind) for i, n in enumerate(o.arrays)))
        closing = Substitution(dict(zip((o.step, *o.carries, *consts, *o.xs), leaves)))
        outputs = [*map(closing, o.outputs)]
        wider = [union(a, n.axes) for a, n in zip(axes, outputs)]
        if wider == axes:
            break
        axes = wider
    carry_over(o.outputs, closing)
    k, c = len(o.carries), len(consts)
    body = ScanBody(o.length, o.reverse, leaves[0], leaves[1 : 1 + k], leaves[1 + k : 1 + k + c], leaves[1 + k + c :],
                    outputs[:k], outputs[k:], [leaf.attrs.called for leaf in o.carries])
    return make(scan_op, (*o.inits, *consts, *o.arrays), body)


def _rebuild(node: Node, args: tuple[Node, ...], hook: Hook | None) -> Node:
    """The scan on other arguments; `hook` sees the body nodes that are downstream of the arguments that changed."""
    body: ScanBody = node.attrs
    i, j = len(body.carries), len(body.carries) + len(body.consts)
    fresh = begin(body.length, body.carries, args[j:], body.reverse, called=body.called)
    opened = replace(fresh, inits=args[:i], new_carries=body.new_carries, ys=body.ys)
    old = (*body.carries, *body.consts, *body.xs)
    new = (*fresh.carries, *args[i:j], *fresh.xs)
    changed = [leaf for leaf, before, after in zip(old, node.args, args) if before is not after]
    canonical = replace(opened, step=body.step, carries=body.carries, xs=body.xs)
    moved = canonical.downstream(changed)
    leaves = dict(zip((body.step, *old), (fresh.step, *new)))

    def below(n: Node, its_args: tuple[Node, ...]) -> Node | None:
        return hook(n, its_args) if hook and n.id in moved else None

    return opened.mapped(leaves, below).close()

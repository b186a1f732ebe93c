"""Reverse mode, graph to graph.

An adjoint is kept as a density with respect to the measure of rows and lanes: the objective is the expectation of the
roots, and the adjoint of a node that varies by row and lane is d(root)/d(node) at that row and lane. Flowing into an
argument that lacks a world axis means a sum over the worlds; into one that lacks `row` or `lane`, an expectation, or,
where per-replicate contributions are wanted, nothing at all: the axis is kept (`keep`), and whoever asked reduces it.

This is an analysis, not a pass, because estimators ask for gradients of replays too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scg.analysis.fixed import Fixed
from scg.differentiate.guards import Adjoint, Finite, as_number, fit_mask, flows, seed, unless_it_rests
from scg.errors import ConditionError
from scg.ir.axes import Axes, union
from scg.ir.location import derived_from
from scg.ir.node import Node, constant, make, where
from scg.ir.op import Smoothness
from scg.ir.printer import title
from scg.ir.traverse import ancestors, topological
from scg.ops.leaves import placeholder_op
from scg.ops.measure import reduce_axes
from scg.ops.reduce import total
from scg.ops.scan import begin, open_scan, out, out_op, scan_op, split
from scg.ops.structure import broadcast_to, reshape


def gradients(seeds: Mapping[Node, Node], wrt: Sequence[Node], keep: Iterable[str] = (), *,
              cautious: bool = False, finite: Iterable[Node] = ()) -> list[Node | None]:
    """Adjoints of `wrt`, from the adjoints of some roots.

    Parameters
    ----------
    seeds : dict of Node to Node
        Adjoints of the roots.
    wrt : sequence of Node
    keep : iterable of str
        Statistical axes that adjoints keep even where their node lacks them.
    cautious : bool
        Whether it is asked where something moves at all: a factor 0 that does not move masks what it multiplies, as a
        choice does, and at a kink either slope counts (`scg.differentiate.guards`).
    finite : iterable of Node
        What else has finite values for certain, because a call is refused where it has not.

    Returns
    -------
    list of Node or None
        None where nothing flows.
    """
    checked = {node.id: True for node in finite}
    known = Finite(checked) if checked else Finite()  # what is known without them is kept with the nodes
    asked = _Asked(frozenset(keep), known, True if cautious else None, cautious)
    found = _reverse({root: seed(constant(g)) for root, g in seeds.items()}, wrt, asked)
    return [None if g is None else g.value for g in found]


class _Asked(NamedTuple):
    """What a reverse pass was asked: the axes that are kept, what is finite, and how adjoints are masked.

    `masked` says whether masks can matter in scans, if that is known; for `cautious` see `gradients`.
    """

    keep: frozenset[str]
    finite: Finite
    masked: bool | None = None
    cautious: bool = False


def _reverse(seeds: Mapping[Node, Adjoint], wrt: Sequence[Node], asked: _Asked) -> list[Adjoint | None]:
    """`gradients` with masks."""
    order = topological(list(seeds))
    useful = _reached_from(wrt, order)
    keep, finite = asked.keep, asked.finite
    adjoints: dict[int, Adjoint] = {}
    fixed: Fixed | None = None
    for root, g in seeds.items():
        _accumulate(adjoints, root, Adjoint(fit(g.value, root, root.axes, keep), fit_mask(g.mask, root, keep)))
    pending: dict[int, dict[int, Adjoint]] = {}
    for node in reversed(order):
        if node.id not in useful:
            continue
        if node.op is scan_op:
            if asked.masked is None:
                chooses, wild = _masks_matter([n for n in order if n.id in useful], finite)
                asked = asked._replace(masked=chooses and wild)
            flowing: Sequence[Adjoint | None] = _scan_flows(node, pending.pop(node.id, {}), useful, asked)
        elif node.id not in adjoints:
            continue
        elif node.op is out_op:
            pending.setdefault(node.args[0].id, {})[node.attrs] = adjoints[node.id]
            continue
        elif node.op.rests:
            fixed = fixed or Fixed(lambda n: n.id in useful, {w.id for w in wrt})
            flowing = [unless_it_rests(node, adjoints[node.id], fixed)]
        else:
            flowing = _flows(node, adjoints[node.id], finite, useful if asked.cautious else None)
        for i, (arg, flow) in enumerate(zip(node.args, flowing)):
            if flow is not None and arg.id in useful:
                with derived_from(node.source):
                    fitted = Adjoint(fit(flow.value, arg, _along(node, i), keep), fit_mask(flow.mask, arg, keep))
                    _accumulate(adjoints, arg, fitted)
    return [adjoints.get(w.id) for w in wrt]


def _along(node: Node, position: int) -> Axes:
    """The axes along which a node uses an argument: where it lacks one, it is repeated along it.

    For most ops these are the axes of all arguments (not those of the node: an op that makes an axis of an event
    dimension does not repeat anything); a scan uses an initial carry as the carry that it becomes.
    """
    if node.op is scan_op and position < len(node.attrs.carries):
        return node.attrs.carries[position].axes
    return node.args[position].axes if node.op is scan_op else union(*(a.axes for a in node.args))


def _reached_from(wrt: Sequence[Node], order: Sequence[Node]) -> set[int]:
    """Nodes between `wrt` and the roots: only these need adjoints."""
    useful = {w.id for w in wrt}
    put_out: dict[int, set[int]] = {}  # of each scan between them, which outputs are
    for node in order:
        if node.op is out_op:
            if node.attrs in put_out.get(node.args[0].id, ()):
                useful.add(node.id)
        elif node.id not in useful and any(
                a.id in useful and (node.op is scan_op or node.op.smooth_in(i) is not Smoothness.BLOCKING)
                for i, a in enumerate(node.args)):
            useful.add(node.id)
            if node.op is scan_op:
                put_out[node.id] = _outputs_reached(node, useful)
    return useful


def _masks_matter(nodes: Sequence[Node], finite: Finite) -> tuple[bool, bool]:
    """Whether there is a choice among the nodes, and what need not be finite; in the bodies of scans too."""
    chooses = any(n.op.chooses for n in nodes)
    wild = any(n.kind == "real" and not finite.slopes(n) for n in nodes)
    for scan in (n for n in nodes if n.op is scan_op):
        body, outputs = scan.attrs, topological(scan.attrs.outputs)
        useful = _reached_from((*body.carries, *body.consts, *body.xs), outputs)
        inner = _masks_matter([n for n in outputs if n.id in useful], finite.inside(scan))
        chooses, wild = chooses or inner[0], wild or inner[1]
    return chooses, wild


def _outputs_reached(scan: Node, useful: set[int]) -> set[int]:
    """Which outputs of a scan depend on its useful arguments."""
    body = scan.attrs
    leaves = [leaf for leaf, arg in zip((*body.carries, *body.consts, *body.xs), scan.args) if arg.id in useful]
    reached = body.downstream(leaves)
    return {i for i, output in enumerate(body.outputs) if output.id in reached}


def _flows(node: Node, g: Adjoint, finite: Finite, moving: set[int] | None) -> Sequence[Adjoint | None]:
    if not node.args:
        return ()
    if node.op.derivative is None:
        if node.op.hinders:
            raise ConditionError(where(node), f"A derivative was to pass the {title(node)}.", f"It {node.op.hinders}.",
                                 "Stop the gradient, or leave out of wrt= what moves it.")
        raise ConditionError(where(node), f"A derivative was to pass the {title(node)}.",
                             f'The op "{node.op.name}" has no derivative on its record.',
                             "Write it by functions that have one, stop the gradient, or leave out of wrt= what moves "
                             "it; give an op of your own a derivative, or smoothness=BLOCK if there is none.")
    with derived_from(node.source):
        return flows(node, g, finite, moving)


def _accumulate(adjoints: dict[int, Adjoint], node: Node, g: Adjoint) -> None:
    before = adjoints.get(node.id)
    adjoints[node.id] = g if before is None else before.plus(g)


def fit(g, arg: Node, along: Axes, keep: frozenset[str]) -> Node:
    """A contribution to the adjoint of `arg`, used along some axes, reduced to the shape and axes of `arg`."""
    g = constant(g)
    have, target = {ax.name for ax in g.axes}, {ax.name for ax in arg.axes}
    gone, scale = set(), 1
    for ax in union(g.axes, along):
        if ax.name in target or ax.name in keep:
            continue
        if ax.name in have:
            gone.add(ax.name)
        elif not ax.statistical:
            scale *= ax.size or 1  # constant along a world: the sum is a product
    g = reduce_axes(g, gone)
    if g.shape != arg.shape:
        g = _fit_shape(g, arg.shape)
    return g if scale == 1 else g * float(scale)


def _fit_shape(g: Node, shape: tuple[int, ...]) -> Node:
    """Undo broadcasting: sum what was repeated, repeat what was left constant."""
    extra = g.ndim - len(shape)
    if extra < 0:
        return broadcast_to(g, shape)
    dims = tuple(range(extra)) + tuple(
        extra + i for i, size in enumerate(shape) if size == 1 and g.shape[extra + i] != 1)
    g = reshape(total(g, axis=dims, keepdims=True), tuple(
        1 if i in dims else s for i, s in enumerate(g.shape))[extra:]) if dims else g
    return broadcast_to(g, shape)


# --- scans -----------------------------------------------------------------------------------------------------------
def _scan_flows(node: Node, given: dict[int, Adjoint], useful: set[int], asked: _Asked) -> list[Adjoint | None]:
    """Adjoints of a scan's arguments: a scan the other way round, over the carries that the forward one tapes.

    Its carries are the adjoints of the carries and, for each constant, the sum so far; it puts out the adjoints of
    the arrays. Rows and lanes are kept apart within: one expectation of the sum, outside, does for all steps. Where
    masks can matter it carries and puts out these too, as numbers: of the carries whose adjoint every step masks.
    """
    if not given:
        return [None] * len(node.args)
    k = len(node.attrs.carries)
    carried = {i for i in range(k) if i not in given or given[i].mask is not None} if asked.masked else set()
    dropped: set[int] = set()
    while True:
        found = _scan_backwards(node, given, useful, asked, sorted(carried))
        masks = {i: g.mask for i, g in enumerate(found.of_a_step[:k]) if g is not None}
        lost = {i for i in carried if i in masks and masks[i] is None}
        more = {i for i in masks if asked.masked and masks[i] is not None} - carried - dropped
        if not lost and not more:
            return found.adjoints()
        carried, dropped = carried - lost | more, dropped | lost


def _moving_leaves(scan: Node, useful: set[int]) -> set[int]:
    """Ids of the leaves of a scan's body, among others, that derivatives flow to."""
    body = scan.attrs
    order = topological(body.outputs)
    moving = [leaf for leaf, a in zip((*body.carries, *body.consts, *body.xs), scan.args) if a.id in useful]
    while True:
        reached = _reached_from(moving, order)
        more = [c for c, new in zip(body.carries, body.new_carries) if new.id in reached and c.id not in reached]
        if not more:
            return reached
        moving += more


def _read_carries(scan: Node, given: Mapping[int, Adjoint]) -> set[int]:
    """Numbers of the carries from which a result with an adjoint is made, in that step or a later one.

    The adjoint of the others is 0, whatever their derivatives are.
    """
    body = scan.attrs
    read = {i for i in given if i < len(body.carries)}
    while True:
        reached = ancestors([body.outputs[i] for i in {*given, *read}])
        more = {i for i, c in enumerate(body.carries) if c.id in reached} - read
        if not more:
            return read
        read |= more


@dataclass(frozen=True)
class _Backwards:
    """The adjoint scan of a scan, its mask carries, and the adjoints of a step's carries, constants and arrays."""

    scan: Node
    carried: Sequence[int]
    of_a_step: Sequence[Adjoint | None]
    counts: tuple[int, int, int]

    def adjoints(self) -> list[Adjoint | None]:
        """Those of the scan's arguments."""
        outs = [out(self.scan, i) for i in range(len(self.scan.attrs.outputs))]
        k, consts, arrays = self.counts
        m = k + consts
        at = m + len(self.carried)
        values, masks = outs[:m] + outs[at : at + arrays], iter(outs[at + arrays :])
        found: list[Node | None] = [None] * k
        for position, carry in enumerate(self.carried):
            found[carry] = outs[m + position]
        for i, g in enumerate(self.of_a_step[k:], k):  # of a constant: whether any step does not mask it
            number = next(masks) if g is not None and g.mask is not None else None
            found.append(number if number is None or i >= m else total(number, axis=0))
        return [None if g is None else Adjoint(value, None if number is None else number != 0.0)
                for g, value, number in zip(self.of_a_step, values, found)]


def _scan_backwards(node: Node, given: dict[int, Adjoint], useful: set[int], asked: _Asked,
                    carried: Sequence[int]) -> _Backwards:
    body = node.attrs
    inits, consts, arrays = split(node)
    k = len(inits)
    m = k + len(consts)
    forward = open_scan(node)
    tape = forward.put_out(forward.carries)
    stacked = sorted(i for i in given if i >= k)
    with_mask = [i for i in stacked if asked.masked and given[i].mask is not None]

    start = [given[i].value if i in given else constant(0.0) for i in range(k)]
    start = [fit_up(g, c) for g, c in zip(start, body.carries)]
    sums = [fit_up(constant(0.0), c) for c in consts]
    masks = [as_number(given.get(i), body.carries[i]) for i in carried]
    along = [*tape, *arrays, *(given[i].value for i in stacked),
             *(as_number(given[i], given[i].value) for i in with_mask)]
    # A row or lane that an adjoint turns out to lack is dropped when the scan is closed; one missing here would be
    # miscounted. So would a world that the node lacks: its adjoint is summed over it before it is carried.
    values = (g.value for g in given.values())
    everything = union(*(n.axes for n in (*node.args, *body.carries, *body.outputs, *values)))
    kept = tuple(ax for ax in everything if ax.statistical)
    axes = [union(n.axes, kept) for n in (*body.carries, *consts, *(body.carries[i] for i in carried))]
    back = begin(body.length, [*start, *sums, *masks], along, not body.reverse, axes)
    carry_leaves, x_leaves = back.xs[:k], back.xs[k : k + len(arrays)]
    y_leaves = dict(zip(stacked, back.xs[k + len(arrays):]))
    mask_leaves = {**dict(zip(carried, back.carries[m:])),
                   **dict(zip(with_mask, back.xs[k + len(arrays) + len(stacked):]))}

    # the body over fresh leaves; constants stay the canonical placeholders until their adjoints are known
    from scg.ir.traverse import substitute

    const_leaves = [make(placeholder_op, (), c.attrs._replace(name=f"{back.step.attrs.name} {c.attrs.name}"))
                    for c in body.consts]
    old, new_leaves = (*body.carries, *body.consts, *body.xs), (*carry_leaves, *const_leaves, *x_leaves)
    outputs = substitute(body.outputs, {body.step: back.step, **dict(zip(old, new_leaves))})
    seeds: dict[Node, Adjoint] = {}
    read = _read_carries(node, given)
    for i, leaf in (*((i, back.carries[i]) for i in sorted(read)), *y_leaves.items()):
        mask = mask_leaves[i] != 0.0 if i in mask_leaves else None
        g = Adjoint(leaf, mask)
        seeds[outputs[i]] = seeds[outputs[i]].plus(g) if outputs[i] in seeds else g
    seeds = {root: g for root, g in seeds.items() if root.kind == "real"}
    inside = asked.finite.inside(node)
    known = Finite({back.step.id: True, **{new.id: inside(leaf) for leaf, new in zip(old, new_leaves)}})
    moving = _moving_leaves(node, useful)
    wrt = [new for leaf, new in zip(old, new_leaves) if leaf.id in moving]
    flowing = dict(zip(wrt, _reverse(seeds, wrt, asked._replace(keep=frozenset(("row", "lane")), finite=known))))
    reached = [flowing.get(leaf) for leaf in new_leaves]
    found = [fit_up(constant(0.0) if g is None else g.value, leaf) for g, leaf in zip(reached, new_leaves)]
    new = [*found[:k], *(s + g for s, g in zip(back.carries[k:m], found[k:m])),
           *(as_number(reached[i], new_leaves[i]) for i in carried)]
    ys = [*found[m:], *(as_number(g, leaf) for g, leaf in zip(reached[k:], new_leaves[k:])
                        if g is not None and g.mask is not None)]
    restored = substitute([*new, *ys], dict(zip(const_leaves, consts)))
    scan = replace(back, new_carries=tuple(restored[: len(new)]), ys=tuple(restored[len(new):])).close()
    return _Backwards(scan, carried, reached, (k, len(consts), len(arrays)))


def fit_up(g: Node, like: Node) -> Node:
    """`g` at the event shape of `like`."""
    return broadcast_to(g, like.shape) if g.shape != like.shape else g

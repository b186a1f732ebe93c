"""Reverse mode, graph to graph.

An adjoint is kept as a density with respect to the measure of rows and lanes: the objective is the expectation of the
roots, and the adjoint of a node that varies by row and lane is d(root)/d(node) at that row and lane. Flowing into an
argument that lacks a world axis means a sum over the worlds; into one that lacks `row` or `lane`, an expectation, or,
where per-replicate contributions are wanted, nothing at all: the axis is kept (`keep`), and whoever asked reduces it.

This is an analysis, not a pass, because estimators ask for gradients of replays too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from scg.errors import InternalError
from scg.ir.axes import Axes, union
from scg.ir.location import derived_from
from scg.ir.node import FUNCTIONS, Node, constant, make
from scg.ir.op import Smoothness
from scg.ir.traverse import topological
from scg.ops.measure import reduce_axes
from scg.ops.scan import begin, open_scan, out, split


def gradients(seeds: Mapping[Node, Node], wrt: Sequence[Node], keep: Iterable[str] = ()) -> list[Node | None]:
    """Adjoints of `wrt`, from the adjoints of some roots.

    Parameters
    ----------
    seeds : dict of Node to Node
        Adjoints of the roots.
    wrt : sequence of Node
    keep : iterable of str
        Statistical axes that adjoints keep even where their node lacks them.

    Returns
    -------
    list of Node or None
        None where nothing flows.
    """
    keep = frozenset(keep)
    order = topological(list(seeds))
    useful = _reached_from(wrt, order)
    adjoints: dict[int, Node] = {}
    for root, g in seeds.items():
        _accumulate(adjoints, root, fit(g, root, root.axes, keep))
    pending: dict[int, dict[int, Node]] = {}
    for node in reversed(order):
        if node.id not in useful:
            continue
        if node.op.name == "scan":
            flows = _scan_flows(node, pending.pop(node.id, {}))
        elif node.id not in adjoints:
            continue
        elif node.op.name == "out":
            pending.setdefault(node.args[0].id, {})[node.attrs] = adjoints[node.id]
            continue
        else:
            flows = _flows(node, adjoints[node.id])
        for i, (arg, flow) in enumerate(zip(node.args, flows)):
            if flow is not None and arg.id in useful:
                with derived_from(node.source):
                    _accumulate(adjoints, arg, fit(flow, arg, _along(node, i), keep))
    return [adjoints.get(w.id) for w in wrt]


def _along(node: Node, position: int) -> Axes:
    """The axes along which a node uses an argument: where it lacks one, it is repeated along it.

    For most ops these are the axes of all arguments (not those of the node: an op that makes an axis of an event
    dimension does not repeat anything); a scan uses an initial carry as the carry that it becomes.
    """
    if node.op.name == "scan" and position < len(node.attrs.carries):
        return node.attrs.carries[position].axes
    return node.args[position].axes if node.op.name == "scan" else union(*(a.axes for a in node.args))


def _reached_from(wrt: Sequence[Node], order: Sequence[Node]) -> set[int]:
    """Nodes between `wrt` and the roots: only these need adjoints."""
    useful = {w.id for w in wrt}
    put_out: dict[int, set[int]] = {}  # of each scan between them, which outputs are
    for node in order:
        if node.op.name == "out":
            if node.attrs in put_out.get(node.args[0].id, ()):
                useful.add(node.id)
        elif node.id not in useful and any(
                a.id in useful and (node.op.kind == "loop" or node.op.smooth_in(i) is not Smoothness.BLOCKING)
                for i, a in enumerate(node.args)):
            useful.add(node.id)
            if node.op.name == "scan":
                put_out[node.id] = _outputs_reached(node, useful)
    return useful


def _outputs_reached(scan: Node, useful: set[int]) -> set[int]:
    """Which outputs of a scan depend on its useful arguments."""
    body = scan.attrs
    leaves = [leaf for leaf, arg in zip((*body.carries, *body.consts, *body.xs), scan.args) if arg.id in useful]
    reached = body.downstream(leaves)
    return {i for i, output in enumerate(body.outputs) if output.id in reached}


def _flows(node: Node, g: Node):
    if not node.args:
        return ()
    if node.op.derivative is None:
        raise InternalError("", f"Op {node.op.name} was differentiated.", "It has no derivative.", "Give it one.")
    with derived_from(node.source):
        return node.op.derivative(g, node, *node.args)


def _accumulate(adjoints: dict[int, Node], node: Node, g: Node | None) -> None:
    if g is not None:
        before = adjoints.get(node.id)
        adjoints[node.id] = g if before is None else before + g


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
        return FUNCTIONS["broadcast_to"](g, shape)
    dims = tuple(range(extra)) + tuple(
        extra + i for i, size in enumerate(shape) if size == 1 and g.shape[extra + i] != 1)
    g = FUNCTIONS["reshape"](FUNCTIONS["sum"](g, axis=dims, keepdims=True), tuple(
        1 if i in dims else s for i, s in enumerate(g.shape))[extra:]) if dims else g
    return FUNCTIONS["broadcast_to"](g, shape)


# --- scans -----------------------------------------------------------------------------------------------------------
def _scan_flows(node: Node, given: dict[int, Node]) -> list[Node | None]:
    """Adjoints of a scan's arguments: a scan the other way round, over the carries that the forward one tapes.

    Its carries are the adjoints of the carries and, for each constant, the sum so far; it puts out the adjoints of
    the arrays. Rows and lanes are kept apart within: one expectation of the sum, outside, does for all steps.
    """
    if not given:
        return [None] * len(node.args)
    body = node.attrs
    inits, consts, arrays = split(node)
    k, n_consts = len(inits), len(consts)
    forward = open_scan(node)
    tape = [out(forward.close(ys=forward.ys + forward.carries), k + len(body.ys) + i) for i in range(k)]
    stacked = sorted(i - k for i in given if i >= k)

    start = [given.get(i, constant(0.0)) for i in range(k)]
    start = [fit_up(g, c) for g, c in zip(start, body.carries)]
    sums = [fit_up(constant(0.0), c) for c in consts]
    along = [*tape, *arrays, *(given[k + i] for i in stacked)]
    # A row or lane that an adjoint turns out to lack is dropped when the scan is closed; one missing here would be
    # miscounted. So would a world that the node lacks: its adjoint is summed over it before it is carried.
    everything = union(*(n.axes for n in (*node.args, *body.carries, *body.outputs, *given.values())))
    kept = tuple(ax for ax in everything if ax.statistical)
    axes = [union(n.axes, kept) for n in (*body.carries, *consts)]
    back = begin(body.length, [*start, *sums], along, not body.reverse, axes)
    carry_leaves, x_leaves = back.xs[:k], back.xs[k : k + len(arrays)]
    y_adjoints = back.xs[k + len(arrays):]

    # the body over fresh leaves; constants stay the canonical placeholders until their adjoints are known
    from scg.ir.traverse import substitute

    names_of = dict(zip((body.step, *body.carries, *body.xs), (back.step, *carry_leaves, *x_leaves)))
    const_leaves = [make("placeholder", (), c.attrs._replace(name=f"{back.step.attrs.name} {c.attrs.name}"))
                    for c in body.consts]
    names_of.update(zip(body.consts, const_leaves))
    outputs = substitute(body.outputs, names_of)
    seeds: dict[Node, Node] = {}
    for output, g in [*zip(outputs[:k], back.carries[:k]),
                      *((outputs[k + i], g) for i, g in zip(stacked, y_adjoints))]:
        seeds[output] = seeds[output] + g if output in seeds else g
    seeds = {root: g for root, g in seeds.items() if root.kind == "real"}
    reached = gradients(seeds, [*carry_leaves, *const_leaves, *x_leaves], ("row", "lane"))
    found = [fit_up(constant(0.0) if g is None else g, leaf)
             for g, leaf in zip(reached, [*carry_leaves, *const_leaves, *x_leaves])]
    new = [*found[:k], *(s + g for s, g in zip(back.carries[k:], found[k : k + n_consts]))]
    restored = substitute([*new, *found[k + n_consts:]], dict(zip(const_leaves, consts)))
    scan = replace(back, new_carries=tuple(restored[: k + n_consts]), ys=tuple(restored[k + n_consts:])).close()
    return [out(scan, i) for i in range(len(scan.attrs.outputs))]


def fit_up(g: Node, like: Node) -> Node:
    """`g` at the event shape of `like`."""
    return FUNCTIONS["broadcast_to"](g, like.shape) if g.shape != like.shape else g



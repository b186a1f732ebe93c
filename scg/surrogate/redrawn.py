"""Replays under fresh noise: what later sites draw in them, also those that are written as paths of their noise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from scg.ir.axes import Axes
from scg.ir.node import Node, make
from scg.ir.traverse import Hook, substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.leaves import derived, noise_op, site_path
from scg.ops.randomness import sample_op
from scg.ops.scan import Opened, open_scan, scan_op

Anew = Callable[[Node], Node]
"""Another stream for the draws of a stream."""
Drawn = tuple[str, int | None]
"""A site by what it draws: the path of its streams, and their step, if it is one."""


def samples_redrawn(anew: Anew) -> Hook:
    """A hook: sample nodes of other arguments draw from streams of their own."""

    def hook(node: Node, args: tuple[Node, ...]) -> Node | None:
        return make(sample_op, (*args[:-1], anew(args[-1])), node.attrs) if node.op is sample_op else None

    return hook


def fresh(site: str, tag: str, axes: Axes) -> Anew:
    """Streams for one replay of a site, of draws of their own along the axes."""
    return lambda stream: derived(stream, site, tag, axes=axes)


def paths_redrawn(roots: Sequence[Node], names: Collection[Drawn], anew: Anew,
                  own: Callable[[Opened], Opened | None] = lambda opened: None) -> list[Node]:
    """The roots where sites that are written as paths of their noise draw from other streams, in loops too.

    Parameters
    ----------
    roots : sequence of Node
    names : collection of pairs
        What the sites draw (see `stream_of`).
    anew : callable
    own : callable
        ``own(opened)``: what a scan becomes that has its own way, or None.
    """
    mapping: dict[Node, Node] = {}
    for node in topological(roots):
        if node.op is scan_op:
            opened = open_scan(node)
            special = own(opened)
            draws = drawn(opened.outputs, names) if special is None else ()
            if special is not None or draws:
                mapping[node] = (opened.mapped({n: redrawn(n, names, anew) for n in draws})
                                 if special is None else special).close()
    mapping |= {n: redrawn(n, names, anew) for n in drawn(roots, names)}
    return _in_order(roots, mapping)


def _in_order(roots: Sequence[Node], mapping: Mapping[Node, Node]) -> list[Node]:
    """The roots with nodes replaced; of a scan that is, also what it starts from and runs along."""
    if not mapping:
        return list(roots)
    inner = {old: new for old, new in mapping.items() if old.op is not scan_op}
    scans = {old: new for old, new in mapping.items() if old.op is scan_op}
    for old, new in scans.items():  # those upstream come first
        args = substitute(new.args, inner)
        inner[old] = make(scan_op, tuple(args), new.attrs)
    return substitute(roots, inner)


def drawn(roots: Sequence[Node], names: Collection[Drawn]) -> list[Node]:
    """The numbers below the roots that are drawn from streams of these sites."""
    return [n for n in topological(roots) if n.kind != "noise" and n.op is not sample_op
            and any(a.kind == "noise" and stream_of(a) in names for a in n.args)]


def redrawn(node: Node, names: Collection[Drawn], anew: Anew) -> Node:
    """The same number from other streams."""
    leaves = [n for n in topological([node]) if n.op is noise_op and stream_of(n) in names]
    return substitute([node], {leaf: anew(leaf) for leaf in leaves})[0]


def chosen(opened: Opened, names: Mapping[Drawn, bool], anew: Anew, now: Node, after: Node) -> Opened:
    """A scan in a world for each step, where these sites draw anew after that step, and in it where so it is said."""
    mapping: dict[Node, Node] = {}
    for same_step, since in ((True, now | after), (False, after)):
        mine = {name for name, at_once in names.items() if at_once is same_step}
        mapping |= {n: choose(since, redrawn(n, mine, anew), n) for n in drawn(opened.outputs, mine)}
    return opened.mapped(mapping)


def stream_of(stream: Node) -> Drawn:
    """The site that a stream is of, or was made for."""
    while stream.op is not noise_op:
        stream = stream.args[0]
    (step,) = stream.args
    return site_path(stream.attrs.path), int(step.attrs.array) if step.is_const else None

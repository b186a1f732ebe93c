"""Where a parameter reaches the edge of its range and moves there, so that a score misses part of the gradient.

At an edge some value of the site has probability 0 and is never drawn, though its probability has a derivative. What
cannot move at the edge is no trouble: a literal 0, a sigmoid that rounding makes 1, a factor that is masked by a 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from scg.analysis.smoothness import flow
from scg.draft import Check
from scg.errors import Problem
from scg.ir.node import FUNCTIONS, Node, apply, as_real, constant
from scg.ir.printer import short
from scg.ir.traverse import downstream, rebuild, topological
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.scan import open_scan, out
from scg.scan_site import ScanSite
from scg.site import Site

Flows = Callable[[Node], bool]
_NEVER = {"exp": (0.0,), "softplus": (0.0,), "sigmoid": (0.0, 1.0)}  # edges that are reached by rounding only
# ops that move elements about, and which of their arguments these come from (None: all)
_MOVES = {"reshape": None, "transpose": None, "broadcast_to": None, "getitem": None, "stack": None, "concatenate": None,
          "where": (1, 2), "take": (0,), "named": None}


def edge_checks(site: Site, asker: str, advice: str) -> Iterator[Check]:
    """What must hold at a call where `asker` multiplies the score of the site."""
    for name, edges in site.family.edges.items():
        if name not in site.dist.params or not site.flows_into(name):
            continue
        found = [bad for bad in (_of_parameter(site, name, at) for at in edges) if bad is not None]
        if found:
            node = distribution_of(site.node).params[name]
            values = " or ".join(f"{at:g}" for at in edges)
            yield Check(Problem(
                site.where, f"{asker} was to be used where {site.family.__name__} is given {name} = {short(node)}.",
                f"In at least one replicate {name} is {values}: a value of probability 0 is never drawn, and its part "
                "of the gradient would be missing.", advice), sum(FUNCTIONS["sum"](bad) for bad in found))


def reached(node: Node, at: float, flows: Flows) -> Node | None:
    """Above 0 where the node is `at` and has a derivative there, else 0; None if that is 0 everywhere.

    Parameters
    ----------
    node : Node
    at : float
    flows : callable
        Whether a derivative flows to a node.
    """
    name, args = node.op.name, node.args
    if not flows(node) or at in _NEVER.get(name, ()):
        return None
    if name in _MOVES:
        which = _MOVES[name] or range(len(args))
        return _elements(node, {i: reached(args[i], at, flows) for i in which})
    if name == "sub" and args[0].op.name == "const" and np.all(args[0].attrs.array == 1.0):
        return reached(args[1], 1.0 - at, flows)
    if name == "div" and at == 0.0:
        return reached(args[0], at, flows)
    if name == "mul" and at == 0.0:
        # ∂(ab) = a ∂b + b ∂a: the other factor must not be 0
        sides = [(reached(a, at, flows), b) for a, b in (args, args[::-1])]
        return _added([side * as_real(apply("ne", other, 0.0)) for side, other in sides if side is not None])
    return as_real(apply("eq", node, at))


def _added(nodes: list[Node]) -> Node | None:
    return None if not nodes else nodes[0] if len(nodes) == 1 else nodes[0] + nodes[1]


def _elements(node: Node, found: dict[int, Node | None]) -> Node | None:
    """The op of a node that moves elements about, on what was found of its arguments."""
    if all(part is None for part in found.values()):
        return None
    known = {i: constant(np.zeros(node.args[i].shape)) if part is None else part for i, part in found.items()}
    return rebuild(node, tuple(known.get(i, a) for i, a in enumerate(node.args)))


def _of_parameter(site: Site, name: str, at: float) -> Node | None:
    """`reached` of a site's parameter, stacked over the steps for a site inside a scan."""
    if not isinstance(site, ScanSite):
        return reached(site.dist.params[name], at, site._flows)
    opened = open_scan(site.scan)
    node = distribution_of(site._find(opened)).params[name]

    def stacked(inner: Node) -> Node:
        return out(opened.close(ys=(*opened.ys, inner)), len(opened.carries) + len(opened.ys))

    inside = downstream((opened.step, *opened.carries, *opened.xs), [node])
    sources = [n for n in topological([node]) if _begins(n, n.id in inside, lambda n: site._flows(stacked(n)))]
    known = flow([node], sources)
    bad = reached(node, at, lambda n: known[n.id].differentiated)
    return None if bad is None else stacked(bad)


def _begins(node: Node, inside: bool, flows: Flows) -> bool:
    """Whether derivatives of a step's nodes begin at this one: it comes from outside, or is a draw that may move."""
    if node.op is sample_op:
        return not node.attrs.family.support.integral
    return node.kind == "real" and not (inside and node.args) and flows(node)

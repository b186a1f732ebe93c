"""Influence: which sites reach which nodes, and along which path (≺ and ≺ᴰ of Schulman et al. 2015).

``v ≺ w`` holds if a directed path leads from v to w; ``v ≺ᴰ w`` if one does whose inner nodes are deterministic.
Stopping a gradient does not stop influence: a stopped value is still the same random number.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from scg.ir.node import Node, where
from scg.ir.op import Op, Smoothness
from scg.ir.traverse import topological
from scg.ops.leaves import param_op
from scg.ops.randomness import sample_op
from scg.ops.scan import ScanBody, scan_op


class SiteNode(NamedTuple):
    """Where a site stands in a graph: its sample node, and the scan whose body holds it, if any.

    `inner` are the scans inside the body of that one in which it stands, the outermost first.
    """

    name: str
    node: Node
    scan: Node | None
    inner: tuple[Node, ...] = ()

    @property
    def scans(self) -> list[int]:
        """The scans in which it stands, the outermost first, by their ids."""
        return [] if self.scan is None else [scan.id for scan in (self.scan, *self.inner)]

    @property
    def loops(self) -> tuple[int, ...]:
        """How many steps the loops have in which it stands, the outermost first."""
        return () if self.scan is None else tuple(scan.attrs.length for scan in (self.scan, *self.inner))

    @property
    def steps(self) -> tuple[int, ...]:
        """How many steps it is drawn in, counted through all loops: one number, or none of a site outside of loops."""
        return () if self.scan is None else (prod(self.loops),)

    @property
    def anchor(self) -> Node:
        """The node of the graph that stands for the site: its scan, if it is inside one."""
        return self.node if self.scan is None else self.scan

    @property
    def where(self) -> str:
        """The first part of an error message: graphs share the nodes of equal scan bodies, but not their lines."""
        declared = getattr(self.anchor.owner, "sites", {}).get(self.name)
        return f'{declared.line}, sample "{self.name}"' if declared and declared.line else where(self.node)


def sites(roots: Sequence[Node]) -> list[SiteNode]:
    """All sites that the roots depend on, those upstream first; those of a scan's body where the scan stands."""
    found: dict[str, SiteNode] = {}
    for node in topological(roots):
        if node.op is sample_op:
            found.setdefault(node.attrs.site, SiteNode(node.attrs.site, node, None))
        elif node.op is scan_op:
            for inner in _inner_sites(node.attrs):
                within = () if inner.scan is None else (inner.scan, *inner.inner)
                found.setdefault(inner.name, SiteNode(inner.name, inner.node, node, within))
    return list(found.values())


def _inner_sites(body: ScanBody) -> list[SiteNode]:
    """The sites of a scan's body: one that reaches another, through the carries too, and is not reached, comes first.

    By then it is reached by fewer; of sites that reach each other the body's own order stands.
    """
    found = sites(body.outputs)
    if len(found) < 2:
        return found
    reached = [body.downstream([s.anchor]) for s in found]
    return sorted(found, key=lambda s: sum(s.anchor.id in ids for ids in reached))


def differentiable_sources(node: Node, op: Op = param_op) -> list[Node]:
    """The parameters, or leaves of another op, that reach a node along edges through which a derivative may flow."""
    seen, out, stack = set(), [], [node]
    while stack:
        n = stack.pop()
        if n.id in seen:
            continue
        seen.add(n.id)
        if n.op is op:
            out.append(n)
        stack.extend(a for i, a in enumerate(n.args)
                     if n.op is scan_op or n.op.smooth_in(i) is not Smoothness.BLOCKING)
    return sorted(out, key=lambda n: n.id)

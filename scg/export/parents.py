"""The parents of a node in the graph as declared: the nearest leaves, sites and named nodes that it is computed from.

Unnamed nodes are looked through, and so are scans: what a step takes from the carry comes from earlier steps.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

from scg.analysis.influence import SiteNode
from scg.export.names import Names
from scg.ir.node import Node
from scg.ops.arithmetic import named_op
from scg.ops.leaves import GIVEN, placeholder_op
from scg.ops.randomness import sample_op, uniform_op
from scg.ops.scan import of_step, out_op, split, stacked
from scg.ops.special import ndtri_op

ALWAYS, NOW, PREVIOUS, EARLIER = "", "now", "previous", "earlier"
_ORDER = ("param", "input", "data", "node", "carry", "sample", "noise")


class Parent(NamedTuple):
    """A parent by name; `when` says in which step of the loop around the child, if the parent is in that loop too."""

    name: str
    kind: str
    when: str = ALWAYS


class Loop(NamedTuple):
    """A scan that is looked into, the one around it, and from which of that one's steps."""

    scan: Node
    outer: Loop | None = None
    step: str = ALWAYS

    @property
    def path(self) -> tuple:
        """What identifies it."""
        return (self.scan.id, self.step, *(self.outer.path if self.outer else ()))

    @property
    def earlier(self) -> bool:
        """Whether it ran in an earlier step of a loop around it."""
        return self.step in (PREVIOUS, EARLIER) or (self.outer is not None and self.outer.earlier)


class Parents:
    """Finds parents in one graph, by the names under which they are shown.

    Parameters
    ----------
    names : Names
    carried : callable, optional
        ``carried(scan, i)``: what the carry at place i of a loop, which is in no other, is called. It is then a parent
        itself, by kind "carry", unless it is a draw; `Parent.when` is the number of its step, where that is read after
        the loop.
    """

    def __init__(self, names: Names, carried: Callable[[Node, int], str] | None = None):
        self._carried = carried
        self.names, self.graph = names, names.graph
        self._declared = {names.given(name): i for i, name in enumerate(names.declared)}
        self._in_steps: dict[tuple[int, int], str] = {}
        for name in self.graph.per_step:
            node, loop = _innermost(self.graph.nodes[name])
            if loop is not None:
                self._in_steps[loop.scan.id, node.id] = name

    def of_site(self, site: Node, loop: Loop | None = None) -> list[Parent]:
        """What the parameters of a sample node are computed from."""
        return self._search(list(site.args[:-1]), loop)

    def of_output(self, node: Node) -> list[Parent]:
        """What a cost, or a node of a step, is computed from; per step, if a scan puts it out."""
        node, loop = _innermost(node)
        return self._search([node], loop)

    def of_step(self, node: Node) -> list[Parent]:
        """What a named node of a step is computed from: also itself, in earlier steps."""
        node, loop = _innermost(node)
        return self._search([node], loop, node)

    def of_named(self, node: Node) -> list[Parent]:
        """What a named node is computed from."""
        inside = node.op is named_op and self.graph.named_inside(node)
        return self._search(list(node.args[0].args if inside else node.args), None)

    def _search(self, roots: list[Node], loop: Loop | None, itself: Node | None = None) -> list[Parent]:
        found: dict[Parent, None] = {}
        seen: set[tuple] = set()
        stack = [(n, loop, NOW if loop else ALWAYS) for n in reversed(roots)]
        while stack:
            n, at, when = stack.pop()
            key = (n.id, at.path if at else (), when)
            if key in seen:
                continue
            seen.add(key)
            parent = self._named(n, EARLIER if at and at.earlier else when)
            if parent is None and at is not None and not (n is itself and when == NOW):
                parent = self._of_step(n, at, when)
            if parent is not None:
                found[parent] = None
            else:
                stack.extend(reversed(self._behind(n, at, when, found)))
        return sorted(_strongest(found), key=lambda p: (_ORDER.index(p.kind), self._declared.get(p.name, 0)))

    def _named(self, n: Node, when: str) -> Parent | None:
        if n.op in GIVEN:
            return Parent(self.names.given(n.attrs.name), GIVEN[n.op])
        if n.op is sample_op:
            return Parent(self.names.given(n.attrs.site), "sample", when)
        if n.op is uniform_op or (n.op is ndtri_op and n.args[0].op is uniform_op):
            return Parent(self.names.noise(n), "noise", when)
        name = self.graph.names.get(n.id)
        return None if name is None else Parent(self.names.given(name), "node")

    def _of_step(self, n: Node, at: Loop, when: str) -> Parent | None:
        """A named node of the loop's step."""
        name = self._in_steps.get((at.scan.id, n.id))
        return None if name is None else Parent(self.names.given(name), "node", EARLIER if at.earlier else when)

    def _behind(self, n: Node, at: Loop | None, when: str, found: dict) -> list[tuple]:
        """What an unnamed node is computed from: its arguments, or what a loop's placeholder stands for."""
        if n.op is out_op:
            scan = n.args[0]
            inside = Loop(scan, at, when)
            if stacked(n):
                return [(of_step(n), inside, ALWAYS)]
            new = scan.attrs.new_carries[n.attrs]
            if self._carried is not None and at is None:
                found[self._last(scan, n.attrs)] = None
                return []
            return [(new, inside, ALWAYS), (split(scan)[0][n.attrs], at, when)]
        if n.op is placeholder_op and at is not None:
            assert at is not None  # a placeholder stands inside a scan
            return self._meaning(n, at, when, found)
        return [(a, at, when) for a in n.args if a.kind != "noise"]

    def _last(self, scan: Node, i: int) -> Parent:
        """What a loop leaves of a carry: the last draw, if it is one."""
        new, back = scan.attrs.new_carries[i], scan.attrs.reverse
        if new.op is sample_op:
            return Parent(self.names.given(new.attrs.site), "sample", str(0 if back else scan.attrs.length - 1))
        return Parent(self._carried(scan, i), "carry", str(-1 if back else scan.attrs.length))

    def _meaning(self, n: Node, at: Loop, when: str, found: dict) -> list[tuple]:
        body = at.scan.attrs
        inits, consts, arrays = split(at.scan)
        if n is body.step:
            return []
        if any(n is c for c in body.consts):
            return [(consts[_place(n, body.consts)], at.outer, at.step)]
        if any(n is x for x in body.xs):
            array = arrays[_place(n, body.xs)]
            parent = self._named(array, when)
            if parent is None:
                return [(array, at.outer, at.step)]
            found[parent._replace(when=when)] = None
            return []
        i = _place(n, body.carries)
        new, init = body.new_carries[i], (inits[i], at.outer, at.step)
        if new.op is sample_op and when == NOW:
            return [(new, at, PREVIOUS), init]
        if self._carried is not None and when == NOW and at.outer is None:
            found[Parent(self._carried(at.scan, i), "carry", NOW)] = None
            return []
        return [(new, at, EARLIER if when else ALWAYS), init]


def loop_of(site_node: SiteNode) -> Loop | None:
    """The loop that a site is drawn in, if there is one."""
    if site_node.scan is None:
        return None
    return reduce(lambda outer, scan: Loop(scan, outer, NOW), site_node.inner, Loop(site_node.scan))


def _innermost(node: Node) -> tuple[Node, Loop | None]:
    """The node of a step that is put out step by step, and the loop that it is in."""
    loop = None
    while stacked(node):
        scan = node.args[0]
        node, loop = of_step(node), Loop(scan, loop, NOW if loop else ALWAYS)
    return node, loop


def _place(n: Node, among) -> int:
    return next(i for i, m in enumerate(among) if m is n)


def _strongest(found) -> list[Parent]:
    """Without what is said already: all earlier steps include the previous one."""
    return [p for p in found if not (p.when == PREVIOUS and p._replace(when=EARLIER) in found)]

"""Walking and rewriting graphs: topological order, dependence, substitution.

Replay of a site is `substitute`: replace a node, and everything downstream is rebuilt, with shapes and axes inferred
anew. What is not downstream is the same node as before.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from operator import is_

from scg.ir.location import derived_from
from scg.ir.node import Node, make

# (the node with its old arguments, its new arguments) -> the new node, or None for the ordinary rebuild
Hook = Callable[[Node, tuple[Node, ...]], Node | None]


def topological(roots: Iterable[Node], outside: Callable[[Node], bool] | None = None) -> list[Node]:
    """Every node that the roots depend on, arguments first; bodies of loops are not entered, nor what is `outside`."""
    seen: set[int] = set()
    order: list[Node] = []
    begun: list[Node] = []  # their arguments wait on the stack, above a None for each of them
    for root in roots:
        stack: list[Node | None] = [root]
        while stack:
            node = stack.pop()
            if node is None:
                order.append(begun.pop())
            elif node.id not in seen and (outside is None or not outside(node)):
                seen.add(node.id)
                if node.args:
                    begun.append(node)
                    stack.append(None)
                    stack.extend(node.args[::-1])
                else:
                    order.append(node)
    return order


def unknown(roots: Sequence[Node], known: Container[int]) -> Iterator[Node]:
    """Nodes that the roots depend on and whose ids are not `known`, arguments first; what is known is not entered.

    Whoever takes one makes it known before the next.
    """
    waiting = [*roots[::-1]]
    while waiting:
        node = waiting[-1]
        if node.id in known:
            waiting.pop()
        elif missing := [a for a in node.args if a.id not in known]:
            missing.reverse()
            waiting += missing
        else:
            yield node


def ancestors(roots: Iterable[Node]) -> set[int]:
    """Ids of the roots and of all that they depend on."""
    return {node.id for node in topological(roots)}


def downstream(of: Iterable[Node], roots: Sequence[Node]) -> set[int]:
    """Ids of all nodes below `roots` that depend on one of `of`, these included."""
    found = {node.id for node in of}
    for node in topological(roots):
        for a in node.args:
            if a.id in found:
                found.add(node.id)
                break
    return found


def rebuild(node: Node, args: tuple[Node, ...]) -> Node:
    """The same op on other arguments."""
    with derived_from(node.source):
        if node.op.rebuild is not None:
            return node.op.rebuild(node, args, None)
        return make(node.op, args, node.attrs)


def substitute(roots: Sequence[Node], mapping: Mapping[Node, Node], hook: Hook | None = None) -> list[Node]:
    """The roots with nodes replaced.

    Parameters
    ----------
    roots : sequence of Node
    mapping : dict of Node to Node
        What replaces what. Replacements are not searched for further replacements.
    hook : callable, optional
        Called for each rebuilt node; what it returns stands in its place, unless that is None. Loops pass it on to
        the parts of their bodies that are downstream of a change.

    Returns
    -------
    list of Node
        One per root; a root that does not depend on a replaced node is returned as it is.
    """
    replaced = Substitution(mapping, hook)
    return [replaced(root) for root in roots]


class _Younger(Container[int]):
    """Ids that are known, and those of nodes that are older than some node, and so not made of it."""

    def __init__(self, known: Container[int], oldest: int):
        self._all, self._oldest = known, oldest

    def __contains__(self, number: object) -> bool:
        return number < self._oldest or number in self._all  # type: ignore[operator]


class Substitution:
    """A substitution that goes on: what it has rebuilt is not walked again, and more can be replaced as it goes.

    Parameters
    ----------
    mapping, hook
        As for `substitute`.
    since : int
        The id of the oldest node that is replaced, if that is known: nodes that are older are not walked through.

    Attributes
    ----------
    replaced : frozenset of int
        The ids of what was replaced from the beginning.
    """

    def __init__(self, mapping: Mapping[Node, Node] | None = None, hook: Hook | None = None, since: int = 0):
        self._new = {old.id: new for old, new in (mapping or {}).items()}
        self.replaced = frozenset(self._new)
        self._hook = hook
        self._known: Container[int] = _Younger(self._new, since) if since else self._new

    def put(self, old: Node, new: Node) -> None:
        """From now on `new` stands for `old`, in nothing that was rebuilt before."""
        self._new[old.id] = new

    def __call__(self, root: Node) -> Node:
        """What becomes of a node."""
        for node in unknown([root], self._known):
            self._new[node.id] = self._rebuilt(node)
        return self._new.get(root.id, root)

    def _rebuilt(self, node: Node) -> Node:
        args = tuple([self._new.get(a.id, a) for a in node.args])
        if all(map(is_, args, node.args)):
            return node
        replaced = self._hook(node, args) if self._hook else None
        if replaced is None:
            with derived_from(node.source):
                replaced = (node.op.rebuild(node, args, self._hook) if node.op.rebuild
                            else make(node.op, args, node.attrs))
        return replaced

"""How a node reads that was made by a call of several ops: as that call, in the user's own notation.

It changes nothing but text. The record is the node's own, so that whatever is made of it in another way, by a rewrite
of what is below it, reads as it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from scg.ir.node import Node
from scg.ir.traverse import Substitution, topological

_KEY = "said"


class Call(NamedTuple):
    """A template in some nodes, such as ``"logsumexp({0})"``."""

    template: str
    args: tuple[Node, ...]


def said(node: Node, template: str, *args: Node) -> Node:
    """The node, which reads so from now on, unless it has been said otherwise, or is one of these."""
    if node.args and all(node is not a for a in args):
        node.facts.setdefault(_KEY, Call(template, args))
    return node


def call_of(node: Node) -> Call | None:
    """How it reads, if that was said."""
    return node.facts.get(_KEY)


def carry_over(roots: Iterable[Node], rebuilt: Substitution) -> None:
    """What nodes below the roots read as, what they were rebuilt as reads as too.

    Not where something was replaced that belongs to the call itself, nor where it does not show all its arguments.
    """
    for node in topological(roots):
        call = call_of(node)
        if call is not None and (new := rebuilt(node)) is not node and _is_of_its_arguments(node, call, rebuilt):
            said(new, call.template, *map(rebuilt, call.args))


def _is_of_its_arguments(node: Node, call: Call, rebuilt: Substitution) -> bool:
    ends, met = {a.id for a in call.args if not a.is_const}, set()

    def end(n: Node) -> bool:
        if n.id in ends:
            met.add(n.id)
        return n.id in ends

    return not any(n.id in rebuilt.replaced for n in topological([node], end)) and met == ends


def taught(node: Node, call: Call | None) -> None:
    """The same of a node that was read from bytes."""
    if call is not None:
        said(node, *call[:1], *call.args)

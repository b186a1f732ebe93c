"""A loop in a world for every step: there one of its draws is another, and so are later ones that it moves."""

from __future__ import annotations

from collections.abc import Callable

from scg.ir.node import Node
from scg.ir.traverse import downstream, substitute, topological
from scg.ops.arithmetic import choose
from scg.ops.randomness import sample_op
from scg.ops.scan import Opened

Draws = Callable[[Node], Node | None]
"""What stands in place of a draw, or None if it stays."""


def in_worlds(opened: Opened, x: Node, new: Draws, now: Node, after: Node, later: Draws | None = None,
              before: Draws = lambda y: y) -> Opened:
    """The scan in a world for every step: at that step ``new(x)`` is in place of a site's draw x.

    Parameters
    ----------
    opened : Opened
    x : Node
        The sample node.
    new : callable
    now, after : Node
        Whether it is the step of the world, and a later one.
    later : callable, optional
        From then on ``later(y)`` is in place of every draw y that this changes, the site's own included, unless it is
        None.
    before : callable
        Until then ``before(y)`` is.
    """
    if later is None:
        replacement = new(x)
        return opened if replacement is x or replacement is None else opened.mapped({x: choose(now, replacement, x)})
    same_step, reached = downstream([x], opened.outputs), opened.downstream([x])
    mapping: dict[Node, Node] = {}
    for node in topological(opened.outputs):
        if node.op is not sample_op or node.id not in reached:
            continue
        y = substitute([node], mapping)[0]  # with those upstream of it replaced
        since, then = after if node is x or node.id not in same_step else now | after, later(y)
        if then is not None:
            y = choose(since, then, before(y))
        mapping[node] = choose(now, new(node), y) if node is x else y
    return opened.mapped(mapping)


def moves_later(opened: Opened, x: Node) -> bool:
    """Whether a draw moves what it is drawn from in later steps."""
    reached = opened.downstream([x])
    return x.id in opened.downstream([c for c in opened.carries if c.id in reached])

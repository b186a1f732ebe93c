"""What a loop's step is the first time, where carries begin as literals: a flag that is not set yet takes one branch.

So a carry that is kept where such a flag is set was made by a step before, and is never what the loop began with. That
holds of a loop that ends early, and of a flag that users carry by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scg.ir.node import Node, facts_of, make, of_literals
from scg.ir.traverse import topological
from scg.ops.arithmetic import where_op


def first_step(scan: Node) -> Mapping[int, Node | None]:
    """What stands for nodes of a scan's step in the first one, by their ids: the branch that a choice takes there.

    None stands for what is made of literals alone, or is 0 times something.
    """
    known = facts_of(scan)
    if first_step not in known:
        known[first_step] = _found(scan)
    return known[first_step]


def _found(scan: Node) -> dict[int, Node | None]:
    body = scan.attrs
    numbers = {c.id: init for c, init in zip(body.carries, scan.args) if init.is_const}
    found: dict[int, Node | None] = {}
    for n in topological(body.outputs) if numbers else ():
        if n.op.kind != "elementwise" or all(a.id not in numbers for a in n.args):
            continue
        args = [numbers.get(a.id, a) for a in n.args]
        number = of_literals(make(n.op, tuple(args), n.attrs)) if all(a.is_const for a in args) else None
        branch = _taken(args[0]) if n.op is where_op else None
        if number is not None:
            numbers[n.id], found[n.id] = number, None
        elif branch is not None:
            found[n.id] = n.args[branch]
        elif any(_ignored(n, i, args) for i in range(len(args))):
            found[n.id] = None
    return found


def _taken(condition: Node) -> int | None:
    """Which argument of a choice is taken everywhere, if that is known."""
    if not condition.is_const:
        return None
    return 1 if condition.attrs.ask("all") else None if condition.attrs.ask("any") else 2


def _ignored(node: Node, position: int, args: Sequence[Node]) -> bool:
    """Whether what is known of the other arguments makes the result the same whatever this one is."""
    asked = None if node.op.ignores is None else node.op.ignores(position, *args)
    if asked is None or not asked.args or not all(a.is_const for a in asked.args):
        return False
    answer = of_literals(asked)
    return answer is not None and answer.attrs.ask("all")

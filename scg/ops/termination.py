"""Loops that end early: from a step on that a test says nothing changes, costs nothing, and nothing is scored.

The steps go on, over what is frozen, until all lanes of a tile are over (`scg.rules.idle`): with the mask 1 a carry is
what it was, costs and what is put out are 0, and the parameters of draws are held, so that no derivative flows into
what is drawn without consequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_
from typing import Any, Protocol

from scg.errors import DeclarationError, brief
from scg.ir.constraints import Constraint
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant, make
from scg.ir.traverse import downstream, substitute
from scg.ir.trees import flatten, matched
from scg.ops.arithmetic import NEUTRAL, and_op, choose, not_op, or_op, real_op, stop_gradient_op, where_op
from scg.ops.control import held
from scg.ops.randomness import distribution_of
from scg.ops.scan import Opened, ScanBody
from scg.ops.structure import broadcast_to


class Trace(Protocol):
    """A scan whose step function is running: what it has declared so far."""

    costs: dict[str, Node]
    over: Node | None


def ending(step: Callable, until: Callable, trace: Callable[[], Trace], own: Callable[[Any], Node]) -> Callable:
    """The step of a loop that may end early, which carries besides whether it has.

    Parameters
    ----------
    step, until : callable
        As they were given to the scan.
    trace : callable
        Of the scan whose step is being declared.
    own : callable
        What was given as a node of the graph.
    """
    _check(until)

    def masked(carried: Any, x: Any) -> Any:
        (old, over), now = carried, trace()
        now.over = over
        found = step(old, x)
        if not (isinstance(found, tuple) and len(found) == 2):
            return found
        before, rebuild = flatten(old)
        made = [as_real(own(b)) for b in matched(found[0], old)]
        new = rebuild([_frozen(over, a, b) for a, b in zip(before, made)])
        ys, rebuild_y = flatten(found[1])
        now.costs = {name: _unless(over, cost) for name, cost in now.costs.items()}
        # where the loop is over its test says nothing new: what is asked is what a step made, never the initial value
        return (new, _ended(over, until, rebuild(made))), rebuild_y([_unless(over, own(y)) for y in ys])

    return masked


def with_flag(names: Sequence[str]) -> list[str]:
    """The names of carries, and that of the one that says whether a loop is over."""
    flag = "over"
    while flag in names:
        flag += "_"
    return [*names, flag]


def _check(until: Any) -> None:
    """Refuse what is no function of a carry.

    Raises
    ------
    DeclarationError
    """
    if not callable(until) or isinstance(until, Node):
        raise DeclarationError(str(here() or ""), f"A scan was given until={brief(until)}.",
                               "It is asked after each step whether the loop ends there.",
                               "Give a function of the carry: until=lambda carry: carry >= 10.")


def _ended(over: Node, until: Callable[[Any], Any], carry: Any) -> Node:
    """The mask of the next step: 1 if the loop was over, or its test says so of the carry after this one.

    Raises
    ------
    DeclarationError
        If the test does not return one truth value.
    """
    found = constant(until(carry))
    if found.shape or (found.kind != "bool" and not found.is_const):
        raise DeclarationError(
            str(here() or ""), f"The until= of a scan returned a {found.kind} of shape {found.shape}.",
            "It says of a whole replicate whether its loop ends there: one truth value.",
            "Compare numbers, e.g. carry >= 10; of a vector ask (carry >= 10).max() > 0 or (carry >= 10).min() > 0.")
    return as_real((over != 0.0) | (found if found.kind == "bool" else found != 0.0))


def _unless(over: Node, node: Node) -> Node:
    """The node, and 0 (or False) where the loop is over."""
    if node.kind == "bool":
        return node & (over == 0.0)
    return choose(over != 0.0, 0.0, node)


def _frozen(over: Node, old: Node, new: Node) -> Node:
    """What a step makes of a carry: nothing new where the loop is over."""
    return choose(over != 0.0, old, new) if old.shape == new.shape else new


def scored_until(over: Node, draw: Node, carries: Sequence[Node]) -> Node:
    """A sample node, of which the parameters are held where the loop is over: nothing depends on that draw.

    Nor on what is held there: a table of the states in which the loop goes on has no row for the one in which it
    ended. So what is made of `carries`, of all loops around, is held at numbers that will do.
    """
    known = distribution_of(draw).parameters
    given = [held_until([over], a, _anywhere(a, known[name], carries))
             for name, a in zip(draw.attrs.names, draw.args[:-1])]
    return make(draw.op, (*given, draw.args[-1]), draw.attrs, owner=draw.owner)


def _anywhere(given: Node, constraint: Constraint, carries: Sequence[Node]) -> Node | None:
    """Numbers that are possible parameters, if what is given may be none where the loop is over."""
    if constraint.anywhere is None or given.id not in downstream(carries, [given]):
        return None
    return constant(constraint.anywhere(given.shape))


def held_until(overs: Sequence[Node], node: Node, at: Node | None = None) -> Node:
    """A parameter, held where one of several loops is over: at its own value, or `at` other numbers."""
    for over in overs:
        node = choose(over != 0.0, held(node if at is None else at), node)
    return node


def waiting(node: Node) -> tuple[tuple[Node, ...], Node] | None:
    """The masks of the loops that a parameter is held by at other numbers, and its own value; None if by none."""
    overs: tuple[Node, ...] = ()
    while _holds(node) and node.args[1].args[0].is_const:
        overs, node = (node.args[0].args[0], *overs), node.args[2]
    return (overs, node) if overs else None


def held_by(node: Node) -> tuple[tuple[Node, ...], bool, Node]:
    """The conditions by which a parameter is held, whether at other numbers than its own, and its own value."""
    overs: tuple[Node, ...] = ()
    elsewhere = False
    while _holds(node):
        over, there, own = node.args
        overs, elsewhere, node = (over, *overs), elsewhere or there.args[0] is not own, own
    return overs, elsewhere, node


def going_on(draw: Node) -> Node | None:
    """Where a sample node is drawn before the end of a loop, by `scored_until`; None of one that always is."""
    goes_on, given = [], draw.args[0]
    while _holds(given):
        over, given = given.args[0], given.args[2]
        goes_on.append(over.args[0] == 0.0 if over.args else ~over)
    return reduce(and_, goes_on) if goes_on else None


def ended(draw: Node) -> Node | None:
    """Where a sample node is drawn after the end of a loop, by `scored_until`; None of one that never is."""
    over, given = None, draw.args[0]
    while _holds(given):
        over, given = given.args[0] if over is None else over | given.args[0], given.args[2]
    return over


def as_declared(draw: Node) -> Any:
    """The distribution of a sample node where no loop is over: at the parameters that its declaration gave it."""
    own = []
    for given in draw.args[:-1]:
        while _holds(given):
            given = given.args[2]
        own.append(given)
    return distribution_of(draw, (*own, draw.args[-1]))


def _holds(node: Node) -> bool:
    return node.op is where_op and node.args[1].op is stop_gradient_op and node.args[1].attrs == NEUTRAL


def mask_of(opened: Opened) -> int | None:
    """Which carry of a loop says whether it is over, as `ending` writes it; None if there is none.

    It begins with 0, stays 1 once it is, and what the loop carries beside it stays what it is then.
    """
    return _mask(opened, opened.inits)


def test_of(scan: Node) -> Node | None:
    """What a loop is asked after each step, whether it ends there; None if it always has all its steps."""
    i = _mask(scan.attrs, scan.args)
    if i is None:
        return None
    carry, new = scan.attrs.carries[i], scan.attrs.new_carries[i]
    return next((a for a in new.args[0].args if a is not (carry != 0.0)), None)


def _mask(loop: Opened | ScanBody, inits: Sequence[Node]) -> int | None:
    for i, (carry, new) in enumerate(zip(loop.carries, loop.new_carries)):
        begins = inits[i].is_const and not inits[i].shape and inits[i].attrs.array == 0.0
        if begins and new.op is real_op and new.args[0].op is or_op and any(
                a is (carry != 0.0) for a in new.args[0].args):
            others = [(c, n) for j, (c, n) in enumerate(zip(loop.carries, loop.new_carries)) if j != i]
            left = where_over([n for _, n in others], carry, True)
            if all(n is c for (c, _), n in zip(others, left)):
                return i
    return None


def where_over(nodes: Sequence[Node], over: Node, ended: bool) -> list[Node]:
    """Nodes of a step where its loop is over, or is not: what they are made of there, and of nothing else."""
    known = {over: constant(float(ended)), over != 0.0: constant(ended), over == 0.0: constant(not ended)}
    return substitute(nodes, known, _folded)


def _folded(node: Node, args: tuple[Node, ...]) -> Node | None:
    """What a choice, or a condition, is where it is known by now."""
    known = [bool(a.attrs.array) if a.is_const and a.kind == "bool" and not a.shape else None for a in args]
    if node.op is where_op and known[0] is not None:
        return broadcast_to(args[1] if known[0] else args[2], node.shape)
    if node.op in (not_op, real_op) and known[0] is not None:
        return constant(not known[0] if node.op is not_op else float(known[0]))
    if node.op in (or_op, and_op) and known != [None, None]:
        decides = node.op is or_op
        rest = [a for a, value in zip(args, known) if value is None]
        return broadcast_to(constant(decides) if decides in known else [*rest, constant(not decides)][0], node.shape)
    return None

"""Loops that end early: from a step on that a test says nothing changes, costs nothing, and nothing is scored.

The steps go on, over what is frozen, until all lanes of a tile are over (`scg.rules.idle`): with the mask 1 a carry is
what it was, costs and what is put out are 0, and the parameters of draws are held, so that no derivative flows into
what is drawn without consequence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from scg.errors import DeclarationError, brief
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant, make
from scg.ir.trees import flatten, matched
from scg.ops.arithmetic import NEUTRAL, choose, stop_gradient_op, where_op
from scg.ops.control import held


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
        new = rebuild([_frozen(over, a, own(b)) for a, b in zip(before, matched(found[0], old))])
        ys, rebuild_y = flatten(found[1])
        now.costs = {name: _unless(over, cost) for name, cost in now.costs.items()}
        return (new, _ended(over, until, new)), rebuild_y([_unless(over, own(y)) for y in ys])

    return masked


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
            "Compare numbers, e.g. carry >= 10; for a vector use np.any or np.all of the comparison.")
    return as_real((over != 0.0) | (found if found.kind == "bool" else found != 0.0))


def _unless(over: Node, node: Node) -> Node:
    """The node, and 0 (or False) where the loop is over."""
    if node.kind == "bool":
        return node & (over == 0.0)
    return choose(over != 0.0, 0.0, node)


def _frozen(over: Node, old: Node, new: Node) -> Node:
    """What a step makes of a carry: nothing new where the loop is over."""
    return choose(over != 0.0, old, as_real(new)) if old.shape == new.shape else new


def scored_until(over: Node, draw: Node) -> Node:
    """A sample node, of which the parameters are held where the loop is over: nothing depends on that draw."""
    given = [choose(over != 0.0, held(a), a) for a in draw.args[:-1]]
    return make(draw.op, (*given, draw.args[-1]), draw.attrs, owner=draw.owner)


def ended(draw: Node) -> Node | None:
    """Where a sample node is drawn after the end of a loop, by `scored_until`; None of one that never is."""
    over, given = None, draw.args[0]
    while given.op is where_op and given.args[1].op is stop_gradient_op and given.args[1].attrs == NEUTRAL:
        over, given = given.args[0] if over is None else over | given.args[0], given.args[2]
    return over

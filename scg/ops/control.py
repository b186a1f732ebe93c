"""Marks that leave a value as it is: stopped gradients, jumps that the user vouches for, names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from scg.ir.interval import Interval
from scg.ir.node import Node, as_real, constant, make
from scg.ir.op import Op, Smoothness, register
from scg.ir.traverse import rebuild, topological
from scg.ops.arithmetic import NEUTRAL, NUMBER, OF_NOISE, elementwise, named_op, stop_gradient_op

# A mark of what is to be checked; it is written out before a program is made. attrs: the edge.
at_edge_op = register(Op("at_edge", "structural", shape=lambda args, attrs: (), smoothness=Smoothness.BLOCKING,
                         derivative=lambda g, y, a: (None,)))


resting_op = elementwise(
    "resting", lambda a, *at: a, "{0}", derivative=lambda g, y, a: (g,), integral="closed", bounds=lambda n, a: a,
    sympy=lambda m, a, *at: a, regular=True, samples=((0.7,),), transparent=True, work=0, rests=True, text="{0}")


def resting(node: Node, *at: float) -> Node:
    """The same value, into which no derivative flows where it is one of these numbers and stays it."""
    return make("resting", (node,), at)


# attrs: where the value lies, and what it comes as close to as it can, the same with its ends; or nothing
lying_op = elementwise(
    "lying", lambda a, *within: a, "{0}", derivative=lambda g, y, a: (g,), integral="closed",
    bounds=lambda n, a: n.attrs[0] if n.attrs else a, sympy=lambda m, a, *within: a, regular=True, samples=((0.7,),),
    transparent=True, work=0, text="{0}")


def lying(node: Node, here: Interval, closed: Interval) -> Node:
    """The same value, of which it is known from elsewhere where it lies: what a draw was made of."""
    return make(lying_op, (node,), (here, closed))


def stop_gradient(node) -> Node:
    """⊥(node): the same value, through which no derivative flows."""
    node = as_real(constant(node))
    return node if node.is_const or is_stop(node) else make(stop_gradient_op, (node,))


def held(node: Node) -> Node:
    """The value of a node on which the result does not depend: nothing is lost where it is not differentiated."""
    return make(stop_gradient_op, (node,), NEUTRAL)


def as_number(node: Node, what: str, site: str) -> Node:
    """The value of a node as a number that is drawn with a site, and stopped: formulas show "what(site)", a symbol.

    So is shown what an algorithm computes of draws and probabilities, of which a formula would tell nobody anything.
    """
    return make(stop_gradient_op, (node,), (*NUMBER, what, site))


def held_noise(node: Node) -> Node:
    """Noise that is made with the parameters, and over all draws is independent of them: held as they move.

    A function of the parameters and of it has the mean derivative that it would have under noise of its own. So
    nothing is hidden by it, and nobody looks through it.
    """
    return make(stop_gradient_op, (node,), OF_NOISE)


def is_stop(node: Node) -> bool:
    """Whether it holds constant what was asked to be, not only what its result does not depend on."""
    return node.op is stop_gradient_op and not node.attrs


def assume_continuous(node) -> Node:
    """The same value, which the user vouches to be continuous in what is differentiated, whatever ops made it.

    The verdict repeats the assumption.
    """
    return make("assume_continuous", (as_real(constant(node)),))


class Label(NamedTuple):
    """Attributes of a named node."""

    name: str

    @property
    def naming(self) -> str:
        """The field that holds a name of the user's."""
        return "name"


def named(node: Node, name: str, owner) -> Node:
    """The same value as a node of its own, under a name of the graph `owner`: equal expressions are other nodes."""
    return make(named_op, (node,), Label(name), owner=owner)


def without_names(roots: Sequence[Node], drop: Callable[[Node], bool]) -> list[Node]:
    """The roots with every named node that `drop` picks replaced by what it names."""
    memo: dict[int, Node] = {}
    for node in topological(roots):
        args = tuple(memo[a.id] for a in node.args)
        same = all(a is b for a, b in zip(args, node.args))
        if node.op is named_op and drop(node):
            memo[node.id] = args[0]
        else:
            memo[node.id] = node if same else rebuild(node, args)
    return [memo[root.id] for root in roots]


def at_edge(node: Node, edge: float) -> Node:
    """Above 0 where an element of the node is at the edge and moves with what is differentiated, else 0."""
    return make(at_edge_op, (node,), edge)

"""Marks on a differentiated path: stopped values, and jumps that the user vouches for."""

from __future__ import annotations

from scg.ir.node import Node, as_real, constant, make


def stop_gradient(node) -> Node:
    """⊥(node): the same value, through which no derivative flows."""
    node = as_real(constant(node))
    stopped = node.op.name == "const" or (node.op.name == "stop_gradient" and not node.attrs)
    return node if stopped else make("stop_gradient", (node,))


def assume_continuous(node) -> Node:
    """The same value, which the user vouches to be continuous in what is differentiated, whatever ops made it.

    The verdict repeats the assumption.
    """
    return make("assume_continuous", (as_real(constant(node)),))

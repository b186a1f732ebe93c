"""A sampler is a function of its noise: what it draws itself is drawn once, while a graph is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scg.errors import DeclarationError
from scg.ir.location import here
from scg.ir.node import Node
from scg.ir.traverse import topological

_ADVICE = "Make it of the noise that it is given, by uniform(noise) or normal(noise) of scg.extend."


def made_of_noise(dist: Any, capability: str, draw: Node) -> Node:
    """The draw, which must be made of a stream; only a support of one value needs none.

    Raises
    ------
    DeclarationError
    """
    if dist.support.low != dist.support.high and not _reaches_noise(draw, dist.params.values()):
        raise DeclarationError(
            str(here() or ""), f"{type(dist).__name__}.{capability} returned a value that is not made of its noise.",
            "It is asked once, while a graph is compiled: all replicates would have that one value.",
            f"{_ADVICE} What is not random needs no site; a support of one value has low= and high= equal.")
    return draw


def _reaches_noise(draw: Node, parameters: Any) -> bool:
    """Whether a formula is made of a stream; what the parameters are made of does not count."""
    outside = {p.id for p in parameters}
    return any(node.kind == "noise" for node in topological([draw], lambda node: node.id in outside))


def one_formula(cls: Any, capability: str, ask: Callable[[], Any]) -> None:
    """Refuse a capability that returns another formula when it is asked again.

    Raises
    ------
    DeclarationError
    """
    one, other = ask(), ask()
    same = one is other if isinstance(one, Node) else np.array_equal(one, other)
    if not same:
        raise DeclarationError(
            str(here() or ""), f"{cls.__name__}.{capability} returned two different formulas when asked twice.",
            "It is asked while a graph is compiled, once for all replicates: a random number of its own would stay "
            "as it was then.", _ADVICE)

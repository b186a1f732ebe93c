"""A derivative coupling: the draw that another draw is moved to as a parameter moves."""

from __future__ import annotations

from dataclasses import dataclass

from scg.ir.node import Node, NodeLike


@dataclass(frozen=True)
class Coupling:
    """One term of a stochastic derivative: ∂E[f(X)] = E[∂eta · weight · (f(to) − f(X))], all of the draw X.

    Parameters
    ----------
    eta : Node
        The probability, or parameter, whose derivative says how often draws are moved.
    weight : Node or float
        At least 0; 0 where the draw stays. By these one of several draws is chosen.
    to : Node
        What the draw is moved to.
    by_chance : bool
        Whether the weight is one by the chance of the value that was drawn: of what has probability 0, and will not
        keep it, nothing is then ever moved.
    """

    eta: Node
    weight: NodeLike
    to: Node
    by_chance: bool = False

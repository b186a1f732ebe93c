"""One term of a weak derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scg.ir.axes import Axis
from scg.ir.node import Node


@dataclass(frozen=True)
class Triple:
    """One term of a weak derivative: ∂E[f] = Σ ∂eta · c · (E[f(plus)] − E[f(minus)]).

    Parameters
    ----------
    eta : Node
        The parameter (or function of parameters) whose derivative multiplies the difference.
    coefficient : Node or float
        c, per draw.
    plus, minus : callable
        ``(x, noise) -> value``: the two values, from the drawn value and a fresh stream. Given the same stream they
        are coupled, given two they are independent.
    along : Axis, optional
        The world axis of a triple that stands for many, one per world: eta and a value vary along it.
    said : tuple of str
        What plus and minus are in words, with ``@`` for the draw, where a formula would say less, such as of what is
        drawn by rejection. What is made of draws of another family is said with the formula by which it is made.
    """

    eta: Node
    coefficient: Node | float
    plus: Callable[[Node, Node], Any]
    minus: Callable[[Node, Node], Any]
    along: Axis | None = None
    said: tuple[str, str] = ("", "")

"""What a family says of its draws stretched and shifted, and of its density at the ends of its support."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scg.distributions.triple import Triple
from scg.ir.node import Node


class Affine:
    """The part of a `Distribution` that `Transformed` asks."""

    def affine(self, factor: Node, shift: Node | None) -> dict[str, Node] | None:
        """The parameters at which the family is the law of factor · X + shift, for a positive factor.

        None if it has none; without a shift it may have some all the same.
        """
        return None

    def shift_derivative(self, shift: Node) -> Triple | None:
        """The weak derivative of the law of X + shift in the shift, in values of X itself; None if it is not known."""
        return None

    def moved_from(self) -> tuple[Any, Callable[[Node], Node]]:
        """A distribution whose support stays where it is, and a function that makes a draw of this one of its draw.

        Families whose support moves have it: what is integrated over must stay.
        """
        raise NotImplementedError

    def vanishes(self) -> bool:
        """Whether the density falls to 0 at every finite end of the support, and the score has a variance, for certain.

        Then a score function misses nothing where a parameter moves these ends.
        """
        return False

"""What a family says of values that are never drawn: masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scg.ir.interval import Interval
from scg.ir.node import Node
from scg.ops.arithmetic import choose
from scg.ops.structure import reshape


class Masks:
    """Values of probability 0, which a family has where it defines `may_mask`, `masked`, `unmasked` and `certain`."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one draw."""
        raise NotImplementedError

    def may_mask(self, real: Mapping[str, bool], within: Mapping[str, Interval]) -> bool:
        """Whether some value may be `masked`, given whether parameters are finite for certain, and where they lie."""
        return False

    def masked(self, value: Node, fixed: Callable[[Node], Node | None]) -> Node | None:
        """A comparison that holds where a value has probability 0, and keeps it as the parameters move.

        None if there is no such value. What would come of one counts for nothing, be it a number or not: estimators
        look at a draw, or at the value `unmasked`, in its place.

        Parameters
        ----------
        value : Node
        fixed : callable
            ``fixed(node)``: a comparison that holds where elements of a node stay as they are, or None.
        """
        return None

    def unmasked(self, fixed: Callable[[Node], Node | None]) -> Node:
        """A value that is not `masked`."""
        raise NotImplementedError

    def certain(self, fixed: Callable[[Node], Node | None]) -> Node | None:
        """A comparison that holds where an element of a draw can have one value only, and keeps it; None if none has.

        What would come of another value there, or of one nearby, counts for nothing.
        """
        return None

    def possible(self, value: Node, instead: Node, fixed: Callable[[Node], Node | None]) -> Node:
        """The value; where it is `masked`, `instead`."""
        masked = self.masked(value, fixed)
        if masked is None:
            return value
        return choose(reshape(masked, (*masked.shape, *(1,) * len(self.event_shape))), instead, value)

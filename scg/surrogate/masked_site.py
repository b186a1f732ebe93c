"""What a site's distribution may mask, and what is looked at in its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from scg.analysis.fixed import Fixed, is_masked, may_mask, nowhere
from scg.analysis.smoothness import Flow
from scg.distributions.distribution import Distribution
from scg.ir.node import Node, as_real, constant
from scg.ops.arithmetic import choose


class MaskedSite:
    """The part of a `Site` that knows of masks."""

    flow: Flow | None = None  # of what is differentiated, if that is known
    node: Node

    @property
    def dist(self) -> Distribution:
        """Its distribution."""
        raise NotImplementedError

    def parameter(self, name: str) -> Node:
        """A parameter of the distribution, step by step."""
        raise NotImplementedError

    def of_value(self, value: Callable[[Distribution, Node], Node]) -> Node:
        """A value like the drawn one, step by step."""
        raise NotImplementedError

    @cached_property
    def masks(self) -> bool:
        """Whether its distribution may exclude some values: see `Distribution.masked`."""
        return self._may_mask and self._masks()

    @cached_property
    def masks_as_written(self) -> bool:
        """Whether it does so as it is written, and not only where a call makes an infinity."""
        return self.masks and is_masked(self.dist, {n: self.parameter(n) for n in self.dist.params})

    @cached_property
    def _may_mask(self) -> bool:
        return self.dist.can("may_mask") and may_mask(self.dist, {n: self.parameter(n) for n in self.dist.params})

    def _masks(self) -> bool:
        return self.dist.masked(self.node, self.fixed) is not None

    @cached_property
    def fixed(self) -> Callable[[Node], Node | None]:
        """Where elements of a node stay: see `Fixed`."""
        return nowhere if self.flow is None else Fixed(self.flow.moves, self.flow.sources)

    def unless_certain(self, slope: Node) -> Node:
        """A derivative in the site's value, of its shape; 0 where an element of a draw has one value, and keeps it.

        Such an element is not drawn and does not move: what its derivative is multiplied by is 0, be that a number or
        not.
        """
        if not self.masks:
            return slope

        def certain(dist: Distribution, x: Node) -> Node:
            found = dist.certain(self.fixed)
            return constant(0.0) if found is None else as_real(found)

        return choose(self.of_value(certain) != 0.0, 0.0, slope)

    def possible(self, dist: Distribution, value: Node, instead: Node) -> Node:
        """The value; where it is masked `instead`: that world counts 0 times, and what comes of it must be finite."""
        return dist.possible(value, instead, self.fixed) if self.masks else value

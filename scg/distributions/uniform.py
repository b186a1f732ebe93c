"""The uniform family on an interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scg.distributions.distribution import Distribution, divergence
from scg.distributions.grids import interval_grid
from scg.distributions.triple import Triple
from scg.functions import log
from scg.ir.constraints import Support, real, real_beyond
from scg.ir.node import Node, NodeLike, constant
from scg.ops.arithmetic import choose
from scg.ops.control import held
from scg.ops.randomness import uniform
from scg.ops.structure import broadcast_to


class Uniform(Distribution):
    """Uniform from `low` to `high`: p(x) = 1 / (high − low) between them."""

    parameters = {"low": real, "high": real_beyond}
    support = Support("the interval from low to high", moving=("low", "high"), low="low", high="high")
    cases = [dict(low=0.0, high=1.0), dict(low=-3.0, high=-2.5), dict(low=0.0, high=200.0)]

    def __init__(self, low: NodeLike, high: NodeLike):
        super().__init__(low=low, high=high)

    def conditions(self) -> list[tuple[str, Node]]:
        """low < high; and a width that can be written, which that of −1e308 to 1e308 cannot."""
        ordered = ("low < high", self.low < self.high)
        ends = [end.attrs.array for end in (self.low, self.high) if end.is_const]
        if any(np.all(np.abs(end) < 1e30) for end in ends):
            return [ordered]  # whatever the other one is
        with np.errstate(over="ignore"):
            width = self.high - self.low if len(ends) < 2 else constant(ends[1] - ends[0])
        return [ordered, ("high - low to be finite", width < np.inf)]

    def log_prob(self, value) -> Node:
        return broadcast_to(-log(self.high - self.low), np.broadcast_shapes(value.shape, self.batch_shape))

    def sample(self, noise: Node) -> Node:
        return self.low + (self.high - self.low) * uniform(noise)

    def touches(self) -> bool:
        return True

    def reparameterise(self, noise: Node) -> Node:
        """x = low + (high − low) u."""
        return self.sample(noise)

    def affine(self, factor: Node, shift: Node | None) -> dict[str, Node]:
        ends = {name: end * factor for name, end in self.params.items()}
        return ends if shift is None else {name: end + shift for name, end in ends.items()}

    @property
    def mean(self) -> Node:
        return 0.5 * (self.low + self.high)

    @property
    def variance(self) -> Node:
        """(high − low)² / 12."""
        width = self.high - self.low
        return width * width / 12.0

    def entropy(self) -> Node:
        """log(high − low)."""
        return log(self.high - self.low)

    def quadrature(self, order: int, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gauss–Legendre points and weights (summing to 1), per lane."""
        z, w = np.polynomial.legendre.leggauss(order)
        return low[:, None] + (high - low)[:, None] * 0.5 * (z + 1.0), w / w.sum()

    def fine_quadrature(self, count: int, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Many points close together and weights (summing to 1), per lane."""
        u, w = interval_grid(count)
        return low[:, None] + (high - low)[:, None] * u, w

    def moved_from(self) -> tuple[Uniform, Callable[[Node], Node]]:
        """A uniform variable from 0 to 1, and what lies at that fraction of the way from low to high."""
        ends = {"low": constant(np.zeros(self.batch_shape)), "high": constant(np.ones(self.batch_shape))}
        return Uniform._at(ends), lambda fraction: self.low + (self.high - self.low) * fraction

    def weak_derivative(self) -> list[Triple]:
        """∂E[f] = ∂high/w (f(high) − E f) + ∂low/w (E f − f(low)), w the width."""
        width = self.high - self.low
        return [Triple(self.high, 1.0 / width, plus=lambda x, noise: self.high, minus=lambda x, noise: x),
                Triple(self.low, 1.0 / width, plus=lambda x, noise: x, minus=lambda x, noise: self.low)]


@divergence(Uniform, Uniform)
def _uniform_uniform(p: Uniform, q: Uniform) -> Node:
    """The logarithm of the ratio of the widths, where p lies inside of q; ∞ where p takes values that q does not."""
    inside = (q.low <= p.low) & (p.high <= q.high)
    beyond = held(choose(inside, 0.0, np.inf))  # 0 wherever there is a derivative
    return log((q.high - q.low) / (p.high - p.low)) + beyond

"""The normal family."""

from __future__ import annotations

import math

import numpy as np

from scg.distributions.distribution import Distribution, divergence
from scg.distributions.grids import normal_grid
from scg.distributions.triple import Triple
from scg.functions import expm1, log, sqrt
from scg.ir.constraints import positive, real, real_line
from scg.ir.node import Node, NodeLike, constant
from scg.ops.arithmetic import choose, whole_power
from scg.ops.randomness import uniform
from scg.ops.special import ndtri
from scg.ops.structure import broadcast_to


class Normal(Distribution):
    """Normal with mean `loc` and standard deviation `scale`: p(x) = exp(−((x−μ)/σ)²/2) / (σ√(2π))."""

    parameters = {"loc": real, "scale": positive}
    support = real_line
    tail = 2.0
    cases = [dict(loc=0.0, scale=1.0), dict(loc=-3.0, scale=0.2), dict(loc=1.5, scale=40.0)]

    def __init__(self, loc: NodeLike, scale: NodeLike):
        super().__init__(loc=loc, scale=scale)

    def log_prob(self, value) -> Node:
        z = self._standardised(constant(value))
        return -0.5 * whole_power(z, 2) - log(self.scale) - 0.5 * math.log(2.0 * math.pi)

    def _standardised(self, x: Node) -> Node:
        return (x - self.loc) / self.scale

    def sample(self, noise: Node) -> Node:
        return self.loc + self.scale * ndtri(uniform(noise))

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """(x − μ)/σ is the standard normal value that the draw is made of."""
        return {self._standardised(x): ndtri(uniform(noise))}

    def told_apart(self) -> Node | None:
        """Whether numbers near the mean are a sixteenth of a standard deviation apart, at most."""
        if self.loc.is_const and not np.any(self.loc.attrs.array):
            return None
        return self.loc + 0.0625 * self.scale != self.loc

    def reparameterise(self, noise: Node) -> Node:
        """x = μ + σε with ε standard normal."""
        return self.sample(noise)

    def affine(self, factor: Node, shift: Node | None) -> dict[str, Node]:
        moved = self.loc * factor
        return self.params | {"loc": moved if shift is None else moved + shift, "scale": self.scale * factor}

    @property
    def mean(self) -> Node:
        return broadcast_to(self.loc, self.batch_shape)

    @property
    def variance(self) -> Node:
        """σ²."""
        return broadcast_to(whole_power(self.scale, 2), self.batch_shape)

    def entropy(self) -> Node:
        """log(σ√(2πe))."""
        return broadcast_to(log(self.scale) + 0.5 * math.log(2.0 * math.pi * math.e), self.batch_shape)

    def quadrature(self, order: int, loc: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gauss–Hermite points and weights (summing to 1), per lane."""
        z, w = np.polynomial.hermite_e.hermegauss(order)
        return loc[:, None] + scale[:, None] * z, w / w.sum()

    def fine_quadrature(self, count: int, loc: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Many points close together and weights (summing to 1), per lane."""
        z, w = normal_grid(count)
        return loc[:, None] + scale[:, None] * z, w

    def weak_derivative(self) -> list[Triple]:
        """Mean: two Rayleigh values about it; scale: double-sided Maxwell against normal (Mohamed et al. 2020).

        Given one stream, the Maxwell value m is coupled with the normal one as u·m.
        """
        def rayleigh(noise):
            return sqrt(-2.0 * log(uniform(noise)))

        def maxwell(noise):  # χ(3) = √(χ²(2) + χ²(1)), with a random sign
            square = whole_power(ndtri(uniform(noise, 2)), 2) - 2.0 * log(uniform(noise, 0))
            sign = choose(uniform(noise, 4) < 0.5, -1.0, 1.0)
            return sign * sqrt(square)

        return [
            Triple(self.loc, 1.0 / (self.scale * math.sqrt(2.0 * math.pi)),
                   plus=lambda x, noise: self.loc + self.scale * rayleigh(noise),
                   minus=lambda x, noise: self.loc - self.scale * rayleigh(noise)),
            Triple(self.scale, 1.0 / self.scale,
                   plus=lambda x, noise: self.loc + self.scale * maxwell(noise),
                   minus=lambda x, noise: self.loc + self.scale * (uniform(noise, 6) * maxwell(noise)))]  # fmt: skip


@divergence(Normal, Normal)
def _normal_normal(p: Normal, q: Normal) -> Node:
    shift = whole_power((p.loc - q.loc) / q.scale, 2)
    # the logarithm of the ratio would be that of 0 where one is much narrower, and cancel where they are nearly equal
    apart = log(p.scale) - log(q.scale)
    return 0.5 * (expm1(2.0 * apart) + shift) - apart

"""The exponential family of waiting times."""

from __future__ import annotations

import numpy as np

from scg.distributions.distribution import Distribution, divergence
from scg.distributions.grids import gamma_grid
from scg.distributions.triple import Triple
from scg.functions import expm1, log
from scg.ir.constraints import positive, positive_numbers
from scg.ir.node import Node, NodeLike, constant
from scg.ops.randomness import uniform


class Exponential(Distribution):
    """Waiting time at `rate` λ: p(x) = λ e^(−λx), x > 0."""

    parameters = {"rate": positive}
    support = positive_numbers
    cases = [dict(rate=1.0), dict(rate=0.02), dict(rate=30.0)]

    def __init__(self, rate: NodeLike):
        super().__init__(rate=rate)

    def log_prob(self, value) -> Node:
        return log(self.rate) - self.rate * constant(value)

    def sample(self, noise: Node) -> Node:
        return -log(uniform(noise)) / self.rate

    def touches(self) -> bool:
        return True

    def reparameterise(self, noise: Node) -> Node:
        """x = −log(u) / λ."""
        return self.sample(noise)

    def affine(self, factor: Node, shift: Node | None) -> dict[str, Node] | None:
        return {"rate": self.rate / factor} if shift is None else None

    def shift_derivative(self, shift: Node) -> Triple:
        """∂E[f(X + s)] = ∂s λ (E f(X + s) − f(s)), by integration by parts: the density begins with a step of λ."""
        return Triple(shift, self.rate, plus=lambda x, noise: x, minus=lambda x, noise: 0.0 * x)

    @property
    def mean(self) -> Node:
        return 1.0 / self.rate

    @property
    def variance(self) -> Node:
        """1 / λ²."""
        return 1.0 / (self.rate * self.rate)

    def entropy(self) -> Node:
        """1 − log λ."""
        return 1.0 - log(self.rate)

    def quadrature(self, order: int, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gauss–Laguerre points and weights (summing to 1), per lane."""
        z, w = np.polynomial.laguerre.laggauss(order)
        return z / rate[:, None], w / w.sum()

    def fine_quadrature(self, count: int, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Many points close together and weights (summing to 1), per lane."""
        z, w = gamma_grid(count, 1.0)
        return z / rate[:, None], w

    def weak_derivative(self) -> list[Triple]:
        """∂E[f] = ∂λ/λ (E f(X) − E f(Y)), Y the sum of two waiting times (Mohamed et al. 2020, Table 1)."""
        return [Triple(self.rate, 1.0 / self.rate, plus=lambda x, noise: x,
                       minus=lambda x, noise: x - log(uniform(noise)) / self.rate)]


@divergence(Exponential, Exponential)
def _exponential_exponential(p: Exponential, q: Exponential) -> Node:
    apart = log(q.rate) - log(p.rate)
    return expm1(apart) - apart

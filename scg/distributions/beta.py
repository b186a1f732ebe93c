"""The beta family."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from scg.distributions.distribution import Distribution, divergence
from scg.distributions.gamma import gamma_divergence, gamma_path, standard_gamma
from scg.distributions.gamma_parts import coefficient, log_part, said_of_parts
from scg.distributions.grids import beta_grid
from scg.distributions.triple import Triple
from scg.functions import digamma, lgamma, log, log1p, maximum, sigmoid, softplus
from scg.ir.constraints import positive, unit_interval_values
from scg.ir.node import Node, NodeLike, constant
from scg.ops.cancelling import deviance, digamma_rest, either, if_within_reach, large, lgamma_rest, within_reach
from scg.ops.leaves import split
from scg.ops.special import xlog1py, xlogy, xmuly


class Beta(Distribution):
    """Beta with `concentration1` α and `concentration0` β: p(x) = x^(α−1) (1−x)^(β−1) / B(α, β), 0 < x < 1."""

    parameters = {"concentration1": positive, "concentration0": positive}
    support = unit_interval_values
    zero_stays = True
    cases = [dict(concentration1=0.4, concentration0=1.4), dict(concentration1=2.5, concentration0=1.0),
             dict(concentration1=60.0, concentration0=20.0)]

    def __init__(self, concentration1: NodeLike, concentration0: NodeLike):
        super().__init__(concentration1=concentration1, concentration0=concentration0)

    @property
    def total_concentration(self) -> Node:
        """α + β."""
        return self.concentration1 + self.concentration0

    def log_prob(self, value) -> Node:
        x, a, b, n = constant(value), self.concentration1, self.concentration0, self.total_concentration
        log_x, log_rest = log(x), log1p(-x)
        logs = (xmuly(a - 1.0, log_x) + xmuly(b - 1.0, log_rest) if self.drew(x)
                else xlogy(a - 1.0, x) + xlog1py(b - 1.0, -x))
        plain = logs + lgamma(n) - lgamma(a) - lgamma(b)
        of_large = (lgamma_rest(n) - lgamma_rest(a) - lgamma_rest(b) - deviance(a, if_within_reach(n * x))
                    - deviance(b, if_within_reach(n * (1.0 - x))) - log_x - log_rest)
        near = within_reach(n * x) & within_reach(n * (1.0 - x))
        return either(large(maximum(a, b)) & near, of_large, plain)

    def sample(self, noise: Node) -> Node:
        """The share of one of two gamma draws in their sum, from their logarithms."""
        return sigmoid(self._log_odds(noise, standard_gamma))

    def _log_odds(self, noise: Node, drawn) -> Node:
        one, other = split(noise, 2)
        return drawn(one, self.concentration1)[1] - drawn(other, self.concentration0)[1]

    def vanishes(self) -> bool:
        """Where both concentrations are above 2, as of a gamma variable."""
        return all(a.is_const and bool(np.all(a.attrs.array > 2.0)) for a in self.params.values())

    def reparameterise(self, noise: Node) -> Node:
        """The same of gamma draws that move with their concentrations."""
        return sigmoid(self._log_odds(noise, gamma_path))

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """log x and log(1 − x), also where one of them is too near 0 to be written."""
        log_odds = self._log_odds(noise, gamma_path)
        return {log(x): -softplus(-log_odds), log1p(-x): -softplus(log_odds)}

    def weak_derivative(self) -> list[Triple]:
        """Of one gamma draw in its concentration, beside the other one: see `gamma_parts`."""
        def share(noise: Node, sign: float, first: bool) -> Node:
            moved, other = split(noise, 2)
            a, b = (self.concentration1, self.concentration0)[:: 1 if first else -1]
            log_odds = log_part(moved, a, sign) - standard_gamma(other, b)[1]
            return sigmoid(log_odds if first else -log_odds)

        return [Triple(a, coefficient(a), plus=lambda x, noise, first=first: share(noise, 1.0, first),
                       minus=lambda x, noise, first=first: share(noise, -1.0, first),
                       said=said_of_parts("GH"[not first], "G / (G + H) of two gamma draws, as @ is, with "
                                          f"{'GH'[not first]} "))
                for a, first in ((self.concentration1, True), (self.concentration0, False))]

    @property
    def mean(self) -> Node:
        """α / (α + β)."""
        return self.concentration1 / self.total_concentration

    @property
    def variance(self) -> Node:
        """αβ / ((α + β)² (α + β + 1))."""
        n = self.total_concentration
        return (self.concentration1 / n) * (self.concentration0 / n) / (n + 1.0)

    def entropy(self) -> Node:
        """log B(α, β) − (α − 1) ψ(α) − (β − 1) ψ(β) + (α + β − 2) ψ(α + β)."""
        a, b, n = self.concentration1, self.concentration0, self.total_concentration
        plain = (lgamma(a) + lgamma(b) - lgamma(n) - (a - 1.0) * digamma(a)
                 - (b - 1.0) * digamma(b) + (n - 2.0) * digamma(n))
        of_large = (lgamma_rest(a) + lgamma_rest(b) - lgamma_rest(n) + log(a / n) + log(b / n)
                    + (a - 1.0) * digamma_rest(a) + (b - 1.0) * digamma_rest(b) - (n - 2.0) * digamma_rest(n))
        return either(large(maximum(a, b)), of_large, plain)

    def quadrature(self, order: int, concentration1: np.ndarray, concentration0: np.ndarray):
        """Gauss–Jacobi points and weights (summing to 1), per lane."""
        rules = [gauss_jacobi(order, a, b) for a, b in zip(concentration1, concentration0)]
        return np.stack([x for x, _ in rules]), np.stack([w for _, w in rules])

    def fine_quadrature(self, count: int, concentration1: np.ndarray, concentration0: np.ndarray):
        """Many points close together and weights (summing to 1), per lane."""
        rules = [beta_grid(count, a, b) for a, b in zip(concentration1, concentration0)]
        return np.stack([x for x, _ in rules]), np.stack([w for _, w in rules])


def gauss_jacobi(order: int, a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Points in (0, 1) and weights (summing to 1) for x^(a−1) (1−x)^(b−1), by the recurrence of Jacobi polynomials."""
    n = np.arange(order, dtype=float)
    p, q = b - 1.0, a - 1.0  # exponents of 1 − t and 1 + t on (−1, 1)
    both = 2.0 * n + p + q
    with np.errstate(all="ignore"):
        diagonal = np.where(n == 0, (q - p) / (p + q + 2.0), (q * q - p * p) / (both * (both + 2.0)))
        m, s = n[1:], both[1:]
        beside = 4.0 * m * (m + p) * (m + q) * (m + p + q) / (s * s * (s + 1.0) * (s - 1.0))
        first = 4.0 * (1.0 + p) * (1.0 + q) / ((2.0 + p + q) ** 2 * (3.0 + p + q))
    beside[0] = first  # where p + q is −1 the formula is 0/0
    points, vectors = linalg.eigh_tridiagonal(diagonal, np.sqrt(beside))
    return 0.5 * (points + 1.0), vectors[0] ** 2


@divergence(Beta, Beta)
def _beta_beta(p: Beta, q: Beta) -> Node:
    """That of the two gamma draws, less that of their sum, which the share does not tell."""
    return (gamma_divergence(p.concentration1, q.concentration1) + gamma_divergence(p.concentration0, q.concentration0)
            - gamma_divergence(p.total_concentration, q.total_concentration))

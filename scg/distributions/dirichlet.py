"""The Dirichlet family."""

from __future__ import annotations

import numpy as np

from scg.distributions.beta import gauss_jacobi
from scg.distributions.distribution import Distribution, divergence
from scg.distributions.gamma import gamma_divergence, gamma_path, standard_gamma
from scg.distributions.gamma_parts import coefficient, log_part, said_of_parts
from scg.distributions.triple import Triple
from scg.functions import digamma, lgamma, log
from scg.ir.axes import Axis
from scg.ir.constraints import positive_vector, simplex
from scg.ir.node import Node, NodeLike, constant
from scg.ops.arithmetic import choose
from scg.ops.cancelling import deviance, digamma_rest, either, if_within_reach, large, lgamma_rest, within_reach
from scg.ops.leaves import per_element, split
from scg.ops.log_space import log_softmax, softmax
from scg.ops.lookups import values_first
from scg.ops.measure import event_to_axis
from scg.ops.reduce import amax, amin, total
from scg.ops.special import xlogy, xmuly
from scg.ops.structure import reshape


class Dirichlet(Distribution):
    """Vectors x of shares with `concentration` α: p(x) = Γ(Σ α) ∏ xₖ^(αₖ−1) / Γ(αₖ), xₖ > 0, Σ xₖ = 1.

    The last dimension of the parameter runs over the shares, and is that of a draw. The density is with respect to all
    shares but the last.
    """

    parameters = {"concentration": positive_vector}
    support = simplex
    zero_stays = True
    cases = [dict(concentration=[0.6, 1.3, 0.8]), dict(concentration=[2.5, 1.0, 4.0]),
             dict(concentration=[5.0, 18.0, 9.0])]

    def __init__(self, concentration: NodeLike):
        super().__init__(concentration=concentration)

    @property
    def dimensions(self) -> int:
        return self.event_shape[0] - 1

    @property
    def total_concentration(self) -> Node:
        """Σ α."""
        return total(self.concentration, axis=-1)

    def log_prob(self, value) -> Node:
        x, a, n = constant(value), self.concentration, self.total_concentration
        log_x, expected = log(x), reshape(n, (*n.shape, 1)) * x
        logs = xmuly(a - 1.0, log_x) if self.drew(x) else xlogy(a - 1.0, x)
        plain = total(logs, axis=-1) + lgamma(n) - total(lgamma(a), axis=-1)
        gaps = deviance(a, if_within_reach(expected)) + log_x
        of_large = lgamma_rest(n) - total(lgamma_rest(a), axis=-1) - total(gaps, axis=-1)
        near = within_reach(amin(expected, axis=-1)) & within_reach(amax(expected, axis=-1))
        return either(large(amax(a, axis=-1)) & near, of_large, plain)

    def sample(self, noise: Node) -> Node:
        """Shares of gamma draws in their sum, from their logarithms."""
        return softmax(standard_gamma(*self._parts(noise))[1])

    def _parts(self, noise: Node) -> tuple[Node, Node]:
        return per_element(noise, self.event_shape), self.concentration

    def reparameterise(self, noise: Node) -> Node:
        """The same of gamma draws that move with their concentrations."""
        return softmax(gamma_path(*self._parts(noise))[1])

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """log x, also where x is too small to be written."""
        return {log(x): log_softmax(gamma_path(*self._parts(noise))[1])}

    def weak_derivative(self) -> list[Triple]:
        """In each αₖ, of one gamma draw in its concentration, beside the others: see `gamma_parts`."""
        size = self.event_shape[0]
        axis = Axis(f"share from 0 to {size - 1}", size)
        mine = event_to_axis(constant(np.eye(size, dtype=bool)), axis)

        def shares(noise: Node, sign: float) -> Node:
            moved, others = split(noise, 2)
            logs, parts = standard_gamma(*self._parts(others))[1], self._parts(moved)
            return softmax(choose(mine, log_part(*parts, sign), logs))

        each = event_to_axis(values_first(self.concentration), axis)
        return [Triple(each, coefficient(each), plus=lambda x, noise: shares(noise, 1.0),
                       minus=lambda x, noise: shares(noise, -1.0), along=axis,
                       said=said_of_parts("G", "shares of gamma draws in their sum, as @ is, with one, G, in turn "))]

    @property
    def mean(self) -> Node:
        """α / Σ α."""
        return self.concentration / total(self.concentration, axis=-1, keepdims=True)

    @property
    def variance(self) -> Node:
        """m (1 − m) / (Σ α + 1) with the mean m."""
        m = self.mean
        return m * (1.0 - m) / (total(self.concentration, axis=-1, keepdims=True) + 1.0)

    def entropy(self) -> Node:
        """Σ log Γ(αₖ) − log Γ(Σ α) − Σ (αₖ − 1) ψ(αₖ) + (Σ α − K) ψ(Σ α)."""
        a, n, size = self.concentration, self.total_concentration, float(self.event_shape[0])
        plain = (total(lgamma(a) - (a - 1.0) * digamma(a), axis=-1) - lgamma(n)
                 + (n - size) * digamma(n))
        of_large = (total(lgamma_rest(a) + log(self.mean) + (a - 1.0) * digamma_rest(a), axis=-1)
                    - lgamma_rest(n) - (n - size) * digamma_rest(n))
        return either(large(amax(a, axis=-1)), of_large, plain)

    def quadrature(self, order: int, concentration: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products of Gauss–Jacobi points and weights (summing to 1), per lane: each share of what the others left."""
        rules = [_stick_breaking(order, a) for a in concentration]
        return np.stack([x for x, _ in rules]), np.stack([w for _, w in rules])


def _stick_breaking(order: int, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points, weights, left = np.zeros((1, 0)), np.ones(1), np.ones(1)
    for k in range(len(a) - 1):
        x, w = gauss_jacobi(order, a[k], a[k + 1:].sum())
        share = (left[:, None] * x).reshape(-1)
        points = np.concatenate([np.repeat(points, order, axis=0), share[:, None]], axis=1)
        left = (left[:, None] * (1.0 - x)).reshape(-1)
        weights = (weights[:, None] * w).reshape(-1)
    return np.concatenate([points, left[:, None]], axis=1), weights


@divergence(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p: Dirichlet, q: Dirichlet) -> Node:
    """That of the gamma draws, less that of their sum, which the shares do not tell."""
    parts = total(gamma_divergence(p.concentration, q.concentration), axis=-1)
    return parts - gamma_divergence(p.total_concentration, q.total_concentration)

"""The normal family of vectors."""

from __future__ import annotations

import math

import numpy as np

from scg.distributions.distribution import Distribution, divergence
from scg.errors import ShapeError
from scg.functions import expm1, log
from scg.ir.constraints import lower_triangular, positive_vector, real_vector, real_vectors
from scg.ir.location import here
from scg.ir.node import Node, NodeLike, constant
from scg.ops.arithmetic import whole_power
from scg.ops.contract import matmul
from scg.ops.leaves import per_element
from scg.ops.randomness import uniform
from scg.ops.reduce import total
from scg.ops.special import ndtri
from scg.ops.structure import broadcast_to, reshape, stack, transpose


class MultivariateNormal(Distribution):
    """Normal vectors x = μ + L ε with mean `loc` μ and ε of independent standard normal elements.

    L is given as `scale_tril`, a lower triangular matrix with a positive diagonal, so that L Lᵀ is the covariance; or
    it is diagonal, and `scale_diag` are the standard deviations.
    """

    parameters = {"loc": real_vector, "scale_diag": positive_vector, "scale_tril": lower_triangular}
    forms = (("loc", "scale_diag"), ("loc", "scale_tril"))
    support = real_vectors
    tail = 2.0
    cases = [dict(loc=[0.3, -1.0], scale_diag=[0.7, 2.0]), dict(loc=[0.3, -1.0], scale_tril=[[0.7, 0.0], [1.1, 0.5]])]

    def __init__(self, loc: NodeLike, *, scale_diag: NodeLike | None = None, scale_tril: NodeLike | None = None):
        super().__init__(loc=loc, scale_diag=scale_diag, scale_tril=scale_tril)

    @property
    def event_shape(self) -> tuple[int, ...]:
        sizes = {n.shape[-1] for n in self.params.values()}
        square = "scale_tril" not in self.params or self.scale_tril.shape[-2] == self.scale_tril.shape[-1]
        if len(sizes - {1}) > 1 or not square or (not self._diagonal and self.scale_tril.shape[-1] != max(sizes)):
            raise ShapeError(str(here() or ""), "MultivariateNormal was given parameters of shapes "
                             f"{', '.join(str(n.shape) for n in self.params.values())}.",
                             "loc and scale_diag are vectors, and scale_tril a square matrix, of one size.",
                             "Reshape one of them.")
        return (max(sizes),)

    @property
    def _diagonal(self) -> bool:
        return "scale_diag" in self.params

    @property
    def scales(self) -> Node:
        """The diagonal of L."""
        if self._diagonal:
            return self.scale_diag
        return total(self.scale_tril * np.eye(self.event_shape[0]), axis=-1)

    @property
    def factor(self) -> Node:
        """L, of which what stands above the diagonal of `scale_tril` is no part: no derivative reaches it."""
        return self.scale_tril if self.scale_tril.is_const else self.scale_tril * np.tri(self.event_shape[0])

    def _standardised(self, x: Node) -> Node:
        """ε of a value."""
        return self.solve(x - self.loc)

    def solve(self, x: Node) -> Node:
        """L⁻¹ x, by substituting forward."""
        if self._diagonal:
            return x / self.scale_diag
        found: list[Node] = []
        for i, given in enumerate(_elements(x)):
            row = _elements(self.scale_tril[..., i, :])
            for known, factor in zip(found, row):
                given = given - factor * known
            found.append(given / row[i])
        return _last(found)

    def log_prob(self, value) -> Node:
        z = self._standardised(constant(value))
        half_log = 0.5 * math.log(2.0 * math.pi) * z.shape[-1]
        return -0.5 * total(whole_power(z, 2), axis=-1) - self._log_scales() - half_log

    def _log_scales(self) -> Node:
        return total(broadcast_to(log(self.scales), (*self.batch_shape, *self.event_shape)), axis=-1)

    def sample(self, noise: Node) -> Node:
        normal = _normal(noise, self.event_shape)
        if self._diagonal:
            return self.loc + self.scale_diag * normal
        if self.scale_tril.ndim == 2:
            return self.loc + matmul(normal, transpose(self.factor))
        return self.loc + total(self.factor * reshape(normal, (*noise.shape, 1, *self.event_shape)), axis=-1)

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """L⁻¹(x − μ) is the vector of standard normal values that the draw is made of."""
        return {self._standardised(x): _normal(noise, self.event_shape)}

    def reparameterise(self, noise: Node) -> Node:
        """x = μ + L ε with ε of independent standard normal elements."""
        return self.sample(noise)

    @property
    def mean(self) -> Node:
        return broadcast_to(self.loc, (*self.batch_shape, *self.event_shape))

    @property
    def variance(self) -> Node:
        """The diagonal of L Lᵀ."""
        if self._diagonal:
            return broadcast_to(whole_power(self.scale_diag, 2), (*self.batch_shape, *self.event_shape))
        return total(whole_power(self.factor, 2), axis=-1)

    def entropy(self) -> Node:
        """Σ log L[i, i] + D/2 log 2πe."""
        return self._log_scales() + 0.5 * math.log(2.0 * math.pi * math.e) * self.event_shape[0]

    def quadrature(self, order: int, loc: np.ndarray, **scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Products of Gauss–Hermite points and weights (summing to 1), per lane."""
        z, w = np.polynomial.hermite_e.hermegauss(order)
        size = self.event_shape[0]
        points = np.stack(np.meshgrid(*[z] * size, indexing="ij"), axis=-1).reshape(-1, size)
        weights = np.stack(np.meshgrid(*[w / w.sum()] * size, indexing="ij"), axis=-1).reshape(-1, size).prod(axis=-1)
        if "scale_diag" in scale:
            return loc[:, None] + scale["scale_diag"][:, None] * points, weights
        return loc[:, None] + points @ np.swapaxes(np.tril(scale["scale_tril"]), -1, -2), weights


def _normal(noise: Node, event: tuple[int, ...]) -> Node:
    return ndtri(uniform(per_element(noise, event)))


def _elements(x: Node) -> list[Node]:
    """The elements along the last dimension."""
    return [x[..., i] for i in range(x.shape[-1])]


def _last(parts: list[Node]) -> Node:
    """Nodes side by side along a new last dimension."""
    shape = np.broadcast_shapes(*(p.shape for p in parts))
    stacked = stack([broadcast_to(p, shape) for p in parts])
    return transpose(stacked, (*range(1, stacked.ndim), 0))


@divergence(MultivariateNormal, MultivariateNormal)
def _normal_normal(p: MultivariateNormal, q: MultivariateNormal) -> Node:
    """½ (|L_q⁻¹ L_p|² − D + |L_q⁻¹ (μ_p − μ_q)|²) − Σ log ratios of the diagonals, which stand by themselves."""
    shift = total(whole_power(q.solve(p.loc - q.loc), 2), axis=-1)
    apart = log(p.scales) - log(q.scales)
    own = total(0.5 * expm1(2.0 * apart) - apart, axis=-1)
    if p._diagonal and q._diagonal:
        return own + 0.5 * shift
    across = constant(0.0)
    for j in range(p.event_shape[0]):  # column j of L_p: zeros, its element of the diagonal, and what is below
        column = p.scales * np.eye(p.event_shape[0])[j] if p._diagonal else p.factor[..., :, j]
        across = across + total(whole_power(q.solve(column), 2) * (1.0 - np.eye(p.event_shape[0])[j]), axis=-1)
    return own + 0.5 * (shift + across)

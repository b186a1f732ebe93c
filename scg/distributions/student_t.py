"""Student's t family."""

from __future__ import annotations

import math

import numpy as np

from scg.distributions.distribution import Distribution
from scg.distributions.gamma import gamma_path, standard_gamma
from scg.ir.constraints import positive, real, real_line
from scg.ir.node import Node, NodeLike, apply, constant, make
from scg.ops.arithmetic import NEUTRAL, choose, whole_power
from scg.ops.cancelling import digamma_rest, either, large, lgamma_rest
from scg.ops.leaves import split
from scg.ops.randomness import uniform
from scg.ops.structure import broadcast_to


class StudentT(Distribution):
    """Student's t with `df` ν degrees of freedom, moved to `loc` μ and stretched by `scale` σ.

    p(x) = Γ((ν+1)/2) / (Γ(ν/2) σ√(νπ)) · (1 + y²/ν)^(−(ν+1)/2), y = (x − μ)/σ.
    """

    parameters = {"df": positive, "loc": real, "scale": positive}
    support = real_line
    cases = [dict(df=4.5, loc=0.3, scale=0.7), dict(df=50.0, loc=-1.0, scale=2.0)]

    def __init__(self, df: NodeLike, loc: NodeLike = 0.0, scale: NodeLike = 1.0):
        super().__init__(df=df, loc=loc, scale=scale)

    def _standardised(self, x: Node) -> Node:
        return (x - self.loc) / self.scale

    def log_prob(self, value) -> Node:
        y, half = self._standardised(constant(value)), 0.5 * self.df
        far = apply("lt", 1e100, abs(_held(y)))  # nothing changes there but how it is written
        beyond = 2.0 * apply("log", choose(far, abs(y), 1.0)) - apply("log", self.df)
        tail = either(far, beyond, apply("log1p", whole_power(choose(far, 0.0, y), 2) / self.df))
        plain = apply("lgamma", half + 0.5) - apply("lgamma", half) - 0.5 * apply("log", self.df * math.pi)
        of_large = _ratio(half) - 0.5 * math.log(2.0 * math.pi)
        return either(large(half), of_large, plain) - apply("log", self.scale) - (half + 0.5) * tail

    def sample(self, noise: Node) -> Node:
        """A normal value over the root of an independent gamma one."""
        return self.loc + self.scale * self._standard(noise, standard_gamma)

    def _standard(self, noise: Node, drawn) -> Node:
        one, other = split(noise, 2)
        half = 0.5 * self.df
        return apply("ndtri", uniform(one)) * apply("exp", 0.5 * (apply("log", half) - drawn(other, half)[1]))

    def reparameterise(self, noise: Node) -> Node:
        """The same of a gamma draw that moves with the degrees of freedom."""
        return self.loc + self.scale * self._standard(noise, gamma_path)

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """(x − μ)/σ as it was drawn."""
        return {self._standardised(x): self._standard(noise, gamma_path)}

    @property
    def mean(self) -> Node:
        """μ for ν > 1; there is none else."""
        return choose(apply("lt", 1.0, _held(self.df)), broadcast_to(self.loc, self.batch_shape), np.nan)

    @property
    def variance(self) -> Node:
        """σ² ν/(ν − 2) for ν > 2, infinite from 1 to 2; there is none else."""
        finite, known = apply("lt", 2.0, _held(self.df)), apply("lt", 1.0, _held(self.df))
        above = choose(finite, self.df, 4.0)
        return choose(finite, whole_power(self.scale, 2) * (above / (above - 2.0)), choose(known, np.inf, np.nan))

    def entropy(self) -> Node:
        """(ν+1)/2 (ψ((ν+1)/2) − ψ(ν/2)) + log(√ν B(ν/2, ½)) + log σ."""
        half = 0.5 * self.df
        plain = ((half + 0.5) * (apply("digamma", half + 0.5) - apply("digamma", half)) + 0.5 * apply("log", self.df)
                 + apply("lgamma", half) - apply("lgamma", half + 0.5) + 0.5 * math.log(math.pi))
        apart = apply("log1p", 0.5 / half) + digamma_rest(half) - digamma_rest(half + 0.5)
        of_large = (half + 0.5) * apart - _ratio(half) + 0.5 * math.log(2.0 * math.pi)
        return broadcast_to(either(large(half), of_large, plain) + apply("log", self.scale), self.batch_shape)

    def quadrature(self, order: int, df: np.ndarray, loc: np.ndarray, scale: np.ndarray):
        """Points that are evenly spaced in their hyperbolic arcsines, and weights (summing to 1), per lane."""
        t = np.linspace(-1.0, 1.0, order) * np.minimum(2.0 + 40.0 / df, 300.0)[:, None]
        w = np.exp(-df[:, None] * (np.logaddexp(t, -t) - math.log(2.0)))
        return loc[:, None] + (scale * np.sqrt(df))[:, None] * np.sinh(t), w / w.sum(axis=1, keepdims=True)

    fine_quadrature = quadrature


def _held(x: Node) -> Node:
    """For conditions as which nothing jumps."""
    return make("stop_gradient", (x,), NEUTRAL)


def _ratio(half: Node) -> Node:
    """log Γ(a + ½) − log Γ(a) − ½ log a, which is −1/(8a) and less for large a."""
    return (half + 0.5) * apply("log1p", 0.5 / half) - 0.5 + lgamma_rest(half + 0.5) - lgamma_rest(half)

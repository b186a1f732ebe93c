"""Student's t family."""

from __future__ import annotations

import math

import numpy as np

from scg.analysis.bounds import holds
from scg.distributions.distribution import Distribution
from scg.distributions.gamma import gamma_path, standard_gamma
from scg.distributions.gamma_parts import coefficient, log_part, said_of_parts
from scg.distributions.triple import Triple
from scg.functions import digamma, exp, expm1, lgamma, log, log1p, maximum, sqrt
from scg.ir.constraints import positive, real, real_line
from scg.ir.interval import Interval
from scg.ir.node import Node, NodeLike, constant
from scg.ops.arithmetic import choose, whole_power
from scg.ops.cancelling import digamma_rest, either, large, lgamma_rest
from scg.ops.control import held, lying
from scg.ops.density import in_ranges
from scg.ops.leaves import split
from scg.ops.randomness import uniform
from scg.ops.special import ndtri
from scg.ops.structure import broadcast_to

_NEEDED = "df of StudentT must be above 1 for it to have a mean"


def _checked(df: Node) -> Node:
    """The degrees of freedom, positive wherever there is a density: calls check that, where nothing else says so.

    The second derivative divides by df + y², which a draw of y moves."""
    return df if holds(positive, df) else lying(df, Interval(0.0, math.inf), Interval(0.0, math.inf, False))


class StudentT(Distribution):
    """Student's t with `df` ν degrees of freedom, moved to `loc` μ and stretched by `scale` σ.

    p(x) = Γ((ν+1)/2) / (Γ(ν/2) σ√(νπ)) · (1 + y²/ν)^(−(ν+1)/2), y = (x − μ)/σ.
    """

    parameters = {"df": positive, "loc": real, "scale": positive}
    support = real_line
    tail = 0.0
    cases = [dict(df=4.5, loc=0.3, scale=0.7), dict(df=50.0, loc=-1.0, scale=2.0)]

    def __init__(self, df: NodeLike, loc: NodeLike = 0.0, scale: NodeLike = 1.0):
        super().__init__(df=df, loc=loc, scale=scale)

    def _standardised(self, x: Node) -> Node:
        return (x - self.loc) / self.scale

    def log_prob(self, value) -> Node:
        df = _checked(self.df)
        y, half = self._standardised(constant(value)), 0.5 * df
        far = abs(held(y)) > maximum(1e16, 1e8 * sqrt(held(df)))  # written as it is where y² may be too large
        beyond = 2.0 * log(choose(far, abs(y), 0.0) + 1.0) - log(df)  # where 1 more is the same number
        tail = either(far, beyond, log1p(whole_power(choose(far, 0.0, y), 2) / df))
        plain = lgamma(half + 0.5) - lgamma(half) - 0.5 * log(df * math.pi)
        of_large = _ratio(half) - 0.5 * math.log(2.0 * math.pi)
        return either(large(half), of_large, plain) - log(self.scale) - (half + 0.5) * tail

    def sample(self, noise: Node) -> Node:
        """A normal value over the root of an independent gamma one."""
        return self.loc + self.scale * self._standard(noise, standard_gamma)

    def _standard(self, noise: Node, drawn) -> Node:
        one, other = split(noise, 2)
        half = 0.5 * self.df
        return ndtri(uniform(one)) * exp(0.5 * (log(half) - drawn(other, half)[1]))

    def reparameterise(self, noise: Node) -> Node:
        """The same of a gamma draw that moves with the degrees of freedom."""
        return self.loc + self.scale * self._standard(noise, gamma_path)

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """(x − μ)/σ as it was drawn."""
        return {self._standardised(x): self._standard(noise, gamma_path)}

    def affine(self, factor: Node, shift: Node | None) -> dict[str, Node]:
        moved = self.loc * factor
        return self.params | {"loc": moved if shift is None else moved + shift, "scale": self.scale * factor}

    def weak_derivative(self) -> list[Triple]:
        """Of the normal value, or of the gamma one, that a draw is made of; in the mean of the density's two slopes.

        μ: ∂E[f] = ∂μ p(0)/σ (E f(μ + σR) − E f(μ − σR)), P(R > r) = p(r)/p(0); σ: as of a normal value, a double-sided
        Maxwell one against it. ν: the draw is of W of concentration and rate ν/2, which both move.
        """
        half = 0.5 * self.df
        peak = exp(lgamma(half + 0.5) - lgamma(half)) / sqrt(self.df * math.pi)

        def from_loc(noise: Node) -> Node:
            return self.scale * sqrt(self.df * expm1(-2.0 / (self.df + 1.0) * log(uniform(noise))))

        def at(one: Node, log_gamma: Node) -> Node:
            return self.loc + self.scale * one * exp(0.5 * (log(half) - log_gamma))

        def maxwell(noise: Node, factor: Node | float) -> Node:
            one, sign, other = split(noise, 3)
            square = whole_power(ndtri(uniform(one, 2)), 2) - 2.0 * log(uniform(one, 0))
            signed = choose(uniform(sign) < 0.5, -1.0, 1.0) * sqrt(square)
            return at(factor * signed, standard_gamma(other, half)[1])

        def of_df(noise: Node, sign: float) -> Node:
            one, other = split(noise, 2)
            return at(ndtri(uniform(one)), log_part(other, half, sign))

        def of_rate(noise: Node, waiting: bool) -> Node:
            one, other, more = split(noise, 3)
            drawn, log_drawn = standard_gamma(other, half)
            return at(ndtri(uniform(one)), log(drawn - log(uniform(more))) if waiting else log_drawn)

        made = "loc + scale * N * sqrt(df / (2 * G)) of a normal draw N and a gamma draw G, as @ is"
        parts = said_of_parts("G", f"{made}, with G ")

        return [Triple(self.loc, peak / self.scale, plus=lambda x, noise: self.loc + from_loc(noise),
                       minus=lambda x, noise: self.loc - from_loc(noise)),
                Triple(self.scale, 1.0 / self.scale, plus=lambda x, noise: maxwell(noise, 1.0),
                       minus=lambda x, noise: maxwell(noise, uniform(split(noise, 4)[3])),
                       said=(f"{made}, with N drawn from its density times N squared, normalised",
                             f"{made}, with the N of the other times a uniform number, which is normal")),
                Triple(half, coefficient(half), plus=lambda x, noise: of_df(noise, 1.0),
                       minus=lambda x, noise: of_df(noise, -1.0), said=parts),
                Triple(half, 1.0, plus=lambda x, noise: of_rate(noise, False),
                       minus=lambda x, noise: of_rate(noise, True),
                       said=(made, f"{made}, with an exponential waiting time added to G"))]

    @property
    def mean(self) -> Node:
        """μ for ν > 1; there is none else."""
        return in_ranges(held(self.df) > 1.0, broadcast_to(self.loc, self.batch_shape), _NEEDED)

    @property
    def variance(self) -> Node:
        """σ² ν/(ν − 2) for ν > 2, infinite from 1 to 2; there is none else."""
        finite, known = held(self.df) > 2.0, held(self.df) > 1.0
        above = choose(finite, self.df, 4.0)
        return in_ranges(known, choose(finite, whole_power(self.scale, 2) * (above / (above - 2.0)), np.inf), _NEEDED)

    def entropy(self) -> Node:
        """(ν+1)/2 (ψ((ν+1)/2) − ψ(ν/2)) + log(√ν B(ν/2, ½)) + log σ."""
        half = 0.5 * self.df
        plain = ((half + 0.5) * (digamma(half + 0.5) - digamma(half)) + 0.5 * log(self.df)
                 + lgamma(half) - lgamma(half + 0.5) + 0.5 * math.log(math.pi))
        apart = log1p(0.5 / half) + digamma_rest(half) - digamma_rest(half + 0.5)
        of_large = (half + 0.5) * apart - _ratio(half) + 0.5 * math.log(2.0 * math.pi)
        return broadcast_to(either(large(half), of_large, plain) + log(self.scale), self.batch_shape)

    def quadrature(self, order: int, df: np.ndarray, loc: np.ndarray, scale: np.ndarray):
        """Points that are evenly spaced in their hyperbolic arcsines, and weights (summing to 1), per lane."""
        t = np.linspace(-1.0, 1.0, order) * np.minimum(2.0 + 40.0 / df, 300.0)[:, None]
        w = np.exp(-df[:, None] * (np.logaddexp(t, -t) - math.log(2.0)))
        return loc[:, None] + (scale * np.sqrt(df))[:, None] * np.sinh(t), w / w.sum(axis=1, keepdims=True)

    fine_quadrature = quadrature


def _ratio(half: Node) -> Node:
    """log Γ(a + ½) − log Γ(a) − ½ log a, which is −1/(8a) and less for large a."""
    return (half + 0.5) * log1p(0.5 / half) - 0.5 + lgamma_rest(half + 0.5) - lgamma_rest(half)

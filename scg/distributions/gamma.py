"""The gamma family."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from scg.distributions.distribution import Distribution, divergence
from scg.distributions.gamma_parts import coefficient, log_part, said_of_parts
from scg.distributions.gamma_rounds import gamma_round
from scg.distributions.grids import gamma_grid
from scg.distributions.triple import Triple
from scg.functions import digamma, exp, expm1, lgamma, log, maximum
from scg.ir.constraints import positive, positive_numbers
from scg.ir.node import Node, NodeLike, constant
from scg.ops.cancelling import deviance, digamma_rest, either, if_within_reach, large, lgamma_rest, within_reach
from scg.ops.implicit import gamma_slope, implicit
from scg.ops.randomness import draw_until, uniform
from scg.ops.special import xlogy, xmuly

_MANY, _SPREAD = 40, 0.5  # orders, and concentrations, from which on even spacing in the logarithm is exact
SMALLEST = 0.07  # concentration below which part of the mass lies at numbers too small to be written


class Gamma(Distribution):
    """Gamma with `concentration` α and `rate` β: p(x) = β^α x^(α−1) e^(−βx) / Γ(α), x > 0."""

    parameters = {"concentration": positive, "rate": positive}
    support = positive_numbers
    zero_stays = True
    cases = [dict(concentration=0.4, rate=1.0), dict(concentration=2.5, rate=3.0), dict(concentration=60.0, rate=0.5)]

    def __init__(self, concentration: NodeLike, rate: NodeLike):
        super().__init__(concentration=concentration, rate=rate)

    def log_prob(self, value) -> Node:
        x, a, b = constant(value), self.concentration, self.rate
        log_x = xmuly(a - 1.0, log(x)) if self.drew(x) else xlogy(a - 1.0, x)  # see `of_draw`
        plain = a * log(b) + log_x - b * x - lgamma(a)
        of_large = -deviance(a, if_within_reach(b * x)) - lgamma_rest(a) - log(x)
        return either(large(a) & within_reach(b * x), of_large, plain)

    def sample(self, noise: Node) -> Node:
        """Rejection from a cubed normal (Marsaglia & Tsang 2000); below 1, α + 1 and a power of a third uniform."""
        return standard_gamma(noise, self.concentration)[0] / self.rate

    def touches(self) -> bool:
        return self.concentration.is_const and bool(np.all(self.concentration.attrs.array <= 1.0))

    def affine(self, factor: Node, shift: Node | None) -> dict[str, Node] | None:
        return self.params | {"rate": self.rate / factor} if shift is None else None

    def shift_derivative(self, shift: Node) -> Triple | None:
        """∂E[f(X + s)] = ∂s β (E f(X + s) − E f(Y + s)), Y of concentration α − 1: X times a power of a uniform."""
        a = self.concentration
        if not (a.is_const and np.all(a.attrs.array > 1.0)):
            return None  # at 1 the density begins with a step, below it at infinity
        return Triple(shift, self.rate, plus=lambda x, noise: x,
                      minus=lambda x, noise: x * exp(log(uniform(noise)) / (a - 1.0)))

    def vanishes(self) -> bool:
        """From a concentration of 2 on the square of the score, (α − 1)²/x² at 0, has a mean."""
        return self.concentration.is_const and bool(np.all(self.concentration.attrs.array > 2.0))

    def reparameterise(self, noise: Node) -> Node:
        """x/β for x of rate 1, whose derivative in α is −∂F/p: implicit (Figurnov, Mohamed & Mnih 2018)."""
        return gamma_path(noise, self.concentration)[0] / self.rate

    def of_draw(self, x: Node, noise: Node) -> dict[Node, Node]:
        """log x, also where x is too small to be written."""
        return {log(x): gamma_path(noise, self.concentration)[1] - log(self.rate)}

    @property
    def mean(self) -> Node:
        return self.concentration / self.rate

    @property
    def variance(self) -> Node:
        """α / β²."""
        return self.concentration / (self.rate * self.rate)

    def entropy(self) -> Node:
        """α − log β + log Γ(α) + (1 − α) ψ(α)."""
        a, log_rate = self.concentration, log(self.rate)
        plain = a - log_rate + lgamma(a) + (1.0 - a) * digamma(a)
        return either(large(a), log(a) - log_rate + lgamma_rest(a) + (a - 1.0) * digamma_rest(a), plain)

    def quadrature(self, order: int, concentration: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and weights (summing to 1), per lane.

        Evenly spaced in the logarithm, which polynomials do not resemble, but the score of the concentration is; two
        orders reach to different ends. Generalised Gauss–Laguerre where that would take too many.
        """
        def rule(a: float) -> tuple[np.ndarray, np.ndarray]:
            few = order < _MANY or a < _SPREAD
            return _gauss_laguerre(order, a) if few else gamma_grid(8 * order, a, order / 64.0, 256.0)

        rules = {a: rule(a) for a in np.unique(concentration)}
        return (np.stack([rules[a][0] / b for a, b in zip(concentration, rate)]),
                np.stack([rules[a][1] for a in concentration]))

    def fine_quadrature(self, count: int, concentration: np.ndarray, rate: np.ndarray):
        """Many points close together and weights (summing to 1), per lane; None where values underflow."""
        if concentration.min() < SMALLEST:
            return None
        rules = {a: gamma_grid(count, a) for a in np.unique(concentration)}
        return (np.stack([rules[a][0] / b for a, b in zip(concentration, rate)]),
                np.stack([rules[a][1] for a in concentration]))

    def weak_derivative(self) -> list[Triple]:
        """Rate: ∂E[f] = ∂β α/β (E f(X) − E f(Y)), Y of concentration α + 1: X plus a waiting time (Mohamed et al.).

        Concentration: that of the parts of its derivative, see `gamma_parts`.
        """
        a, b = self.concentration, self.rate
        return [Triple(b, a / b, plus=lambda x, noise: x, minus=lambda x, noise: x - log(uniform(noise)) / b),
                Triple(a, coefficient(a), plus=lambda x, noise: exp(log_part(noise, a, 1.0)) / b,
                       minus=lambda x, noise: exp(log_part(noise, a, -1.0)) / b, said=said_of_parts("@"))]


def standard_gamma(noise: Node, concentration: Node) -> tuple[Node, Node]:
    """A draw at rate 1, and its logarithm: of a small concentration the draw itself may be too small a number."""
    both = draw_until(noise, [concentration], lambda a: [a * 0.0, a * 0.0], _round, uniforms=3, outputs=2)
    return both[0], both[1]


def gamma_path(noise: Node, concentration: Node) -> tuple[Node, Node]:
    """`standard_gamma`, with its derivatives in the concentration."""
    x, log_x = standard_gamma(noise, concentration)
    slope = gamma_slope(concentration, log_x)
    return implicit(x, [(concentration, x * slope)]), implicit(log_x, [(concentration, slope)])


def _gauss_laguerre(order: int, concentration: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights (summing to 1) for rate 1, by the eigenvalues of the recurrence of generalised Laguerre
    polynomials (Golub & Welsch 1969), which do not overflow where the polynomials do."""
    k = np.arange(order, dtype=float)
    points, vectors = linalg.eigh_tridiagonal(2.0 * k + concentration, np.sqrt(k[1:] * (k[1:] + concentration - 1.0)))
    return points, vectors[0] ** 2


def _round(carries, parameters, uniforms):
    return gamma_round(parameters[0], uniforms)


@divergence(Gamma, Gamma)
def _gamma_gamma(p: Gamma, q: Gamma) -> Node:
    return gamma_divergence(p.concentration, q.concentration, p.rate, q.rate)


def gamma_divergence(a: Node, b: Node, rate: Node | float = 1.0, other: Node | float = 1.0) -> Node:
    """KL of gamma distributions of concentrations a and b, and of these rates."""
    rate, other = constant(rate), constant(other)
    apart, scaled = log(other) - log(rate), a * (other / rate)
    plain = ((a - b) * digamma(a) - lgamma(a) + lgamma(b)
             + a * expm1(apart) - b * apart)
    of_large = deviance(b, scaled) + (b - a) * digamma_rest(a) + lgamma_rest(b) - lgamma_rest(a)
    return either(large(maximum(a, b)) & within_reach(scaled), of_large, plain)

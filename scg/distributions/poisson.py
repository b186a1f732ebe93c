"""The Poisson family."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy import special

from scg.distributions.coupling import Coupling
from scg.distributions.distribution import Distribution, divergence
from scg.distributions.triple import Triple
from scg.functions import exp, floor, lgamma, log, log1p, maximum, sqrt
from scg.ir.constraints import nonnegative, nonnegative_integers
from scg.ir.interval import Interval
from scg.ir.node import Node, NodeLike, constant
from scg.ops.arithmetic import choose
from scg.ops.cancelling import TINY, deviance, either, large, lgamma_rest
from scg.ops.control import held
from scg.ops.randomness import draw_until
from scg.ops.special import xlogy

_MOST_COUNTS = 1 << 22  # more are refused wherever they are asked for


class Poisson(Distribution):
    """Number of events at `rate` λ: p(x) = λˣ e^(−λ) / x!, and 0 for certain at rate 0."""

    parameters = {"rate": nonnegative}
    support = nonnegative_integers
    edges = {"rate": (0.0,)}
    cases = [dict(rate=0.3), dict(rate=2.5), dict(rate=40.0)]

    def __init__(self, rate: NodeLike):
        super().__init__(rate=rate)

    def log_prob(self, value) -> Node:
        x = constant(value)
        plain = xlogy(x, self.rate) - self.rate - lgamma(x + 1.0)
        return either(large(x), _of_many(x, self.rate), plain)

    def probability(self, value) -> Node:
        """p(x), above 0 as (λ e^(−λ/x))ˣ / x!: at rate 0 its derivatives are those of a power."""
        x, rate = constant(value), self.rate
        count = maximum(x, 1.0)
        plain = (rate * exp(-rate / count)) ** count * exp(-lgamma(x + 1.0))
        many = large(x) & (rate > TINY)
        return choose(x < 1.0, exp(-rate), either(many, exp(_of_many(count, rate)), plain))

    def may_mask(self, real: Mapping[str, bool], within: Mapping[str, Interval]) -> bool:
        return within["rate"].contains(0.0)

    def masked(self, value: Node, fixed: Callable[[Node], Node | None]) -> Node | None:
        """All counts above 0, at a rate that stays 0."""
        never = self.certain(fixed)
        return None if never is None else (value > 0.0) & never

    def certain(self, fixed: Callable[[Node], Node | None]) -> Node | None:
        """Where the rate is a 0 that stays."""
        stays = fixed(self.rate)
        return None if stays is None else stays & (held(self.rate) == 0.0)

    def unmasked(self, fixed: Callable[[Node], Node | None]) -> Node:
        """0."""
        return constant(0.0)

    def sample(self, noise: Node) -> Node:
        """Below rate 10 a search along the distribution function, above it transformed rejection (Hörmann 1993, PTRS).

        Both are written as rounds of one loop. The search keeps its first uniform: carries are the candidate, the
        probability left in u, and the probability of the candidate.
        """
        return draw_until(noise, [self.rate], _start, _round, uniforms=2)

    @property
    def mean(self) -> Node:
        return self.rate

    @property
    def variance(self) -> Node:
        """λ."""
        return self.rate

    def coupling(self, x: Node) -> Coupling:
        """∂E[f(X)] = ∂λ E[f(X + 1) − f(X)]: one event more."""
        return Coupling(self.rate, 1.0, x + 1.0)

    def quadrature(self, order: int, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All counts that are not negligible, with their probabilities, per lane.

        More with a higher order: costs that grow fast make large counts count.
        """
        beyond = (14.0 * np.sqrt(rate.max()) + 40.0) * (1.0 + order / 64.0)
        top = min(int(np.ceil(rate.max() + beyond)), _MOST_COUNTS)
        k = np.arange(top + 1.0)
        log_p = special.xlogy(k, rate[:, None]) - rate[:, None] - special.gammaln(k + 1.0)
        return np.broadcast_to(k, (len(rate), len(k))), np.exp(log_p)

    def weak_derivative(self) -> list[Triple]:
        """∂E[f(X)] = ∂λ (E f(X + 1) − E f(X))."""
        return [Triple(self.rate, 1.0, plus=lambda x, noise: x + 1.0, minus=lambda x, noise: x)]


def _of_many(k: Node, rate: Node) -> Node:
    """log p(k) for large k, where large terms do not cancel (Loader 2000): log k! is k log k − k + log k + a rest."""
    return -deviance(k, rate) - log(k) - lgamma_rest(k)


def _start(rate):
    # candidate, what is left of u (−1: not drawn yet), probability of the candidate
    return [rate * 0.0, rate * 0.0 - 1.0, exp(-rate)]


def _round(carries, parameters, uniforms):
    k, left, p = carries
    (rate,) = parameters
    searched = _search(k, left, p, rate, uniforms[0])
    k_new, accepted = _transformed_rejection(rate, *uniforms)
    small = rate < 10.0
    after = [choose(small, searched[0], k_new), searched[1], searched[2]]
    return after, small & searched[3] | ~small & accepted


def _search(k, left, p, rate, u):
    left = choose(left < 0.0, u, left)
    # past the mean the sum of probabilities may stall just below 1: then the candidate is as good as the next
    done = (left < p) | (k > 200.0)
    return [choose(done, k, k + 1.0), choose(done, left, left - p), choose(done, p, p * rate / (k + 1.0)), done]


def _transformed_rejection(rate, u, v):
    b = 0.931 + 2.53 * sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    us = 0.5 - abs(u - 0.5)
    k = floor((2.0 * a / us + b) * (u - 0.5) + rate + 0.43)
    quick = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2.0))
    inside = (k >= 0.0) & ((us >= 0.013) | (v <= us))
    exact = log(v * inverse_alpha / (a / (us * us) + b)) <= _log_p(maximum(k, 0.0), rate)
    return k, quick | inside & exact


def _log_p(k, rate):
    """log p(k) as the sampler has it, in double precision always: the same, by Stirling's series from 16 on."""
    few = k < 16.0
    count = maximum(k, 16.0)
    gap = count - rate
    square = 1.0 / (count * count)
    series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / count
    many = gap - count * log1p(gap / rate) - 0.5 * log(2.0 * math.pi * count) - series
    return choose(few, k * log(rate) - rate - lgamma(k + 1.0), many)


@divergence(Poisson, Poisson)
def _poisson_poisson(p: Poisson, q: Poisson) -> Node:
    return deviance(p.rate, q.rate)

"""Several draws of a binary family whose uniforms are coupled as those of normal numbers of a constant sum."""

from __future__ import annotations

import math

import numpy as np

from scg.distributions.distribution import Distribution
from scg.functions import exp
from scg.ir.node import Node, as_real
from scg.ops.control import as_number, stop_gradient
from scg.ops.leaves import derived
from scg.ops.measure import event_to_axis
from scg.ops.randomness import uniform
from scg.ops.reduce import total
from scg.ops.special import ndtri
from scg.ops.structure import stack
from scg.surrogate.coupled_draws import Coupled

_POINTS = 24  # of the integral for the probability of a pair, which is smooth


class NormalDraws(Coupled):
    """So many draws from uniforms Φ(Xᵢ) with correlations −1/(n − 1) of the Xᵢ; the first is the site's own.

    Given X₁ of the site's own uniform, Xⱼ = −X₁/(n−1) + √(n/(n−1)) (ηⱼ − η̄) with independent η₂ … ηₙ.
    """

    def value(self, dist: Distribution, x: Node) -> Node:
        """All draws, in place of the site's own."""
        n, noise = self.count, x.args[-1]
        own = ndtri(uniform(noise, fine=False))
        fresh = stack([ndtri(uniform(derived(noise, f"coupled draw {i}"))) for i in range(1, n)])
        others = math.sqrt(n / (n - 1.0)) * (fresh - total(fresh, axis=0) / (n - 1.0)) - own / (n - 1.0)
        edge = ndtri(stop_gradient(dist.probability(1.0)))
        draws = [x, *(as_real(others[i] < edge) for i in range(n - 1))]
        return as_number(event_to_axis(stack(draws), self.axis), "coupled", self.site.name)

    def both(self, p: Node) -> Node:
        """For p ≤ ½: p² + 1/2π ∫ exp(−h²/(1 + sin θ)) dθ from 0 to asin ρ, h = Φ⁻¹(p).

        The derivative of the bivariate normal distribution function in ρ is its density (Plackett 1954).
        """
        if self.count == 2:
            return 0.0 * p
        points, weights = np.polynomial.legendre.leggauss(_POINTS)
        end = math.asin(-1.0 / (self.count - 1.0))
        h = ndtri(p)
        sines = np.sin(0.5 * end * (points + 1.0))
        each = [w * exp(-h * h / (1.0 + s)) for s, w in zip(sines, 0.5 * end * weights)]
        return p * p + sum(each[1:], each[0]) / (2.0 * math.pi)

"""The derivative of a gamma distribution in its concentration, as a difference of two distributions.

Of an exponential family it is E[f (T − E T)] with the statistic T = log x, and so c (E⁺ f − E⁻ f) with the densities
∝ p(x) (log x − ψ(α))₊ and ∝ p(x) (log x − ψ(α))₋ (the Hahn–Jordan decomposition), c = E (log x − ψ(α))₊.
"""

from __future__ import annotations

import math

from scg.distributions.gamma_rounds import gamma_round
from scg.functions import digamma, exp, lgamma, sqrt
from scg.ir.node import Node
from scg.ops.implicit import gamma_slope
from scg.ops.randomness import draw_until


def said_of_parts(what: str, before: str = "") -> tuple[str, str]:
    """What draws of both parts are, in words: of a gamma draw that is called so, and of what is made of it."""
    said = f"{before}drawn from the density of {what} times the {{}} part of log {what} less its mean, normalised"
    return said.format("positive"), said.format("negative")


def coefficient(a: Node) -> Node:
    """c: how P(x > t) grows with the concentration at t = exp ψ(α), the density of log x there times its slope."""
    middle = digamma(a)
    return gamma_slope(a, middle) * exp(a * middle - exp(middle) - lgamma(a))


def log_part(noise: Node, a: Node, sign: float) -> Node:
    """log x of the positive or the negative part, at rate 1.

    By rejection from the concentration α ± s, which has p(x) x^(±s): with L = ±(log x − ψ(α)) a draw is kept with the
    probability e s L exp(−s L), if L is above 0. With s about √α, or α/2 if α is small, some half of them are.
    """
    def step(carries, parameters, uniforms):
        a, middle = parameters
        s = a / (1.0 + sqrt(1.0 + a))
        (_, log_x), drawn = gamma_round(a + sign * s, uniforms[:3])
        off = sign * (log_x - middle)
        return [log_x], drawn & (off > 0.0) & (uniforms[3] < math.e * s * off * exp(-s * off))

    return draw_until(noise, [a, digamma(a)], lambda a, middle: [a * 0.0], step, uniforms=4)

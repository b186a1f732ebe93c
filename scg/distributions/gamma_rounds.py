"""One round of the sampler of gamma draws, which others reject further draws of."""

from __future__ import annotations

from collections.abc import Sequence

from scg.functions import exp, log, maximum, sqrt
from scg.ir.node import Node
from scg.ops.arithmetic import choose
from scg.ops.special import ndtri


def gamma_round(a: Node, uniforms: Sequence[Node]) -> tuple[list[Node], Node]:
    """A candidate at rate 1, its logarithm, and whether it is a draw: from three uniforms (Marsaglia & Tsang 2000)."""
    small = a < 1.0
    d = choose(small, a + 1.0, a) - 1.0 / 3.0
    x = ndtri(uniforms[0])
    root = 1.0 + x / sqrt(9.0 * d)
    v = root * root * root
    kept = maximum(v, 1e-300)
    accepted = (v > 0.0) & (log(uniforms[1]) < 0.5 * x * x + d * (1.0 - v + log(kept)))
    log_boost = choose(small, log(uniforms[2]) / a, 0.0)
    return [d * v * exp(log_boost), log(d * kept) + log_boost], accepted

"""Special functions of the distributions: the gamma family and the normal distribution function's inverse."""

from __future__ import annotations

import numpy as np
from scipy import special

from scg.ir.node import Node, apply
from scg.ir.op import Pole
from scg.ops.arithmetic import elementwise

_positive = ((0.3,), (1.7,), (12.5,))
_at_integers = Pole("at 0 and the negative integers", lambda n, x: x.positive)
_probability = ((0.2,), (0.5,), (0.97,))

elementwise("lgamma", special.gammaln, "lgamma({0})", derivative=lambda g, y, x: (g * apply("digamma", x),),
            sympy=lambda m, x: m.loggamma(x), poles=_at_integers, samples=_positive)
elementwise("digamma", special.digamma, "digamma({0})", derivative=lambda g, y, x: (g * apply("trigamma", x),),
            sympy=lambda m, x: m.digamma(x), poles=_at_integers, samples=_positive)
elementwise("trigamma", lambda x: special.polygamma(1, x), "trigamma({0})", poles=_at_integers,
            sympy=lambda m, x: m.polygamma(1, x), samples=_positive)
elementwise("ndtri", special.ndtri, "ndtri({0})",
            derivative=lambda g, y, p: (g * np.sqrt(2.0 * np.pi) * apply("exp", 0.5 * y * y),),
            sympy=lambda m, p: m.sqrt(2) * m.erfinv(2 * p - 1), samples=_probability)


def p_log_p(p: Node) -> Node:
    """p log p, element by element: 0 at p = 0."""
    return p * apply("log", apply("maximum", p, 1e-37))  # what lies below is 0 to rounding, in float32 too

"""log p at a value: its formula where the value can be drawn, −∞ where it cannot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from scg.ir.node import Node, make
from scg.ir.op import Smoothness
from scg.ops.arithmetic import choose, elementwise
from scg.ops.shapes import broadcast


class Said(NamedTuple):
    """What an error says of a density: the family's name, its values, and whether they are vectors."""

    family: str
    values: str
    vectors: bool = False


# Arguments: whether the value is outside of the support, the value, and the formula. The value is for errors to show;
# where it is NaN, so is the density. Of a vector it is the sum of its elements.
log_density_op = elementwise(
    "log_density", lambda outside, x, formula, *said: np.where(
        outside, -np.inf, np.where(np.isnan(x), np.nan, formula)),
    "(-INF if {0} else ({2} if {1} == {1} else NAN))", shape=lambda args, attrs: broadcast(args, ()),
    smoothness=(Smoothness.DISCONTINUOUS, Smoothness.BLOCKING, Smoothness.SMOOTH),
    derivative=lambda g, y, outside, x, formula: (None, None, choose(outside, 0.0, g)),
    text=lambda n: "{2}" if n.args[0].is_const else "where({0}, -inf, {2})",
    sympy=lambda m, outside, x, formula, *said: m.Piecewise((-m.oo, outside), (formula, True)),
    multiplies=False, advice="Give values that can be drawn; scg.where(mask, log_prob, 0.0) leaves rows out.",
    samples=((False, 0.7, -1.3),))


# Arguments: whether all parameters of a distribution are within their ranges, and a number that is made of them.
in_ranges_op = elementwise(
    "in_ranges", lambda valid, found, *said: np.where(valid, found, np.nan), "({1} if {0} else NAN)",
    shape=lambda args, attrs: broadcast(args, ()), smoothness=(Smoothness.BLOCKING, Smoothness.SMOOTH),
    seamless=(0,), derivative=lambda g, y, valid, found: (None, in_ranges(valid, g, y.attrs)), multiplies=False,
    text="{1}", sympy=lambda m, valid, found, *said: found, bounds=lambda n, valid, found: found,
    advice="Give values within the range: numbers of a free parameter m as scg.exp(m), scg.softplus(m) or "
           "scg.sigmoid(m), a Cholesky factor as np.linalg.cholesky returns it.",
    samples=((True, 0.7), (True, -1.3)))


def in_ranges(valid: Node, found: Node, said: str) -> Node:
    """The number where the parameters are valid, else NaN; an error says what is `said` of them."""
    return make(in_ranges_op, (valid, found), said)


def log_density(outside: Node, x: Node, formula: Node, said: Said) -> Node:
    """The formula of a log-probability at x, −∞ where x is outside of the support."""
    return make(log_density_op, (outside, x, formula), said)

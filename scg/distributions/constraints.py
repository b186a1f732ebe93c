"""What a parameter must satisfy, and which values a family can take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scg.ir.node import Node, apply


@dataclass(frozen=True)
class Constraint:
    """A condition on a parameter's values.

    Parameters
    ----------
    text : str
        How an error says it: "must be …".
    test : callable
        Elementwise NumPy test of values. NaN must fail it.
    node : callable or None
        The same test as a boolean node, of finite values; None where every real number will do.
    event_ndim : int
        Trailing dimensions that belong to one value (1 for a vector of probabilities).
    advice : str
        How to write a parameter that cannot leave it.
    finite : bool
        Whether infinities are outside of it.
    """

    text: str
    test: Callable[[np.ndarray], np.ndarray]
    node: Callable[[Node], Node] | None = None
    event_ndim: int = 0
    advice: str = ""
    finite: bool = True


def _unit(p: Node) -> Node:
    return apply("and", apply("le", 0.0, p), apply("le", p, 1.0))


def is_finite(p: Node) -> Node:
    """Whether values are neither infinite nor NaN."""
    return apply("lt", apply("abs", p), np.inf)


def _weights(p: Node) -> Node:
    return apply("and", apply("le", 0.0, p.min(axis=-1)), apply("lt", 0.0, p.sum(axis=-1)))


def _some_finite(logits: Node) -> Node:
    return is_finite(logits.max(axis=-1))


real = Constraint("a real number", np.isfinite)
log_weights = Constraint("a vector of real numbers, or of −∞ for what is never taken, with a real one among them",
                         lambda v: np.isfinite(v.max(axis=-1)), _some_finite, event_ndim=1, finite=False,
                         advice="Mask with -np.inf, and leave something to take in every mask.")
positive = Constraint("positive", lambda v: (v > 0) & (v < np.inf), lambda p: apply("lt", 0.0, p),
                      advice="Give positive values, or make it scg.exp or scg.softplus of a free parameter.")
nonnegative = Constraint("0 or positive", lambda v: (v >= 0) & (v < np.inf), lambda p: apply("le", 0.0, p),
                         advice="Give values from 0, or make it scg.exp or scg.softplus of a free parameter.")
unit_interval = Constraint("between 0 and 1", lambda v: (v >= 0) & (v <= 1), _unit,
                           advice="Give probabilities, or use logits=, or scg.sigmoid of a free parameter.")
weights = Constraint("non-negative, with a positive sum along its last dimension",
                     lambda v: (v.min(axis=-1) >= 0) & (v.sum(axis=-1) > 0) & np.isfinite(v.sum(axis=-1)), _weights,
                     event_ndim=1,
                     advice="Give probabilities, or use logits=, or scg.softmax of free parameters.")


@dataclass(frozen=True)
class Support:
    """The values that a family can take.

    Parameters
    ----------
    text : str
        How an error says it.
    integral : bool
        Whether they are integers: then no path derivative exists.
    moving : tuple of str
        Parameters that move the support's bounds: the score function is wrong in these.
    low, high : float or str
        Its ends: numbers, or names of parameters or other properties of the distribution. They belong to it.
    open : bool
        Whether the ends themselves, though they belong to it, are never drawn.
    """

    text: str
    integral: bool = False
    moving: tuple[str, ...] = ()
    low: float | str = -np.inf
    high: float | str = np.inf
    open: bool = True

    @property
    def everything(self) -> bool:
        """Whether it is all real numbers."""
        return not self.integral and self.low == -np.inf and self.high == np.inf


real_line = Support("the real numbers")
positive_numbers = Support("the positive numbers", low=0.0)
nonnegative_integers = Support("the integers from 0", integral=True, low=0.0, open=False)
zero_or_one = Support("0 and 1", integral=True, low=0.0, high=1.0, open=False)
categories = Support("the integers from 0 to K - 1", integral=True, low=0.0, high="last", open=False)

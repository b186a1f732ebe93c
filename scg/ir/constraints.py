"""What a parameter must satisfy, and which values a family can take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from scg.ir.interval import SMALLEST, UNIT, Interval
from scg.ir.node import Node, apply, as_real


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
    certain : callable
        ``certain(interval) -> bool``: whether it holds of all values in an interval, for certain.
    sum : float or None
        Of vectors: what their elements add up to, which is all that the condition says.
    infinite : str
        How to write what an infinite value stands for, if there is another way.
    anywhere : callable or None
        ``anywhere(shape) -> array``: values that satisfy it, whatever they are; None if nobody knows any.
    """

    text: str
    test: Callable[[np.ndarray], np.ndarray]
    node: Callable[[Node], Node] | None = None
    event_ndim: int = 0
    advice: str = ""
    finite: bool = True
    certain: Callable[[Interval], bool] = lambda interval: False
    sum: float | None = None
    infinite: str = ""
    anywhere: Callable[[tuple[int, ...]], np.ndarray] | None = None


def _above_zero(interval: Interval) -> bool:
    """Intervals are of real numbers. A computer's exp(−1000) is 0: what is positive must keep away from 0."""
    return interval.above(SMALLEST)


def _positive(v: np.ndarray) -> np.ndarray:
    return (v > 0) & (v < np.inf)


def _not_negative(v: np.ndarray) -> np.ndarray:
    return (v >= 0) & (v < np.inf)


def _between_0_and_1(v: np.ndarray) -> np.ndarray:
    return (v >= 0) & (v <= 1)


def _unit(p: Node) -> Node:
    return apply("and", apply("le", 0.0, p), apply("le", p, 1.0))


def is_finite(p: Node) -> Node:
    """Whether values are neither infinite nor NaN."""
    return apply("lt", apply("abs", p), np.inf)


def _weights(p: Node) -> Node:
    return apply("and", apply("le", 0.0, p.min(axis=-1)), apply("lt", 0.0, p.sum(axis=-1)))


def _some_finite(logits: Node) -> Node:
    return is_finite(logits.max(axis=-1))


real = Constraint("a real number", np.isfinite, anywhere=lambda shape: np.full(shape, 0.5))
real_beyond = replace(real, anywhere=np.ones)  # of two real numbers the larger one
log_odds = replace(real, infinite="What is certain is said by probs=: scg.where(m > 0, scg.sigmoid(a), 0.0), and not "
                   "-np.inf among logits=.")
log_weights = Constraint("a vector of real numbers, or of −∞ for what is never taken, with a real one among them",
                         lambda v: np.isfinite(v.max(axis=-1)), _some_finite, event_ndim=1, finite=False,
                         advice="Mask with -np.inf, and leave something to take in every mask.", anywhere=np.zeros)
positive = Constraint("positive", _positive, lambda p: apply("lt", 0.0, p),
                      advice="Give positive values, or make it scg.exp or scg.softplus of a free parameter.",
                      certain=_above_zero, anywhere=np.ones)
nonnegative = Constraint("0 or positive", _not_negative, lambda p: apply("le", 0.0, p),
                         advice="Give values from 0, or make it scg.exp or scg.softplus of a free parameter.",
                         certain=lambda interval: interval.above(0.0), anywhere=np.ones)
unit_interval = Constraint("between 0 and 1", _between_0_and_1, _unit,
                           certain=UNIT.holds, anywhere=lambda shape: np.full(shape, 0.5),
                           advice="Give probabilities, or use logits=, or scg.sigmoid of a free parameter.")
weights = Constraint("non-negative, with a positive sum along its last dimension",
                     lambda v: (v.min(axis=-1) >= 0) & (v.sum(axis=-1) > 0) & np.isfinite(v.sum(axis=-1)), _weights,
                     event_ndim=1,
                     advice="Give probabilities, or use logits=, or scg.softmax of free parameters.",
                     certain=_above_zero, anywhere=np.ones)


def _all(constraint: Constraint, text: str) -> Constraint:
    """The same of every element of a vector."""
    node = constraint.node
    return replace(constraint, text=text, test=lambda v: np.all(constraint.test(v), axis=-1), event_ndim=1,
                   node=node and (lambda p: as_real(node(p)).min(axis=-1) > 0.0))


real_vector = _all(real, "a vector of real numbers")
positive_vector = _all(positive, "a vector of positive numbers")


def _lower(v: np.ndarray) -> np.ndarray:
    inside = np.isfinite(v).all(axis=(-2, -1)) & (np.triu(v, 1) == 0.0).all(axis=(-2, -1))
    return inside & (np.diagonal(v, axis1=-2, axis2=-1) > 0.0).all(axis=-1)


def _lower_node(p: Node) -> Node:
    size = p.shape[-1]
    diagonal = (p * np.eye(size)).sum(axis=-1).min(axis=-1)
    return (diagonal > 0.0) & (abs(p * np.triu(np.ones((size, size)), 1)).sum(axis=(-2, -1)) <= 0.0)


lower_triangular = Constraint(
    "a lower triangular matrix with positive numbers on its diagonal", _lower, _lower_node, event_ndim=2,
    anywhere=lambda shape: np.broadcast_to(np.eye(shape[-1]), shape),
    advice="Give the Cholesky factor of a covariance matrix, as np.linalg.cholesky returns it.")


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
    event_ndim : int
        Trailing dimensions of one draw: 0 for numbers, 1 for vectors. Ends and integers are those of its elements.
    jointly : Constraint or None
        What the elements of one draw satisfy together.
    """

    text: str
    integral: bool = False
    moving: tuple[str, ...] = ()
    low: float | str = -np.inf
    high: float | str = np.inf
    open: bool = True
    event_ndim: int = 0
    jointly: Constraint | None = None

    @property
    def everything(self) -> bool:
        """Whether it is all real numbers."""
        return not self.integral and self.low == -np.inf and self.high == np.inf and self.jointly is None


real_line = Support("the real numbers")
positive_numbers = Support("the positive numbers", low=0.0)
nonnegative_integers = Support("the integers from 0", integral=True, low=0.0, open=False)
unit_interval_values = Support("the numbers from 0 to 1", low=0.0, high=1.0)
zero_or_one = Support("0 and 1", integral=True, low=0.0, high=1.0, open=False)
categories = Support("the integers from 0 to K - 1", integral=True, low=0.0, high="last", open=False)


def _near_one(total):
    return abs(total - 1.0) <= 1e-5


one_hot_vector = Constraint("with one 1, and 0 else", lambda v: v.sum(axis=-1) == 1.0,
                            lambda x: apply("eq", x.sum(axis=-1), 1.0), event_ndim=1, sum=1.0)
sums_to_one = Constraint("that sum to 1", lambda v: _near_one(v.sum(axis=-1)), lambda x: _near_one(x.sum(axis=-1)),
                         event_ndim=1, sum=1.0)
real_vectors = Support("vectors of real numbers", event_ndim=1)
one_hot_vectors = Support("vectors of 0 and one 1", integral=True, low=0.0, high=1.0, open=False, event_ndim=1,
                          jointly=one_hot_vector)
simplex = Support("vectors of positive numbers that sum to 1", low=0.0, high=1.0, event_ndim=1, jointly=sums_to_one)

"""The categorical family, with integer values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from scg.distributions.coupling import Coupling, among
from scg.distributions.distribution import Distribution, divergence
from scg.distributions.triple import Triple
from scg.functions import log
from scg.ir.axes import Axis
from scg.ir.constraints import categories, log_weights, weights
from scg.ir.interval import Interval
from scg.ir.node import Node, NodeLike, as_real, constant
from scg.ir.traverse import topological
from scg.ops.arithmetic import choose
from scg.ops.cancelling import alike
from scg.ops.control import held, resting
from scg.ops.leaves import placeholder_op
from scg.ops.log_space import log_normalised, softmax
from scg.ops.lookups import looked_up, values_first
from scg.ops.measure import event_to_axis
from scg.ops.randomness import category
from scg.ops.reduce import amax, total
from scg.ops.special import exp_times, xlogy, xmuly
from scg.ops.structure import broadcast_to, indicators, prefix_sum, reshape, transpose


class Categorical(Distribution):
    """k with probability p[k], k from 0 to K − 1; p is given as `probs`, or as `logits` up to a constant.

    The last dimension of the parameter runs over the K values. `probs` are normalised to sum to 1, as in
    torch.distributions: only their ratios matter, so gradients are those along the normalised family. A logit of −∞
    masks its value, which is then never drawn; so does a weight of 0 that stays 0 as the parameters move.
    """

    parameters = {"probs": weights, "logits": log_weights}
    forms = (("probs",), ("logits",))
    support = categories
    edges = {"probs": (0.0,)}
    smoother = "draw scg.OneHotCategorical, with x @ table in the place of table[k]"
    cases = [dict(logits=[0.3, -1.0, 0.8]), dict(probs=[0.1, 0.2, 0.3, 0.4]), dict(logits=[5.0, 0.0])]

    def __init__(self, *, probs: NodeLike | None = None, logits: NodeLike | None = None):
        super().__init__(probs=probs, logits=logits)

    @property
    def _given(self) -> Node:
        return next(iter(self.params.values()))

    @property
    def probs(self) -> Node:
        """p, normalised."""
        if "logits" in self.params:
            return softmax(self.logits)
        given = self.params["probs"]
        return given / total(given, axis=-1, keepdims=True)

    @property
    def size(self) -> int:
        """K, the number of values."""
        return self._given.shape[-1]

    @property
    def last(self) -> float:
        """K − 1, the largest value."""
        return self.size - 1.0

    @property
    def values_text(self) -> str:
        return f"the integers from 0 to {self.size - 1}"

    def log_prob(self, value) -> Node:
        if "logits" in self.params:
            return total(xmuly(indicators(constant(value), self.size), log_normalised(self.logits)), axis=-1)
        return self._log_of(self._chance(constant(value)), indicators(constant(value), self.size))

    def _log_of(self, chance: Node, hits: Node) -> Node:
        """The logarithm of a probability, which is no pole where none of the weights may be 0."""
        return alike(log(chance), total(xlogy(hits, self.probs), axis=-1))

    def probability(self, value) -> Node:
        """p[k]."""
        return self._chance(constant(value))

    def _chance(self, k: Node) -> Node:
        found = looked_up(values_first(self.probs), k)
        if found is None:
            return total(indicators(k, self.size) * self.probs, axis=-1)
        return broadcast_to(found, np.broadcast_shapes(found.shape, k.shape))

    def may_mask(self, real: Mapping[str, bool], within: Mapping[str, Interval]) -> bool:
        if self.size == 1:
            return False
        if "logits" in real:
            return not real["logits"] and within["logits"].contains(-math.inf)
        return not within["probs"].clear_of_zero

    def masked(self, value: Node, fixed: Callable[[Node], Node | None]) -> Node | None:
        """Where the logit of the value is −∞, or its weight a 0 that stays."""
        masked = self._masks(fixed)
        if masked is None:
            return None
        masks, inside = as_real(masked), any(n.op is placeholder_op for n in topological([masked]))
        found = None if inside else looked_up(values_first(masks), value)  # a carry: its axes may yet grow
        if found is None:
            return total(indicators(value, self.size) * masks, axis=-1) > 0.0
        return broadcast_to(found, np.broadcast_shapes(found.shape, value.shape)) > 0.0

    def unmasked(self, fixed: Callable[[Node], Node | None]) -> Node:
        """The first value that is not masked."""
        values = np.arange(float(self.size))
        masked = self._masks(fixed)
        return -amax(choose(constant(False) if masked is None else masked, -self.last, -values), axis=-1)

    def certain(self, fixed: Callable[[Node], Node | None]) -> Node | None:
        """Where one value only is left."""
        masks = self._masks(fixed)
        return None if masks is None else total(as_real(masks), axis=-1) == self.last

    def _masks(self, fixed: Callable[[Node], Node | None]) -> Node | None:
        stopped = held(self._given)
        if "logits" in self.params:
            return stopped == -np.inf
        stays = fixed(self.params["probs"])
        return None if stays is None else stays & (stopped == 0.0)

    def sample(self, noise: Node) -> Node:
        return category(noise, self.probs)

    @property
    def mean(self) -> Node:
        """Σ k p[k]."""
        return self.probs @ np.arange(self.size, dtype=float)

    @property
    def variance(self) -> Node:
        """Σ (k − mean)² p[k]."""
        apart = np.arange(self.size, dtype=float) - reshape(self.mean, (*self.batch_shape, 1))
        return total(apart * apart * self.probs, axis=-1)

    def entropy(self) -> Node:
        """−Σ p log p."""
        return -_expected_log(self, self)

    def support_values(self) -> np.ndarray:
        return np.arange(self.size, dtype=float)

    def breaks(self) -> Node:
        """Where the draw changes as its uniform grows, along a last dimension."""
        sums = prefix_sum(values_first(self.probs))[:-1]
        return transpose(sums, (*range(1, sums.ndim), 0))

    def coupling(self, x: Node) -> Coupling:
        """k moves to a neighbour, as often as the values on that side grow more probable; see `among`."""
        return among(self.probs, x)

    def weak_derivative(self) -> list[Triple]:
        """∂E[f] = Σₖ ∂p[k] (f(k) − f(0)), since the probabilities sum to 1."""
        if self.size == 1:
            return []
        axis = Axis(f"value from 1 to {self.size - 1}", self.size - 1)
        values = event_to_axis(constant(np.arange(1.0, self.size)), axis)
        eta = event_to_axis(values_first(self.probs)[1:], axis)
        return [Triple(eta, 1.0, plus=lambda x, noise: values, minus=lambda x, noise: 0.0, along=axis)]


def _expected_log(p: Categorical, q: Categorical) -> Node:
    """E log q of a draw from p: what has probability 0 adds nothing, however improbable it is to q.

    Weights are normalised outside of the sums, so that a weight of 0 meets no infinite derivative on its way there.
    """
    scale = constant(0.0) if "logits" in q.params else log(total(q.params["probs"], axis=-1))
    if "logits" in p.params:
        log_q = log_normalised(q.logits) if "logits" in q.params else log(q.params["probs"])
        return total(exp_times(log_normalised(p.logits), log_q), axis=-1) - scale
    weights = p.params["probs"]
    own = resting(weights, 0.0)
    of = own if q is p else q.params.get("probs")
    terms = xmuly(own, log_normalised(q.logits)) if of is None else xlogy(own, of)
    return total(terms, axis=-1) / total(weights, axis=-1) - scale


@divergence(Categorical, Categorical)
def categorical_divergence(p: Categorical, q: Categorical) -> Node:
    """Σ p log(p / q)."""
    return _expected_log(p, p) - _expected_log(p, q)

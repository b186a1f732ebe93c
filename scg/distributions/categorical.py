"""The categorical family, with integer values."""

from __future__ import annotations

import numpy as np

from scg.distributions.constraints import categories, real_vector, simplex
from scg.distributions.distribution import Distribution, Triple, divergence
from scg.ir.node import Node, apply, constant
from scg.ops.randomness import index_below, uniform
from scg.ops.reduce import log_softmax, softmax, total
from scg.ops.special import p_log_p
from scg.ops.structure import indicators


class Categorical(Distribution):
    """k with probability p[k], k from 0 to K − 1; p is given as `probs`, or as `logits` up to a constant.

    The last dimension of the parameter runs over the K values.
    """

    parameters = {"logits": real_vector, "probs": simplex}
    forms = (("logits",), ("probs",))
    support = categories
    cases = [dict(logits=[0.3, -1.0, 0.8]), dict(probs=[0.1, 0.2, 0.3, 0.4]), dict(logits=[5.0, 0.0])]

    @property
    def _given(self) -> Node:
        return next(iter(self.params.values()))

    @property
    def _p(self) -> Node:
        return softmax(self.logits) if "logits" in self.params else self.probs

    @property
    def size(self) -> int:
        """K, the number of values."""
        return self._given.shape[-1]

    def log_prob(self, value) -> Node:
        hot = indicators(constant(value), self.size)
        if "logits" in self.params:
            return total(hot * log_softmax(self.logits), axis=-1)
        return apply("log", total(hot * self.probs, axis=-1))

    def sample(self, noise: Node) -> Node:
        p = self._p
        upper = np.triu(np.ones((self.size, self.size)))[:, :-1]  # column k sums p[0] … p[k]
        return index_below(p @ upper if self.size > 1 else p[..., :0], uniform(noise, fine=False))

    @property
    def mean(self) -> Node:
        """Σ k p[k]."""
        return self._p @ np.arange(self.size, dtype=float)

    def entropy(self) -> Node:
        """−Σ p log p."""
        terms = self._p * log_softmax(self.logits) if "logits" in self.params else p_log_p(self.probs)
        return -total(terms, axis=-1)

    def support_values(self) -> np.ndarray:
        return np.arange(self.size, dtype=float)

    def breaks(self) -> Node:
        """Where the draw changes as its uniform grows, along a last dimension."""
        upper = np.triu(np.ones((self.size, self.size)))[:, :-1]
        return self._p @ upper

    def weak_derivative(self) -> list[Triple]:
        """∂E[f] = Σₖ ∂p[k] (f(k) − f(0)), since the probabilities sum to 1."""
        p = self._p
        return [Triple(p[..., k], 1.0, plus=lambda x, noise, k=k: float(k), minus=lambda x, noise: 0.0)
                for k in range(1, self.size)]


@divergence(Categorical, Categorical)
def _categorical_categorical(p: Categorical, q: Categorical) -> Node:
    log_q = log_softmax(q.logits) if "logits" in q.params else apply("log", q.probs)
    return -p.entropy() - total(p._p * log_q, axis=-1)



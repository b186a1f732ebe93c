"""The categorical family, with one-hot vectors for values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from scg.distributions.categorical import Categorical, categorical_divergence
from scg.distributions.coupling import Coupling, among
from scg.distributions.distribution import divergence
from scg.distributions.triple import Triple
from scg.functions import log
from scg.ir.axes import Axis
from scg.ir.constraints import one_hot_vectors
from scg.ir.node import Node, as_real, constant
from scg.ops.arithmetic import choose
from scg.ops.control import held_noise, stop_gradient
from scg.ops.leaves import per_element, split
from scg.ops.log_space import log_normalised, logaddexp, softmax
from scg.ops.lookups import values_first
from scg.ops.measure import event_to_axis
from scg.ops.randomness import category, uniform
from scg.ops.reduce import total
from scg.ops.special import xmuly
from scg.ops.structure import indicators


class OneHotCategorical(Categorical):
    """A vector with 1 in place k with probability p[k], and 0 else; p is given as `probs`, or as `logits`.

    The last dimension of the parameter runs over the K places, and is that of a draw. See `Categorical`.
    """

    support = one_hot_vectors
    smoother = ""

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def values_text(self) -> str:
        return f"vectors of {self.size} numbers, one of them 1 and the others 0"

    def log_prob(self, value) -> Node:
        if "logits" in self.params:
            return total(xmuly(constant(value), self._log_p), axis=-1)
        return self._log_of(self.probability(value), constant(value))

    def probability(self, value) -> Node:
        """Σ x p."""
        return total(constant(value) * self.probs, axis=-1)

    def masked(self, value: Node, fixed: Callable[[Node], Node | None]) -> Node | None:
        """Where the place that is 1 is masked."""
        masks = self._masks(fixed)
        return None if masks is None else total(value * as_real(masks), axis=-1) > 0.0

    def unmasked(self, fixed: Callable[[Node], Node | None]) -> Node:
        """1 in the first place that is not masked."""
        return indicators(super().unmasked(fixed), self.size)

    def certain(self, fixed: Callable[[Node], Node | None]) -> Node | None:
        """The places that are masked, and the one that is left, if it is one."""
        masks = self._masks(fixed)
        return None if masks is None else masks | (total(as_real(masks), axis=-1, keepdims=True) == self.last)

    def probabilities(self, axis: Axis) -> Node:
        return event_to_axis(values_first(self.probs), axis)

    def sample(self, noise: Node) -> Node:
        return indicators(category(noise, self.probs), self.size)

    @property
    def _log_p(self) -> Node:
        return log_normalised(self.logits) if "logits" in self.params else log(self.probs)

    def latent(self, x: Node, noise: Node) -> Node:
        """zₖ = log pₖ + gₖ, the largest of which is where the draw is 1: Gumbel noise g, given the draw.

        Over all draws g is independent of p. So it is held as p moves, although it is made with p.
        """
        log_p = self._log_p
        return log_p + held_noise(self.latent_given(x, split(noise, 2)[1]) - log_p)

    def latent_given(self, x: Node, noise: Node) -> Node:
        """z given the draw: −log e where it is 1, and −log(e / p + e₁) elsewhere, e₁ being the e of the place of the 1.

        e are exponential variables (Tucker et al. 2017, appendix C; Maddison, Tarlow & Minka 2014).
        """
        log_e = log(-log(uniform(per_element(noise, self.event_shape))))
        of_one = total(log_e * stop_gradient(x), axis=-1, keepdims=True)
        return choose(x == 1.0, -log_e, -logaddexp(log_e - self._log_p, of_one))

    def relaxed(self, latent: Node, temperature) -> Node:
        """softmax(z/λ), which becomes the draw as λ → 0."""
        return softmax(latent / temperature, axis=-1)

    @property
    def natural(self) -> Node:
        """log p."""
        return self._log_p

    def mean_moved(self, at: Node) -> Node:
        """What moves with the parameters as the mean would, if it were `at`: m ∘ (∂log p − Σ m ∂log p)."""
        weights, log_p = stop_gradient(at), self.natural
        return weights * (log_p - total(weights * log_p, axis=-1, keepdims=True))

    @property
    def mean(self) -> Node:
        """p."""
        return self.probs

    @property
    def variance(self) -> Node:
        """p (1 − p), place by place."""
        return self.probs * (1.0 - self.probs)

    def support_values(self) -> np.ndarray:
        return np.eye(self.size)

    def coupling(self, x: Node) -> Coupling:
        """The 1 moves to a neighbouring place, as often as those on that side grow more probable; see `among`."""
        found = among(self.probs, x @ np.arange(float(self.size)))
        return replace(found, to=indicators(found.to, self.size))

    def weak_derivative(self) -> list[Triple]:
        """∂E[f] = Σₖ ∂p[k] (f(eₖ) − f(e₀)), since the probabilities sum to 1."""
        if self.size == 1:
            return []
        axis = Axis(f"place from 1 to {self.size - 1}", self.size - 1)
        first, *others = np.eye(self.size)
        values = event_to_axis(constant(np.array(others)), axis)
        eta = event_to_axis(values_first(self.probs)[1:], axis)
        return [Triple(eta, 1.0, plus=lambda x, noise: values, minus=lambda x, noise: first, along=axis)]


@divergence(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Node:
    return categorical_divergence(p, q)

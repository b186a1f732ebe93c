"""The Bernoulli family."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from scg.distributions.coupling import Coupling
from scg.distributions.distribution import Distribution, divergence
from scg.distributions.triple import Triple
from scg.functions import exp, log, log1p, sigmoid, softplus
from scg.ir.constraints import log_odds, unit_interval, zero_or_one
from scg.ir.interval import Interval
from scg.ir.node import Node, NodeLike, as_real, constant
from scg.ops.arithmetic import choose
from scg.ops.cancelling import either, log_bernoulli, log_outcome, shown_as
from scg.ops.control import held, resting, stop_gradient
from scg.ops.randomness import below, uniform
from scg.ops.special import exp_times, xlog1py, xlogy
from scg.ops.structure import reshape


class Bernoulli(Distribution):
    """1 with probability p, else 0; p is given as `probs`, or as `logits` = log(p / (1 − p))."""

    parameters = {"probs": unit_interval, "logits": log_odds}
    forms = (("probs",), ("logits",))
    support = zero_or_one
    edges = {"probs": (0.0, 1.0)}
    cases = [dict(logits=0.3), dict(logits=-4.0), dict(probs=0.5), dict(probs=0.9)]

    def __init__(self, *, probs: NodeLike | None = None, logits: NodeLike | None = None):
        super().__init__(probs=probs, logits=logits)

    @property
    def _p(self) -> Node:
        return sigmoid(self.logits) if "logits" in self.params else self.probs

    @property
    def log_odds(self) -> Node:
        """log(p / (1 − p))."""
        if "logits" in self.params:
            return self.logits
        return log(self.probs) - log1p(-self.probs)

    def log_prob(self, value) -> Node:
        x = constant(value)
        if "logits" in self.params:
            return shown_as(log_bernoulli(x, self.logits), self.score_form(x))
        return log_outcome(x, self.probs)

    def score_form(self, draw: Node) -> Node:
        """x l − softplus(l), or log p and log(1 − p): their derivatives are least work, draw by draw."""
        if "logits" in self.params:
            return draw * self.logits - softplus(self.logits)
        return shown_as(log(self._chance(draw)), self.log_prob(draw))

    def probability(self, value) -> Node:
        """p at 1, 1 − p at 0."""
        x = constant(value)
        return exp(log_bernoulli(x, self.logits)) if "logits" in self.params else self._chance(x)

    def _chance(self, x: Node) -> Node:
        return choose(x == 1.0, self.probs, 1.0 - self.probs)

    def may_mask(self, real: Mapping[str, bool], within: Mapping[str, Interval]) -> bool:
        return "probs" in within and any(within["probs"].contains(certain) for certain in (0.0, 1.0))

    def masked(self, value: Node, fixed: Callable[[Node], Node | None]) -> Node | None:
        """The other outcome than the one that is certain."""
        stays = fixed(self.probs) if "probs" in self.params else None
        return None if stays is None else stays & (held(self.probs) == choose(value == 1.0, 0.0, 1.0))

    def certain(self, fixed: Callable[[Node], Node | None]) -> Node | None:
        stays, p = fixed(self.probs) if "probs" in self.params else None, held(self._p)
        return None if stays is None else stays & ((p == 0.0) | (p == 1.0))

    def unmasked(self, fixed: Callable[[Node], Node | None]) -> Node:
        """The outcome that is certain, where one is."""
        return as_real(held(self.probs) == 1.0)

    def sample(self, noise: Node) -> Node:
        return below(noise, self._p, self.params.get("logits"))

    def latent(self, x: Node, noise: Node) -> Node:
        """z = a − log(u / (1 − u)), which is above 0 where the draw is 1: the log-odds a and logistic noise."""
        u = uniform(noise, fine=False)
        return self.log_odds - log(u) + log1p(-u)

    def latent_given(self, x: Node, noise: Node) -> Node:
        """z given that the draw is x: of u = vp where it is 1, and of u = p + v(1 − p) where it is 0, v uniform."""
        v, a = uniform(noise, fine=False), self.log_odds
        low, high = log(v), log1p(-v)
        return choose(constant(x) == 1.0, softplus(a + high) - low,
                      high - softplus(low - a))

    def relaxed(self, latent: Node, temperature) -> Node:
        """σ(z/λ), which becomes the draw as λ → 0."""
        return sigmoid(latent / temperature)

    @property
    def natural(self) -> Node:
        """a, the log-odds."""
        return self.log_odds

    def mean_moved(self, at: Node) -> Node:
        """What moves with the parameters as the mean would, if it were `at`: m(1 − m) ∂a, as ∂σ(a) is."""
        return stop_gradient(at * (1.0 - at)) * self.natural

    @property
    def mean(self) -> Node:
        return self._p

    @property
    def variance(self) -> Node:
        """p(1 − p)."""
        return self._p * (1.0 - self._p)

    def entropy(self) -> Node:
        """−p log p − (1 − p) log(1 − p)."""
        return -_expected_log(self, self)

    def support_values(self) -> np.ndarray:
        return np.array([0.0, 1.0])

    def breaks(self) -> Node:
        """Where the draw changes as its uniform grows, along a last dimension."""
        return reshape(self._p, (*self._p.shape, 1))

    def coupling(self, x: Node) -> Coupling:
        """The more probable value moves to the other one, as often as that grows more probable (Arya et al. 2022)."""
        often = held(self._p) > 0.5
        if "logits" in self.params:
            rare = sigmoid(choose(often, -self.logits, self.logits))
        else:
            rare = choose(often, 1.0 - self.probs, self.probs)
        return Coupling(rare, as_real(x == as_real(often)) / (1.0 - rare), 1.0 - x)

    def weak_derivative(self) -> list[Triple]:
        """∂E[f] = ∂p (f(1) − f(0)), where p is near 1 with the derivative of −(1 − p)."""
        p = self._p
        if "logits" in self.params:
            p = either(self.logits > 0.0, 1.0 - sigmoid(-self.logits), p)
        return [Triple(p, 1.0, plus=lambda x, noise: 1.0, minus=lambda x, noise: 0.0)]


def _logs(dist: Bernoulli) -> tuple[Node, Node]:
    """log p and log(1 − p), from logits."""
    return -softplus(-dist.logits), -softplus(dist.logits)


def _expected_log(p: Bernoulli, q: Bernoulli) -> Node:
    """E log q of a draw from p: what has probability 0 adds nothing."""
    if "probs" in p.params and "probs" in q.params:
        own = resting(p.probs, 0.0, 1.0)
        of = own if q is p else q.probs
        return xlogy(own, of) + xlog1py(1.0 - own, -of)
    log_q = _logs(q) if "logits" in q.params else (log(q.probs), log1p(-q.probs))
    if "probs" in p.params:
        return p.probs * log_q[0] + (1.0 - p.probs) * log_q[1]
    return exp_times(_logs(p)[0], log_q[0]) + exp_times(_logs(p)[1], log_q[1])


@divergence(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Bernoulli, q: Bernoulli) -> Node:
    return _expected_log(p, p) - _expected_log(p, q)

"""Mixtures of distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

import numpy as np

from scg.distributions.distribution import Distribution
from scg.errors import DeclarationError
from scg.functions import exp, log
from scg.ir.constraints import Support, log_weights, weights
from scg.ir.interval import Interval
from scg.ir.location import here
from scg.ir.node import Node, as_real, constant
from scg.ir.spelling import moved
from scg.ops.arithmetic import choose
from scg.ops.cancelling import alike
from scg.ops.control import held
from scg.ops.leaves import split
from scg.ops.log_space import log_normalised, logsumexp, softmax
from scg.ops.randomness import category
from scg.ops.reduce import amax, total
from scg.ops.special import xmuly
from scg.ops.structure import broadcast_to, indicators, prefix_sum, reshape, stack, transpose

CLOSER = 8


class Component(NamedTuple):
    """A component: its family, and the names of its parameters."""

    family: Any
    names: tuple[str, ...]


class Mixture(Distribution):
    """One of several distributions, drawn with the probabilities `probs`, or with `logits` up to a constant.

    The last dimension of the weights runs over the components. The draw does not say which of them it is from.

    Parameters
    ----------
    components : sequence of Distribution
        Of one kind: all of whole numbers or none, all of draws of one shape.
    probs, logits : Node or array_like
        Give one of them.
    """

    def __init__(self, components: Sequence[Distribution], *, probs: Any = None, logits: Any = None):
        if not isinstance(components, (list, tuple)) or not components or not all(
                isinstance(c, Distribution) for c in components):
            raise _refused(f"components={components!r}", "They are distributions, one at least.",
                           "Give a list of them, as in [scg.Normal(0.0, 1.0), …].")
        if (probs is None) == (logits is None):
            raise _refused("both probs= and logits=" if logits is not None else "no weights",
                           "Its weights are given in one way.", "Give probs= or logits=.")
        weight = {"probs": probs} if logits is None else {"logits": logits}
        self.params = {name: as_real(constant(value)) for name, value in weight.items()}
        for i, c in enumerate(components):
            self.params |= {f"{i}.{name}": node for name, node in c.params.items()}
        kinds = {(c.support.integral, c.event_shape, c.support.jointly) for c in components}
        if len(kinds) > 1:
            raise _refused(" and ".join(type(c).__name__ for c in components),
                           "They take values of different kinds: " + "; ".join(c.values_text for c in components) + ".",
                           "Mix whole numbers with whole numbers, and vectors with vectors of their size.")
        self.hold(tuple(Component(c.family, tuple(c.params)) for c in components))
        self._check_parameters()
        if self._weight.shape[-1:] != (len(components),):
            raise _refused(f"weights of shape {self._weight.shape} for {len(components)} components",
                           "Their last dimension runs over the components.", "Give one weight for each.")

    def hold(self, data: Any) -> None:
        self.data = data
        self.parameters = {"probs": weights, "logits": log_weights, **{
            f"{i}.{name}": family._at({}).parameters[name] for i, (family, names) in enumerate(data) for name in names}}
        supports = [c.family.support for c in data]
        low, high = ([getattr(s, end) for s in supports] for end in ("low", "high"))
        self.support = supports[0] if len(set(supports)) == 1 and not supports[0].moving else Support(
            " or ".join(dict.fromkeys(s.text for s in supports)), integral=supports[0].integral,
            moving=tuple(f"{i}.{name}" for i, s in enumerate(supports) for name in s.moving if name in data[i].names),
            low=-np.inf if any(isinstance(end, str) for end in low) else min(low),
            high=np.inf if any(isinstance(end, str) for end in high) else max(high),
            open=all(s.open for s in supports), event_ndim=supports[0].event_ndim, jointly=supports[0].jointly)

    def as_called(self) -> tuple[str, tuple[Node, ...]]:
        weight, args = next(iter(self.params)), [self._weight]
        listed = []
        for c in self.components:
            call, given = c.as_called()
            listed.append(moved(call, len(args)))
            args += given
        return f"Mixture([{', '.join(listed)}], {weight}={{0}})", tuple(args)

    @property
    def components(self) -> list[Distribution]:
        """The distributions that are mixed."""
        return [family._at({name: self.params[f"{i}.{name}"] for name in names})
                for i, (family, names) in enumerate(self.data)]

    @property
    def edges(self) -> dict[str, tuple[float, ...]]:  # type: ignore[override]
        """Weights of 0 hide what only their component takes, or takes many times more often than the others do; the
        edges of the components are edges."""
        found = {f"{i}.{name}": at for i, (family, _) in enumerate(self.data) for name, at in family.edges.items()}
        return found | {"probs": (0.0,)}

    @property
    def tail(self) -> float:  # type: ignore[override]
        """That of the heaviest component."""
        return min(c.tail for c in self.components)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.components[0].event_shape

    @property
    def dimensions(self) -> int:
        return self.components[0].dimensions

    @property
    def _weight(self) -> Node:
        return self.params["probs"] if "probs" in self.params else self.params["logits"]

    @property
    def probs(self) -> Node:
        """The weights, normalised."""
        if "logits" in self.params:
            return softmax(self.params["logits"])
        return self.params["probs"] / total(self.params["probs"], axis=-1, keepdims=True)

    @property
    def values_text(self) -> str:
        return " or ".join(dict.fromkeys(c.values_text for c in self.components))

    def able(self, capability: str) -> bool:
        everywhere = {"log_prob", "mean", "quadrature", "fine_quadrature", "support_values", "sample"}
        together = {"variance": ("mean", "variance"), "breaks": ("support_values",), "probability": ("log_prob",)}
        if "quadrature" in capability and self.support.moving:
            return False
        needed = (capability,) if capability in everywhere else together.get(capability, ("nothing",))
        return all(component.family.can(part) for component in self.data for part in needed)

    instead = ("Draw the component as a Categorical site with Enumerate(), the value of each component at a site of "
               "its own, and choose among them by scg.where.")

    def conditions(self) -> list[tuple[str, Node]]:
        return [condition for c in self.components for condition in c.conditions()]

    def outside(self, x: Node) -> Node | None:
        """Where no component can take the value: one that cannot adds nothing."""
        found = [c.outside(held(x) if x.is_const else x) for c in self.components]
        every = [beyond for beyond in found if beyond is not None]
        return reduce(and_, every) if len(every) == len(found) else None

    @property
    def unlimited(self) -> bool:
        return all(c.unlimited for c in self.components)

    def range(self, parameters: Mapping[str, Interval]) -> Interval:
        found = [c.range({name: parameters[f"{i}.{name}"] for name in c.params if f"{i}.{name}" in parameters})
                 for i, c in enumerate(self.components)]
        return reduce(Interval.hull, found)

    def log_prob(self, value) -> Node:
        plain, parts = self._each(value, lambda c, x: c.log_prob(x)), self._each(value, _at_edge)
        if self.support.integral:
            return self._log_of_chances(plain, value)
        if "logits" in self.params:
            w = log_normalised(self.params["logits"])
            return alike(logsumexp(w + parts, axis=-1), log(total(exp(w + plain), axis=-1)))
        possible = choose(held(self.probs) > 0.0, held(parts), -np.inf)
        top = amax(possible, axis=-1, keepdims=True)
        top = choose(abs(top) < np.inf, top, 0.0)
        found = log(total(xmuly(self.probs, exp(parts - top)), axis=-1))
        return alike(found + reshape(top, found.shape), log(total(xmuly(self.probs, exp(plain)), axis=-1)))

    def _log_of_chances(self, logs: Node, value: Node) -> Node:
        """log Σ w p of logarithms of probabilities; where a p is 0 it is taken itself, for it may be leaving 0."""
        w = log_normalised(self.params["logits"]) if "logits" in self.params else log(self.probs)
        never = held(logs) == -np.inf
        top = amax(choose(never, -np.inf, held(w + choose(never, 0.0, logs))), axis=-1, keepdims=True)
        top = choose(abs(top) < np.inf, top, 0.0)
        chances = self._each(value, lambda c, x: c.probability(x))
        found = log(total(self.probs * choose(never, chances * exp(-top), exp(logs - top)), axis=-1))
        return alike(found + reshape(top, found.shape), log(total(self.probs * exp(logs), axis=-1)))

    def probability(self, value) -> Node:
        """Σ w p(x)."""
        return total(self.probs * self._each(value, lambda c, x: c.probability(x)), axis=-1)

    def _each(self, value: Node, quantity: Any) -> Node:
        """A quantity of each draw under each component, along a last dimension."""
        x = held(constant(value)) if constant(value).is_const else value  # a literal outside of one of them
        shape = np.broadcast_shapes(self.batch_shape, self.draws(x))
        return _last([broadcast_to(quantity(c, x), shape) for c in self.components])

    def sample(self, noise: Node) -> Node:
        """Which component, and a draw of each; of finitely many values which one, at once."""
        values = self.support_values()
        if values is not None:
            return indicators(category(noise, self._chances), len(values)) @ values
        first, *rest = split(noise, 1 + len(self.data))
        k = reshape(category(first, self.probs), (*noise.shape, *(1,) * len(self.event_shape)))
        one, *others = (c.sample(stream) for c, stream in zip(self.components, rest))
        for i, draw in enumerate(others, 1):
            one = choose(k == float(i), draw, one)
        return one

    @property
    def _chances(self) -> Node:
        """The probabilities of the `support_values`, along a last dimension."""
        return _last([broadcast_to(self.probability(v), self.batch_shape) for v in np.array(self.support_values())])

    @property
    def mean(self) -> Node:
        """Σ w m."""
        return self._weighted([c.mean for c in self.components])

    @property
    def variance(self) -> Node:
        """Σ w (v + (m − mean)²)."""
        mean = self.mean
        return self._weighted([c.variance + (c.mean - mean) * (c.mean - mean) for c in self.components])

    def _weighted(self, parts: Sequence[Node]) -> Node:
        shape = self.batch_shape + self.event_shape
        w = self.probs
        w = reshape(w, (*w.shape[:-1], *(1,) * len(self.event_shape), w.shape[-1]))
        return broadcast_to(total(w * _last([broadcast_to(p, shape) for p in parts]), axis=-1), shape)

    def support_values(self) -> np.ndarray | None:
        found = [c.support_values() for c in self.components]
        if any(v is None for v in found):
            return None
        return np.unique(np.concatenate(found), axis=0)

    def breaks(self) -> Node:
        """Where the draw changes as its uniform grows, along a last dimension."""
        chances = self._chances
        sums = prefix_sum(transpose(chances, (chances.ndim - 1, *range(chances.ndim - 1))))[:-1]
        return transpose(sums, (*range(1, sums.ndim), 0))

    def quadrature(self, order: int, **numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The components' points, weighted: many close together where there are, for shares of components are no
        polynomials."""
        fine = self._rules("fine_quadrature", CLOSER * order, numbers) if self.able("fine_quadrature") else None
        return self._rules("quadrature", order, numbers) if fine is None else fine

    def fine_quadrature(self, count: int, **numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """The components' points, weighted."""
        return self._rules("fine_quadrature", count, numbers)

    def _rules(self, kind: str, count: int, numbers: Mapping[str, np.ndarray]) -> Any:
        given = numbers["probs"] if "probs" in numbers else np.exp(
            numbers["logits"] - numbers["logits"].max(axis=-1, keepdims=True))
        w = given / given.sum(axis=-1, keepdims=True)
        found = [getattr(c, kind)(count, **{name: numbers[f"{i}.{name}"] for name in c.params})
                 for i, c in enumerate(self.components)]
        if any(rule is None for rule in found):
            return None
        points = [points for points, _ in found]
        shares = [np.broadcast_to(weight, p.shape[:2]) * w[:, i, None] for i, (p, weight) in enumerate(found)]
        together = np.concatenate(points, axis=1), np.concatenate(shares, axis=1)
        return _each_once(*together) if self.support.integral else together

    def __repr__(self) -> str:
        return f"Mixture([{', '.join(map(repr, self.components))}])"


def _each_once(points: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every count that is a point of some lane, once in each, with its shares together."""
    counts, position = np.unique(points, return_inverse=True)
    found = np.zeros((len(points), len(counts)))
    np.add.at(found, (np.arange(len(points))[:, None], position.reshape(points.shape)), shares)
    return np.broadcast_to(counts, found.shape), found


def _at_edge(component: Distribution, x: Node) -> Node:
    """The log-probability under a component; where it stays −∞, its derivative, however large, is of no weight."""
    found = component.log_prob(x)
    return choose(held(found) > -np.inf, found, -np.inf) if component.zero_stays else found


def _last(parts: Sequence[Node]) -> Node:
    """Nodes of one shape side by side along a new last dimension."""
    stacked = stack(parts)
    return transpose(stacked, (*range(1, stacked.ndim), 0))


def _refused(what: str, why: str, fix: str) -> DeclarationError:
    return DeclarationError(str(here() or ""), f"Mixture was given {what}.", why, fix)

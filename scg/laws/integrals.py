"""Expectations under a family at a case, as sums: all values of a discrete one, quadrature for a continuous one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scg import backend
from scg.ir.axes import LANE
from scg.ir.constraints import real_vectors, simplex
from scg.ir.traverse import topological
from scg.noise import key
from scg.ops.leaves import feed, noise_op

SEED = 20_260_101
MANY_COUNTS = 4096


def compute(nodes, lanes: int = 1, seed: int = SEED, uniforms=None, **values) -> list[np.ndarray]:
    """Values of scalar nodes per lane; leaves by name, either per lane or shared, as their axes say."""
    numpy = backend.load("numpy")
    keys = {n.attrs.path: key(seed, n.attrs.path) for n in topological(nodes) if n.op is noise_op}
    ev = numpy.Evaluation(values, {"row": 1, "lane": lanes}, fed=values, keys=keys, uniforms=uniforms)
    found = numpy.evaluate(nodes, ev)
    return [v if LANE in n.axes else np.broadcast_to(v, (lanes, *n.shape)) for n, v in zip(nodes, found)]


def at_leaves(family, case: Mapping):
    """The family at leaves for its parameters, and their values."""
    values = {name: np.asarray(v, dtype=float) for name, v in case.items()}
    return family(**{name: feed(name, v.shape, ()) for name, v in values.items()}), values


class NoRule(Exception):
    """What is integrated has no rule here: a density that is not looked at."""


@dataclass(frozen=True)
class Law:
    """Points and weights with which expectations under a family at a case are sums."""

    family: type
    case: Mapping
    points: np.ndarray
    weights: np.ndarray

    @property
    def dist(self):
        return self.family(**self.case)

    def log_prob(self, dist=None) -> np.ndarray:
        """log p at the points, of this or of another distribution."""
        x = feed("x", self.points.shape[1:], (LANE,))
        return compute([(self.dist if dist is None else dist).log_prob(x)], len(self.points), x=self.points)[0]

    def mean(self, f: Callable[[np.ndarray], np.ndarray]) -> float:
        """E f."""
        p = np.exp(self.log_prob())
        with np.errstate(all="ignore"):
            terms = np.where(p > 0, f(self.points) * p * self.weights, 0.0)
        return math.fsum(terms[np.isfinite(terms)])


def law_of(family, case: Mapping) -> Law:
    """The integration rule: all values of a discrete family, the double exponential rule for a continuous one."""
    dist = family(**case)
    if family.support.integral:
        points = dist.support_values()
        if points is None:
            points = np.arange(float(MANY_COUNTS)) + (family.support.low if np.isfinite(family.support.low) else 0.0)
        return Law(family, case, points, np.ones(len(points)))
    if family.support.event_ndim:
        rules = {(id(real_vectors), (2,)): _plane, (id(simplex), (3,)): _triangle}
        rule = rules.get((id(family.support), dist.event_shape))
        if rule is None:
            raise NoRule(f"no rule integrates over {family.support.text} of shape {dist.event_shape}")
        return Law(family, case, *rule(dist))
    low, high = bounds(family, case)
    centre, spread = location(dist)
    return Law(family, case, *double_exponential(low, high, centre, spread))


def bounds(family, case) -> tuple[float, float]:
    """The ends of the support, at the parameters if these move them."""
    dist = family(**case)

    def end(at: float | str, infinite: float) -> float:
        found = dist.end(at)
        return infinite if found is None else float(compute([found])[0][0])

    return end(family.support.low, -math.inf), end(family.support.high, math.inf)


def _plane(dist):
    """Evenly spaced points about the mean, which are exact to rounding for what is smooth and falls off."""
    centre, spread = location(dist)
    t = np.linspace(-10.0, 10.0, 161)
    points = np.stack(np.meshgrid(t, t, indexing="ij"), axis=-1).reshape(-1, 2) * spread + centre
    return points, np.full(len(points), (t[1] - t[0]) ** 2 * np.prod(spread))


def _triangle(dist):
    """Vectors of three numbers that sum to 1, by breaking a stick twice."""
    x, w = interval(0.0, 1.0)
    x, w = x[::8], 8.0 * w[::8]
    u, v = (a.reshape(-1) for a in np.meshgrid(x, x, indexing="ij"))
    weights = (w[:, None] * w).reshape(-1) * (1.0 - u)
    return np.stack([u, (1.0 - u) * v, (1.0 - u) * (1.0 - v)], axis=-1), weights


def location(dist):
    """Mean and standard deviation, of each element of a vector; 0 and 1 where they are not known."""
    if dist.able("mean") and dist.able("variance"):
        mean, variance = (v[0] for v in compute([dist.mean, dist.variance]))
        if np.all(np.isfinite(mean)) and np.all(np.isfinite(variance)):
            return (mean, np.sqrt(variance)) if dist.event_shape else (float(mean), math.sqrt(variance))
    return 0.0, 1.0


def features(dist) -> list[Callable[..., Any]]:
    """Functions of standardised draws whose means tell distributions apart: of vectors, of all elements together."""
    m, s = location(dist)
    if not dist.event_shape:
        return [lambda x: np.cos((x - m) / s - 0.4) + np.tanh((x - m) / s)]
    directions = np.random.default_rng(5).normal(size=(6, *dist.event_shape))
    return [lambda x, t=t: np.cos(((x - m) / np.maximum(s, 1e-3)) @ t - 0.4) for t in directions]


def squares(dist) -> list[Callable[..., Any]]:
    """Elements of standardised draws, and products of two of them."""
    m, s = location(dist)
    if not dist.event_shape:
        return [lambda x, n=n: ((x - m) / s) ** n for n in (1, 2)]
    size = dist.event_shape[0]
    one = [lambda x, i=i: (x[:, i] - m[i]) / s[i] for i in range(size)]
    return one + [lambda x, a=a, b=b: a(x) * b(x) for k, a in enumerate(one) for b in one[k:]]


def double_exponential(low: float, high: float, centre: float = 0.0, spread: float = 1.0):
    """Points and weights of the rule of Takahasi & Mori 1974; an infinite interval is cut at the centre."""
    if math.isinf(low) or math.isinf(high):
        left = half_line(centre, -spread) if math.isinf(low) else interval(low, centre)
        right = half_line(centre, spread) if math.isinf(high) else interval(centre, high)
        return tuple(np.concatenate(parts) for parts in zip(left, right))
    return interval(low, high)


_T = np.linspace(-6.3, 6.3, 1601)
_S, _SLOPE = 0.5 * math.pi * np.sinh(_T), 0.5 * math.pi * np.cosh(_T) * (_T[1] - _T[0])


def interval(low: float, high: float):
    """Points and weights of an interval."""
    e = np.exp(-2.0 * np.abs(_S))
    near = (high - low) * e / (1.0 + e)  # distance from the nearer end
    x, w = np.where(_S < 0, low + near, high - near), 2.0 * (high - low) * e / (1.0 + e) ** 2 * _SLOPE
    kept = (x > low) & (x < high)
    return x[kept], w[kept]


def half_line(start: float, spread: float):
    """Points and weights from a number on, up if `spread` is positive and down if it is negative."""
    x, w = start + spread * np.exp(_S), abs(spread) * np.exp(_S) * _SLOPE
    kept = x != start
    return x[kept], w[kept]

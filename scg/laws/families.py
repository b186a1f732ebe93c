"""The laws of a family of distributions: its capabilities against each other, by quadrature and by sampling.

Integrals use the double exponential rule, which takes infinite intervals and singular endpoints as they are.
Statistical tests have fixed seeds and the threshold of five standard errors, or the p-value that belongs to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from scg.differentiate.reverse_mode import gradients
from scg.expectation.exact import ORDERS
from scg.functions import cos, tanh
from scg.ir.axes import LANE
from scg.ir.node import Node, constant
from scg.ir.traverse import ancestors
from scg.laws.broken import require
from scg.laws.derivatives import check_derivatives
from scg.laws.integrals import (
    Law,
    at_leaves,
    bounds,
    compute,
    features,
    half_line,
    interval,
    law_of,
    location,
    squares,
)
from scg.ops.leaves import feed, noise
from scg.ops.measure import axis_to_event
from scg.ops.randomness import antithetic

DRAWS = 50_000
FINE = 2001  # points
FIVE_SIGMA = 5.7e-7  # two-sided
TOLERANCE = 1e-8
STREAM, OTHER_STREAM = (noise(path, (), (LANE,), constant(0.0)) for path in ("law", "law of another"))


def close(found: float, expected: float, what: str, tolerance: float = TOLERANCE) -> None:
    """Equal up to the quadrature's error."""
    require(abs(found - expected) <= tolerance * max(1.0, abs(expected)), f"{what}: {found!r} instead of {expected!r}")


def agrees(samples: np.ndarray, expected: float, what: str) -> None:
    """The mean of independent samples is within five standard errors of what is expected."""
    mean, error = float(samples.mean()), float(samples.std(ddof=1) / math.sqrt(len(samples)))
    if error < 1e-9:
        return close(mean, expected, what)
    z = (mean - expected) / error
    require(abs(z) < 5, f"{what}: {mean:.6g} ± {error:.2g} instead of {expected:.6g} (z = {z:.1f})")


# --- log_prob, moments, entropy --------------------------------------------------------------------------------------
def check_normalised(family, case) -> None:
    """The density sums or integrates to 1."""
    close(law_of(family, case).mean(lambda x: np.ones(len(x))), 1.0, "total probability")


def check_moments(family, case) -> None:
    """mean, variance and entropy, as far as the family has them, against integrals of log_prob."""
    law, dist = law_of(family, case), family(**case)
    for index in np.ndindex(dist.event_shape):
        at = (slice(None), *index)
        first = law.mean(lambda x: x[at])
        if dist.able("mean"):
            close(float(compute([dist.mean])[0][(0, *index)]), first, "mean")
        if dist.able("variance"):
            close(float(compute([dist.variance])[0][(0, *index)]), law.mean(lambda x: (x[at] - first) ** 2), "variance")
    if dist.able("entropy"):
        log_p = law.log_prob()
        close(float(compute([dist.entropy()])[0][0]), -law.mean(lambda x: log_p), "entropy")


def check_quadrature(family, case) -> None:
    """The family's own rule for `scg.exact`: moments up to the third."""
    dist, law = family(**case), law_of(family, case)
    points, weights = dist.quadrature(ORDERS[1][-1], **{n: np.asarray(v, float)[None] for n, v in case.items()})
    weights = np.broadcast_to(weights, points.shape[:2])[0]
    m, s = location(dist)
    powers = squares(dist) if dist.event_shape else [lambda x, n=n: ((x - m) / s) ** n for n in range(4)]
    for number, f in enumerate(powers):
        close(float(f(points[0]) @ weights), law.mean(f), f"moment {number} of its quadrature")


def check_fine_quadrature(family, case) -> None:
    """Its many points close together, where there are such: the mean of what is bounded and smooth."""
    dist, law = family(**case), law_of(family, case)
    found = dist.fine_quadrature(FINE, **{n: np.asarray(v, float)[None] for n, v in case.items()})
    if found is None:
        return
    points, weights = found[0], np.broadcast_to(found[1], found[0].shape[:2])[0]
    for number, f in enumerate(features(dist)):
        close(float(f(points[0]) @ weights), law.mean(f), f"feature {number} by its fine quadrature", 1e-5)


def check_divergence(p: Law, q_family, q_case, formula: float) -> None:
    """KL(p ‖ q) against its integral, which is infinite where p takes values that q does not."""
    log_p, log_q = p.log_prob(), p.log_prob(q_family(**q_case))
    what = f"KL({p.family.__name__}{p.case} ‖ {q_family.__name__}{q_case})"
    if np.any(np.isneginf(log_q[np.exp(log_p) * p.weights > 0.0])):
        require(formula == np.inf, f"{what}: {formula!r} instead of ∞")
    else:
        close(formula, p.mean(lambda x: log_p - log_q), what)


# --- samplers --------------------------------------------------------------------------------------------------------
def draws(family, case, how: str = "sample", stream: Node = STREAM, n: int = DRAWS) -> np.ndarray:
    """Independent draws by a method of the family."""
    return compute([getattr(family(**case), how)(stream)], n)[0]


def check_sampler(family, case, how: str = "sample", flipped: bool = False) -> None:
    """Draws against log_prob: moments and goodness of fit."""
    x = draws(family, case, how, antithetic(STREAM) if flipped else STREAM)
    require(np.all(np.isfinite(x)), "a draw is not finite")
    law = law_of(family, case)
    if family.support.event_ndim and not family.support.integral:
        for number, f in enumerate([*squares(law.dist), *features(law.dist)]):
            agrees(f(x), law.mean(f), f"joint feature {number} of the draws")
        return
    x = numbered(law.dist, x)
    law = law if x.ndim == law.points.ndim else Law(family, case, law.points, law.weights)
    low, high = (-math.inf, math.inf) if family.support.integral else bounds(family, case)
    require(x.min() >= low and x.max() <= high, "a draw lies outside the support")
    m, s = float(x.mean()), float(x.std()) or 1.0
    for power in (1, 2):
        agrees(((x - m) / s) ** power, law.mean(lambda v: ((numbered(law.dist, v) - m) / s) ** power),
               f"moment {power} of the draws")
    if family.support.integral:
        _chi_square(law, x)
    else:
        _kolmogorov_smirnov(law, x)


def numbered(dist, x: np.ndarray) -> np.ndarray:
    """Which of the finitely many vectors each draw is; numbers as they are."""
    if not dist.event_shape:
        return x
    same = np.all(x[:, None] == dist.support_values(), axis=-1)
    require(np.all(same.sum(axis=1) == 1), "a draw is not among the support's values")
    return same.argmax(axis=1).astype(float)


def _chi_square(law: Law, x: np.ndarray) -> None:
    from scipy import stats

    p = np.exp(law.log_prob()) * len(x)
    counts = np.array([(x == v).sum() for v in numbered(law.dist, law.points)[: int(x.max()) + 2]], dtype=float)
    require(counts.sum() == len(x), "a draw lies outside the support")
    counts = np.concatenate([counts, np.zeros(len(p) - len(counts))])
    common = p >= 8.0
    observed, expected = counts[common], p[common]
    rest, rest_expected = counts[~common].sum(), p[~common].sum()
    if rest_expected > 8.0:
        observed, expected = np.append(observed, rest), np.append(expected, rest_expected)
    else:
        require(stats.poisson.sf(rest - 1, max(rest_expected, 1e-12)) > FIVE_SIGMA or rest == 0, "too many rare values")
    chance = stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), max(len(observed) - 1, 1))
    require(chance > FIVE_SIGMA, f"the draws do not follow log_prob: chi-square, p = {chance:.1e}")


def _kolmogorov_smirnov(law: Law, x: np.ndarray) -> None:
    from scipy import stats

    low, high = bounds(law.family, law.case)
    x = np.sort(x)
    below = Law(law.family, law.case, *interval(low, x[0])) if math.isfinite(low) else None
    start = below.mean(np.ones_like) if below else _tail_below(law, x[0])
    cdf = start + np.concatenate([[0.0], np.cumsum(_between(law, x, logarithmic=low == 0.0 and high == math.inf))])
    n, rank = len(x), np.arange(len(x))
    distance = max(float(np.max(cdf - rank / n)), float(np.max((rank + 1) / n - cdf)))
    chance = stats.kstwo.sf(distance, n)
    require(chance > FIVE_SIGMA, f"the draws do not follow log_prob: Kolmogorov–Smirnov, p = {chance:.1e}")


def _between(law: Law, x: np.ndarray, logarithmic: bool) -> np.ndarray:
    """Probabilities between neighbours of a sorted sample, by Gauss–Legendre in x or in log x."""
    z, w = np.polynomial.legendre.leggauss(6)
    t = np.log(x) if logarithmic else x
    half = 0.5 * np.diff(t)
    points = (0.5 * (t[1:] + t[:-1])[:, None] + half[:, None] * z).reshape(-1)
    points, slope = (np.exp(points), np.exp(points)) if logarithmic else (points, 1.0)
    density = np.exp(Law(law.family, law.case, points, points).log_prob()) * slope
    return (density.reshape(-1, 6) @ w) * half


def _tail_below(law: Law, x: float) -> float:
    """P(X < x) on a support without lower bound."""
    return Law(law.family, law.case, *half_line(x, -location(law.dist)[1])).mean(np.ones_like)


def check_path(family, case) -> None:
    """The derivative of a draw in the parameters, by reverse mode, on average against that of an integral."""
    dist, values = at_leaves(family, case)
    f = smooth_function(family(**case))
    free = free_elements(family, values)
    found = gradients({f(dist.reparameterise(STREAM)): constant(1.0)}, list(dist.params.values()), ("lane",))
    for (name, value), g in zip(values.items(), found):
        slopes = np.zeros((DRAWS, *value.shape)) if g is None else compute([g], DRAWS, **values)[0]
        for along in directions(family, name, value):
            if np.any(along * free[name]):
                expected = derivative_of_mean(family, case, name, along, lambda x: compute(
                    [f(feed("x", x.shape[1:], (LANE,)))], len(x), x=x)[0])
                agrees((slopes * along).sum(axis=tuple(range(1, slopes.ndim))), expected, f"path in {name}")


def smooth_function(dist) -> Callable[[Node], Node]:
    """A bounded smooth function of a draw, in nodes."""
    m, s = location(dist)
    if not dist.event_shape:
        return lambda x: cos((x - m) / s - 0.4) + tanh((x - m) / s)
    t = np.random.default_rng(5).normal(size=dist.event_shape)
    return lambda x: cos((((x - m) / np.maximum(s, 1e-3)) * t).sum() - 0.4)


# --- finite support --------------------------------------------------------------------------------------------------
def check_breaks(family, case) -> None:
    """As its uniform grows, the draw changes exactly at the breaks, and takes each value with its probability."""
    dist = family(**case)
    breaks = np.sort(compute([dist.breaks()])[0][0])
    edges = np.concatenate([[0.0], breaks[(breaks > 0) & (breaks < 1)], [1.0]])
    inside = np.random.default_rng(0).uniform(0.001, 0.999, size=(len(edges) - 1, 16))
    u = (edges[:-1, None] + np.diff(edges)[:, None] * inside)
    values = numbered(dist, _drawn_at(dist, u.reshape(-1))).reshape(u.shape)
    require(np.all(values == values[:, :1]), "a draw changes between two breaks")
    require(np.all(values[1:, 0] != values[:-1, 0]), "a draw does not change at a break")
    every = numbered(dist, dist.support_values())
    probability = {v: float(np.diff(edges)[values[:, 0] == v].sum()) for v in every}
    require(set(values[:, 0]) <= set(probability), "a draw is not among the support's values")
    expected = np.exp(compute([dist.log_prob(constant(dist.support_values()))])[0][0])
    for v, p in zip(every, expected):
        close(probability[v], float(p), f"probability of {v}", 1e-12)


def _drawn_at(dist, u: np.ndarray) -> np.ndarray:
    return compute([dist.sample(STREAM)], len(u), uniforms={"law": u[:, None]})[0]


# --- weak derivatives ------------------------------------------------------------------------------------------------
def directions(family, name: str, value: np.ndarray) -> list[np.ndarray]:
    """Along which a parameter can move: single elements."""
    basis = np.eye(value.size).reshape(value.size, *value.shape)
    return list(basis)


def check_weak_derivative(family, case, coupled: bool) -> None:
    """Σ ∂eta · c · (E f(plus) − E f(minus)) is ∂E f, for a bounded smooth f."""
    dist, values = at_leaves(family, case)
    x = dist.sample(noise("law of x", (), (LANE,), constant(0.0)))
    other = STREAM if coupled else OTHER_STREAM
    terms = [term for triple in dist.weak_derivative() for term in terms_of(triple, x, STREAM, other)]
    covered = ancestors([eta for eta, *_ in terms])
    f = features(family(**case))[0]
    spread = (DRAWS, *dist.event_shape)
    drawn = [compute(rest, DRAWS, **values) for _, *rest in terms]
    tested = 0
    for name, value in values.items():
        if dist.params[name].id not in covered:
            continue
        slopes = [_slope(eta, dist.params[name], values) for eta, *_ in terms]
        for along in directions(family, name, value):
            found = sum((float((g * along).sum()) * c * (f(np.broadcast_to(plus, spread))
                                                         - f(np.broadcast_to(minus, spread)))
                         for g, (plus, minus, c) in zip(slopes, drawn)), start=np.zeros(DRAWS))
            agrees(found, derivative_of_mean(family, case, name, along, f), f"weak derivative in {name} along {along}")
            tested += 1
    require(tested, "no parameter has a weak derivative")


def terms_of(triple, x: Node, stream: Node, other: Node) -> list[list[Node]]:
    """Each of the terms that a triple stands for, as eta, both values and the coefficient."""
    parts = [constant(p) for p in (triple.eta, triple.plus(x, stream), triple.minus(x, other), triple.coefficient)]
    if triple.along is None:
        return [parts]
    along = [axis_to_event(part, triple.along) for part in parts]
    return [[part[k] for part in along] for k in range(triple.along.size)]


def _slope(eta: Node, parameter: Node, values) -> np.ndarray:
    g = gradients({eta: constant(1.0)}, [parameter])[0]
    return np.zeros(parameter.shape) if g is None else compute([g], 1, **values)[0][0]


def derivative_of_mean(family, case, name: str, along: np.ndarray, f) -> float:
    """∂E f by central differences of fourth order on integrals."""
    step = 1e-3 * min(1.0, float(np.abs(np.asarray(case[name], float)).max()) or 1.0)

    def at(t: float) -> float:
        moved = np.asarray(case[name], dtype=float) + t * step * along
        return law_of(family, {**case, name: moved}).mean(f)

    return (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step)


# --- derivatives of log_prob -----------------------------------------------------------------------------------------
def free_elements(family, values) -> dict[str, np.ndarray]:
    """Which elements of each parameter its constraint lets move: none above the diagonal of a triangular matrix."""
    free = {}
    for name, value in values.items():
        allowed = family.parameters[name].test
        free[name] = np.zeros(np.shape(value))
        for index in np.ndindex(free[name].shape):
            moved = np.array(value, float)
            moved[index] += 1e-3
            free[name][index] = np.all(allowed(moved))
    return free


def check_score(family, case) -> None:
    """∂ log p in every parameter against finite differences, and E ∂ log p = 0 where the support does not move."""
    dist, values = at_leaves(family, case)
    x = np.sort(draws(family, case, n=101), axis=0)[50] if not dist.event_shape else draws(family, case, n=101)[50]
    smooth = [dist.params[n] for n in values if not (family.support.moving and n in family.support.moving)]
    if smooth:
        check_derivatives(dist.log_prob(x), smooth, values, order=1, free=free_elements(family, values))
    law = law_of(family, case)
    leaf = feed("x", dist.event_shape, (LANE,))
    for name in values:
        if name in family.support.moving:
            continue
        score = gradients({dist.log_prob(leaf): constant(1.0)}, [dist.params[name]], ("lane",))[0]
        found = compute([score], len(law.points), x=law.points, **values)[0]
        for index in np.ndindex(values[name].shape):
            scale = math.sqrt(max(law.mean(lambda v: found[(slice(None), *index)] ** 2), 1e-30))
            close(law.mean(lambda v: found[(slice(None), *index)]) / scale, 0.0, f"mean score in {name}")

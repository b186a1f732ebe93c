"""Laws of what a family knows besides its density: other forms of it, its relaxation, and what estimators make of it.

Where two methods say one thing, they are held to each other and so are their derivatives; what only an estimator or
`scg.exact` looks at is held to the derivative of an integral by these.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from scg.compile import compile as compiled
from scg.differentiate.reverse_mode import gradients
from scg.errors import EstimatorError
from scg.estimators import (
    ARM,
    REBAR,
    DisARM,
    Enumerate,
    Estimator,
    LocalExpectation,
    MuProp,
    Pathwise,
    ScoreFunction,
    StochasticTriple,
    WeakDerivative,
)
from scg.expectation.exact import exact
from scg.functions import log
from scg.graph import Graph
from scg.ir.axes import LANE
from scg.ir.node import Node, constant
from scg.laws.broken import Beside, require
from scg.laws.families import (
    DRAWS,
    STREAM,
    close,
    derivative_of_mean,
    directions,
    draws,
    free_elements,
    numbered,
    smooth_function,
)
from scg.laws.integrals import at_leaves, compute, law_of
from scg.ops.leaves import derived, feed

FEW = 40
STEADY, HEAT = 0.99, 1e-6
CLOSE = 1e-9


# --- two ways to say one thing ---------------------------------------------------------------------------------------
def check_values(family: Any, case: Any) -> None:
    """The values of a finite support lie in it, each once."""
    dist = family(**case)
    values = np.asarray(dist.support_values(), float)
    require(len(np.unique(values, axis=0)) == len(values), "a value stands twice among its support's values")
    low, high = (dist.end(at) for at in (family.support.low, family.support.high))
    inside = ((low is None or values.min() >= compute([low])[0][0])
              and (high is None or values.max() <= compute([high])[0][0]))
    require(inside, f"one of {values.tolist()} lies outside of the support")
    together = family.support.jointly
    require(together is None or np.all(together.test(values)), "a value of its support's values lies outside of it")


def check_probability(family: Any, case: Any) -> None:
    """`probability` is exp(log_prob), and so is its derivative, where it is not 0."""
    law = law_of(family, case)
    points = law.points[:FEW]
    _same(family, case, points, lambda d, x: (log(d.probability(x)), d.log_prob(x)), "log of probability")
    found = compute([family(**case).probability(feed("x", points.shape[1:], (LANE,)))], len(points), x=points)[0]
    require(np.array_equal(found == 0.0, np.isneginf(law.log_prob()[:FEW])), "probability is 0 elsewhere than log_prob")


def check_score_form(family: Any, case: Any) -> None:
    """`score_form` has the derivative of `log_prob` in the parameters, at draws."""
    dist, values = at_leaves(family, case)
    points = draws(family, case, n=FEW)
    x = feed("x", points.shape[1:], (LANE,))
    found, expected = (_slopes(form, dist, values, points) for form in (dist.score_form(x), dist.log_prob(x)))
    for name in values:
        _equal(found[name], expected[name], f"the derivative of score_form in {name}")


def check_log_odds(family: Any, case: Any) -> None:
    """`log_odds` is log p(1) − log p(0), and so is its derivative."""
    _same(family, case, np.zeros((1, *family(**case).event_shape)),
          lambda d, x: (d.log_odds, d.log_prob(1.0) - d.log_prob(0.0)), "log_odds")


def _same(family: Any, case: Any, points: np.ndarray, forms: Any, what: str) -> None:
    """Both forms have the same value and derivatives at points."""
    dist, values = at_leaves(family, case)
    pair = [constant(form) for form in forms(dist, feed("x", points.shape[1:], (LANE,)))]
    found, expected = compute(pair, len(points), x=points, **values)
    real = np.isfinite(expected)
    _equal(found[real], expected[real], what)
    slopes = [_slopes(form, dist, values, points) for form in pair]
    for name in values:
        _equal(slopes[0][name][real], slopes[1][name][real], f"the derivative of {what} in {name}")


def _slopes(form: Node, dist: Any, values: Any, points: np.ndarray) -> dict[str, np.ndarray]:
    """The derivatives in the parameters, for each point."""
    found = gradients({form: constant(1.0)}, [dist.params[name] for name in values], ("lane",))
    return {name: np.zeros((len(points), *np.shape(value))) if g is None else
            compute([g], len(points), x=points, **values)[0] for (name, value), g in zip(values.items(), found)}


def _equal(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    off = np.abs(found - expected) > CLOSE * np.maximum(1.0, np.abs(expected))
    if np.any(off):
        require(False, f"{what}: {found[off].flat[0]:.6g} instead of {expected[off].flat[0]:.6g}")


# --- relaxations -----------------------------------------------------------------------------------------------------
def check_relaxation(family: Any, case: Any) -> None:
    """The relaxed latent becomes the draw as its temperature falls; and given the draw it has the law that it has."""
    dist = family(**case)
    own, other = STREAM, derived(STREAM, "given")
    x = dist.sample(own)
    latent, given = dist.latent(x, own), dist.latent_given(x, other)
    drawn, free, tied, cold = compute([x, latent, given, dist.relaxed(latent, HEAT)], DRAWS)
    near = np.mean(np.abs(cold - drawn).reshape(DRAWS, -1).max(axis=1) < 0.5)
    require(near > STEADY, f"relaxed at a temperature of {HEAT} it is its draw in {near:.1%} of the draws only")
    which = numbered(dist, drawn)
    for value in np.unique(which):
        at = which == value
        for i in np.ndindex(free.shape[1:]):
            _same_law(free[(at, *i)], tied[(at, *i)], f"latent_given, where the draw is number {value:g},")


def _same_law(a: np.ndarray, b: np.ndarray, what: str) -> None:
    from scipy import stats

    if len(a) < 100:
        return
    chance = stats.ks_2samp(a, b).pvalue
    require(chance > 5.7e-7, f"{what} does not follow the latent: Kolmogorov–Smirnov, p = {chance:.1e}")


# --- what is made of them --------------------------------------------------------------------------------------------
def estimators() -> Iterator[Estimator]:
    """The estimators of the package that a site may be given by itself, and that are unbiased."""
    yield from (ScoreFunction(), Pathwise(), WeakDerivative(), Enumerate(), LocalExpectation(), MuProp(), ARM(),
                DisARM(), REBAR(eta=1.0, temperature=0.5), StochasticTriple())


def check_gradients(family: Any, case: Any, estimator: Estimator) -> None:
    """Gradients by an estimator are those of an integral, if it takes the family."""
    _, values = at_leaves(family, case)
    f, free = smooth_function(family(**case)), free_elements(family, values)
    g = Graph("law")
    x = g.sample("x", family(**{name: g.param(name, np.shape(v)) for name, v in values.items()}))
    g.cost("cost", f(x))
    try:
        result = compiled(g, strategy=estimator, backend="numpy")(values, samples=DRAWS, rng=1)
    except EstimatorError as why:
        raise Beside(estimator) from why
    for name, value in values.items():
        for along in directions(family, name, value):
            if np.any(along * free[name]):
                at = tuple(np.argwhere(along)[0])
                expected = derivative_of_mean(family, case, name, along, _numeric(f))
                _within(result.grad[name][at], result.stderr[name][at], expected, f"the gradient in {name}")


def _numeric(f: Any) -> Any:
    return lambda x: compute([f(feed("x", x.shape[1:], (LANE,)))], len(x), x=x)[0]


def _within(found: float, error: float, expected: float, what: str) -> None:
    require(abs(found - expected) <= max(5.0 * error, 1e-7 * max(1.0, abs(expected))),
            f"{what} is {found:.6g} ± {error:.2g} instead of {expected:.6g}")


def check_exact(family: Any, case: Any) -> None:
    """`scg.exact` of a smooth cost is an integral of the density."""
    f, law = smooth_function(family(**case)), law_of(family, case)
    g = Graph("law")
    g.cost("cost", f(g.sample("x", family(**case))))
    close(exact(g, {}).cost, law.mean(_numeric(f)), "its expectation by scg.exact", 1e-6)

"""The exact law: on a finite graph E[∇surrogate] is the derivative of the enumerated expectation, to rounding."""

from __future__ import annotations

import numpy as np

import scg
from scg.baselines import BASELINES
from scg.derive import derive
from scg.estimators import ESTIMATORS
from scg.expectation.exact import integrate
from scg.expectation.law import expected_gradient
from tests.laws.checks import shipped

TOLERANCE = 1e-10


def worst(found, expected) -> float:
    """Largest difference of two dicts of arrays, relative to the largest value above 1."""
    assert set(found) == set(expected), f"gradients of {sorted(found)} instead of {sorted(expected)}"
    scale = max([1.0, *(float(np.max(np.abs(e), initial=0.0)) for e in expected.values())])
    return max((float(np.max(np.abs(np.asarray(found[n]) - e), initial=0.0)) for n, e in expected.items()),
               default=0.0) / scale


def check_exact_law(graph, values, strategy=None, *, form: str = "log", state=None, exact=None,
                    by=expected_gradient) -> None:
    """The law for one graph and one strategy: gradient and cost, interpreted or as `by` finds them.

    Params that the estimators bring along start as they say, unless they are among the values.
    """
    exact = integrate(graph, values) if exact is None else exact
    d = derive(graph, strategy, form=form)
    brought = {p.name: p.init for p in d.draft.params}
    check_expectation(by(d, {**brought, **values}, state=state), exact, f"under {strategy}", aside=tuple(d.auxiliary))


def check_expectation(found, exact, label: str, tolerance: float = TOLERANCE, aside: tuple[str, ...] = ()) -> None:
    """An expected gradient and cost against the exact ones; no cost is made of the params named `aside`."""
    assert not any(np.any(exact.grad[name]) for name in aside if name in exact.grad)
    error = worst(found.grad, {name: g for name, g in exact.grad.items() if name not in aside})
    assert error < tolerance, f"the expected gradient {label} is off by {error:.2e}"
    off = abs(found.cost - exact.cost) / max(1.0, abs(exact.cost))
    assert off < tolerance, f"the expected cost {label} is off by {off:.2e}"


# --- instances of everything registered ------------------------------------------------------------------------------
_BASELINES = {
    "Constant": [scg.Constant(0.3)], "LeaveOneOut": [scg.LeaveOneOut(), scg.LeaveOneOut(group=2)],
    "MovingAverage": [scg.MovingAverage(), scg.MovingAverage(decay=0.0)],
    "Expression": [], "Learned": [],  # need a node of the graph: they have tests of their own
}  # fmt: skip

_VARIANTS = {
    "WeakDerivative": [{}, {"coupled": False}, {"noise": "fresh"}],
    "MuProp": [{}, {"rollout": True}],
    "Enumerate": [{}],
}


def baselines() -> list:
    """One or more of every registered baseline; one that has no entry here is made without arguments."""
    return [b for name, cls in shipped(BASELINES).items() for b in _BASELINES.get(name) or
            ([] if name in _BASELINES else [cls()])]


def unbiased_estimators() -> list:
    """One or more of every registered unbiased estimator; one that has no entry here is made without arguments."""
    found = [cls(**options) for name, cls in shipped(ESTIMATORS).items() if cls.unbiased
             for options in _VARIANTS.get(name, [{}])]
    return found + [scg.ScoreFunction(b) for b in baselines()]


def redraws(estimator) -> bool:
    """Whether it draws again given the draw, and differentiates there: later sites may then not be drawn."""
    return "latent_given" in estimator.requires


def families_of(graph) -> list:
    """The family of every declared site."""
    return [site.family for site in graph.sites.values()]


def capable(estimator, graph) -> bool:
    """Whether every site's family has the capabilities that the estimator requires, and real values for a path."""
    return all(family.can(c) for family in families_of(graph) for c in estimator.requires)

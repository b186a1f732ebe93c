"""The exact law: on a finite graph E[∇surrogate] is the derivative of the enumerated expectation, to rounding."""

from __future__ import annotations

import scg
from scg.baselines import BASELINES
from scg.estimators import ESTIMATORS
from scg.laws.estimators import TOLERANCE as TOLERANCE
from scg.laws.estimators import check_exact_law as check_exact_law
from scg.laws.estimators import check_expectation as check_expectation
from scg.laws.estimators import worst as worst
from tests.laws.checks import shipped

# --- instances of everything registered ------------------------------------------------------------------------------
_BASELINES = {
    "Constant": [scg.Constant(0.3)], "LeaveOneOut": [scg.LeaveOneOut(), scg.LeaveOneOut(group=2)],
    "MovingAverage": [scg.MovingAverage(), scg.MovingAverage(decay=0.0)],
    "Expression": [], "Learned": [],  # need a node of the graph: they have tests of their own
    "VIMCO": [],  # needs a bound
}  # fmt: skip

_VARIANTS = {
    "WeakDerivative": [{}, {"coupled": False}, {"noise": "fresh"}],
    "MuProp": [{}, {"rollout": True}],
    "Enumerate": [{}],
    "ARMS": [{"n": 2}], "CARMS": [{"n": 2}],  # of more draws noise falls into more pieces
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


def learns(estimator) -> bool:
    """Whether it brings params of its own unless it is given numbers."""
    return isinstance(estimator, (scg.Delta, scg.DoubleCV, scg.GradientCritic, scg.LAX, scg.RODEO))


def families_of(graph) -> list:
    """The family of every declared site."""
    return [site.family for site in graph.sites.values()]


def capable(estimator, graph) -> bool:
    """Whether every site's family has the capabilities that the estimator requires, and real values for a path."""
    return all(family.can(c) for family in families_of(graph) for c in estimator.requires)

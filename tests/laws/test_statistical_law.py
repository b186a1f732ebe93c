"""Where sampling is the only test: every capable estimator within five measured standard errors of the exact gradient.

On the problems with continuous sites, and on finite ones with several rows (the exact law takes one row at a time).
"""

from __future__ import annotations

from functools import cache

import pytest

import scg
from scg.distributions.distribution import FAMILIES
from tests.laws.checks import shipped
from tests.laws.checks.exact_law import unbiased_estimators
from tests.laws.checks.sampling import SAMPLES, SEED, within
from tests.problems import PROBLEMS, continuous_problems

ROWS = ["rows", "shared_weights", "per_row_site", "scan_along_data"]
NAMES = [*continuous_problems(), *ROWS]


@cache
def declared(name: str):
    """A problem, built once."""
    return PROBLEMS[name]()


@cache
def problem(name: str):
    """A problem, and its exact cost and gradient: the closed form if there is one."""
    p = declared(name)
    return p, p if p.cost is not None else scg.exact(p.graph, p.values)


def strategy_for(graph, estimator) -> dict:
    """The estimator at every site whose family is capable of it; the policy takes the others."""
    return {name: estimator for name, site in graph.sites.items()
            if all(site.family.can(c) for c in estimator.requires)}


def refusal(name: str, estimator) -> str | None:
    """Why the compiler must refuse, although the families are capable."""
    families = {site.family for site in declared(name).graph.sites.values()}
    if isinstance(estimator, scg.Enumerate) and not all(f.can("support_values") for f in families):
        return "infinitely many values"
    if estimator is not None and estimator.scores and scg.Uniform in families:
        return "moving bound"
    baseline = getattr(estimator, "baseline", None)
    if isinstance(baseline, scg.Optimal) and not all(f.can("mean") or f.can("support_values") for f in families):
        return "no mean from which draws could differ"
    if type(estimator) is scg.REBAR and name == "per_row_site":
        return "drawn from a distribution that moves"
    return None


def cases():
    """Every problem with the policy and with every estimator that at least one of its sites can take."""
    for name in NAMES:
        yield pytest.param(name, None, id=f"{name}-policy")
        for estimator in unbiased_estimators():
            if strategy_for(declared(name).graph, estimator):
                yield pytest.param(name, estimator, id=f"{name}-{estimator}")


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name, estimator", list(cases()))
def test_every_unbiased_estimator(name, estimator):
    p, exact = problem(name)
    strategy = None if estimator is None else strategy_for(p.graph, estimator)
    reason = refusal(name, estimator)
    if reason is not None:
        with pytest.raises(scg.SCGError, match=reason):
            scg.compile(p.graph, strategy=strategy, backend="numpy")
        return
    f = scg.compile(p.graph, strategy=strategy, backend="numpy")
    r = f({**f.init(0), **p.values}, samples=SAMPLES, rng=SEED)
    assert f.verdict.unbiased
    within(r.cost, r.cost_stderr, exact.cost, "cost")
    for parameter, expected in exact.grad.items():
        within(r.grad[parameter], r.stderr[parameter], expected, parameter)


def test_every_family_is_tried():
    sites = [site for build in PROBLEMS.values() for site in build().graph.sites.values()]
    tried = {getattr(site.family, "cls", site.family) for site in sites}
    untried = set(shipped(FAMILIES).values()) - tried - {scg.Simulator}  # see test_calls
    assert not untried, f"no problem has {untried}"


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_is_pathwise_where_that_is_possible(name):
    p = declared(name)
    f = scg.compile(p.graph, backend="numpy")
    for site, drawn in p.graph.sites.items():
        pathwise = drawn.family.can("reparameterise") and not drawn.family.support.integral
        assert isinstance(f.verdict[site].estimator, scg.Pathwise if pathwise else scg.ScoreFunction)

"""The exact law for every registered unbiased estimator on every finite problem, alone and in mixed pairs."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

import scg
from scg.baselines import BASELINES
from scg.derive import derive
from scg.estimators import ESTIMATORS
from scg.expectation.exact import integrate
from scg.expectation.law import expected_gradient
from tests.laws.checks import shipped
from tests.laws.checks.exact_law import (
    _BASELINES,
    TOLERANCE,
    baselines,
    capable,
    check_exact_law,
    redraws,
    unbiased_estimators,
    worst,
)
from tests.problems import PROBLEMS, finite_problems, scan_values, scanned, unrolled
from tests.refused import refusal

_FRESH = "WeakDerivative(noise='fresh')"
# Their noise in fresh replays falls into too many pieces: `test_fresh_noise_inside_scans` has smaller ones.
TOO_LARGE = {(name, _FRESH) for name in ("scan_3_steps", "scan_4_steps", "scan_along_data")}
# pairs of uniforms for each draw, read as they are: two draws are enough
TOO_LARGE |= {(name, estimator) for estimator in map(str, (scg.REBAR(), scg.RELAX()))
              for name in ("scan_3_steps", "scan_4_steps", "coin_in_scan", "shared_path_in_scan", "truths_in_scan",
                           "shared_logit", "shared_weights", "two_layer_net", "tiny_net", "chain", "unrolled_2_steps",
                           "one_hot_pair")}


@cache
def declared(name: str):
    """A problem, built once."""
    return PROBLEMS[name]()


@cache
def problem(name: str):
    """A problem and its exact values, which no collection of tests needs."""
    p = declared(name)
    return p, integrate(p.graph, p.values)


def cases():
    """Every finite problem with the policy and with every estimator that is not refused."""
    for name in finite_problems():
        yield pytest.param(name, None, id=f"{name}-policy")
        for estimator in unbiased_estimators():
            if (name, str(estimator)) in TOO_LARGE:
                continue
            if declared(name).graph.sites and not refusal(name, estimator):
                large = name in ("scan_3_steps", "scan_4_steps", "scan_along_data") and not estimator.advised
                yield pytest.param(name, estimator, id=f"{name}-{estimator}", marks=[pytest.mark.full] * large)


def coupled_to_each_other(estimator) -> bool:
    """Whether the law needs pairs of replicates."""
    return getattr(getattr(estimator, "baseline", None), "couples", False)


# --- the reference itself --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [n for n, build in PROBLEMS.items() if build().cost is not None])
def test_exact_agrees_with_closed_forms(name):
    p = PROBLEMS[name]()
    if name in ("normal_scan", "custom_logistic"):
        with pytest.raises(scg.ExactError, match=r"drawn in each step of a loop|no quadrature rule"):
            scg.exact(p.graph, p.values)
        return
    tolerance = 1e-12 if p.finite else 1e-8
    found = scg.exact(p.graph, p.values)
    assert abs(found.cost - p.cost) < tolerance * max(1.0, abs(p.cost))
    assert worst(found.grad, p.grad) < tolerance


def test_a_scan_is_its_unrolled_graph():
    for length, units in ((3, 2), (4, 1)):
        looped, flat = scanned(length, units), unrolled(length, units)
        a, b = integrate(looped, scan_values(units)), integrate(flat, scan_values(units))
        assert abs(a.cost - b.cost) < 1e-12
        assert worst(a.grad, b.grad) < 1e-12


@pytest.mark.parametrize("length, units", [(2, 2), (3, 1)])
@pytest.mark.parametrize("coupled", [False, True])
def test_fresh_noise_inside_scans(length, units, coupled):
    graph = scanned(length, units)
    check_exact_law(graph, scan_values(units), scg.WeakDerivative(coupled, "fresh"))


# --- one estimator for all sites -------------------------------------------------------------------------------------
@pytest.mark.one_in(3)
@pytest.mark.parametrize("name, estimator", list(cases()))
def test_every_unbiased_estimator(name, estimator):
    p, exact = problem(name)
    check_exact_law(p.graph, p.values, estimator, exact=exact)
    check_exact_law(p.graph, p.values, estimator, form="ratio", exact=exact)


def test_every_registered_estimator_is_tried_somewhere():
    """On a finite problem; those that no discrete family can take are tried on the continuous problems instead."""
    graphs = [declared(name).graph for name in finite_problems() if declared(name).graph.sites]
    tried = {type(e).__name__ for e in unbiased_estimators() if any(capable(e, g) for g in graphs)}
    pathwise = {name for name, cls in shipped(ESTIMATORS).items() if "reparameterise" in cls.requires}
    assert tried | pathwise == {name for name, cls in shipped(ESTIMATORS).items() if cls.unbiased}


def test_every_registered_baseline_is_tried():
    assert set(_BASELINES) | {type(b).__name__ for b in baselines()} >= set(shipped(BASELINES))
    assert {name for name, found in _BASELINES.items() if not found} == {"Expression", "Learned", "VIMCO"}


def test_biased_estimators_are_caught():
    """What says that it is biased fails the law somewhere; what does not say so is never called biased."""
    for estimator in (cls() for cls in shipped(ESTIMATORS).values() if not cls.unbiased):
        errors = [0.0]
        for name in () if estimator.scope == "graph" else finite_problems():  # those have tests of their own
            if max(errors) > 1e-6:
                break
            p, exact = problem(name)
            if p.graph.sites and capable(estimator, p.graph) and not refusal(name, estimator):
                d = derive(p.graph, estimator)
                error = worst(expected_gradient(d, p.values).grad, exact.grad)
                called = any(v.status == "biased" for v in d.verdicts.values())
                assert called or error < TOLERANCE, f"{estimator} is off by {error:.2e} and not called biased on {name}"
                errors.append(error)
        shown = estimator.scope == "graph" or max(errors) > 1e-6
        assert shown, f"{estimator} is declared biased, but no problem shows it"


# --- pairs -----------------------------------------------------------------------------------------------------------
def pairs():
    estimators = [e for e in unbiased_estimators() if capable(e, declared("two_layer_net").graph) and not redraws(e)]
    for first, second in itertools.product(estimators, repeat=2):
        # what errors name is tried in all pairs, the others (of several draws or values) behind --full
        marks = [] if first.advised and second.advised else [pytest.mark.full]
        yield pytest.param(first, second, id=f"{first}-{second}", marks=marks)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("first, second", list(pairs()))
def test_every_pair_of_estimators(first, second):
    """The sites of a two-layer net under two estimators; with much noise, of a smaller one.

    That is fresh noise beside pairs of replicates, and what draws more than once.
    """
    many = {getattr(e, "noise", None) == "fresh" for e in (first, second)}
    small = True in many and any(coupled_to_each_other(e) for e in (first, second))
    small |= not (first.advised and second.advised)
    p, exact = problem("tiny_net" if small else "two_layer_net")
    check_exact_law(p.graph, p.values, {"h1": first, "h2": second}, exact=exact)


def test_three_estimators_along_a_chain():
    p, exact = problem("chain")
    chosen = [scg.ScoreFunction(scg.LeaveOneOut()), scg.WeakDerivative(), scg.MuProp(), scg.Enumerate(),
              scg.LocalExpectation()]
    for x, y, z in itertools.permutations(chosen, 3):
        check_exact_law(p.graph, p.values, {"x": x, "y": y, "z": z}, exact=exact)


# --- baselines -------------------------------------------------------------------------------------------------------
def test_expression_of_what_the_site_does_not_influence():
    """Parents, other sites, and costs of other branches may be a baseline (Schulman et al. 2015, Theorem 2)."""
    p = PROBLEMS["two_layer_net"]()
    g, exact = p.graph, problem("two_layer_net")[1]
    h1, h2 = g.nodes["h1"], g.nodes["h2"]
    allowed = [h1.sum(), np.exp(h1[0]) * g.params["v"].sum(), g.costs["branch"] * 3.0, h1[0] > 0.5]
    for node in allowed:
        check_exact_law(g, p.values, {"h2": scg.ScoreFunction(scg.Expression(node))}, exact=exact)
    for node in (h2.sum(), g.costs["fit"], scg.stop_gradient(h2[1]) + h1[0]):
        with pytest.raises(scg.BaselineError, match="own sample"):
            derive(g, {"h2": scg.ScoreFunction(scg.Expression(node))})
    with pytest.raises(scg.BaselineError, match="own sample"):
        derive(g, {"h1": scg.ScoreFunction(scg.Expression(g.costs["fit"]))})


@pytest.mark.parametrize("name", ["bernoulli_toy", "chain", "shared_weights", "scan_3_steps"])
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_moving_average_over_two_calls(name, decay):
    """Given any state that a first call leaves behind, the second call's expected gradient is exact; and the expected
    state after it is the average of the old state and the expected signal."""
    p, exact = problem(name)
    strategy = scg.ScoreFunction(scg.MovingAverage(decay))
    f = scg.compile(p.graph, strategy=strategy, backend="numpy")
    d = derive(p.graph, strategy)
    fresh = expected_gradient(d, p.values)
    reached = [f(p.values, samples=1, rng=i).state for i in range(12)]
    distinct = {tuple(np.concatenate([np.ravel(v) for v in s.values()]).tolist()): s for s in reached}
    assert len(distinct) > 1 or decay == 1.0
    for state in distinct.values():
        found = expected_gradient(d, p.values, state)
        assert worst(found.grad, exact.grad) < TOLERANCE
        # the update is linear: decay · old + what it is from a state of zeros
        expected = {n: decay * state[n] + fresh.states[n] for n in state}
        assert worst(found.states, expected) < TOLERANCE


def test_moving_average_tracks_the_expected_cost():
    p, exact = problem("bernoulli_toy")
    d = derive(p.graph, scg.ScoreFunction(scg.MovingAverage(0.75)))
    found = expected_gradient(d, p.values, {"b moving average": 0.4})
    assert found.states["b moving average"] == pytest.approx(0.75 * 0.4 + 0.25 * exact.cost, abs=1e-14)


def test_moving_average_in_expectation_over_the_first_call():
    """Every path of call 1 leaves a state; call 2 is exact from each, so the two calls together are."""
    p, exact = problem("bernoulli_toy")
    d = derive(p.graph, scg.ScoreFunction(scg.MovingAverage(0.5)))
    prob = 1.0 / (1.0 + np.exp(-p.values["theta"]))
    second = 0.0
    for b, weight in ((0.0, 1.0 - prob), (1.0, prob)):
        state = {"b moving average": 0.5 * 0.0 + 0.5 * (b - 0.45) ** 2}
        second = second + weight * expected_gradient(d, p.values, state).grad["theta"]
    assert second == pytest.approx(exact.grad["theta"], abs=1e-14)


# --- truncated sums --------------------------------------------------------------------------------------------------
def test_truncated_enumeration_is_biased_by_what_it_leaves_out():
    p = PROBLEMS["poisson_cosine"]()
    for upto, low, high in ((2, 1e-2, 1.0), (60, 0.0, 1e-12)):
        d = derive(p.graph, scg.Enumerate(upto=upto))
        assert d.verdicts["x"].status == "biased"
        error = worst(expected_gradient(d, p.values).grad, p.grad)
        assert low <= error < high

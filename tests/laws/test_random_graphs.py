"""Random graphs: exact values against plain NumPy, the exact law under random strategies, passes preserve values."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import scg
from scg.analysis.reach import sum_of
from scg.derive import derive
from scg.differentiate.reverse_mode import gradients
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel
from scg.ir.node import constant
from scg.ops.measure import expect
from scg.rules.driver import rewrite
from tests.laws.checks.exact_law import capable, check_exact_law, learns, redraws, unbiased_estimators, worst
from tests.laws.checks.machines import declare, reference
from tests.laws.checks.random_graphs import recipes
from tests.laws.checks.sampling import sampled

pytestmark = pytest.mark.optimised
FEW_LANES = 1 << 14
FIXED = {"deadline": None, "derandomize": True, "database": None,
         "phases": [Phase.explicit, Phase.generate, Phase.shrink],
         "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]}


@settings(max_examples=15, **FIXED)
@given(recipes())
def test_exact_values_against_enumeration_in_numpy(recipe):
    cost, grad = reference(recipe)
    found = integrate(declare(recipe), recipe.values)
    assert abs(found.cost - cost) < 1e-11 * max(1.0, abs(cost))
    assert worst(found.grad, grad) < 1e-11


def graph_and_strategy(recipe, data):
    """The graph and an estimator for each site; what the compiler refuses must be one of the two known reasons."""
    graph = declare(recipe)
    strategy = {name: data.draw(st.sampled_from(_capable(site.family)), label=name)
                for name, site in graph.sites.items()}
    try:
        derive(graph, strategy)
    except scg.ConditionError as error:
        jumps = recipe.jumps and any(isinstance(e, scg.MuProp) for e in strategy.values())
        assert jumps or (recipe.loops and "inside a scan" in str(error)), error
        assume(False)
    return graph, strategy


def _capable(family) -> list:
    return [e for e in unbiased_estimators()
            if all(family.can(c) for c in e.requires) and not (redraws(e) or learns(e))]


@settings(max_examples=14, **FIXED)
@given(recipes(), st.data())
def test_exact_law_under_random_strategies(recipe, data):
    graph, strategy = graph_and_strategy(recipe, data)
    with (mock.patch("scg.expectation.noise_boxes.MOST_LANES", FEW_LANES),
          mock.patch("scg.expectation.law.MOST_LANES", FEW_LANES)):
        try:
            check_exact_law(graph, recipe.values, strategy, form=data.draw(st.sampled_from(["log", "ratio"])))
        except scg.ExactError as error:
            assert "pieces" in str(error) or "lanes" in str(error)
            assume(False)


def kernels_under_random_strategies(recipe, data):
    graph, strategy = graph_and_strategy(recipe, data)
    with (mock.patch("scg.expectation.noise_boxes.MOST_LANES", FEW_LANES),
          mock.patch("scg.expectation.law.MOST_LANES", FEW_LANES)):
        try:
            check_exact_law(graph, recipe.values, strategy, by=expected_by_kernel)
        except (scg.ExactError, scg.EstimatorError) as error:
            assert any(word in str(error) for word in ("pieces", "lanes", "fall into groups in one way"))
            assume(False)


test_exact_law_of_kernels = pytest.mark.by_python(settings(max_examples=5, **FIXED)(
    given(recipes(), st.data())(kernels_under_random_strategies)))
test_exact_law_of_many_kernels = pytest.mark.full(settings(max_examples=100, **FIXED)(
    given(recipes(), st.data())(kernels_under_random_strategies)))


@settings(max_examples=14, **FIXED)
@given(recipes(), st.data())
def test_rules_preserve_values(recipe, data):
    """Costs, terms and gradients of a surrogate before and after simplification, on real noise."""
    graph, strategy = graph_and_strategy(recipe, data)
    derivation = derive(graph, strategy)
    roots = derivation.roots()
    values = {**recipe.values, **{s.name: np.full(s.leaf.shape, 0.3) for s in derivation.draft.states}}
    params = list(graph.params.values())
    grads = [g for g in gradients({sum_of(roots): constant(1.0)}, params, ("row", "lane")) if g is not None]
    outputs = [*roots, *grads, *(expect(g) for g in grads)]
    simple = rewrite(outputs)
    for before, after, plain in zip(sampled(outputs, values), sampled(simple, values), outputs):
        np.testing.assert_allclose(after, before, rtol=1e-9, atol=1e-9, err_msg=repr(plain))


@settings(max_examples=14, **FIXED)
@given(recipes())
def test_the_policy_is_unbiased(recipe):
    graph = declare(recipe)
    assert all(capable(e, graph) for e in (scg.ScoreFunction(), scg.WeakDerivative()))
    with (mock.patch("scg.expectation.noise_boxes.MOST_LANES", FEW_LANES),
          mock.patch("scg.expectation.law.MOST_LANES", FEW_LANES)):
        try:
            check_exact_law(graph, recipe.values)
        except scg.ExactError as error:
            assert "lanes" in str(error)
            assume(False)

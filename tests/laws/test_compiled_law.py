"""The exact law on compiled kernels: what `test_exact_law` says of the interpreter, here of generated code.

A plain run has a few of each kind, and Python runs what the kernels say; `--full` has and compiles all.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.law import expected_by_kernel
from tests.laws import test_exact_law
from tests.laws.checks.exact_law import TOLERANCE, check_exact_law
from tests.laws.test_exact_law import coupled_to_each_other, problem
from tests.refused import refusal

pytestmark = pytest.mark.by_python
FEW = {"shared_logit", "coin_in_scan"}  # problems on which a plain run compiles every estimator
FEW_PAIRS = {scg.ScoreFunction(scg.LeaveOneOut()), scg.LocalExpectation()}


def marked(params, plain):
    """The same cases; those that are not for a plain run marked so."""
    return [case if plain(*case.values) else pytest.param(*case.values, id=case.id, marks=pytest.mark.full)
            for case in params]


@pytest.mark.parametrize("name, estimator", marked(
    [c for c in test_exact_law.cases() if not refusal(*c.values)], lambda name, _: name in FEW))
def test_every_unbiased_estimator(name, estimator):
    p, exact = problem(name)
    check_exact_law(p.graph, p.values, estimator, exact=exact, by=expected_by_kernel)


@pytest.mark.parametrize("first, second", marked(test_exact_law.pairs(), lambda *both: set(both) == FEW_PAIRS))
def test_every_pair_of_estimators(first, second):
    many = {getattr(e, "noise", None) == "fresh" for e in (first, second)}
    small = True in many and any(coupled_to_each_other(e) for e in (first, second))
    p, exact = problem("tiny_net" if small else "two_layer_net")
    strategy = {"h1": first, "h2": second}
    given = {e.baseline.group for e in (first, second) if coupled_to_each_other(e)} - {None}
    if len(given) > 1:
        with pytest.raises(scg.EstimatorError, match="fall into groups in one way"):
            scg.compile(p.graph, strategy=strategy)
        return
    check_exact_law(p.graph, p.values, strategy, exact=exact, by=expected_by_kernel)


def test_an_expression_as_baseline():
    p, exact = problem("two_layer_net")
    g = p.graph
    node = np.exp(g.nodes["h1"][0]) * g.params["v"].sum() + g.costs["branch"]
    check_exact_law(g, p.values, {"h2": scg.ScoreFunction(scg.Expression(node))}, exact=exact, by=expected_by_kernel)


@pytest.mark.parametrize("name", ["bernoulli_toy", "chain", pytest.param("shared_weights", marks=pytest.mark.full)])
def test_moving_average_over_two_calls(name):
    """Whatever state a first call of the compiled function leaves, the second call's expected gradient is exact."""
    p, exact = problem(name)
    strategy = scg.ScoreFunction(scg.MovingAverage(0.9))
    f, d = scg.compile(p.graph, strategy=strategy), derive(p.graph, strategy)
    reached = [f(p.values, samples=1, rng=i).state for i in range(4)]
    assert len({tuple(np.concatenate([np.ravel(v) for v in s.values()]).tolist()) for s in reached}) > 1
    for state in reached:
        found = expected_by_kernel(d, p.values, state=state)
        for parameter, gradient in exact.grad.items():
            np.testing.assert_allclose(found.grad[parameter], gradient, atol=TOLERANCE)

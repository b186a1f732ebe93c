"""Random programs: exact values against plain NumPy, the exact law under random strategies, rows, passes, backends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from scg_numpy import Evaluation, evaluate

import scg
from scg.analysis.reach import sum_of
from scg.derive import derive
from scg.differentiate.reverse_mode import gradients
from scg.expectation.exact import integrate
from scg.expectation.law import expected_by_kernel, expected_gradient
from scg.ir.node import constant
from scg.noise import key
from scg.ops.measure import expect
from scg.passes.scans import merge_scans, prune_scans, split_scans
from scg.passes.simplify import simplify
from scg.run.values import bind
from tests.laws.checks.exact_law import TOLERANCE, check_expectation, worst
from tests.laws.checks.machines import HELD, NUMBERS, declare, declared, reference
from tests.laws.checks.random_programs import programs
from tests.laws.checks.random_strategies import of_one_group, rightly_refused, strategies
from tests.laws.checks.sampling import streams

pytestmark = pytest.mark.optimised
FEW_LANES = 1 << 14
LANES = 12
FEW_LINES = 750  # of a kernel that is compiled without --full


@pytest.fixture
def every(request) -> Callable:
    """``every(few, many, *given)(law)`` holds a law to random examples: to many of them with ``--full``."""
    def run(few: int, many: int, *drawn: st.SearchStrategy, shrink: bool = True) -> Callable:
        return lambda law: settings(
            max_examples=many if request.config.getoption("--full") else few, deadline=None, derandomize=True,
            database=None, phases=[Phase.generate, *([Phase.shrink] if shrink else [])], report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        )(given(*drawn)(law))()

    return run


def derived(program, data):
    """The program's derivation under a random strategy, that strategy, and a state to begin with.

    What the compiler refuses must be one of the known reasons.
    """
    machine = declared(program)
    strategy = data.draw(strategies(program, machine), label="strategy")
    try:
        derivation = derive(machine.graph, strategy, form=data.draw(st.sampled_from(["log", "ratio"]), label="form"))
    except scg.EstimatorError as error:
        assert rightly_refused(error, program, machine, strategy), error
        assume(False)
    state = {s.name: 0.3 - np.arange(s.leaf.size, dtype=float).reshape(s.leaf.shape) for s in derivation.draft.states}
    return derivation, strategy, state


def test_exact_values_against_enumeration_in_numpy(every):
    @every(20, 1000, programs())
    def law(program):
        cost, grad = reference(program)
        found = integrate(declare(program), program.values)
        assert abs(found.cost - cost) < 1e-11 * max(program.scale, abs(cost))
        assert worst(found.grad, grad) < 1e-11 * program.scale


def test_exact_law_under_random_strategies(every):
    """Of the surrogate as it is derived, and of the program that is made of it, interpreted."""
    @every(14, 600, programs(), st.data())
    def law(program, data):
        derivation, strategy, state = derived(program, data)
        exact = expected_of(derivation, program)
        with (mock.patch("scg.expectation.noise_boxes.MOST_LANES", FEW_LANES),
              mock.patch("scg.expectation.law.MOST_LANES", FEW_LANES)):
            try:
                found = expected_gradient(derivation, program.values, state)
                lowered = expected_by_kernel(derivation, program.values, "numpy", state) \
                    if of_one_group(derivation) else found
            except scg.ExactError as error:
                assert "pieces" in str(error) or "lanes" in str(error)
                assume(False)
        check_expectation(found, exact, f"under {strategy}", TOLERANCE * program.scale)
        check_expectation(lowered, exact, f"of the program under {strategy}", TOLERANCE * program.scale)


def expected_of(derivation, program) -> SimpleNamespace:
    """Cost and gradient that the estimator is to have in expectation: that with ⊥ held constant where the verdict says
    that it is biased by it."""
    biased = any(v.status == "biased" for v in derivation.of_costs.values())
    cost, grad = reference(program, HELD if biased else NUMBERS)
    return SimpleNamespace(cost=cost, grad=grad)


def test_rows_are_averaged_and_passes_preserve_values(every):
    """On real noise: estimates over two rows at once are the mean of those over each; so are contributions that are
    kept apart by row and replicate, and averaged in the end; and the passes change none of it."""
    @every(10, 300, programs(rows=True), st.data())
    def law(program, data):
        derivation, _, state = derived(program, data)
        seeds, params = {sum_of(derivation.roots()): constant(1.0)}, list(derivation.graph.params.values())
        at_once, kept = ([g for g in gradients(seeds, params, keep) if g is not None] for keep in ((), ("row", "lane")))
        outputs = [expect(sum_of(list(derivation.draft.costs.values()))), *at_once, *map(expect, kept)]
        values = bind(derivation.graph, program.values)
        whole = over_rows(outputs, values, state)
        rows = [over_rows(outputs, row, state, number) for number, row in enumerate(values.by_row())]
        lean = over_rows(prune_scans(split_scans(merge_scans(simplify(outputs)))), values, state)
        apart = [whole[0], *whole[1 + len(at_once):], *whole[1 + len(at_once):]]
        for node, *same in zip(outputs, whole, mean_of(rows), lean, apart, strict=True):
            for other in same[1:]:
                np.testing.assert_allclose(same[0], other, rtol=1e-10, atol=1e-10 * program.scale,
                                           err_msg=repr(node))


def mean_of(rows: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The mean over rows of each of several values."""
    return [np.mean(parts, axis=0) for parts in zip(*rows)]


def over_rows(nodes, values, state, first_row: int = 0) -> list[np.ndarray]:
    """Values of nodes over some rows of a call, on that call's noise."""
    starts = np.arange(0, LANES, 4)
    return evaluate(nodes, Evaluation(
        values.arrays, {"row": values.rows, "lane": LANES}, states=state, first_row=first_row, samples=LANES,
        keys={path: key(1, path) for path in streams(nodes)}, groups=lambda size: (starts, np.full(len(starts), 4))))


def test_backends_agree(every, request):
    """On the same noise; with scans and rows. A failure is not shrunk: that would compile for minutes."""
    @every(1, 20, programs(rows=True), st.data(), shrink=False)
    def law(program, data):
        assume(program.loops and len(program.body) > 3)
        derivation, strategy, _ = derived(program, data)
        assume(of_one_group(derivation))
        fs = [scg.compile(derivation.graph, strategy=strategy, backend=backend) for backend in ("numba", "numpy")]
        assume(request.config.getoption("--full") or len(fs[0].source.splitlines()) < FEW_LINES)
        for samples in (2, 66):
            a, b = (f(program.values, samples=samples, rng=5) for f in fs)
            np.testing.assert_allclose(a.cost, b.cost, rtol=1e-10, atol=1e-12 * program.scale)
            for name in a.grad:
                np.testing.assert_allclose(a.grad[name], b.grad[name], rtol=1e-9, atol=1e-11 * program.scale)
                np.testing.assert_allclose(a.stderr[name], b.stderr[name], rtol=1e-7, atol=1e-9 * program.scale)
            for name in b.state:
                np.testing.assert_allclose(a.state[name], b.state[name], rtol=1e-9, atol=1e-11 * program.scale)

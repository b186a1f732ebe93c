"""Random programs: exact values against plain NumPy, the exact law under random strategies, rows, both backends."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from scg_numpy import Evaluation, evaluate

import scg
from scg.analysis.adjoints import gradients
from scg.derivation import derive
from scg.exact import integrate
from scg.expectation import expected_by_kernel, expected_gradient
from scg.ir.node import constant
from scg.noise import key
from scg.ops.measure import expect
from scg.site import total
from scg.values import bind
from tests.laws.checks.exact_law import check_expectation, worst
from tests.laws.checks.machines import declare, declared, reference
from tests.laws.checks.random_programs import programs
from tests.laws.checks.random_strategies import by_site, of_one_group, rightly_refused, strategies
from tests.laws.checks.sampling import streams

FEW_LANES = 1 << 14
LANES = 12


@pytest.fixture
def every(request) -> Callable:
    """``every(few, many, *given)(law)`` holds a law to random examples: many of them with ``--full``."""
    def run(few: int, many: int, *given_: st.SearchStrategy) -> Callable:
        full = request.config.getoption("--full")
        return lambda law: settings(
            max_examples=many if full else few, deadline=None, derandomize=True, database=None,
            phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        )(given(*given_)(law))()

    return run


def derived(program, data):
    """The program's derivation under a random strategy; what the compiler refuses must be one of the known reasons."""
    machine = declared(program)
    strategy = data.draw(strategies(program, machine), label="strategy")
    try:
        derivation = derive(machine.graph, strategy, form=data.draw(st.sampled_from(["log", "ratio"]), label="form"))
    except scg.EstimatorError as error:
        assert rightly_refused(error, program, machine, strategy), error
        assume(False)
    return derivation, strategy, {s.name: 0.3 - np.arange(s.leaf.size, dtype=float).reshape(s.leaf.shape)
                                  for s in derivation.draft.states}


def test_exact_values_against_enumeration_in_numpy(every):
    @every(100, 1000, programs())
    def law(program):
        cost, grad = reference(program)
        found = integrate(declare(program), program.values)
        assert abs(found.cost - cost) < 1e-11 * max(1.0, abs(cost))
        assert worst(found.grad, grad) < 1e-11


def test_exact_law_under_random_strategies(every):
    """The surrogate as it was derived, and the program that is made of it, interpreted."""
    @every(90, 600, programs(), st.data())
    def law(program, data):
        derivation, strategy, state = derived(program, data)
        exact = integrate(derivation.graph, program.values)
        with mock.patch("scg.pieces.MOST_LANES", FEW_LANES), mock.patch("scg.expectation.MOST_LANES", FEW_LANES):
            try:
                found = expected_gradient(derivation, program.values, state)
                lowered = expected_by_kernel(derivation, program.values, "numpy", state) \
                    if of_one_group(derivation) else found
            except scg.ExactError as error:
                assert "pieces" in str(error) or "lanes" in str(error)
                assume(False)
        check_expectation(found, exact, f"under {strategy}")
        check_expectation(lowered, exact, f"of the program under {strategy}")


def test_rows_are_averaged(every):
    """On real noise: estimates over two rows at once are the mean of those over each, and so are contributions that
    are kept apart by row and replicate, and averaged in the end."""
    @every(40, 300, programs(rows=True), st.data())
    def law(program, data):
        derivation, _, state = derived(program, data)
        seeds = {total(derivation.roots()): constant(1.0)}
        params = list(derivation.graph.params.values())
        found, kept = gradients(seeds, params), gradients(seeds, params, ("row", "lane"))
        assert [g is None for g in found] == [g is None for g in kept]
        grads, late = ([g for g in found if g is not None], [expect(g) for g in kept if g is not None])
        outputs = [expect(total(list(derivation.draft.costs.values()))), *grads, *late]
        values = bind(derivation.graph, program.values)
        whole = over_rows(outputs, values, state)
        single = [over_rows(outputs, row, state, number) for number, row in enumerate(values.by_row())]
        for each, node, *parts in zip(whole, outputs, *single):
            np.testing.assert_allclose(each, np.mean(parts, axis=0), rtol=1e-10, atol=1e-10, err_msg=repr(node))
        for a, b in zip(whole[1:], whole[1 + len(grads):]):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def over_rows(nodes, values, state, first_row: int = 0) -> list[np.ndarray]:
    """Values of nodes over some rows of a call, on that call's noise."""
    starts = np.arange(0, LANES, 4)
    return evaluate(nodes, Evaluation(
        values.arrays, {"row": values.rows, "lane": LANES}, states=state, first_row=first_row, samples=LANES,
        keys={path: key(1, path) for path in streams(nodes)}, groups=lambda size: (starts, np.full(len(starts), 4))))


def test_backends_agree(every):
    """On the same noise; with scans and rows."""
    @every(1, 20, programs(rows=True), st.data())
    def law(program, data):
        assume(program.loops and len(program.body) > 3)
        derivation, strategy, _ = derived(program, data)
        assume(by_site(strategy, derivation.graph) and of_one_group(derivation))
        compiled, reference = (scg.compile(derivation.graph, strategy=strategy, backend=backend)
                               for backend in ("numba", "numpy"))
        for samples in (2, 66):
            a, b = (f(program.values, samples=samples, rng=5) for f in (compiled, reference))
            for name in a.grad:
                np.testing.assert_allclose(a.grad[name], b.grad[name], rtol=1e-9, atol=1e-11)
                np.testing.assert_allclose(a.stderr[name], b.stderr[name], rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(a.cost, b.cost, rtol=1e-10, atol=1e-12)
            for name in b.state:
                np.testing.assert_allclose(a.state[name], b.state[name], rtol=1e-9, atol=1e-11)

"""Log-odds that a flipped draw shifts: the sum of log-probabilities is what it is without the rule, in kernels too."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.laws.derivatives import LANES, value
from scg.rules.binary_steps import LEAST, changed_by_steps, weighed_by_steps
from scg.schedule.changes import BLOCK, MOST
from tests.laws.checks.rules import BINARY_WORLDS, binary_step_sums, weighted_step_sums

SIZE = 2 * BLOCK + 8
SCALES = {"small": 0.3, "as large as a block may have": 0.999, "too large for a block": 4.0, "enormous": 300.0}
CASES = {
    "LocalExpectation, by row": (scg.LocalExpectation(), "float64", False, 1),
    "WeakDerivative, by row": (scg.WeakDerivative(), "float32", False, 1),
    "PSA of two layers, shared by rows": (scg.PSA(), "float32", True, 2),
}


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 1000.0])
def test_sums_are_taken_apart(scale):
    """In float64 to rounding, also where outcomes are as good as certain before and after."""
    rng = np.random.default_rng(3)
    given = {"log-odds": scale * rng.standard_normal((LANES, SIZE)), "outcome": (rng.random(SIZE) < 0.4) * 1.0,
             "step": scale * rng.standard_normal((BINARY_WORLDS, SIZE)), "drawn": rng.random((LANES, BINARY_WORLDS)),
             "weight": rng.standard_normal((LANES, SIZE)), "other": rng.random((LANES, SIZE))}
    for n, rule in (*((n, changed_by_steps) for n in binary_step_sums(SIZE)),
                    *((n, weighed_by_steps) for n in weighted_step_sums(SIZE))):
        new = rule(n)
        np.testing.assert_allclose(value(new, given), value(n, given), rtol=1e-13, atol=1e-12 * scale * SIZE)


def test_turns_that_are_none_are_left_alone():
    """Turns that may be ½ or 2, steps that replicates move, and sums of few outcomes."""
    for n in (*binary_step_sums(SIZE, 0.5), *binary_step_sums(SIZE, 2.0), *binary_step_sums(LEAST - 1)):
        assert changed_by_steps(n) is None
    for n in (*weighted_step_sums(SIZE, 0.5), *weighted_step_sums(SIZE, 3.0), *weighted_step_sums(LEAST - 1)):
        assert weighed_by_steps(n) is None


def net(shared: bool, layers: int) -> scg.Graph:
    """Five units below many outcomes, or below as many units; `shared` units are drawn once for all rows."""
    g = scg.Graph("net")
    y = g.data("y", SIZE)
    given = g.param("a", 5) if shared else g.param("a", 5) * g.data("z", ())
    h = g.sample("h", scg.Bernoulli(logits=given))
    logits = h @ g.param("W", (5, SIZE)) + g.param("b", SIZE)
    if layers == 2:
        logits = g.sample("h2", scg.Bernoulli(logits=logits)) @ g.param("V", (SIZE, SIZE))
    g.cost("c", -scg.Bernoulli(logits=logits).log_prob(y))
    return g


def values(scale: float, shared: bool, dtype: str, layers: int) -> dict:
    """Weights of which the largest is so many times the largest step of a block."""
    rng = np.random.default_rng(5)
    w = rng.uniform(-1.0, 1.0, (5, SIZE))
    out = {"a": rng.standard_normal(5), "W": scale * MOST[dtype] * w / np.abs(w).max(), "b": rng.standard_normal(SIZE),
           "y": (rng.random((3, SIZE)) < 0.4) * 1.0}
    if layers == 2:
        out["V"] = rng.standard_normal((SIZE, SIZE))
    return out if shared else {**out, "z": rng.standard_normal(3)}


@pytest.mark.by_python(dtype="float64")
@pytest.mark.parametrize("strategy, dtype, shared, layers", [
    pytest.param(*case, id=name, marks=pytest.mark.full if name.startswith("Weak") else ())
    for name, case in CASES.items()])
def test_kernels_multiply(strategy, dtype, shared, layers):
    """The gradient is that of the definition, by whichever way a world's steps are taken."""
    f = scg.compile(net(shared, layers), strategy=strategy, dtype=dtype, stderr=False)
    by_definition = scg.compile(net(shared, layers), strategy=strategy, stderr=False, backend="numpy")
    for op in ("softplus_changes", "sigmoid_sums")[:layers]:
        assert op in by_definition.source and op in str(f.schedule)
    for scale in SCALES.values():
        given = values(scale, shared, dtype, layers)
        found, expected = (h(given, samples=7, rng=1).grad for h in (f, by_definition))
        near = 1e-11 if dtype == "float64" else 1e-5
        for param in ("a", "W", "b"):
            size = max(1.0, scale * MOST[dtype]) * SIZE
            np.testing.assert_allclose(found[param], expected[param], rtol=near, atol=near * size)

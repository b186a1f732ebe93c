"""Contenders step the same nets: ``python -m pytest tests/benchmarks/test_nets.py`` (not a default test)."""

import statistics
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
import nets
import nets_report

CALLS = 40


def found(contender, model, variant):
    """Costs and projected gradients of some calls."""
    samples = nets.MODELS[model][1]
    with harness.Worker(contender, 1) as worker:
        replies = [worker.ask(harness.Contender("", "", variant), model, samples, 1, seed) for seed in range(CALLS)]
    assert not any("error" in reply for reply in replies), replies[0]
    return [r["cost"] for r in replies], [r["grad"] for r in replies]


@pytest.fixture(scope="module")
def ours():
    """What scg finds."""
    return {model: found(nets_report.OURS, model, "checked") for model in nets.MODELS}


@pytest.mark.parametrize("model", nets.MODELS)
@pytest.mark.parametrize("contender", [nets_report.JAX, nets_report.TORCH, nets_report.PYRO], ids=lambda c: c.label)
def test_peers_compute_what_ours_does(contender, model, ours):
    """The same means of cost and gradient, within five standard errors of their difference."""
    reason = harness.missing(contender)
    if reason:
        pytest.skip(reason)
    for mine, theirs in zip(ours[model], found(contender, model, "checked")):
        error = ((statistics.variance(mine) + statistics.variance(theirs)) / CALLS) ** 0.5
        assert abs(statistics.mean(mine) - statistics.mean(theirs)) < 5.0 * error

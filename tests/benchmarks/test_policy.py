"""A policy's gradient is the same: ``python -m pytest tests/benchmarks/test_policy.py`` (not a default test)."""

import statistics
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
import policy_report

CALLS, SAMPLES = 40, 640


def found(contender):
    """Costs and projected gradients of some calls."""
    with harness.Worker(contender, 1) as worker:
        replies = [worker.ask(contender, "", SAMPLES, 1, seed) for seed in range(CALLS)]
    assert not any("error" in reply for reply in replies), replies[0]
    return [r["cost"] for r in replies], [r["grad"] for r in replies]


@pytest.fixture(scope="module")
def ours():
    """What scg finds."""
    return found(policy_report.OURS)


@pytest.mark.parametrize("contender", [policy_report.OURS_STDERR, policy_report.JAX, policy_report.TORCH],
                         ids=lambda c: c.label)
def test_contenders_compute_what_ours_does(contender, ours):
    """The same means of cost and gradient, within five standard errors of their difference."""
    reason = harness.missing(contender)
    if reason:
        pytest.skip(reason)
    for mine, theirs in zip(ours, found(contender)):
        error = ((statistics.variance(mine) + statistics.variance(theirs)) / CALLS) ** 0.5
        assert abs(statistics.mean(mine) - statistics.mean(theirs)) < 5.0 * error

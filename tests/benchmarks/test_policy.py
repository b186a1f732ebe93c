"""A policy's gradient is the same: ``python -m pytest tests/benchmarks/test_policy.py`` (not a default test)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import agreement
import harness
import policy_report

SAMPLES = 640


def found(contender):
    """Costs and projected gradients of some calls."""
    with harness.Worker(contender, 1) as worker:
        return agreement.estimates(worker, contender, "", SAMPLES)


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
    agreement.assert_agree(ours, found(contender))

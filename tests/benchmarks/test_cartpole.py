"""CartPole's gradient is the same: ``python -m pytest tests/benchmarks/test_cartpole.py`` (not a default test)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import agreement
import cartpole
import cartpole_report
import harness

SAMPLES = 640
BASE = cartpole_report.OURS, "steps go on"
OTHERS = [(contender, ending) for contender in cartpole_report.CONTEST.contenders for ending in cartpole.ENDINGS
          if (contender, ending) != BASE]


def found(contender, ending):
    """Costs and projected gradients of some calls, for each policy."""
    with harness.Worker(contender, 1) as worker:
        return {policy: agreement.estimates(worker, contender, cartpole.problem(policy, ending), SAMPLES)
                for policy in cartpole.POLICIES}


@pytest.fixture(scope="module")
def base():
    """What scg finds where steps go on."""
    return found(*BASE)


@pytest.mark.parametrize("contender, ending", OTHERS, ids=[f"{c.label}, {ending}" for c, ending in OTHERS])
def test_contenders_compute_what_ours_does(contender, ending, base):
    """Whether episodes end or steps go on, the expected cost and its gradient are the same."""
    reason = harness.missing(contender)
    if reason:
        pytest.skip(reason)
    theirs = found(contender, ending)
    for policy in cartpole.POLICIES:
        agreement.assert_agree(base[policy], theirs[policy])

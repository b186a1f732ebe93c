"""Contenders step the same nets: ``python -m pytest tests/benchmarks/test_nets.py`` (not a default test)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import agreement
import harness
import nets
import nets_report


def found(contender, model, variant):
    """Costs and projected gradients of some calls."""
    with harness.Worker(contender, 1) as worker:
        return agreement.estimates(worker, harness.Contender("", "", variant), model, nets.MODELS[model][1])


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
    agreement.assert_agree(ours[model], found(contender, model, "checked"))

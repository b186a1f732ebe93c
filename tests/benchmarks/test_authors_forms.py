"""Contenders estimate the same by the authors' forms: ``python -m pytest tests/benchmarks/test_authors_forms.py``.

Not a default test.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import agreement
import authors_forms
import forms
import harness

CALLS = {"toy": 400, "belief net": 40}
PROBLEMS = [(model, estimator) for model in forms.MODELS for estimator in forms.ESTIMATORS]


def found(worker, contender, model, estimator):
    """Costs and projected gradients of some calls."""
    asked = authors_forms.asked(contender, estimator, " checked")
    return agreement.estimates(worker, asked, model, forms.MODELS[model], CALLS[model])


@pytest.fixture(scope="module", params=[authors_forms.JAX, authors_forms.TORCH], ids=lambda c: c.label)
def peer(request):
    """A peer, and its process."""
    reason = harness.missing(request.param)
    if reason:
        pytest.skip(reason)
    with harness.Worker(request.param, 1) as worker:
        yield worker, request.param


@pytest.fixture(scope="module")
def ours():
    """What scg finds."""
    with harness.Worker(authors_forms.OURS, 1) as worker:
        return {problem: found(worker, authors_forms.OURS, *problem) for problem in PROBLEMS}


@pytest.mark.parametrize("model, estimator", PROBLEMS)
def test_peers_estimate_what_ours_does(peer, model, estimator, ours):
    """The same means of cost and gradient, within five standard errors of their difference."""
    agreement.assert_agree(ours[model, estimator], found(*peer, model, estimator))

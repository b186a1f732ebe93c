"""Contenders compute the same thing: ``python -m pytest tests/benchmarks/test_contenders.py`` (not a default test)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "contenders"))

import handwritten
import harness
import ours
import toy


@pytest.mark.parametrize("baseline", toy.BASELINES)
@pytest.mark.parametrize("contender", harness.CONTENDERS, ids=lambda c: c.label)
def test_estimates_the_exact_gradient(contender, baseline):
    """Within five of the exact standard errors, at a million samples."""
    reason = harness.missing(contender)
    if reason or baseline not in contender.baselines:
        pytest.skip(reason or "no such variant")
    with harness.Worker(contender, 1) as worker:
        reply = worker.ask(contender, baseline, 1_000_000, seed=3)
    assert "error" not in reply, reply
    assert max(map(abs, toy.z_scores(reply["cost"], reply["grad"], 1_000_000, baseline))) < 5.0


@pytest.mark.parametrize("samples", [64, 9_984, 1_000_000])
@pytest.mark.parametrize("baseline, variant", [key for key in handwritten.KERNELS if key[1] != "replicates"])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_handwritten_kernels_compute_what_ours_do(backend, baseline, variant, samples):
    """The same noise and the same statistics, so the same numbers up to rounding."""
    cost, grad, stderr = handwritten.make(variant, baseline, samples, 2)(11)
    mine = ours.make("stderr", baseline, samples, 2, backend)(11)
    assert mine[:2] == pytest.approx((cost, grad), rel=1e-9)
    if stderr == stderr and (samples > toy.GROUP or variant == "moments"):  # one group, or no moments: none
        assert mine[2] == pytest.approx(stderr, rel=1e-6)


@pytest.mark.parametrize("baseline", toy.BASELINES)
def test_exact_standard_errors(baseline):
    """Those that contenders are held to are those that ours reports."""
    _, _, stderr = ours.make("stderr", baseline, 1_000_000, 1)(5)
    assert stderr == pytest.approx(toy.standard_errors(1_000_000, baseline)[1], rel=0.05)

"""An array without elements is drawn by nobody: no estimator is asked, whatever it asks of its site."""

from __future__ import annotations

import pytest

import scg


@pytest.mark.parametrize("estimator", [
    scg.ScoreFunction(scg.LeaveOneOut()), scg.Enumerate(), scg.LocalExpectation(), scg.SumAndSample(),
    scg.WithoutReplacement(), scg.StochasticTriple(), scg.RELAX(), scg.GumbelSoftmax(0.5), scg.PSA()], ids=str)
def test_the_cost_is_that_of_nothing(estimator):
    g = scg.Graph("nothing")
    t = g.param("t", 0)
    b = g.sample("b", scg.Bernoulli(logits=t))
    g.cost("c", b.sum() ** 2 + 1.0)
    f = scg.compile(g, strategy=estimator, backend="numpy")
    assert "no draws" in str(f.verdict["b"].reason)
    r = f({"t": []}, samples=3, rng=0)
    assert r.cost == 1.0 and r.grad["t"].shape == (0,)

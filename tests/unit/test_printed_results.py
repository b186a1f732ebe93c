"""What a result prints: every number with its standard error, and the notes."""

from __future__ import annotations

import numpy as np

import scg


def _graph():
    g = scg.Graph("printed")
    t, w, x = g.param("t"), g.param("w", 2), g.data("x")
    b = g.sample("b", scg.Bernoulli(logits=t * x))
    g.cost("c", b * w.sum() + t + g.param("v", (2, 3)).sum() * w[0])
    return g


VALUES = {"t": 0.5, "w": [1.0, 2.0], "v": np.ones((2, 3)), "x": [1.0, 2.0]}


def test_an_estimate():
    r = scg.compile(_graph(), backend="numpy", strategy=scg.ScoreFunction())(VALUES, samples=64, rng=7)
    (dw0, dw1), (e0, e1) = r.grad["w"], r.stderr["w"]
    assert repr(r).splitlines() == [
        "Estimate from 64 replicates of each of 2 rows, seed 7",
        f"  cost    {r.cost:.6g} ± {r.cost_stderr:.2g}",
        f"  grad t  {r.grad['t']:.6g} ± {r.stderr['t']:.2g}",
        f"  grad w  [{dw0:.6g} {dw1:.6g}] ± [{e0:.2g} {e1:.2g}]",
        "  grad v  (2, 3) from 1 to 1, ± 0 at most"]


def test_notes_are_lines_and_what_was_not_measured_is_not_said():
    f = scg.compile(_graph(), backend="numpy", strategy=scg.ScoreFunction())
    alone = repr(f({**VALUES, "x": [1.0]}, rng=7)).splitlines()
    assert alone[0] == "Estimate from one replicate (samples= says how many), seed 7" and "± nan" in alone[1]
    assert alone[-1] == "  note    one replicate: standard errors are not known"
    assert "±" not in repr(scg.compile(_graph(), backend="numpy", stderr=False)(VALUES, samples=4, rng=7))


def test_exact_values():
    assert repr(scg.exact(_graph(), {**VALUES, "t": 0.0})).splitlines() == [
        "Exact values, the mean over 2 rows", "  cost    7.5", "  grad t  2.125", "  grad w  [6.5 0.5]",
        "  grad v  (2, 3) from 1 to 1"]


def test_estimators_show_their_credit():
    """In their repr, and so in verdicts; what is not said is not shown."""
    for cls in (scg.DisARM, scg.ARM, scg.WeakDerivative, scg.ScoreFunction, scg.REBAR):
        assert "credit='elements'" in repr(cls(credit="elements")) and "credit" not in repr(cls())
    assert repr(scg.DisARM(credit="elements")) == str(scg.DisARM(credit="elements")) == "DisARM(credit='elements')"
    g = scg.Graph("shown")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t", 3)))
    g.cost("c", (b * b).sum())
    f = scg.compile(g, strategy=scg.DisARM(credit="elements"), backend="numpy")
    assert "credit='elements'" in str(f.verdict) and "credit='elements'" in f.explain()

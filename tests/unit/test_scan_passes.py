"""Scans merged and pruned: a program runs each of the user's loops forward once."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.ir.traverse import topological
from scg.laws.derivatives import leaf, value
from scg.ops.scan import begin, out
from scg.passes.outputs import program_of
from scg.passes.scans import merge_scans, prune_scans
from scg.rules.driver import rewrite
from tests.problems import PROBLEMS


def walk() -> scg.Graph:
    g = scg.Graph("walk")
    theta, steps = g.param("theta"), np.array([1.0, 2.0, 3.0])

    def step(carry, x):
        b = g.sample("b", scg.Bernoulli(logits=theta + 0.1 * carry["at"]))
        g.cost("tax", 0.1 * b * x)
        return {"n": carry["n"] + b, "at": carry["at"] + b * x}, b

    last, _ = g.scan(step, {"at": 0.0, "n": 0.0}, xs=steps)
    g.cost("end", (last["at"] - 3.0) ** 2 + last["n"])
    return g


def scans_of(roots):
    return [n for n in topological(roots) if n.op.name == "scan"]


@pytest.mark.parametrize("graph, record", [(walk(), ("b",)), (PROBLEMS["scan_4_steps"]().graph, ()),
                                           (PROBLEMS["normal_scan"]().graph, ())], ids=["walk", "finite", "normal"])
def test_a_loop_runs_forward_once(graph, record):
    for strategy in (None, scg.ScoreFunction()):
        program = program_of(derive(graph, strategy), "float64", True, record)
        for stage in (rewrite, merge_scans, prune_scans):
            program = program.rewritten(stage)
        directions = [n.attrs.reverse for n in scans_of([o.node for o in program.outputs])]
        assert directions.count(False) == 1 and directions.count(True) in (1, 2), directions


def test_a_carry_that_no_step_changes_is_its_first_value():
    first, start, xs = leaf("first", ()), leaf("start", ()), leaf("xs", (4,))
    o = begin(4, [first, start], [xs])
    scan = o.close(new_carries=(o.carries[0], o.carries[1] + o.carries[0] * o.xs[0]), ys=(o.carries[0] + o.xs[0],))
    roots = [out(scan, 0) * 2.0, out(scan, 1), out(scan, 2)]
    values = {"first": np.array(0.3), "start": np.array(-1.0), "xs": np.arange(4.0)}
    pruned = prune_scans(roots)
    (kept,) = scans_of(pruned)
    assert len(kept.attrs.carries) == 1 and pruned[0].args[0] is first
    for old, new in zip(roots, pruned):
        np.testing.assert_allclose(value(new, values), value(old, values), rtol=1e-14)
    (gone,) = prune_scans([out(scan, 0)])
    assert gone is first

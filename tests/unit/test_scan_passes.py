"""Scans merged and pruned: a program runs each of the user's loops forward once."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.ir.traverse import topological
from scg.laws.derivatives import leaf, value
from scg.ops.scan import begin, out, scan_op
from scg.passes import summed_steps
from scg.passes.outputs import program_of
from scg.passes.scans import merge_scans, prune_scans
from scg.rules.driver import rewrite
from scg.simplification import simplified
from tests.laws.checks.plain_kernels import run_by_python
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


def test_large_products_are_summed_behind_the_loop(monkeypatch):
    """The same gradients, and no carry for a weight's; one that steps read is left alone."""
    def graph() -> scg.Graph:
        g = scg.Graph("recurrent")
        w, u = g.param("w", (3, 3)), g.param("u", (3, 2))

        def step(carry, x):
            hidden, total = carry
            hidden = np.tanh(w @ hidden + u @ x + 0.1 * g.sample("z", scg.Normal(np.zeros(3), 1.0)))
            return (hidden, total + np.outer(hidden, x)), (hidden * total.sum(axis=1)).sum()

        (last, total), costs = g.scan(step, (np.full(3, 0.2), np.full((3, 2), 0.5)), xs=g.data("x", (4, 2)))
        g.cost("c", costs.sum() + (last**2).sum() + (total**2).sum())
        return g

    rng = np.random.default_rng(1)
    values = {"w": rng.normal(size=(3, 3)), "u": rng.normal(size=(3, 2)), "x": rng.normal(size=(2, 4, 2))}
    found = []
    for large in (1 << 20, 1):
        monkeypatch.setattr(summed_steps, "LARGE", large)
        f = scg.compile(graph(), backend="numpy")
        outputs = simplified(program_of(derive(graph()), "float64", True)).outputs
        scans = [n for n in topological([o.node for o in outputs]) if n.op is scan_op]
        found.append((f(values, samples=5, rng=2), sorted(c.shape for n in scans for c in n.attrs.carries)))
    (before, had), (after, has) = found
    for name in before.grad:
        np.testing.assert_allclose(after.grad[name], before.grad[name], rtol=1e-12)
        np.testing.assert_allclose(after.stderr[name], before.stderr[name], rtol=1e-10)
    assert (3, 3) in had and (3, 3) not in has and has.count((3, 2)) == had.count((3, 2)) - 1 > 0


def test_large_products_are_summed_behind_loops_in_loops(monkeypatch):
    """So the score of a chain's weights is one product: it is no carry of either loop."""
    def graph() -> scg.Graph:
        g = scg.Graph("network")
        w = g.param("w", (4, 4))

        def step(y):
            new = g.sample("y", scg.Bernoulli(logits=w @ y))
            g.cost("e", new.sum() ** 2)
            return new

        g.chain(step, init=np.ones(4), burn_in=2, horizon=14)
        return g

    def carried(roots) -> list[tuple[int, ...]]:
        scans = [n for n in topological(roots) if n.op is scan_op]
        return [shape for n in scans for shape in (*(c.shape for c in n.attrs.carries), *carried(n.attrs.outputs))]

    values, rule = {"w": np.random.default_rng(1).normal(size=(4, 4))}, scg.LikelihoodRatio(window=2)
    found = []
    for large in (1 << 20, 1):
        monkeypatch.setattr(summed_steps, "LARGE", large)
        outputs = simplified(program_of(derive(graph(), rule), "float64", False)).outputs
        found.append((scg.compile(graph(), strategy=rule, backend="numpy")(values, samples=9, rng=2),
                      carried([o.node for o in outputs])))
    (before, had), (after, has) = found
    np.testing.assert_allclose(after.grad["w"], before.grad["w"], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(after.stderr["w"], before.stderr["w"], rtol=1e-9)
    assert (4, 4) in had and (4, 4) not in has
    with run_by_python():
        kernel = scg.compile(graph(), strategy=rule, stderr=False)(values, samples=9, rng=2)
    np.testing.assert_allclose(kernel.grad["w"], before.grad["w"], rtol=1e-11, atol=1e-13)

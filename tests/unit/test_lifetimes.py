"""What is dropped is freed: graphs, their nodes and literals, and what was compiled of them."""

from __future__ import annotations

import gc
import weakref

import numpy as np

import scg
from scg.ir import node as nodes
from scg.ir.traverse import topological


def _graph(i: int) -> scg.Graph:
    g = scg.Graph(f"g{i}")
    x = g.param("x")
    b = g.sample("b", scg.Bernoulli(logits=x + float(i)))
    big = np.arange(1000.0) + i
    last, _ = g.scan(lambda c, _: (c * x + g.sample("s", scg.Bernoulli(logits=c)), None), b, length=3)
    g.cost("c", (b - 0.45) ** 2 * np.sum(big * x) + last)
    return g


def _left_by(action, times: int) -> int:
    action(0)
    gc.collect()
    before = len(nodes._table)
    for i in range(1, times + 1):
        action(i)
    gc.collect()
    return len(nodes._table) - before


def test_dropped_graphs_leave_no_nodes():
    assert _left_by(_graph, 500) <= 10


def test_dropped_estimators_leave_no_nodes():
    def compiled(i):
        f = scg.compile(_graph(i), backend="numpy")
        assert np.isfinite(f({"x": 0.1}, samples=4, rng=0).cost)

    assert _left_by(compiled, 20) <= 10


def test_a_dropped_graph_its_literal_and_its_estimator_are_freed():
    g = _graph(7)
    f = scg.compile(g, backend="numpy")
    f({"x": 0.1}, samples=4, rng=0)
    literal = next(n for n in topological(list(g.costs.values())) if n.op.name == "const" and n.shape)
    watched = [weakref.ref(o) for o in (g, f, literal, g.costs["c"])]
    del g, f, literal
    gc.collect()
    assert [ref() for ref in watched] == [None] * 4


def test_a_graph_at_the_address_of_a_dropped_one_has_leaves_of_its_own():
    for i in range(200):
        g = scg.Graph(f"again {i}")
        assert g.param("x").owner is g

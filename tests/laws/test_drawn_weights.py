"""Draws that all rows share and that rows are multiplied by: kernels take one replicate after another.

Every product is made a matrix product. What Python makes of a plan, and of a kernel's text, is what the reference makes
of it; rows come in tiles, of which the last is short; compiled kernels give the same bits on any number of workers.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.passes.outputs import program_of
from scg.schedule import language as lang
from scg.schedule import plan, products, whole
from scg.schedule.check import faults
from scg.simplification import simplified
from tests.laws.checks import loops
from tests.laws.checks.plain_kernels import run_by_python

TYPES = ("float64", "float32")


@pytest.fixture(autouse=True)
def _all_large(monkeypatch):
    """Whatever its size, a product is a matrix product, and a tile has few rows."""
    monkeypatch.setattr(products, "LEAST", 1)
    monkeypatch.setattr(whole, "PRODUCTS", 64)
    monkeypatch.setattr(whole, "WIDEST", 64)
    monkeypatch.setattr(whole, "WIDE", 64)


def drawn(g: scg.Graph, name: str, *shape: int, estimator=None) -> scg.Node:
    """Weights with a normal law."""
    law = scg.Normal(g.param(f"{name} loc", shape), np.exp(g.param(f"{name} scale", shape)))
    return g.sample(name, law, estimator=estimator or scg.Pathwise())


def layer(g: scg.Graph) -> scg.Node:
    """A Bayesian layer, whose bias is a param."""
    logits = drawn(g, "w", 3, 5) @ g.data("x", 5) + g.param("b", 3)
    return np.sum((np.tanh(logits) - g.data("y", 3)) ** 2)


def layers(g: scg.Graph) -> scg.Node:
    """Two layers, weights on either side, the first ones used twice, and drawn biases."""
    w, x = drawn(g, "w", 5, 3), g.data("x", 5)
    hidden = np.tanh(x @ w + drawn(g, "b", 3))
    return np.sum((x - w @ (drawn(g, "v", 3, 3) @ hidden)) ** 2) + np.sum(w * w)


def first_by_row(g: scg.Graph) -> scg.Node:
    """A layer of params before one that is drawn, of matrices and in stacks."""
    hidden = np.tanh(g.param("u", (3, 5)) @ g.data("x", (5, 2)))
    return np.sum(np.sin(drawn(g, "w", 2, 4, 3) @ hidden)) + np.sum(drawn(g, "v", 4, 3) @ hidden)


def from_one(g: scg.Graph) -> scg.Node:
    """A draw of one number scales the weights, and others come of its complement."""
    w = g.param("m", (3, 5)) * drawn(g, "s") + g.param("n", (3, 5))
    return np.sum(np.tanh(w @ g.data("x", 5))) + np.sum(drawn(g, "w", 3, 5) @ g.data("y", 5))


def compared(g: scg.Graph) -> scg.Node:
    """Scores, weighed by costs less the others' mean; some costs are the same in all rows."""
    w = drawn(g, "w", 6, 12, estimator=scg.ScoreFunction(scg.LeaveOneOut()))
    v = drawn(g, "v", 1, 6, estimator=scg.ScoreFunction(scg.LeaveOneOut()))
    g.cost("prior", np.sum(v * v))
    g.cost("weights", np.sum(w * w))
    return np.sum(np.tanh(v @ (w @ g.data("x", 12)))) + np.sum(np.tanh(w @ g.data("y", 12)))


def noisy(g: scg.Graph) -> scg.Node:
    """A draw of each row beside weights that all share, and one behind these."""
    z = g.sample("z", scg.Normal(g.data("x", 5), np.exp(g.param("s", 5))), estimator=scg.Pathwise())
    hidden = drawn(g, "w", 3, 5) @ z
    return np.sum(np.tanh(g.sample("y", scg.Exponential(np.exp(hidden)), estimator=scg.Pathwise())))


NETS = {f.__name__: f for f in (layer, layers, first_by_row, from_one, compared, noisy)}


def graph_of(net, rows: int) -> tuple[scg.Graph, dict]:
    """A net, and values for it."""
    g, rng = scg.Graph("net"), np.random.default_rng(7)
    g.cost("c", net(g))
    values = {name: 0.5 * rng.normal(size=leaf.shape) for name, leaf in g.params.items()}
    return g, values | {name: rng.normal(size=(rows, *leaf.shape)) for name, leaf in g.rows.items()}


def kernel_of(g: scg.Graph, dtype: str) -> lang.Kernel:
    """The plan of its estimator."""
    return plan(simplified(program_of(derive(g), dtype, True, ())))


@pytest.mark.parametrize("net, dtype, rows", [(net, dtype, rows) for net in NETS for dtype, rows in zip(TYPES, (7, 1))])
def test_plans_and_texts_are_what_the_reference_computes(net, dtype, rows, monkeypatch):
    monkeypatch.setitem(sys.modules, "scg_loops", SimpleNamespace(compile=loops.HeldToReference))
    g, values = graph_of(NETS[net], rows)
    kernel = kernel_of(g, dtype)
    assert kernel.one_by_one and faults(kernel) == []
    right = scg.compile(g, backend="loops", dtype=dtype)(values, samples=3, rng=3)
    with run_by_python():
        found = scg.compile(g, dtype=dtype)(values, samples=3, rng=3)
    tolerance = 1e-9 if dtype == "float64" else 3e-4
    for name in right.grad:
        np.testing.assert_allclose(found.grad[name], right.grad[name], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(found.stderr[name], right.stderr[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [pytest.param("float64", marks=pytest.mark.full), "float32"])
@pytest.mark.parametrize("net", [layers, compared, pytest.param(noisy, marks=pytest.mark.full)])
def test_compiled_kernels_are_what_the_reference_computes(net, dtype):
    """Rows in several tiles, the last one short; the same bits on any number of workers; replicates by themselves."""
    g, values = graph_of(net, 150)
    f, reference = (scg.compile(g, dtype=dtype, backend=backend) for backend in ("numba", "numpy"))
    assert "for each tile of rows" in f.schedule
    object.__setattr__(f._layout, "chunk_lanes", 64)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    for samples in (1, 2, 130) if net is layers else (2, 130):
        here, right = (made(values, samples=samples, rng=5) for made in (f, reference))
        for name in here.grad:
            np.testing.assert_allclose(here.grad[name], right.grad[name], rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(here.stderr[name], right.stderr[name], rtol=tolerance, atol=tolerance)
    for workers in (1, 2, 7):
        with ThreadPoolExecutor(workers) as pool:
            found = f(values, samples=130, rng=5, executor=pool)
        for name in here.grad:
            np.testing.assert_array_equal(found.grad[name], here.grad[name])


def test_lanes_are_replicates_where_draws_are_discrete():
    def discrete(g: scg.Graph) -> scg.Node:
        b = g.sample("b", scg.Bernoulli(logits=g.param("l", 5)), estimator=scg.ScoreFunction(baseline=None))
        return np.sum((drawn(g, "w", 3, 5) * b) @ g.data("x", 5))

    assert not kernel_of(graph_of(discrete, 2)[0], "float64").one_by_one

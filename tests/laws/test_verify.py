"""`scg.verify` is a proof of the kernel: what is planted in an emitter, in a kernel or in its draws makes it fail."""

from __future__ import annotations

import numpy as np
import pytest
from scg_numba import spelling

import scg
from scg.ir.op import OPS
from tests.problems import PROBLEMS, finite_problems


def net():
    """A graph with many kinds of ops between two sites and a cost."""
    g = scg.Graph("net")
    w, v = g.param("w", 2), g.param("v")
    h = g.sample("h", scg.Bernoulli(logits=w))
    y = g.sample("y", scg.Bernoulli(probs=scg.sigmoid(np.maximum(h @ w, 0.1) - v)))
    g.cost("c", np.tanh(y - v * h[0]) + np.minimum(h.sum(), 1.5) * y)
    return g


VALUES = {"w": np.array([0.3, -0.4]), "v": 0.7}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.full)])
def test_a_right_kernel_passes(backend, dtype):
    strategy = scg.ScoreFunction() if (backend, dtype) == ("numba", "float32") else None  # a shorter kernel will do
    v = scg.verify(scg.compile(net(), strategy=strategy, backend=backend, dtype=dtype), VALUES)
    assert v.passed and v.false_alarm == 0.0 and v.max_error < (1e-12 if dtype == "float64" else 1e-5)
    assert v.method.startswith(f"exact law: the {backend} kernel fed") and "calls agree" in v.method


@pytest.mark.by_python(by_python=True)
@pytest.mark.parametrize("op, wrong, by_python", [
    ("tanh", "(0.5 * {0})", False), ("maximum", "({0} if {0} <= {1} else {1})", True), ("sub", "({0} + {1})", True),
    ("mul", "({0} * {1} * 1.001)", True)])
def test_a_wrong_op_of_the_emitter_is_caught(op, wrong, by_python, monkeypatch):
    """The reference computes the op by its NumPy value; only kernels have its scalar source, or a template for it."""
    right = OPS[op].source
    object.__setattr__(OPS[op], "source", wrong)
    if OPS[op] in spelling.TEMPLATES:
        monkeypatch.setitem(spelling.TEMPLATES, OPS[op], wrong)
    monkeypatch.setattr(spelling, "source_of", spelling.source_of.__wrapped__)  # which remembers
    try:
        f = scg.compile(net(), strategy=scg.ScoreFunction(), stderr=False)
        found = scg.verify(f, VALUES)
    finally:
        object.__setattr__(OPS[op], "source", right)
    assert found.passed is False and found.max_error > 1e-5, found
    assert scg.verify(scg.compile(net(), backend="numpy"), VALUES).passed


class Wrong:
    """A kernel that is not the one that the surrogate is compiled to."""

    def __init__(self, kernel, change):
        self.kernel, self.change = kernel, change

    def run(self, call, chunk):
        return self.change(self.kernel, call, chunk)


def other_values(kernel, call, chunk):
    return kernel.run(call._replace(arrays=(call.arrays[0], call.arrays[1] * 1.01, *call.arrays[2:])), chunk)


def other_noise(kernel, call, chunk):
    return kernel.run(call._replace(seed=call.seed + 1), chunk)


@pytest.mark.parametrize("change", [other_values, other_noise])
def test_the_proof_is_of_the_kernel_that_is_called(change):
    """One whose noise is not that of its seed is no estimator that a seed could repeat."""
    f = scg.compile(net(), backend="numpy")
    f._calls.kernel = Wrong(f._calls.kernel, change)
    found = scg.verify(f, VALUES)
    assert found.passed is False and "do not agree" in found.method


@pytest.mark.parametrize("name", finite_problems())
def test_every_finite_problem(name):
    p = PROBLEMS[name]()
    for strategy in (None, scg.ScoreFunction(scg.MovingAverage()), scg.ScoreFunction(scg.LeaveOneOut(group=2))):
        v = scg.verify(scg.compile(p.graph, strategy=strategy, backend="numpy"), p.values)
        assert v.passed and "calls agree" in v.method, v


def test_only_what_is_differentiated_is_compared():
    f = scg.compile(net(), wrt=("v",), backend="numpy")
    assert scg.verify(f, VALUES).passed
    assert scg.verify(scg.compile(net(), wrt=(), backend="numpy"), VALUES).passed


def test_what_cannot_be_told():
    g = scg.Graph("many")
    z = g.sample("z", scg.Normal(loc=g.param("m"), scale=1.0), shape=5)
    g.cost("c", (z**2).sum())
    assert scg.verify(scg.compile(g, backend="numpy"), {"m": 0.3}).passed is None
    g = scg.Graph("edge")
    p = g.param("p")
    g.cost("c", 1.0 * g.sample("b", scg.Bernoulli(probs=p)))
    found = scg.verify(scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy"), {"p": 0.0})
    assert not found.passed  # the call is refused, or the score is infinite


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.Enumerate()], ids=str)
def test_what_rounding_leaves_of_an_element_is_no_error(strategy):
    """The third weight of a softmax has no say in the odds of the first two: its derivative is 1e-17, or 0."""
    g = scg.Graph("odds")
    a = g.param("a", 3)
    p = np.exp(a) / np.exp(a).sum()
    g.cost("c", (g.sample("b", scg.Bernoulli(probs=p[0] / (p[0] + p[1]))) - 0.45) ** 2)
    found = scg.verify(scg.compile(g, strategy=strategy, backend="numpy"), {"a": [0.3, -0.2, 0.5]})
    assert found.passed and found.max_error < 1e-16

"""What is dropped is freed: graphs, their nodes and literals, and what was compiled of them."""

from __future__ import annotations

import gc
import pickle
import sys
import weakref

import numpy as np
import pytest
import scg_numba

import scg
from scg.derive import derive
from scg.ir import node as nodes
from scg.ir.traverse import topological
from scg.passes.outputs import program_of
from scg.simplification import simplified

pytestmark = pytest.mark.optimised


@pytest.fixture(autouse=True)
def _what_earlier_tests_left_is_not_looked_through():
    """Collections are of what is made here: there is much else."""
    gc.freeze()
    yield
    gc.unfreeze()


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


def _refused(action) -> str:
    with pytest.raises(scg.SCGError) as caught:
        action()
    return str(caught.value)


VALUES = {"t": [0.1, 0.2, 0.3]}
LOOKS = {
    "compile": lambda g: scg.compile(g, backend="numpy").source,
    "call": lambda g: scg.compile(g, backend="numpy")(VALUES, samples=4, rng=0, record=("k", "n")),
    "other estimators": lambda g: scg.compile(g, backend="numpy", strategy=scg.LocalExpectation())(VALUES, rng=0),
    "kernel": lambda g: scg_numba.compile(simplified(program_of(derive(g), "float64", True))).source,
    "explain": lambda g: scg.compile(g, backend="numpy").explain(),
    "sympy": lambda g: (g.surrogate().sympy(), g.surrogate().sympy(expand=True), g.surrogate().gradient("t")),
    "latex": lambda g: (g.surrogate().latex(), g.surrogate().latex(expand=True)),
    "text": lambda g: (str(g), repr(g), str(g.surrogate()), g.surrogate().incidence),
    "exact": lambda g: scg.exact(g, VALUES),
    "verify": lambda g: scg.verify(scg.compile(g, backend="numpy"), VALUES),
    "networkx": lambda g: g.to_networkx(),
    "pickle": lambda g: (pickle.loads(pickle.dumps(g)), pickle.loads(pickle.dumps(scg.compile(g, backend="numpy")))),
    "errors": lambda g: [_refused(lambda: g.node("k", 1.0)), _refused(lambda: g.costs["c"][5]),
                         _refused(lambda: float(g.costs["c"])), _refused(lambda: g.surrogate(scg.Pathwise())),
                         _refused(lambda: g.surrogate(scg.ScoreFunction(baseline=scg.Expression(g.nodes["k"]))))],
}


def _with_a_loop(i: int) -> scg.Graph:
    """Its literals are nobody else's: equal ones are one node, which another graph keeps."""
    g, i = scg.Graph("looked at"), 0.7312 * i + 0.0137
    t, w = g.param("t", 3), g.node("w", np.arange(200.0) + i)
    k = g.sample("k", scg.Categorical(logits=t))

    def step(c, x):
        z = g.sample("z", scg.Bernoulli(logits=t[0] + i * c))
        g.node("n", 2.0 * z)
        g.cost("in", z * x)
        return c + z, z

    last, _ = g.scan(step, 0.0, xs=np.array([1.0, 2.0]) + i)
    g.cost("c", last * w.sum() * 1e-3 + scg.take(np.array([1.0, 2.0, 3.0]) + i, k) * t[1])
    return g


@pytest.mark.parametrize("name", LOOKS)
def test_whatever_looks_at_a_graph_keeps_nothing_of_it(name):
    LOOKS[name](_with_a_loop(0))  # what is imported when it is first needed
    g = _with_a_loop(1)
    outer = topological(list(g.costs.values()))
    inner = topological([n for s in outer if s.op.name == "scan" for n in s.attrs.outputs])
    # numbers like 0.0 and the leaves of a loop's body are those of other graphs, too
    own = [n for n in (*outer, *inner) if n.op.name != "placeholder" and (n.op.name != "const" or n.size > 1)]
    watched = [weakref.ref(o) for o in (g, *own, *(n.attrs.array for n in own if n.op.name == "const"))]
    LOOKS[name](g)
    del g, outer, inner, own
    gc.collect()
    assert not [repr(ref()) for ref in watched if ref() is not None]


def test_a_graph_at_the_address_of_a_dropped_one_has_leaves_of_its_own():
    for i in range(200):
        g = scg.Graph(f"again {i}")
        assert g.param("x").owner is g


def _kernel(i: int):
    g = scg.Graph("kernel")
    x = g.param("x")
    b = g.sample("b", scg.Bernoulli(logits=x))
    g.cost("c", (b - 0.25 * i) ** 2)
    return scg.compile(g, strategy=scg.ScoreFunction())


def _watched(f) -> list[weakref.ref]:
    """What a kernel that was called holds: its module, its function, the machine code, the arrays that it works in."""
    kernel = f._kernel
    compiled = next(iter(kernel.function.overloads.values()))
    return [weakref.ref(o) for o in (kernel, kernel.module, kernel.function, compiled.library, kernel._workspace)]


def test_dropped_kernels_are_freed():
    watched, names = [], []
    for i in range(3):
        f = _kernel(i)
        f({"x": 0.1}, samples=4, rng=0)
        names.append(f._kernel.module.__name__)
        assert names[-1] in sys.modules
        watched += _watched(f)
        del f
    gc.collect()
    assert not [repr(ref()) for ref in watched if ref() is not None]
    assert not set(names) & sys.modules.keys()


def test_kernels_of_one_text_share_a_module_that_lives_as_long_as_one_of_them():
    f, g = _kernel(0), _kernel(0)
    before = f({"x": 0.1}, samples=4, rng=0)
    assert f._kernel.module is g._kernel.module
    name = f._kernel.module.__name__
    del f
    gc.collect()
    assert g({"x": 0.1}, samples=4, rng=0).cost == before.cost
    again = pickle.loads(pickle.dumps(g))
    assert again({"x": 0.1}, samples=4, rng=0).cost == before.cost
    assert again._kernel.module is g._kernel.module
    del g
    gc.collect()
    assert np.isfinite(again({"x": np.float32(0.1)}, samples=4, rng=1).cost)
    del again
    gc.collect()
    assert name not in sys.modules
    assert _kernel(0)({"x": 0.1}, samples=4, rng=0).cost == before.cost

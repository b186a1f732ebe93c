"""Graphs of thousands of nodes: no pass, printer or backend recurses over them, and what is done grows as they do.

Kernels write long straight-line code as tables of statements (`scg.schedule.tables`). Here tables are forced on small
problems too, and must compute what the written-out code does.
"""

from __future__ import annotations

import copy
import cProfile
import inspect
import pickle
import sys

import numpy as np
import pytest
import scg_numba
import sympy

import scg
from scg.derive import derive
from scg.ir.traverse import topological
from scg.passes.outputs import program_of
from scg.rules import driver
from scg.rules.driver import rewrite
from scg.schedule import tables
from scg.simplification import simplified
from tests.problems import PROBLEMS
from tests.strategies import STRATEGIES

LENGTH = 1500


def _tanh_chain(length: int) -> scg.Graph:
    g = scg.Graph("chain")
    h = g.param("x")
    for _ in range(length):
        h = np.tanh(h * 1.01 + 0.1)
    g.cost("c", h)
    return g


def _tanh_by_hand(x: float, length: int) -> tuple[float, float]:
    slope = 1.0
    for _ in range(length):
        x = np.tanh(x * 1.01 + 0.1)
        slope *= 1.01 * (1.0 - x * x)
    return x, slope


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_chain_of_thousands(backend):
    f = scg.compile(_tanh_chain(LENGTH), backend=backend)
    r = f({"x": 0.3}, rng=0)
    value, slope = _tanh_by_hand(0.3, LENGTH)
    assert np.isclose(r.cost, value, rtol=1e-12)
    assert np.isclose(r.grad["x"], slope, rtol=1e-9, atol=1e-300)
    again = pickle.loads(pickle.dumps(f))
    assert again({"x": 0.3}, rng=0).cost == r.cost
    assert len(f.source) < 1000 * LENGTH


@pytest.mark.by_python
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_long_sum_of_parts(backend):
    g = scg.Graph("parts")
    y, total = g.param("y", 600), 0.0
    for i in range(600):
        total = total + y[i] ** 2
    g.cost("c", total)
    values = np.linspace(-1.0, 2.0, 600)
    r = scg.compile(g, backend=backend)({"y": values}, rng=0)
    assert np.isclose(r.cost, np.sum(values**2), rtol=1e-12)
    assert np.allclose(r.grad["y"], 2.0 * values, rtol=1e-12)


def _mixed(length: int) -> scg.Graph:
    """A walk that compares, chooses, looks up and indexes on its way, below a sample."""
    g = scg.Graph("mixed")
    x, table = g.param("x"), g.input("table", 3)
    h = g.sample("b", scg.Bernoulli(logits=x)) + 0.1
    for i in range(length):
        k = scg.floor(np.clip(3.0 * np.abs(h), 0.0, 2.0))
        step = scg.where(h < 0.4, table[i % 3], table[k])
        h = 0.9 * h + 0.2 * np.sin(step) - 0.1 * (h > 0.7)
    g.cost("c", h**2)
    return g


def _mixed_by_hand(b: float, table: np.ndarray, length: int) -> float:
    h = b + 0.1
    for i in range(length):
        k = int(np.floor(np.clip(3.0 * abs(h), 0.0, 2.0)))
        step = table[i % 3] if h < 0.4 else table[k]
        h = 0.9 * h + 0.2 * np.sin(step) - 0.1 * (h > 0.7)
    return h * h


@pytest.mark.by_python(dtype="float64")
@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-11), ("float32", 1e-4)])
def test_a_long_walk_with_choices_in_every_replicate(dtype, rtol):
    g, values = _mixed(150), {"x": 0.2, "table": np.array([0.3, -0.4, 0.8])}
    f = scg.compile(g, dtype=dtype, strategy=scg.ScoreFunction(), stderr=False)
    assert "s_ in range" in f.source  # it is long enough to be a table
    r = f(values, samples=70, rng=1, record=("b",))
    costs = [_mixed_by_hand(b, values["table"], 150) for b in np.ravel(r.record["b"])]
    assert np.isclose(r.cost, np.mean(costs), rtol=rtol)


@pytest.mark.by_python(dtype="float64")
@pytest.mark.parametrize("name, label, dtype", [
    ("rows", "policy", "float64"), ("truths_in_scan", "score", "float64"),
    pytest.param("two_layer_net", "score", "float32", marks=pytest.mark.full)])
def test_tables_compute_what_written_out_code_does(name, label, dtype, monkeypatch):
    p, options = PROBLEMS[name](), {"strategy": STRATEGIES[label], "dtype": dtype, "stderr": name != "two_layer_net"}
    plain = scg.compile(p.graph, **options)(p.values, samples=70, rng=3)
    monkeypatch.setattr(tables, "LONGEST", 8)
    f = scg.compile(p.graph, **options)
    assert "s_ in range" in f.source
    r = f(p.values, samples=70, rng=3)
    rtol, atol = (1e-9, 1e-12) if dtype == "float64" else (1e-3, 1e-5)
    assert np.isclose(r.cost, plain.cost, rtol=rtol)
    for param, g in plain.grad.items():
        assert np.allclose(r.grad[param], g, rtol=rtol, atol=atol)


def test_views_of_deep_graphs():
    g = _tanh_chain(LENGTH)
    f = scg.compile(g, backend="numpy")
    assert all(text.count("tanh") >= LENGTH and len(text) < 40 * LENGTH for text in (str(g), str(f.surrogate)))
    assert len(f.explain()) < 10_000
    assert g.to_networkx().number_of_nodes() >= 1


def _exploding(times: int) -> scg.Graph:
    g = scg.Graph("shared")
    x = g.param("x")
    b = x = g.sample("b", scg.Bernoulli(logits=x))
    for _ in range(times):
        x = np.sin(x) + 0.1 * x
    g.cost("c", x + b)
    return g


def test_text_of_what_is_shared_does_not_explode():
    """As a tree this graph has 2⁶⁰ nodes."""
    g = _exploding(60)
    f = scg.compile(g, backend="numpy", strategy=scg.ScoreFunction())
    assert f({"x": 0.3}, samples=4, rng=0).seed == 0
    for text in (f.explain(), str(f.surrogate), repr(f.surrogate.terms[0]), f.surrogate.latex(), repr(g.costs["c"])):
        assert len(text) < 10_000
    with pytest.raises(scg.SCGError) as error:
        scg.where(g.costs["c"] < 1.0, 1.0, 0.0)[g.costs["c"]]
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("view", [lambda s: s.latex(expand=True), lambda s: s.sympy(True), lambda s: s.gradient("x")])
def test_formulas_grow_with_the_graph(view):
    """What is used twice is written once."""
    short, long = (len(str(view(_exploding(times).surrogate(scg.ScoreFunction())))) for times in (12, 36))
    assert long < 5 * short


def test_a_deep_formula_can_be_printed():
    """Within Python's own limit of recursion."""
    g = scg.Graph("deep")
    h = g.param("x")
    for _ in range(300):
        h = np.abs(np.sin(h))
    g.cost("c", h)
    s = g.surrogate()
    written = f"{s.sympy()} {s.definitions}"
    assert written.count("sin") == 300 and sympy.latex(s.sympy()) and str(sympy.diff(s.sympy(), "x"))


def _alone(sites: int) -> scg.Graph:
    g = scg.Graph("alone")
    t = g.param("t")
    for i in range(sites):
        g.cost(f"c{i}", (g.sample(f"b{i}", scg.Bernoulli(logits=t)) - 0.45) ** 2)
    return g


VIEWS = {
    "latex": lambda n: _alone(n).surrogate().latex(), "text": lambda n: str(_alone(n).surrogate()),
    "sympy": lambda n: _alone(n).surrogate().sympy(), "networkx": lambda n: _alone(n).to_networkx(),
    "explain": lambda n: scg.compile(_alone(n), backend="numpy").explain(),
    **{str(s): lambda n, s=s: derive(_alone(n), s) for s in (scg.WeakDerivative(), scg.MuProp())},
}


@pytest.mark.parametrize("name", VIEWS)
def test_twice_the_sites_take_twice_the_work(name):
    """In functions that are called: it depends on no other work of the machine."""
    VIEWS[name](3)
    counts = []
    for sites in (20, 40):
        profile = cProfile.Profile()
        profile.runcall(VIEWS[name], sites)
        counts.append(sum(entry.callcount for entry in profile.getstats()))
    assert counts[1] < 2.4 * counts[0], counts


def test_formulas_of_long_sums():
    """What is long but flat is a formula like any other."""
    g = scg.Graph("long")
    x, total = g.param("x"), 0.0
    for i in range(300):
        total = total + (i + 1.0) * x
    g.cost("c", total)
    assert str(g.surrogate().sympy()) == "45150*x"


# --- recursion -------------------------------------------------------------------------------------------------------
ROOM = 400  # frames that are left, where there are 1800 nodes: a walk that recurses takes at least one for each


def _below(length: int) -> scg.Graph:
    g = scg.Graph("below")
    h = g.sample("s", scg.Bernoulli(logits=g.param("x")))
    for _ in range(length):
        h = np.tanh(h * 1.01 + 0.1)
    g.cost("c", h)
    return g


def _long_step(length: int) -> scg.Graph:
    g = scg.Graph("long step")

    def step(c, _):
        h = c
        for _ in range(length):
            h = np.tanh(h * 1.01 + 0.1)
        return h + g.sample("s", scg.Bernoulli(logits=c)), h

    _, ys = g.scan(step, g.param("x"), length=2)
    g.cost("c", np.sum(ys))
    return g


def _not_finite(length: int) -> scg.Graph:
    g = scg.Graph("not finite")
    h = g.param("x")
    for i in range(length):
        h = np.log(h) if i == length // 2 else 1.001 * h
    g.cost("c", h)
    return g


def _run(graph: scg.Graph, x: float = 0.3, strategy: scg.Estimator | None = None) -> float:
    return scg.compile(graph, backend="numpy", strategy=strategy)({"x": x}, samples=4, rng=0).cost


def _that_fails(graph: scg.Graph) -> str:
    with pytest.raises(scg.NonFiniteError) as error:
        _run(graph, -1.0)
    return str(error.value)


DEEP = {
    "compile": lambda n: _run(_below(n)),
    "paths": lambda n: _run(_tanh_chain(n)),
    "mean field": lambda n: _run(_below(n), strategy=scg.MuProp()),
    "replays": lambda n: _run(_below(n), strategy=scg.WeakDerivative()),
    "summed out": lambda n: _run(_below(n), strategy=scg.Enumerate()),
    "exact": lambda n: scg.exact(_below(n), {"x": 0.3}),
    "verify": lambda n: scg.verify(scg.compile(_below(n), backend="numpy"), {"x": 0.3}),
    "pickle": lambda n: pickle.loads(pickle.dumps(scg.compile(_below(n), backend="numpy"))),
    "deepcopy": lambda n: copy.deepcopy(scg.compile(_below(n), backend="numpy")),
    "text": lambda n: [str(_below(n)), str(_below(n).surrogate()), repr(_below(n).costs["c"]),
                       scg.compile(_below(n), backend="numpy").explain(), _below(n).surrogate().latex()],
    "networkx": lambda n: _below(n).to_networkx(),
    "kernel": lambda n: scg_numba.compile(simplified(program_of(derive(_below(n)), "float64", True))).source,
    "a long step": lambda n: _run(_long_step(n // 4)),
    "not finite": lambda n: _that_fails(_not_finite(n)),
}


@pytest.mark.parametrize("name", DEEP)
def test_nothing_recurses_over_nodes(name):
    DEEP[name](3)  # what is imported when it is first needed
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + ROOM)
    try:
        DEEP[name](600)
    finally:
        sys.setrecursionlimit(limit)


# --- how often nodes are looked at -----------------------------------------------------------------------------------
def _scored(sites: int) -> scg.Graph:
    g = scg.Graph("scored")
    theta, s = g.param("theta"), 0.0
    for t in range(sites):
        b = g.sample(f"b{t}", scg.Bernoulli(logits=theta + 0.1 * s))
        s = 0.5 * s + b
    g.cost("c", s * s)
    return g


def _walk(steps: int, draw, every_step: bool = False) -> scg.Graph:
    """Draws that each move the next one, with a cost of the last state or one of every state."""
    g = scg.Graph("walk")
    theta, s = g.param("theta"), 0.0
    for t in range(steps):
        s = 0.5 * s + g.sample(f"b{t}", draw(t, theta + 0.1 * s))
        if every_step or t == steps - 1:
            g.cost(f"c{t}", s * s)
    return g


def _bernoulli(t, x):
    return scg.Bernoulli(logits=x)


def _normal(t, x):
    return scg.Normal(loc=x, scale=1.0)


def _either(t, x):
    return _normal(t, x) if t % 2 else _bernoulli(t, x)


def _guarded(steps: int) -> scg.Graph:
    """A path along which rules and verdicts have to know ranges: products with 0, exp of log, divisions."""
    g = scg.Graph("guarded")
    h = g.sample("s", scg.Normal(loc=g.param("x"), scale=1.0))
    for _ in range(steps):
        h = np.exp(np.log(np.abs(h) + 1.0)) + 0.0 * h + np.sqrt(h * h + 1.0) / (h * h + 2.0)
    g.cost("c", h)
    return g


WALKS = {
    "a cost": lambda n: _walk(n, _bernoulli), "costs": lambda n: _walk(n, _bernoulli, True),
    "paths": lambda n: _walk(n, _normal), "paths to costs": lambda n: _walk(n, _normal, True),
    "both": lambda n: _walk(n, _either, True), "gamma": lambda n: _walk(n, lambda t, x: scg.Gamma(
        concentration=np.exp(x), rate=1.0)), "guarded": _guarded, "tanh": _tanh_chain}


def _calls(make, steps: int) -> dict[str, int]:
    """How many functions are called in each part of a compilation: it depends on no other work of the machine."""
    counts, graph = {}, make(steps)

    def counted(part, run):
        profile = cProfile.Profile()
        result = profile.runcall(run)
        counts[part] = sum(entry.callcount for entry in profile.getstats())
        return result

    found = counted("derive", lambda: derive(graph))
    program = counted("program", lambda: program_of(found, "float64", True))
    program = counted("simplify", lambda: simplified(program))
    counted("text", lambda: scg_numba.compile(program))
    return counts


@pytest.mark.parametrize("name", WALKS)
def test_twice_the_graph_takes_twice_the_work(name):
    _calls(WALKS[name], 3)  # what is imported when it is first needed
    few, many = _calls(WALKS[name], 20), _calls(WALKS[name], 40)
    for part, count in few.items():
        most = 3.0 if part == "text" else 2.3  # long texts are written as tables, which takes more
        assert many[part] < most * count, (part, count, many[part])


def test_sums_of_downstream_costs_share_the_later_ones():
    """T sites with T costs have of the order of T additions, not of T²."""

    def additions(steps: int) -> int:
        draft = derive(_walk(steps, _bernoulli, True), scg.ScoreFunction()).draft
        costs = {c.id for c in draft.costs.values()}
        added = [n for n in topological([t.node for t in draft.terms]) if n.op.name == "add"]
        return sum(any(a.id in costs for a in n.args) for n in added)

    assert additions(10) == 9 and additions(40) == 39


def _looks(sites: int, monkeypatch) -> tuple[int, int]:
    count = [0]
    step = driver.step

    def counted(node, **options):
        count[0] += 1
        return step(node, **options)

    program = program_of(derive(_scored(sites), scg.ScoreFunction()), "float64", True)
    with monkeypatch.context() as m:
        m.setattr(driver, "step", counted)
        roots = rewrite([o.node for o in program.outputs])
    assert [n.id for n in rewrite(roots)] == [n.id for n in roots]
    return count[0], len(topological([o.node for o in program.outputs]))


def test_rules_look_at_every_node_once(monkeypatch):
    (few, nodes), (many, _) = _looks(40, monkeypatch), _looks(80, monkeypatch)
    assert few < 3 * nodes
    assert many <= 2.2 * few

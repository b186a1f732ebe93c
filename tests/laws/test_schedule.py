"""The loop language says all that a kernel does: Python runs it, and it is what the reference computes.

A few programs have every kind of statement, place and expression that there is. `scg.schedule.check` finds nothing
wrong with any plan, and finds what is planted.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import scg
from scg.derive import derive
from scg.expectation.law import expected_by_kernel
from scg.function import function_of
from scg.passes.outputs import fed_program, program_of
from scg.schedule import language as lang
from scg.schedule import measured, plan, printed, tables
from scg.schedule.check import faults
from scg.simplification import simplified
from tests.laws.checks import loops
from tests.laws.simulated import called, folded, swing
from tests.problems import PROBLEMS
from tests.refused import refusal
from tests.strategies import STRATEGIES

# Programs that have every kind between them
PLANNED = [("truths_in_scan", "score", "float32"), ("bernoulli_toy", "policy", "float64"),
           ("bernoulli_toy", "score", "float64"), ("categorical_toy", "score", "float32"),
           ("data_beside", "policy", "float64"), ("deterministic", "policy", "float64"),
           ("unrolled_2_steps", "enumerate", "float64"), ("shared_weights", "score", "float64"),
           ("gamma_rate", "policy", "float32"), ("rows", "policy", "float64")]
MANY = np.arange(1.0, 21.0)


def many_values(g: scg.Graph):
    """Two categories of many values, the second with other probabilities in every replicate."""
    k = g.sample("k", scg.Categorical(probs=MANY / MANY.sum()))
    j = g.sample("j", scg.Categorical(logits=g.param("t") * (k - 9.5) * MANY / 100.0))
    g.cost("c", k * j)


def long_sums(g: scg.Graph):
    """A sum that a comparison reads, and running ones."""
    b = g.sample("b", scg.Bernoulli(logits=g.param("t") * np.ones(20)))
    g.cost("c", (np.sum(g.input("x", 20)) > 2.0) * np.sum(np.cumsum(b) * np.cumsum(MANY * b)))


def walk(g: scg.Graph):
    """A long carry, whose elements change places."""
    steps = lambda h, _: (np.tanh(np.reshape(np.reshape(h, (4, 5)).T, 20) + g.param("t")), h[3])
    h, _ = g.scan(steps, 0.1 * MANY * g.sample("b", scg.Bernoulli(logits=g.param("s"))), length=2)
    g.cost("c", np.sum(h))


def products(g: scg.Graph):
    """A matrix by a draw, and its adjoints."""
    h = g.sample("h", scg.Bernoulli(logits=g.param("b", 20)))
    g.cost("c", np.sum(np.tanh(g.param("w", (3, 20)) @ h)))


def products_of_rows(g: scg.Graph):
    """Data by a draw that all rows share, whose adjoint is a mean over them."""
    w = g.sample("w", scg.Normal(loc=g.param("m", 20), scale=1.0), estimator=scg.Pathwise())
    g.cost("c", np.tanh(g.data("x", 20) @ w))


def drawn_weights(g: scg.Graph):
    """A matrix that all rows share, by data: one replicate after another."""
    w = g.sample("w", scg.Normal(loc=g.param("m", (52, 20)), scale=1.0), estimator=scg.Pathwise())
    g.cost("c", np.sum(np.tanh(w @ g.data("x", 20))))


def products_of_weights(g: scg.Graph):
    """Weights so large that their gradients are added up tile by tile."""
    w = g.param("w", (64, 20))
    h = g.sample("h", scg.Bernoulli(logits=w @ g.data("x", 20)))
    g.cost("c", np.sum(np.tanh(g.param("v", (20, 64)) @ h)) + np.sum(np.tanh(w.T @ h)))


def flips(g: scg.Graph):
    """Many outcomes, whose log-odds a flip shifts."""
    h = g.sample("h", scg.Bernoulli(logits=g.param("b", 3)), estimator=scg.LocalExpectation())
    weights = g.param("w", (3, 1)) * np.linspace(-20.0, 20.0, 40)
    g.cost("c", scg.Bernoulli(logits=h @ weights).log_prob(np.arange(40) % 2))


def long_chain(g: scg.Graph):
    """So many functions of numbers that they are a table."""
    h = g.param("t") * g.sample("b", scg.Bernoulli(logits=g.param("s")))
    for _ in range(100):
        h = np.tanh(h * 1.01 + 0.1)
    g.cost("c", h)


def deep_net(g: scg.Graph):
    """Layers of a few units, so many that all their products written out would be a table."""
    h = scg.nn.mlp(g, "net", g.input("x", 20)[:6], (6,) * 24)
    g.cost("c", np.sum(g.sample("z", scg.Normal(h, 1.0)) ** 2))


EXTRA = {f.__name__: f for f in (many_values, long_sums, walk, products, products_of_rows, flips)}
PROGRAMS = {**EXTRA, **{f.__name__: f for f in (products_of_weights, drawn_weights, long_chain, deep_net)}}


def derived(name: str, label: str):
    """A problem's surrogate under a strategy, and its values."""
    if name in PROGRAMS:
        PROGRAMS[name](g := scg.Graph(name))
        values = {name: np.full(leaf.shape, 0.3) for name, leaf in g.params.items()}
        values |= dict.fromkeys(g.inputs, 0.1 * MANY) | dict.fromkeys(g.rows, np.outer([0.1, -0.2, 0.3], MANY))
        own = name in ("products_of_rows", "drawn_weights", "flips")
        return derive(g, None if own else scg.ScoreFunction()), values
    p = PROBLEMS[name]()
    return derive(p.graph, STRATEGIES[label]), p.values


@pytest.fixture
def by_loops(monkeypatch):
    """A backend of that name, which runs plans and holds them to the reference."""
    monkeypatch.setitem(sys.modules, "scg_loops", SimpleNamespace(compile=loops.HeldToReference))


def run(name: str, label: str, dtype: str, samples: int = 7) -> None:
    """A call that records every site."""
    derivation, values = derived(name, label)
    options = {"backend": "loops", "dtype": dtype, "stderr": True, "strategy": None}
    function_of(derivation, options, tuple(derivation.draft.values))(values, samples=samples, rng=3)


CASES = [*PLANNED, *((name, "score", dtype) for name in EXTRA for dtype in ("float64", "float32"))]


@pytest.mark.parametrize("name, label, dtype", CASES)
def test_python_runs_the_plan(name, label, dtype, by_loops):
    run(name, label, dtype)


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("label", STRATEGIES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_python_runs_every_plan(name, label, dtype, by_loops):
    if not refusal(name, STRATEGIES[label]):
        run(name, label, dtype)


def test_python_runs_tables(by_loops, monkeypatch):
    monkeypatch.setattr(tables, "LONGEST", 8)
    run("rows", "score", "float64")


def test_python_runs_arrays_in_loops(by_loops):
    run("deep_net", "score", "float64", 2)


def test_rows_have_numbers_of_their_own(by_loops):
    p = PROBLEMS["rows"]()
    for strategy in (None, scg.ScoreFunction()):
        scg.compile(p.graph, strategy=strategy, wrt=("x",), backend="loops")(p.values, samples=70, rng=3)


def test_fed_noise(by_loops):
    derivation, values = derived("two_layer_net", "score")
    expected_by_kernel(derivation, values, "loops")


def test_a_wrong_plan_is_caught(by_loops, monkeypatch):
    """Planted: where a uniform decides, the answer is turned round."""
    wrong = lambda x: lang.Less(x.b, x.a) if isinstance(x, lang.Less) else x
    monkeypatch.setattr(loops, "plan", lambda program: lang.changed(plan(program), wrong))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        run("categorical_toy", "score", "float64")
        run("shared_weights", "score", "float64")


# --- what there is ---------------------------------------------------------------------------------------------------
def kinds(thing) -> set[type]:
    """The kinds of all that something is made of."""
    return {type(thing)}.union(*map(kinds, lang.parts(thing)))


def of_an_array() -> scg.Graph:
    """A function of a matrix that is the same in all lanes, and of a vector."""
    g = scg.Graph("folds")
    b = g.sample("b", scg.Bernoulli(logits=g.param("w", 4)))
    g.cost("c", g.call(folded, g.input("x", (5, 4)), b, shape=(5, 4)).sum())
    return g


@functools.cache
def kernels() -> dict[str, lang.Kernel]:
    """The plans of all these programs, by name."""
    found = {}
    for name, label, dtype in CASES:
        derivation, _ = derived(name, label)
        program = measured(simplified(program_of(derivation, dtype, True, tuple(derivation.draft.values))))
        found[f"{name} {label} {dtype}"] = plan(program)
    for errors in (False, True):
        large = simplified(program_of(derived("products_of_weights", "score")[0], "float32", errors, ()))
        found[f"products_of_weights {errors}"] = plan(measured(large))
    drawn = program_of(derived("drawn_weights", "")[0], "float32", False, ())
    found["drawn_weights"] = plan(simplified(drawn))
    for name in ("long_chain", "deep_net"):
        found[name] = plan(simplified(program_of(derived(name, "score")[0], "float64", True, ())))
    found["fed"] = plan(simplified(fed_program(derived("two_layer_net", "score")[0])))
    found["called"] = plan(simplified(program_of(derive(swing(called)[0]), "float64", True, ())))
    found["of an array"] = plan(simplified(program_of(derive(of_an_array()), "float64", True, ())))
    return found


def test_these_programs_have_every_kind():
    ground = lang.Expr, lang.Place, lang.Statement
    every = {x for x in vars(lang).values() if isinstance(x, type) and issubclass(x, ground)} - {*ground}
    found = set().union(*(kinds(s) for k in kernels().values() for s in (*k.call, *k.tile, *k.end)))
    assert {kind for kind in found if issubclass(kind, ground)} == every


def test_arrays_are_loops_where_written_out_they_would_be_a_table():
    """As many statements as there are layers, not as many as there are weights; scalars stay a table."""
    found = {name: [*k.call, *k.tile] for name in ("long_chain", "deep_net") for k in [kernels()[name]]}
    assert {name: lang.Table in set().union(*map(kinds, block)) for name, block in found.items()} == {
        "long_chain": True, "deep_net": False}


def test_all_of_it_can_be_read():
    """Everything has a notation: no class of the language, and nothing that is not there, is printed."""
    for kernel in kernels().values():
        found = [line for line in printed(kernel).splitlines() if re.search(r"\b[A-Z]\w*\(|None|True|False", line)]
        assert [line for line in found if not line.strip().startswith("#")] == []


# --- what is wrong ---------------------------------------------------------------------------------------------------
def test_nothing_is_wrong_with_a_plan():
    assert {name: found for name, k in kernels().items() if (found := faults(k))} == {}


@pytest.mark.full
@pytest.mark.parametrize("longest", [tables.LONGEST, 8])
@pytest.mark.parametrize("name", PROBLEMS)
def test_nothing_is_wrong_with_any_plan(name, longest, monkeypatch):
    monkeypatch.setattr(tables, "LONGEST", longest)
    for label, strategy in STRATEGIES.items():
        if not refusal(name, strategy):
            derivation, _ = derived(name, label)
            for dtype in ("float64", "float32"):
                program = program_of(derivation, dtype, True, tuple(derivation.draft.values))
                assert faults(plan(simplified(program))) == [], (label, dtype)


def dropped(kind: type):
    """A change that leaves out the first statement of a kind."""
    seen = []

    def change(x):
        if isinstance(x, kind) and not seen:
            seen.append(x)
            return None
        return x

    return change


def in_no_lane(x):
    return lang.Loop(lang.Var("i", "int"), "elements", x.body, 1) if getattr(x, "kind", "") == "lanes" else x


def one_further(x):
    if not isinstance(x, lang.Element) or not isinstance(x.at, lang.Num):
        return x
    return dataclasses.replace(x, at=lang.Num(x.at.value + x.buffer.elements, "int"))


def longer(x):
    if not isinstance(x, lang.Contraction):
        return x
    return dataclasses.replace(x, sizes=tuple((name, size + 1) for name, size in x.sizes))


@pytest.mark.parametrize("name, change, words", [
    ("bernoulli_toy policy float64", dropped(lang.Let), "v1 is read where it has no value"),
    ("bernoulli_toy policy float64", dropped(lang.Sides), "p4 is read where it has no value"),
    ("bernoulli_toy policy float64", dropped(lang.FillBelow), "arena 0 is read before it is written"),
    ("bernoulli_toy policy float64", dropped(lang.Groups), "totals 0 is read before it is written"),
    ("categorical_toy score float32", dropped(lang.Set), "is read where it has no value"),
    ("categorical_toy score float32", one_further, "a buffer has 1 elements, and 1:2 of them are asked for"),
    ("categorical_toy score float32", in_no_lane, "a lane is asked for where there is none"),
    ("long_sums score float64", dropped(lang.Fill), "is read before it is written"),
    ("many_values score float64", dropped(lang.Cumulate), "sums 0 is read before it is written"),
    ("products score float64", longer, "an array of 60 elements is contracted as one of 84"),
    ("shared_weights score float64", dropped(lang.FillUniform), "is read before it is written"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_what_is_planted_is_found(name, change, words):
    found = faults(lang.changed(kernels()[name], change))
    assert any(words in fault for fault in found), found

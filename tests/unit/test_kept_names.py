"""Renamed models: what is kept of a function holds under other names, and is what would be compiled with these."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

import scg
from scg import kept
from scg.errors import Problem
from tests.kept_by_name import is_found, kept_by_name  # noqa: F401  (a fixture of all tests here)
from tests.problems import PROBLEMS

_DECLARING = ("param", "input", "data", "node", "sample", "cost")


@contextlib.contextmanager
def _renamed(new):
    """Every graph that is declared meanwhile has other names."""
    with contextlib.ExitStack() as stack:
        for method in _DECLARING:
            real = getattr(scg.Graph, method)
            stack.enter_context(patch.object(
                scg.Graph, method, lambda self, name, *given, real=real, **options: real(
                    self, new(name), *given, **options)))
        yield


def _mirrored(name: str) -> str:
    """A name of which a, …, z became z, …, a: the order of streams is another one."""
    return "".join(chr(219 - ord(c)) if "a" <= c <= "z" else c for c in name)


def _same(one, other) -> None:
    """Two functions would be called in the same way, run the same code on the same numbers, and draw the same words."""
    problems = (Problem("", "", "", ""),) * len(one._layout.problems)
    layout = replace(one._layout, problems=problems)
    assert layout == replace(other._layout, problems=problems) == replace(other._kernel.layout, problems=problems)
    assert layout.hashes == other._layout.hashes and one._needed[2:] == other._needed[2:]
    ours, theirs = one._kernel.text, other._kernel.text
    assert ours.code() == theirs.code() and ours.workspace == theirs.workspace
    assert {n: a.tobytes() for n, a in ours.constants.items()} == {n: a.tobytes() for n, a in theirs.constants.items()}


FOUND = [("bernoulli_toy", None), ("scan_3_steps", scg.ScoreFunction()), ("rows", scg.ARM()),
         ("chain", scg.WeakDerivative(noise="fresh")), ("unrolled_2_steps", scg.ScoreFunction())]


@pytest.mark.parametrize("name, strategy", FOUND, ids=str)
def test_renamed_models_are_found_and_are_what_would_be_compiled(name, strategy, store):
    def compiled():
        return scg.compile(PROBLEMS[name]().graph, strategy=strategy)

    compiled()
    with _renamed(lambda name: f"α {name}"):
        second = compiled()
        store.clear()
        fresh = compiled()
    assert is_found(second) and not is_found(fresh)
    _same(fresh, second)
    for look in (repr, lambda f: f.source, lambda f: str(f.surrogate), lambda f: str(f.verdict)):
        assert look(fresh) == look(second)


def test_streams_in_another_order_are_compiled_anew(store):
    def compiled(new=str):
        with _renamed(new):
            return scg.compile(PROBLEMS["chain"]().graph, strategy=scg.WeakDerivative(noise="fresh"))

    first, second = compiled(), compiled(_mirrored)
    assert not is_found(second) and second._layout.paths != tuple(map(_mirrored, first._layout.paths))
    _same(second, compiled(_mirrored))


def test_what_is_made_of_namesis_found_under_its_own():
    """States of baselines are called after sites, and notes name what is moved."""
    for strategy in (scg.ScoreFunction(scg.MovingAverage()), scg.SPSA()):
        def compiled(new, strategy=strategy):
            with _renamed(new):
                return scg.compile(PROBLEMS["bernoulli_toy"]().graph, strategy=strategy)

        first, other, again = compiled(str), compiled(lambda name: name + "2"), compiled(str)
        assert not is_found(other) and is_found(again)
        assert (first._initial, first._needed.notes) != (other._initial, other._needed.notes)
        _same(first, again)


def _checked(names=("graph", "t", "x", "b", "c")) -> scg.Graph:
    g = scg.Graph(names[0])
    t, x = g.param(names[1], init=0.3), g.data(names[2])
    b = g.sample(names[3], scg.Bernoulli(probs=t))
    g.cost(names[4], np.log(x + b) + (b - 0.45) ** 2)
    return g


def test_gradients_records_and_refusals_are_under_the_new_names(store):
    names = ("another", "rate", "row", "coin", "loss")
    scg.compile(_checked())
    second = scg.compile(_checked(names))
    store.clear()
    fresh = scg.compile(_checked(names))
    assert is_found(second) and not is_found(fresh)
    at = {"rate": 0.3, "row": [0.5, 0.7]}
    one, other = (f(at, samples=20, rng=1, record=["coin"]) for f in (fresh, second))
    assert [*other.grad] == ["rate"] and one.grad["rate"] == other.grad["rate"] and one.cost == other.cost
    assert one.costs == other.costs and np.array_equal(one.record["coin"], other.record["coin"])
    for wrong in ({"rate": 1.3, "row": [0.5]}, {"rate": 0.3, "row": [-0.5]}, {"t": 0.3, "x": [0.5]}):
        said = []
        for f in (fresh, second):
            with pytest.raises(scg.SCGError) as caught:
                f(wrong, samples=20, rng=1)
            said.append(str(caught.value))
        assert said[0] == said[1] and '"graph"' not in said[1]


def test_names_are_told_apart_from_what_is_called_alike():
    """A name that stands for a stream here and elsewhere for a param is another model; so is one that is used twice."""
    def key(first: str, second: str, site: str, cost: str = "c", strategy=None):
        g = scg.Graph("g")
        s, t = g.param(first), g.param(second)
        g.cost(cost, s * g.sample(site, scg.Bernoulli(logits=t)))
        made_of = kept._structure(g, {"strategy": strategy, "wrt": (first,), "costs": None, "backend": "numba",
                                      "dtype": "float64", "stderr": True, "order": 1})
        return kept._names(made_of)[0]

    known = key("s", "t", "b")
    assert key("a", "lane", "row", "float64") == key("numba", "s", "t", "b") == known
    score = scg.ScoreFunction()
    assert key("s", "t", "b", strategy={"b": score}) == key("t", "s", "a", strategy={"a": score}) != known
    assert key("s", "t", "b", strategy={"t": score}) != key("s", "t", "b", strategy={"b": score})
    assert key("b", "t", "b[1]") != known != key("s", "t", "s[1]") != key("s", "t", "t[1]")

"""Sizes are looked at before anything of that size is made: what is too large is refused at once, in four parts."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest

import scg

HUGE = (10**9, 10**12, 10**20, 10**30, 10**400, 10**5000)
SIZES = {
    "param": lambda g, n: g.param("q", n),
    "param of several dimensions": lambda g, n: g.param("q", (3, n)),
    "input": lambda g, n: g.input("q", n),
    "data": lambda g, n: g.data("q", n),
    "sample": lambda g, n: g.sample("q", scg.Bernoulli(logits=g.params["t"]), shape=n),
    "stacked by a scan": lambda g, n: g.scan(lambda c, _: (c * g.params["t"], c), 1.0, length=n),
    "one_hot": lambda g, n: scg.one_hot(g.nodes["b"], n),
    "one_hot of many": lambda g, n: scg.one_hot(g.nodes["many"], n // 1000),
    "broadcast_to": lambda g, n: np.broadcast_to(g.params["t"], (n,)),
    "reshape": lambda g, n: g.params["t"].reshape(n),
    "outer": lambda g, n: scg.outer(g.nodes["long"], g.nodes["long"]),
    "sums of pairs": lambda g, n: g.nodes["long"][:, None] + g.nodes["long"],
    "upto": lambda g, n: _compiled(g, scg.Poisson(rate=1.0), scg.Enumerate(upto=n)),
    "upto for several draws": lambda g, n: _compiled(g, scg.Poisson(rate=np.ones(3)), scg.Enumerate(upto=n)),
    "upto in a loop": lambda g, n: _in_loop(g, scg.Enumerate(upto=n)),
    "replays of every draw": lambda g, n: _compiled(g, scg.Bernoulli(logits=g.nodes["long"]), scg.LocalExpectation()),
    "steps": lambda g, n: g.scan(lambda c, _: (c * g.params["t"], None), 1.0, length=n * 10),
    "round": lambda g, n: np.round(g.params["t"], n),
}


def _compiled(g, dist, estimator):
    x = g.sample("x", dist)
    g.cost("c", (x.sum() - g.params["t"]) ** 2)
    return scg.compile(g, strategy={"x": estimator}, backend="numpy")


def _in_loop(g, estimator):
    g.scan(lambda c, _: (c + g.sample("x", scg.Poisson(rate=1.0), estimator=estimator), None), 0.0, length=4)
    g.cost("c", g.params["t"])
    g.scan(lambda c, _: (c + g.sample("y", scg.Poisson(rate=np.exp(g.params["t"])), estimator=estimator), None), 0.0,
           length=4)
    last, _ = g.scan(lambda c, _: (c + g.sample("z", scg.Poisson(rate=1.0)), None), 0.0, length=4)
    g.cost("d", last)
    return scg.compile(g, strategy={"z": estimator}, backend="numpy")


def _graph() -> scg.Graph:
    g = scg.Graph("sizes")
    t = g.param("t")
    g.sample("b", scg.Bernoulli(logits=t))
    g.sample("many", scg.Bernoulli(logits=t), shape=2000)
    g.param("long", 20_000)
    return g


@pytest.mark.parametrize("name", SIZES)
def test_what_is_too_large_is_refused_before_it_is_made(name):
    for n in HUGE:
        g = _graph()
        tracemalloc.start()
        with pytest.raises(scg.SCGError) as caught:
            SIZES[name](g, n)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 30e6
        assert str(caught.value).startswith("test_sizes.py:") and len(str(caught.value)) < 700
        assert all(p.what and p.why and p.fix for p in caught.value.problems)


def test_what_is_advised_where_too_many_values_are_to_be_summed_works():
    for shape in ((), 2, 3):
        g = scg.Graph("upto")
        x = g.sample("x", scg.Poisson(rate=np.exp(g.param("t"))), shape=shape)
        g.cost("c", x.sum())
        with pytest.raises(scg.EstimatorError, match=r"has \d+ values in all, more than 65536") as caught:
            scg.compile(g, strategy=scg.Enumerate(upto=10**6), backend="numpy")
        assert "LocalExpectation" not in str(caught.value)  # which a family of infinitely many values has not
        advised = re.findall(r"\w+\((?:upto=\d+)?\)(?=,| or|\.)", caught.value.problems[0].fix)
        assert len(advised) == 4
        for text in advised:
            scg.compile(g, strategy=eval(f"scg.{text}"), backend="numpy")


def test_one_value_is_summed_over_in_any_number_of_draws():
    g = scg.Graph("none")
    x = g.sample("x", scg.Poisson(rate=np.exp(g.param("t"))), shape=100)
    g.cost("c", np.cos(x).sum())
    r = scg.compile(g, strategy=scg.Enumerate(upto=0), backend="numpy")({"t": -3.0})
    assert np.isclose(r.cost, 100 * np.exp(-100 * np.exp(-3.0)), rtol=1e-12)
    assert np.isclose(r.grad["t"], -100 * np.exp(-3.0) * r.cost, rtol=1e-12)


def test_large_is_not_too_large():
    g = scg.Graph("large")
    t = g.param("t")
    g.cost("c", g.param("q", 10**8)[0] * t + scg.one_hot(g.sample("b", scg.Bernoulli(logits=t)), 10**5)[1])
    scg.compile(g, backend="numpy")
    assert g.param("none", (10**15, 0)).size == 0

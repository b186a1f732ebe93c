"""Which nodes are found to be equal as formulas, element by element: what is linear is taken apart, and loops are
unrolled."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.analysis.differentials import Differentials
from scg.ops.structure import suffix_sum


def same(a, b) -> bool:
    """Whether nothing is left of their difference."""
    return not any(Differentials(())(a - b).value.flat)


LINEAR = {"transpose": lambda x: x.T, "part": lambda x: x[1:], "sum": lambda x: x.sum(axis=0),
          "running sum": lambda x: np.cumsum(x, axis=0), "running sum from the end": suffix_sum,
          "repeated": lambda x: np.broadcast_to(x, (4, 2, 3))}


@pytest.mark.parametrize("of", LINEAR.values(), ids=LINEAR)
def test_a_linear_op_of_a_sum(of):
    g = scg.Graph("g")
    x, y = g.param("x", shape=(2, 3)), g.param("y", shape=(2, 3))
    assert same(of(x + 2.0 * y), of(y) * 2.0 + of(x))
    assert not same(of(x + 2.0 * y), of(y) + of(x))


def test_a_mark_is_seen_through():
    g = scg.Graph("g")
    x = g.param("x", shape=(3,))
    for mark in (scg.stop_gradient, scg.assume_continuous, lambda node: g.node("name", node)):
        assert same(mark(x) * x, x * x)
    assert not same(np.exp(x), x)


def test_quotients():
    """By a number they are products with its inverse, and by what is equal they are equal."""
    g = scg.Graph("g")
    x, y = g.param("x", shape=(3,)), g.param("y", shape=(3,))
    assert same(x / 2.0 + y / 4.0, 0.25 * (2.0 * x + y))
    assert same((x - y) / (x + y), x / (y + x) - y / (x + y))
    assert not same(x / y, y / x) and not same(x / 2.0, x)


def test_sums_of_products_and_choices():
    """Also over elements of tables that draws pick, of which a family's density is made in another way."""
    g = scg.Graph("g")
    x, y, w = g.param("x", shape=(3,)), g.param("y", shape=(3,)), g.param("w", shape=(2, 3))
    k = g.sample("k", scg.Categorical(logits=x))
    assert same(w @ (x + y), (w * x).sum(axis=1) + (w * y).sum(axis=1))
    assert same(scg.where(x > 0.0, x, y) * 2.0, scg.where(x > 0.0, 2.0 * x, y + y))
    assert same(x[k] + y[k], (x + y)[k]) and not same(x[k], x[0])
    assert same(x[k], (scg.one_hot(k, 3) * x).sum())
    assert same(np.exp(x - y) * np.exp(y), np.exp(x)) and same(np.exp(-x), 1.0 / np.exp(x))
    assert not same(np.exp(0.5 * x), np.exp(x))
    assert same(np.log(x * np.exp(y)), np.log(x) + y) and not same(np.log(x + y), np.log(x) + np.log(y))
    assert same(scg.softmax(x + 2.0), np.exp(x) / np.exp(x).sum()) and same(scg.logsumexp(x), np.log(np.exp(x).sum()))


def test_loops_are_unrolled():
    g = scg.Graph("g")
    x = g.param("x", shape=(4,))
    last, sums = g.scan(lambda c, t: (c + t * t, c), 0.0, xs=x)
    assert same(last, (x * x).sum()) and same(sums, np.cumsum(x * x) - x * x)
    assert not same(last, x.sum())

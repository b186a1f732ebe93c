"""Which nodes are found to be equal as formulas: linear ops are taken apart, and marks are seen through."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from scg.analysis.identity import same
from scg.ops.structure import suffix_sum

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

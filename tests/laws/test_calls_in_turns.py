"""Calls of one function at several sizes, in turns: what a range leaves in working arrays changes no later one.

A thread keeps the arrays that kernels work in from call to call. Of kernels that Python runs it is known that nothing
is read there before it is written (`tests/laws/checks/plain_kernels.py`); here the sizes of training are called in
turns: minibatches, a validation with other samples, a short last batch, and the next minibatch.
"""

from __future__ import annotations

import numpy as np
import pytest

import scg

SIZES = [(100, 2), (10, 10), (3, 2), (100, 2), (1, 513), (1, 1), (513, 1), (7, 70), (2, 3), (33, 4), (300, 3), (5, 64)]


def toy() -> scg.Graph:
    """A draw for each row, whose costs are compared in groups."""
    g = scg.Graph("toy")
    x = g.data("x", 1)
    b = g.sample("b", scg.Bernoulli(logits=g.param("t") + x[0]))
    g.cost("c", (b - 0.45) ** 2 * 10 + x[0])
    return g


def layer() -> scg.Graph:
    """Units whose weights have a large gradient."""
    g = scg.Graph("layer")
    x = g.data("x", 1)
    h = g.sample("h", scg.Bernoulli(logits=g.param("w", (70, 60)) @ (x[0] * np.linspace(-1.0, 1.0, 60))))
    g.cost("c", np.sum(np.tanh(h - 0.3)) ** 2)
    return g


@pytest.mark.parametrize("graph, dtype", [(toy, "float64"), (layer, "float32")])
def test_a_call_gives_what_it_gave_before_others(graph, dtype):
    g = graph()
    f = scg.compile(g, dtype=dtype)
    rng = np.random.default_rng(0)
    values = {name: 0.1 * rng.standard_normal(node.shape) for name, node in g.params.items()}
    data = np.random.default_rng(1).standard_normal((513, 1))

    def called(rows: int, samples: int) -> tuple:
        # one thread runs all ranges, one after the other
        r = f(values | {"x": data[:rows]}, samples=samples, rng=rows, executor=InTurns())
        return r.cost, *(a.tobytes() for name in g.params for a in (r.grad[name], r.stderr[name]))

    alone = {}
    for size in dict.fromkeys(SIZES):
        f._kernel.__dict__.pop("_workspace", None)  # a workspace that nothing has been done in
        alone[size] = called(*size)
    order = np.random.default_rng(2).integers(len(SIZES), size=40)
    for size in [*SIZES, *(SIZES[i] for i in order)]:
        assert called(*size) == alone[size], size


class InTurns:
    """An executor that is the calling thread."""

    @staticmethod
    def map(function, *arguments):
        """What the function returns, in order."""
        return map(function, *arguments)

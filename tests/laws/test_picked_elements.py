"""Elements that are picked of what is written out: credit of running sums picks, for each draw, what is made of it."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.laws.checks.plain_kernels import run_by_python

COSTS = {
    "running": lambda h: (np.cumsum(h) - 0.3) ** 2,
    "from the end": lambda h: np.tanh(np.cumsum(h[::-1])) * np.array([1.0, 2.0, 4.0]),
    "of functions": lambda h: np.exp(0.3 * np.cumsum(np.tanh(h))),
    "means of few": lambda h: (0.5 * (h[1:] + h[:-1]) - 0.3) ** 2,
}


@pytest.mark.parametrize("strategy", [scg.ScoreFunction(), scg.ScoreFunction(scg.LeaveOneOut(group=2))], ids=str)
@pytest.mark.parametrize("name", COSTS)
def test_parts_of_running_sums(name, strategy):
    g = scg.Graph(name)
    h = g.sample("h", scg.Bernoulli(logits=g.param("t", 3)))
    g.cost("c", COSTS[name](h))
    with run_by_python():
        assert scg.verify(scg.compile(g, strategy=strategy), {"t": [0.3, -0.7, 1.1]}).passed

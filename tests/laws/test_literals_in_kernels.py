"""A number in the text of a kernel is that number, whatever its sign and whatever operator stands beside it."""

from __future__ import annotations

import numpy as np
import pytest

import scg
from tests.laws.checks.plain_kernels import run_by_python

NUMBERS = (-3.0, -2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0)
OPERATIONS = {f.__name__: f for f in (np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.minimum)}
WHOLE = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_number_on_either_side(name, dtype):
    of = OPERATIONS[name]
    g = scg.Graph("literals")
    x = g.input("x", WHOLE.shape)
    for i, number in enumerate(NUMBERS):
        g.node(f"left {i}", of(number, x))
        g.node(f"right {i}", of(x, number))
    g.cost("c", g.param("t") * x.sum())
    names = [f"{side} {i}" for side in ("left", "right") for i in range(len(NUMBERS))]
    with run_by_python():
        r = scg.compile(g, dtype=dtype)({"x": WHOLE, "t": 1.0}, samples=2, rng=0, record=names)
    with np.errstate(all="ignore"):
        for i, number in enumerate(NUMBERS):
            for side, wanted in (("left", of(number, WHOLE)), ("right", of(WHOLE, number))):
                found = np.broadcast_to(r.record[f"{side} {i}"], (1, 2, *WHOLE.shape))[0, 0]
                np.testing.assert_allclose(found, wanted, rtol=1e-6, err_msg=f"{side} {number}")


def test_the_parity_of_a_draw():
    g = scg.Graph("parity")
    k = g.sample("k", scg.Categorical(logits=g.param("t", 4)))
    g.cost("c", (-1.0) ** k + 0.5 * (-2.0) ** k)
    with run_by_python():
        assert scg.verify(scg.compile(g), {"t": [0.3, -0.2, 0.1, 0.4]}).passed

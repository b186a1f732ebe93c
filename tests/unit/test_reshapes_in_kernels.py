"""Kernels read the right element through a reshape, in loops and written out: against plain NumPy."""

from __future__ import annotations

import numpy as np

import scg

RNG = np.random.default_rng(0)
X, W, T, IMAGES = (RNG.normal(size=s) for s in ((30, 40), (1200,), (6, 7), (3, 9, 11)))
ROWS, COLUMNS = RNG.integers(0, 6, 50), RNG.integers(0, 7, 50)

# Of each, a function of (30, 40) numbers that NumPy and nodes understand, too long to be written out, or of two indices
CASES = {
    "ravel": lambda x: (x.ravel() * W).sum(),
    "another shape": lambda x: (x.reshape(40, 30) ** 2 * W.reshape(40, 30)).sum(),
    "of a transpose": lambda x: (x.T.reshape(1200) * W).sum(),
    "of a slice": lambda x: (x[2:, ::2].reshape(28, 20)[3:, 1] ** 2).sum(),
    "three dimensions": lambda x: (x.reshape(10, 3, 40).reshape(20, 60) * W.reshape(20, 60)).sum(),
    "lists of indices": lambda x: (x[np.array([0, 2]), np.array([1, 1])] * np.array([1.0, 10.0])).sum(),
    "product": lambda x: (x.reshape(40, 30) @ W[:30] * W[:40]).sum(),
}


def test_reshapes_of_params():
    g = scg.Graph("reshapes")
    x = g.param("x", (30, 40))
    for name, case in CASES.items():
        g.cost(name, case(x))
    r = scg.compile(g)({"x": X}, rng=0)
    for name, case in CASES.items():
        np.testing.assert_allclose(r.costs[name], case(X), rtol=1e-12, err_msg=name)
    along = RNG.normal(size=(30, 40))
    slope = sum((case(X + 1e-5 * along) - case(X - 1e-5 * along)) / 2e-5 for case in CASES.values())
    np.testing.assert_allclose((r.grad["x"] * along).sum(), slope, rtol=1e-7)


def test_reshapes_of_data_tables_draws_and_carries():
    """A picture by row, flattened; a table looked up by rows and columns; a site; what a loop carries."""
    g = scg.Graph("reshapes")
    images, t, p = g.data("pictures", (9, 11)), g.param("t", (6, 7)), g.param("p", (4, 6))
    z = g.sample("z", scg.Normal(loc=0.0 * t, scale=1.0))
    weights = RNG.normal(size=24)
    last, _ = g.scan(lambda c, _: (c * 1.5, None), p, length=2)
    g.cost("images", images.reshape(99) @ W[:99] + 0.0 * t.sum())
    g.cost("table", (t[ROWS, COLUMNS] * W[:50]).sum())
    g.cost("draws", (z.reshape(42) * W[:42]).sum())
    g.cost("carry", (last.reshape(24) * weights).sum())
    p_value = RNG.normal(size=(4, 6))
    r = scg.compile(g)({"pictures": IMAGES, "t": T, "p": p_value}, samples=5, rng=0, record=("z",))
    right = {"images": (IMAGES.reshape(3, 99) @ W[:99]).mean(), "table": (T[ROWS, COLUMNS] * W[:50]).sum(),
             "draws": (r.record["z"].reshape(-1, 42) @ W[:42]).mean(),
             "carry": 2.25 * p_value.reshape(24) @ weights}  # fmt: skip
    for name, value in right.items():
        np.testing.assert_allclose(r.costs[name], value, rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(r.grad["p"], 2.25 * weights.reshape(4, 6), rtol=1e-12)

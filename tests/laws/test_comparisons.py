"""Standard errors of large gradients: halves of the samples are compared.

A comparison is a sum of contributions, each times a number. The numbers of a row's samples add up to 0, and their
squares to how many there are: so the mean of its square is the variance of the sum, whatever the rows are. That is held
for divisions of all kinds, and what comes of it to the variance by enumeration.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import scg
from scg.program import COMPARISONS, Division, Layout, comparisons, divide, seen_in_comparisons
from scg.run.moments import compared
from scg.schedule import products

SIZES = [(1, 1), (1, 2), (1, 7), (1, 1000), (2, 5000), (3, 9), (7, 2), (40, 3), (64, 4), (100, 10), (100, 1), (5, 70)]
DIVISIONS = [pytest.param(shared, coupled, group, work, id=f"{shared:d}{coupled:d}-{group}-{work}")
             for shared in (False, True) for coupled, group in ((False, None), (True, None), (True, 1))
             for work in (100, 1 << 17)]


def division_of(rows, samples, shared, coupled, group, work) -> tuple[Layout, Division]:
    layout = Layout("g", (), (), (), (), (), shared, coupled, group, "float64", work)
    return layout, divide(layout, rows, samples)


@pytest.mark.parametrize("shared, coupled, group, work", DIVISIONS)
def test_squares_of_comparisons_have_the_variance_as_their_mean(shared, coupled, group, work):
    for rows, samples in SIZES:
        layout, division = division_of(rows, samples, shared, coupled, group, work)
        sequences, seen, count = 1 if shared else rows, 0, 0
        for chunk in division.chunks:
            here = 1 if shared else chunk.rows
            parts = comparisons(layout, division, chunk)
            owners = np.full((here, chunk.k1 - chunk.k0), -1)
            for p, (row0, row1, low, middle, high) in enumerate(parts):
                own = owners[row0 - chunk.row0 : row1 - chunk.row0, low - chunk.k0 : high - chunk.k0]
                assert low < middle < high and (own == -1).all(), "two comparisons have a replicate in common"
                own[...] = p
                if division.by_group:
                    edges = {j * samples // division.groups for j in range(division.groups + 1)}
                    assert {low, middle, high} <= edges, "a group is cut"
                # what each sample counts: the square of a comparison of unit vectors
                one, other = middle - low, high - middle
                weights = np.repeat([np.sqrt(other / one), -np.sqrt(one / other)], [one, other])
                np.testing.assert_allclose([weights.sum(), (weights**2).sum()], [0.0, high - low], atol=1e-9)
            assert (owners >= 0).all() or (owners == -1).all()
            assert (np.diff(owners.ravel()) >= 0).all(), "a kernel walks through them in their order"
            seen, count = seen + (owners >= 0).sum(), count + len(parts)
        assert seen_in_comparisons(layout, division) == seen / (sequences * samples)
        units = division.groups if division.by_group else samples
        assert count >= min(COMPARISONS, sequences * (units // 2)) or units < 2 * len(division.chunks)


def test_the_reference_squares_what_it_should():
    """By hand: two rows, three samples; the row's own level has no part in it."""
    values = np.array([[[1.0], [2.0], [4.0]], [[30.0], [10.0], [20.0]]])
    a, b = np.sqrt(2.0), np.sqrt(0.5)
    right = (a * (1 + 30) - b * (2 + 10 + 4 + 20)) ** 2
    for level in (0.0, 1e6):
        values[1] += level
        np.testing.assert_allclose(compared(values, np.array([[0, 2, 0, 1, 3]])), right, rtol=1e-6)
        values[1] -= level


# --- enumeration ------------------------------------------------------------------------------------------------------
W, X = np.array([[0.3, -0.5], [0.8, 0.1], [-0.2, 0.6]]), np.array([[1.0, 0.4], [-0.7, 1.2], [0.2, -0.3]])


def net(rows: bool) -> scg.Graph:
    """Three bits, of data or not, and a cost that joins them."""
    g = scg.Graph("net")
    z = g.sample("z", scg.Bernoulli(logits=g.param("w", (3, 2)) @ (g.data("x", 2) if rows else X[0])))
    g.cost("c", (z @ np.array([1.0, -2.0, 0.5]) + 0.7) ** 2)
    return g


def variance_of(x: np.ndarray, group: int) -> np.ndarray:
    """The variance of the mean of a group's contributions to the gradient, all draws enumerated."""
    p = 1.0 / (1.0 + np.exp(-W @ x))
    draws = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    chances = np.prod(np.where(draws > 0.0, p, 1.0 - p), axis=1)
    costs = (draws @ np.array([1.0, -2.0, 0.5]) + 0.7) ** 2
    scores = (draws - p)[:, :, None] * x
    found, chance = [], []
    for which in itertools.product(range(8), repeat=group):
        c, s = costs[list(which)], scores[list(which)]
        others = (c.sum() - c) / (group - 1) if group > 1 else 0.0 * c
        found.append(np.mean((c - others)[:, None, None] * s, axis=0))
        chance.append(np.prod(chances[list(which)]))
    values, weights = np.array(found), np.array(chance)[:, None, None]
    return (weights * values**2).sum(axis=0) - ((weights * values).sum(axis=0)) ** 2


@pytest.mark.parametrize("rows, samples, group", [(False, 2048, 1), (False, 2048, 2), (True, 990, 1), (True, 990, 2)])
def test_errors_are_those_of_enumeration(rows, samples, group, monkeypatch):
    """The mean of their squares over 200 calls, and how these vary: as the sum of squares of normal numbers does, of
    which each row has as many as it has comparisons."""
    monkeypatch.setattr(products, "LEAST", 1)
    strategy = scg.ScoreFunction(baseline=scg.LeaveOneOut(group=group) if group > 1 else scg.Constant(0.0))
    f = scg.compile(net(rows), strategy=strategy, backend="numpy", wrt=("w",))
    values, calls = {"w": W} | ({"x": X} if rows else {}), 200
    first = f(values, samples=samples, rng=0)
    assert any("comparisons" in note and note.endswith("w") for note in first.notes), first.notes
    squares = np.array([f(values, samples=samples, rng=n).stderr["w"] ** 2 for n in range(calls)])
    of_rows = [variance_of(x, group) * group / samples for x in (X if rows else X[:1])]
    right = sum(of_rows) / len(of_rows) ** 2
    spread = squares.std(axis=0) / squares.mean(axis=0)
    assert (np.abs(squares.mean(axis=0) / right - 1.0) < 5.0 * spread / np.sqrt(calls)).all()
    expected = np.sqrt(2.0 / -(-COMPARISONS // len(of_rows)) * sum(v**2 for v in of_rows)) / sum(of_rows)
    assert (np.abs(spread / expected - 1.0) < 0.25).all(), spread / expected


@pytest.mark.by_python
def test_what_cannot_be_squared_is_not_known(monkeypatch):
    monkeypatch.setattr(products, "LEAST", 1)
    g = scg.Graph("small")
    z = g.sample("z", scg.Normal(np.zeros(2), 1.0))
    g.cost("c", np.sum(g.param("w", (3, 2)) @ z) * g.input("scale"))
    for backend in ("numba", "numpy"):
        f = scg.compile(g, backend=backend)
        for scale, known in ((1.0, True), (1e-170, False), (1e170, False)):
            r = f({"w": np.ones((3, 2)), "scale": scale}, samples=64, rng=0)
            assert np.isnan(r.stderr["w"]).all() != known and ("not known" in " ".join(r.notes)) != known
        assert np.isnan(f({"w": np.ones((3, 2)), "scale": 1.0}, samples=1, rng=0).stderr["w"]).all()

"""Memory of large results that is written again: only what nobody has a part of."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import scg
from scg import large

PARTS = {"reshaped": lambda a: a.reshape(64, -1), "a row": lambda a: a.reshape(64, -1)[3],
         "transposed": lambda a: a.reshape(64, -1).T, "a slice": lambda a: a[5:99], "as whole numbers":
         lambda a: a.view(np.int64), "a memoryview": lambda a: memoryview(a)[7:], "of a memoryview":
         lambda a: np.asarray(memoryview(a))[50:], "DLPack": lambda a: np.from_dlpack(a)[::2],
         "a scalar's array": lambda a: a[:1].reshape(())}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("again", [False, True])
def test_a_part_keeps_the_whole(part, again):
    """However it was taken, and whether the memory is fresh or was given away before."""
    size = large.PAGES // 8
    if again:
        large.given_away(size, np.float64)  # and dropped at once
    array = large.given_away(size, np.float64)
    array[...] = 1.0
    kept = part(array)
    before = np.array(kept)
    del array
    others = [large.given_away(size, np.float64) for _ in range(3)]
    for other in others:
        other[...] = -7.0
    np.testing.assert_array_equal(np.array(kept), before)
    assert not any(np.shares_memory(np.asarray(kept), other) for other in others)


def test_what_nobody_has_is_given_away_again():
    array = large.given_away(large.PAGES // 8, np.float64)
    at = array.ctypes.data
    part = array[3:]
    del array
    assert large.given_away(large.PAGES // 8, np.float64).ctypes.data != at
    del part
    found = [large.given_away(large.PAGES // 8, np.float64) for _ in range(large.SPARES)]
    assert at in [other.ctypes.data for other in found]


@pytest.mark.parametrize("stderr", [False, True])
@pytest.mark.parametrize("samples", [5, 300])
def test_what_becomes_of_a_large_result_changes_nothing(stderr, samples):
    """Though the arrays of the means themselves are given to who reads them first."""
    g = scg.Graph("net")
    w, x = g.param("w", (60, 71)), g.data("x", 71)
    g.cost("cost", np.sum(g.sample("z", scg.Normal(w @ x, 1.0)) ** 2))
    f = scg.compile(g, dtype="float32", stderr=stderr)
    values = {"w": np.zeros((60, 71)), "x": np.full((3, 71), 0.3)}
    right, r = (f(values, samples=samples, rng=1) for _ in range(2))
    kept = [array.copy() for array in (right.grad["w"], right.grad["w"], right.stderr["w"])]
    for _ in range(2):
        r.grad["w"][:] = np.nan
    mine = r.grad
    mine["w"] *= 0.0
    f(values, samples=samples, rng=2)
    for result in (r, copy.copy(r), pickle.loads(pickle.dumps(r)), right):
        for found, expected in zip((result.grad["w"], result.grad["w"], result.stderr["w"]), kept, strict=True):
            np.testing.assert_array_equal(found, expected)
        assert "nan" not in repr(result).split("\n")[1] and result.notes == right.notes
        assert result.cost == sum(result.costs.values()) == right.cost
    assert not mine["w"].any()

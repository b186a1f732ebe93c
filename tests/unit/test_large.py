"""Memory of large results that is written again: only what nobody has a part of."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from scg_numba.finite import are_finite
from scg_numba.meeting import meet

import scg
from scg import large
from scg.program import Partial
from scg.run import executors, moments, standing

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


@functools.cache
def net(stderr: bool) -> scg.EstimatorFunction:
    """A weight whose gradient is large."""
    g = scg.Graph("net")
    w, x = g.param("w", (200, 400)), g.data("x", 400)
    g.cost("cost", np.sum(g.sample("z", scg.Normal(w @ x, 1.0)) ** 2))
    return scg.compile(g, dtype="float32", stderr=stderr)


@pytest.mark.parametrize("stderr", [False, True])
@pytest.mark.parametrize("samples", [5, 300])
def test_what_becomes_of_a_large_result_changes_nothing(stderr, samples):
    """Though the arrays of the means themselves are given to who reads them first."""
    f = net(stderr)
    values = {"w": np.zeros((200, 400)), "x": np.full((3, 400), 0.3)}
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


@pytest.mark.parametrize("workers", [1, 2])
def test_large_means_are_the_same_bits_whoever_makes_them_and_go_when_they_are_dropped(workers, monkeypatch):
    """Without Python's search for what refers to itself: until that runs, memory would be asked for anew."""
    f = net(False)
    values = {"w": np.linspace(-1.0, 1.0, 200 * 400).reshape(200, 400), "x": np.full((256, 400), 0.01)}
    assert len(f._calls.division(256, 1)[0].chunks) == 2
    monkeypatch.setattr(executors, "processors", lambda: 1)
    alone = f(values, samples=1, rng=3)
    monkeypatch.setattr(executors, "processors", lambda: workers)
    monkeypatch.setattr(executors, "_pool", [])
    gc.disable()
    try:
        for _ in range(10):
            r = f(values, samples=1, rng=3)
            np.testing.assert_array_equal(r.grad["w"], alone.grad["w"])
            dropped = weakref.ref(r._merged.stands.other)
            del r
            for pool in executors._pool:  # a helper may not have left the call yet
                pool.submit(int).result()
            assert dropped() is None
    finally:
        gc.enable()


def apart(count: int = 2) -> list[large.Apart]:
    """The sums of two outputs of so many ranges."""
    return [large.Apart(np.ones(24000 + 64, np.float32), ((5, 20005, 64), (30000, 34000, 20064))) for _ in range(count)]


def means_of(sums, order, later=(), patience=executors.PATIENCE):
    """The means of ranges that come in that order, by one thread or, if all come at once, by two."""
    both = standing.Together((0.5, 1.0), meet, list(later))
    parts = {number: Partial(np.zeros((1, 0)), large=each) for number, each in enumerate(sums)}
    if order == "at once":
        helper = threading.Thread(target=both.arrive, args=(1, parts[1], patience, False))
        helper.start()
        both.arrive(0, parts[0], patience, True)
        helper.join()
    else:
        for number in order:
            assert not both.complete and both.means() is None
            both.arrive(number, parts[number], 0, True)
    return both


@pytest.mark.parametrize("order", ["at once", (0, 1), (1, 0)])
def test_threads_that_meet_make_the_means_together(order):
    """And none that was not finite, or was not looked at, goes for good."""
    sums = apart()
    whole = standing.Standing.of(sums, (0.5, 1.0))
    for bad in (np.inf, np.nan):
        for where in (0, 12345, 23999):
            sums[1].array[64 + where] = bad
            both = means_of(sums, order)
            assert both.complete and both.means() is None is whole.means(moments.finish)
            sums[1].array[64 + where] = 3.0
    both = means_of(sums, order, [np.full((3, 7), 2.0, np.float32)])
    assert both.complete and not both.unfit
    found, expected = both.means(), whole.means(moments.finish)
    for (place, one), (same, other) in zip(found.sums(), expected.sums(), strict=True):
        assert place == same
        np.testing.assert_array_equal(one, other)
        assert set(one.tolist()) == {1.0, 2.0}


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_arrays_that_are_not_finite_are_found(kind, bad):
    arrays = [np.full(size, np.finfo(kind).max, kind) for size in (1, 64, 77)]
    assert are_finite(arrays)
    for array in arrays:
        for where in (0, array.size // 2, array.size - 1):
            array[where] = bad
            assert not are_finite(arrays)
            if kind == "float32":
                assert means_of(apart(), "at once", arrays).unfit
            array[where] = np.finfo(kind).tiny / 8  # a denormal one
    assert are_finite(arrays)


def test_a_range_that_left_no_sums_is_not_waited_for():
    (left,), both = apart(1), standing.Together((0.5, 1.0), meet, [])
    both.arrive(1, Partial(np.zeros((1, 0))), executors.PATIENCE, False)
    both.arrive(0, Partial(np.zeros((1, 0)), large=left), executors.PATIENCE, True)
    assert both.complete and both.means() is None


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_large_values_that_are_not_finite_are_refused_by_name(workers, bad, monkeypatch):
    """Though they are looked at when a range of the call has been computed, and nothing of it is lost."""
    monkeypatch.setattr(executors, "processors", lambda: workers)
    monkeypatch.setattr(executors, "_pool", [])
    f, values = net(False), {"w": np.zeros((200, 400)), "x": np.full((256, 400), 0.01)}
    right = f(values, samples=1, rng=3).grad["w"]
    for name in values:
        for where in ((0, 0), (-1, -1)):
            wrong = values[name].copy()
            wrong[where] = bad
            with pytest.raises(scg.CallError, match=f'value of "{name}" cannot be used. It holds NaN or infinity'):
                f({**values, name: wrong}, samples=1, rng=3)
            np.testing.assert_array_equal(f(values, samples=1, rng=3).grad["w"], right)

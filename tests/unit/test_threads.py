"""The default pool: chunks come back in order, the caller works too, and what fails is raised and leaves it usable."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from scg.run import executors
from scg.run.executors import PATIENCE, _start, run_on_threads
from scg.run.placement import Placement, shares


class Recording:
    """A kernel that says which thread ran what; some chunks fail."""

    def __init__(self, failing=()):
        self.failing, self.ran = failing, {}

    def run(self, call, chunk):
        self.ran.setdefault(chunk, threading.current_thread())
        if chunk in self.failing:
            raise MemoryError(f"chunk {chunk}")
        return chunk * 10


def call_of(chunks: int):
    return SimpleNamespace(division=SimpleNamespace(chunks=tuple(range(chunks))))


@pytest.mark.parametrize("chunks", [1, 2, 7, 64])
def test_results_come_in_order(chunks):
    kernel = Recording()
    assert list(run_on_threads(kernel, call_of(chunks))) == [10 * c for c in range(chunks)]
    assert sorted(kernel.ran) == list(range(chunks))


def test_several_threads_work_and_the_calling_one_is_among_them(monkeypatch):
    monkeypatch.setattr(executors, "processors", lambda: 2)
    monkeypatch.setattr(executors, "_pool", [])
    both = threading.Barrier(2, timeout=10)  # passed only if two threads are in a kernel at once

    class Meeting(Recording):
        def run(self, call, chunk):
            if chunk < 2:
                both.wait()
            return super().run(call, chunk)

    kernel = Meeting()
    assert list(run_on_threads(kernel, call_of(20))) == list(range(0, 200, 10))
    assert threading.current_thread() in kernel.ran.values()
    assert len(set(kernel.ran.values())) > 1


def test_a_pool_that_is_busy_holds_nothing_up(monkeypatch):
    """As in a process that was forked, whose pool has no threads: the caller does it all."""
    monkeypatch.setattr(executors, "processors", lambda: 2)
    monkeypatch.setattr(executors, "_pool", [])
    gate = threading.Event()
    _start(gate.wait, 1)  # the pool's only thread
    kernel = Recording()
    try:
        assert list(run_on_threads(kernel, call_of(5))) == [0, 10, 20, 30, 40]
    finally:
        gate.set()
    assert set(kernel.ran.values()) == {threading.current_thread()}


@pytest.mark.parametrize("helpers", [0, 1])
def test_where_no_more_threads_can_be_had_the_caller_does_the_rest(helpers, monkeypatch):
    """As in a process that ends, or has as many threads as the system lets it have."""
    class Few(ThreadPoolExecutor):
        def submit(self, *task):
            if self.left == 0:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            self.left -= 1
            return super().submit(*task)

    monkeypatch.setattr(executors, "processors", lambda: 3)
    with Few(2) as pool:
        monkeypatch.setattr(executors, "_pool", [pool])
        for _ in range(3):
            pool.left = helpers
            assert list(run_on_threads(Recording(), call_of(9))) == list(range(0, 90, 10))


@pytest.mark.parametrize("failing", [(0,), (3,), (8,), (0, 1, 2, 3, 4, 5, 6, 7, 8)])
def test_errors_are_raised_and_the_next_call_works(failing):
    with pytest.raises(MemoryError, match="chunk"):
        list(run_on_threads(Recording(failing), call_of(9)))
    assert list(run_on_threads(Recording(), call_of(9))) == list(range(0, 90, 10))


class Adding:
    """What is done then: ten numbers, made of all results by the last to arrive."""

    def __init__(self, chunks: int, failing: bool = False):
        self.chunks, self.failing = chunks, failing
        self.lock, self.found, self.made, self.calling = threading.Lock(), {}, {}, set()

    @property
    def complete(self) -> bool:
        return len(self.made) == 10

    def arrive(self, number, found, patience, calling):
        assert calling == (threading.current_thread() is threading.main_thread()) and patience in (0, PATIENCE)
        with self.lock:
            self.found[number] = found
            if len(self.found) == self.chunks:
                time.sleep(0.002)  # the results are there, these are not
                if self.failing:
                    raise MemoryError("then")
                self.made.update((i, i + sum(self.found.values())) for i in range(10))


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("chunks", [2, 5])
def test_what_is_to_be_done_then_is_done_before_the_last_result_is_given(workers, chunks, monkeypatch):
    monkeypatch.setattr(executors, "processors", lambda: workers)
    monkeypatch.setattr(executors, "_pool", [])
    for _ in range(20):
        then = Adding(chunks)
        results = run_on_threads(Recording(), call_of(chunks), True, then)
        for number, result in enumerate(results):
            assert result == 10 * number
            if number == chunks - 1:
                assert then.made == {i: i + sum(range(0, 10 * chunks, 10)) for i in range(10)}


def test_one_thread_leaves_it_to_who_reads_the_results(monkeypatch):
    monkeypatch.setattr(executors, "processors", lambda: 1)
    then = Adding(2)
    assert list(run_on_threads(Recording(), call_of(2), True, then)) == [0, 10] and not then.made


def test_what_fails_then_is_raised(monkeypatch):
    monkeypatch.setattr(executors, "processors", lambda: 2)
    monkeypatch.setattr(executors, "_pool", [])
    for _ in range(20):  # in either thread
        with pytest.raises(MemoryError, match="then"):
            list(run_on_threads(Recording(), call_of(2), True, Adding(2, failing=True)))
    assert list(run_on_threads(Recording(), call_of(9))) == list(range(0, 90, 10))


def test_who_stops_reading_stops_the_work():
    class Slow(Recording):
        def run(self, call, chunk):
            time.sleep(0.001)
            return super().run(call, chunk)

    kernel = Slow()
    running = run_on_threads(kernel, call_of(1000))
    assert next(running) == 0
    running.close()
    assert len(kernel.ran) < 1000


@pytest.mark.parametrize("allowed, taken, count, found", [
    ({0, 1}, 0, 1, [{1}]),
    ({0, 1}, 1, 1, [{0}]),
    ({0, 1, 2, 3}, 2, 3, [{0}, {1}, {3}]),
    (range(8), 0, 2, [{1, 3, 5, 7}, {2, 4, 6}]),
    ({3}, 3, 1, [{3}]),  # nowhere else to go
    ({0, 1}, 0, 5, [{0, 1}]),
])
def test_helpers_share_what_the_caller_leaves(allowed, taken, count, found):
    assert shares(allowed, taken, count) == found


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not place threads")
def test_helpers_run_on_other_processors_than_the_caller(monkeypatch):
    monkeypatch.setattr(executors, "_pool", [])
    monkeypatch.setattr(executors, "_placement", Placement())
    allowed = os.sched_getaffinity(0)
    of_helpers, caller = {}, threading.get_native_id()

    class Placed(Recording):
        def run(self, call, chunk):
            me = threading.get_native_id()
            if me != caller:
                of_helpers[me] = os.sched_getaffinity(0)
            time.sleep(0.001)
            return super().run(call, chunk)

    list(run_on_threads(Placed(), call_of(40)))  # helpers are not known before they have begun
    of_helpers.clear()
    for _ in range(50):  # on a busy machine the caller may be through before a helper is awake
        list(run_on_threads(Placed(), call_of(40)))
        if of_helpers:
            break
    assert os.sched_getaffinity(0) == allowed  # the caller stays where it may be
    assert len(allowed) == 1 or of_helpers
    assert all(len(each) == 1 and each < allowed for each in of_helpers.values())
    assert len({min(each) for each in of_helpers.values()}) == len(of_helpers)


def test_where_placing_is_forbidden_nothing_else_changes(monkeypatch):
    monkeypatch.setattr(executors, "_pool", [])
    forbidden = Placement()

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(forbidden, "_place", refuse if forbidden._place else None)
    monkeypatch.setattr(executors, "_placement", forbidden)
    for _ in range(2):
        assert list(run_on_threads(Recording(), call_of(9))) == list(range(0, 90, 10))

"""The default pool: chunks come back in order, the caller works too, and what fails is raised and leaves it usable."""

import threading
import time
from types import SimpleNamespace

import pytest

from scg.run import executors
from scg.run.executors import _start, run_on_threads


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


@pytest.mark.parametrize("failing", [(0,), (3,), (8,), (0, 1, 2, 3, 4, 5, 6, 7, 8)])
def test_errors_are_raised_and_the_next_call_works(failing):
    with pytest.raises(MemoryError, match="chunk"):
        list(run_on_threads(Recording(failing), call_of(9)))
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

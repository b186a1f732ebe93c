"""The default way of running a call's chunks: on the processors that this process may use, the caller among them.

Chunks come back in their order, so that what is made of them does not depend on who ran which.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from scg.forking import in_children
from scg.program import Call, Kernel, Partial
from scg.run.placement import Placement

Task = Callable[[], Any]


class Afterwards(Protocol):
    """What is to be done once all results of a call are there."""

    @property
    def complete(self) -> bool:
        """Whether they are."""
        ...

    def tasks(self, number: int, found: Partial) -> Sequence[Task]:
        """A chunk's result is there: what is to be done, if it is the last one that was missing."""
        ...


_pool: list[ThreadPoolExecutor] = []
_placement = Placement()


def _renew() -> None:
    """A pool's threads are not in a forked process."""
    _pool.clear()
    _placement.helpers.clear()


in_children(_renew)


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def most_kept(threads: int, large: bool = False) -> int:
    """How many chunks are run or wait for an earlier one's result at most, beside the first that is not done.

    With large results no more than the threads work at: a thread that is far ahead waits.
    """
    return threads - 1 if large else 2 * threads


def run_on_threads(kernel: Kernel, call: Call, large: bool = False,
                   then: Afterwards | None = None) -> Iterator[Partial]:
    """The partial results of a call's chunks, in order.

    The calling thread takes chunks like the others: handing it all to a pool and waiting would cost two switches
    between threads for every chunk, and a call must get on even where every thread of the pool is busy with others.
    Nobody runs far ahead of the first chunk that is not done: results may be `large`, and are kept until it is.

    What is to be done `then` is shared out in the same way: who has made the last result begins with it at once, for
    others may be asleep. It is done before the last result is given.
    """
    chunks = call.division.chunks
    threads = min(processors(), len(chunks))
    if threads == 1:
        yield from (kernel.run(call, chunk) for chunk in chunks)
    else:
        yield from _Turns(kernel, call, then).taken(threads, large)


class _Turns:
    """The chunks of a call, and what is to be done then, of which threads take the next one when they have done one."""

    def __init__(self, kernel: Kernel, call: Call, then: Afterwards | None):
        chunks = call.division.chunks
        self.chunks, self.last, self.then = len(chunks), len(chunks), then
        self.waiting: deque[tuple[int, Task]] = deque(
            (number, partial(kernel.run, call, chunk)) for number, chunk in enumerate(chunks))
        self.done: dict[int, Any] = {}
        self.changed, self.ended, self.most = threading.Condition(), False, 0

    def taken(self, threads: int, large: bool) -> Iterator[Partial]:
        """The results of chunks in their order; the calling thread is one of so many."""
        helpers: list[Future] = []
        try:
            for number in range(self.chunks):
                with self.changed:
                    self.most = number + 1 + most_kept(threads, large)
                    self.changed.notify_all()
                helpers = helpers or _start(self.take, threads - 1 if number == 0 else 0)
                self.take(number)
                for more in range(self.chunks, self.last if number == self.chunks - 1 else 0):
                    self.take(more)
                if self.ended:  # as another thread has failed
                    _finish(helpers)
                yield self.done.pop(number)
        finally:
            self._end()
            _finish(helpers)

    def take(self, wanted: int | None = None) -> None:
        """Take turns until none is left, or the one that is wanted is done."""
        with self.changed:
            turn = self._next(wanted)
        while turn is not None:
            number, task = turn
            try:
                found = task()
                with self.changed:
                    self._keep(number, found)
                    turn = self._next(wanted)  # others that are woken now wait for the lock no longer than they must
            except BaseException:
                self._end()
                raise

    def _next(self, wanted: int | None) -> tuple[int, Task] | None:
        """The next turn; none if none is left, the one that is wanted is done, or nothing is to be done any more."""
        while not self.ended and wanted not in self.done:
            if self.waiting and not self.most <= self.waiting[0][0] < self.chunks:
                return self.waiting.popleft()
            if wanted is None and not self.waiting and (self.then is None or self.then.complete):
                break
            self.changed.wait()
        return None

    def _keep(self, number: int, found: Any) -> None:
        """A turn has been taken."""
        self.done[number] = found
        if self.then is not None and number < self.chunks:
            more = self.then.tasks(number, found)
            self.waiting.extend(enumerate(more, self.chunks))
            self.last += len(more)
        self.changed.notify_all()

    def _end(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()


def _start(task: Callable[[], Any], count: int) -> list[Future]:
    """Helpers that do a task beside the calling thread: so many, or as many as there can be.

    A process that ends has no more of them, and neither has one that may not begin another thread: callers do all that
    nobody helps them with.
    """
    if count < 1:
        return []
    if not _pool:
        _pool.append(ThreadPoolExecutor(max(processors() - 1, 1), thread_name_prefix="scg",
                                        initializer=_placement.join))
    _placement.beside_me(count)
    begun: list[Future] = []
    with contextlib.suppress(RuntimeError):
        for _ in range(count):
            begun.append(_pool[0].submit(task))
    return begun


def _finish(helpers: list[Future]) -> None:
    """Wait for those that have begun; the first error of one is raised."""
    while helpers:
        helper = helpers.pop()
        if not helper.cancel():
            helper.result()

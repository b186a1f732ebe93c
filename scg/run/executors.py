"""The default way of running a call's chunks: on the processors that this process may use, the caller among them.

Chunks come back in their order, so that what is made of them does not depend on who ran which.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from scg.forking import in_children
from scg.program import Call, Kernel, Partial
from scg.run.placement import Placement


class Afterwards(Protocol):
    """What threads do together when they have made the results of a call's chunks."""

    @property
    def complete(self) -> bool:
        """Whether all that has been begun is done."""
        ...

    def arrive(self, number: int, found: Partial, patience: int, calling: bool) -> None:
        """A chunk's result is there: do what can be done.

        How often is it worth looking whether others are there; is this the calling thread?
        """
        ...


PATIENCE = 1 << 18  # looks at what others have done, some tenths of a millisecond: to be woken takes about as long
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

    Who has made a result arrives at what is done `then`; that is complete before the last result is given.
    """
    chunks = call.division.chunks
    threads = min(processors(), len(chunks))
    if threads == 1:
        yield from (kernel.run(call, chunk) for chunk in chunks)
    else:
        yield from _Turns(kernel, call, then).taken(threads, large)


class _Turns:
    """The chunks of a call, of which threads take the next one when they have done one."""

    def __init__(self, kernel: Kernel, call: Call, then: Afterwards | None):
        self.kernel, self.call, self.then = kernel, call, then
        self.ready, self.chunks = getattr(kernel, "ready", None), call.division.chunks
        self.waiting = deque(range(len(self.chunks)))
        self.done: dict[int, Partial] = {}
        self.changed, self.ended, self.most = threading.Condition(), False, 0
        self.begun: list[int] = []  # helpers that have

    def taken(self, threads: int, large: bool) -> Iterator[Partial]:
        """The results of chunks in their order; the calling thread is one of so many."""
        helpers: list[Future] = []
        last, over = len(self.chunks) - 1, False
        try:
            for number in range(len(self.chunks)):
                if self.waiting:
                    with self.changed:
                        self.most = number + 1 + most_kept(threads, large)
                        self.changed.notify_all()
                if number == 0:
                    helpers = _start(self.help, threads - 1)
                    if self.ready is not None:
                        self.call = self.call._replace(ready=self.ready(self.call))
                if number not in self.done:
                    self.take(number)
                if number == last and self.then is not None:
                    self._settle(self.then)
                if self.ended:  # as another thread has failed
                    _finish(helpers)
                over = number == last and len(self.begun) == len(helpers)
                yield self.done.pop(number)
        finally:
            if not over:  # else helpers go by themselves: nothing is left to be taken
                self._end()
                _finish(helpers)

    def help(self) -> None:
        """Take turns beside the calling thread."""
        self.begun.append(threading.get_ident())
        self.take()

    def take(self, wanted: int | None = None) -> None:
        """Take turns until none is left, or the one that is wanted is done."""
        with self.changed:
            number = self._next(wanted)
        while number is not None:
            try:
                self.done[number] = found = self.kernel.run(self.call, self.chunks[number])
                if self.then is not None:
                    self.then.arrive(number, found, 0 if self.waiting else PATIENCE, wanted is not None)
                with self.changed:
                    self.changed.notify_all()
                    number = self._next(wanted)  # others that are woken now wait for the lock no longer than they must
            except BaseException:
                self._end()
                raise

    def _next(self, wanted: int | None) -> int | None:
        """The next turn; none if none is left, the one that is wanted is done, or nothing is to be done any more."""
        while not self.ended and wanted not in self.done:
            if self.waiting and self.waiting[0] < self.most:
                return self.waiting.popleft()
            if wanted is None and not self.waiting:
                break
            self.changed.wait()
        return None

    def _settle(self, then: Afterwards) -> None:
        """Wait until all is done that others have begun."""
        if not then.complete:
            with self.changed:
                while not (then.complete or self.ended):
                    self.changed.wait()

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

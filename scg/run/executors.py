"""The default way of running a call's chunks: on the processors that this process may use, the caller among them.

Chunks come back in their order, so that what is made of them does not depend on who ran which.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from scg.forking import in_children
from scg.program import Call, Chunk, Kernel, Partial
from scg.run.placement import Placement

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


def run_on_threads(kernel: Kernel, call: Call, large: bool = False) -> Iterator[Partial]:
    """The partial results of a call's chunks, in order.

    The calling thread takes chunks like the others: handing it all to a pool and waiting would cost two switches
    between threads for every chunk, and a call must get on even where every thread of the pool is busy with others.
    Nobody runs far ahead of the first chunk that is not done: results may be `large`, and are kept until it is.
    """
    chunks = call.division.chunks
    threads = min(processors(), len(chunks))
    if threads == 1:
        yield from (kernel.run(call, chunk) for chunk in chunks)
        return
    turns = deque(enumerate(chunks))
    done: dict[int, Partial] = {}
    changed, failed = threading.Condition(), []  # type: tuple[threading.Condition, list[BaseException]]
    most = 0

    def next_turn(wanted: int | None) -> tuple[int, Chunk] | None:
        """A chunk to run; none if none is left, the one that is wanted is done, or another thread has failed."""
        with changed:
            while wanted not in done and turns and not failed:
                if turns[0][0] < most:
                    return turns.popleft()
                changed.wait()
        return None

    def take_turns(wanted: int | None = None) -> None:
        while (turn := next_turn(wanted)) is not None:
            try:
                found = kernel.run(call, turn[1])
            except BaseException as error:
                failed.append(error)
                raise
            finally:
                with changed:
                    if not failed:
                        done[turn[0]] = found
                    changed.notify_all()

    helpers: list[Future] = []
    try:
        for number in range(len(chunks)):
            with changed:
                most = number + 1 + most_kept(threads, large)
                changed.notify_all()
            helpers = helpers or _start(take_turns, threads - 1 if number == 0 else 0)
            take_turns(number)
            if number not in done:  # another thread is at it, and there is nothing else to do
                _finish(helpers)
            yield done.pop(number)
    finally:
        with changed:
            turns.clear()
            changed.notify_all()
        _finish(helpers)


def _start(task: Callable[[], Any], count: int) -> list[Future]:
    if count < 1:
        return []
    if not _pool:
        _pool.append(ThreadPoolExecutor(max(processors() - 1, 1), thread_name_prefix="scg",
                                        initializer=_placement.join))
    _placement.beside_me(count)
    return [_pool[0].submit(task) for _ in range(count)]


def _finish(helpers: list[Future]) -> None:
    """Wait for those that have begun; the first error of one is raised."""
    while helpers:
        helper = helpers.pop()
        if not helper.cancel():
            helper.result()

"""The default way of running a call's chunks: on the processors that this process may use, the caller among them.

Chunks come back in their order, so that what is made of them does not depend on who ran which.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from scg.program import Call, Kernel, Partial

_pool: list[ThreadPoolExecutor] = []


def processors() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_on_threads(kernel: Kernel, call: Call) -> Iterator[Partial]:
    """The partial results of a call's chunks, in order.

    The calling thread takes chunks like the others: handing it all to a pool and waiting would cost two switches
    between threads for every chunk, and a call must get on even where every thread of the pool is busy with others.
    """
    chunks = call.division.chunks
    turns = deque(enumerate(chunks))
    done: dict[int, Partial] = {}

    def take_turns(wanted: int | None = None) -> None:
        """Run chunks until none is left, or until the one that is wanted is done."""
        while wanted not in done:
            try:
                number, chunk = turns.popleft()  # a deque is safe between threads
            except IndexError:
                return
            done[number] = kernel.run(call, chunk)

    helpers = _start(take_turns, min(processors(), len(chunks)) - 1)
    try:
        for number in range(len(chunks)):
            take_turns(number)
            if number not in done:  # another thread is at it, and there is nothing else to do
                _finish(helpers)
            yield done.pop(number)
    finally:
        turns.clear()
        _finish(helpers)


def _start(task: Callable[[], Any], count: int) -> list[Future]:
    if count < 1:
        return []
    if not _pool:
        _pool.append(ThreadPoolExecutor(max(processors() - 1, 1), thread_name_prefix="scg"))
    return [_pool[0].submit(task) for _ in range(count)]


def _finish(helpers: list[Future]) -> None:
    """Wait for those that have begun; the first error of one is raised."""
    while helpers:
        helper = helpers.pop()
        if not helper.cancel():
            helper.result()

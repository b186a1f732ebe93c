"""Where a call's threads run: each on a processor of its own.

An operating system puts a thread that is woken where the one that woke it runs, unless it sees an idle processor. In a
virtual machine it may see none: one that has nothing to do looks as if it were taken away (Linux on KVM). Then two
threads share a processor beside an idle one until the load is looked at again, which takes longer than most calls. So
who calls says, before it wakes its helpers, where they may run. Exported modules hold this text too.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Collection


def shares(processors: Collection[int], taken: int, count: int) -> list[frozenset[int]]:
    """The processors that each of so many helpers may use: all but the one that is taken, dealt out in turns.

    If there are not as many, each may use them all.
    """
    free = sorted(set(processors) - {taken})
    return [frozenset(free[first::count]) for first in range(count)] if 0 < count <= len(free) else [
        frozenset(processors)]


class Placement:
    """Tells helpers, which are threads of this process, where to run.

    Where the system has no way to, or forbids it, they run where it lets them.
    """

    def __init__(self) -> None:
        self.helpers: list[int] = []
        self._told: tuple = ()
        self._place = getattr(os, "sched_setaffinity", None)  # Linux has it, of threads too
        self._here = getattr(ctypes.CDLL(None), "sched_getcpu", None) if self._place else None

    def join(self) -> None:
        """The calling thread is a helper from now on."""
        self.helpers.append(threading.get_native_id())

    def beside_me(self, count: int) -> None:
        """Let helpers run on other processors than the calling thread's, so that `count` of them have their own."""
        if self._here is None or self._place is None:
            return
        told = self._here(), os.sched_getaffinity(0), count, *self.helpers
        if told == self._told:
            return
        self._told = told
        theirs = shares(told[1], told[0], count)
        for number, helper in enumerate(told[3:]):
            try:
                self._place(helper, theirs[number % len(theirs)])
            except OSError:  # a sandbox forbids it: what is lost is time
                self._place = None
                return

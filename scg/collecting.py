"""Python's garbage collector, which runs seldom while something is compiled.

By default it runs whenever some 700 objects more are alive. What compiles a graph makes hundreds of thousands that live
until it is done, so that next to nothing is found, at a sixth of the time.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

from scg.forking import in_children

ALIVE = 50_000  # objects more that are alive, before it runs

_lock = threading.Lock()
_inside = 0  # how many threads, and callers of one, compile
_before = gc.get_threshold()


def _renew() -> None:
    """The threads that compiled are not in a forked process."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside:
        _inside = 0
        _as_before()


def _as_before() -> None:
    """Have garbage collected as often as before, unless somebody else has changed that."""
    if gc.get_threshold() == (ALIVE, *_before[1:]):
        gc.set_threshold(*_before)


in_children(_renew)


@contextlib.contextmanager
def seldom_collecting() -> Iterator[None]:
    """Have garbage collected seldom in here; afterwards as often as before, unless somebody else has changed that."""
    global _inside, _before
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < ALIVE:  # 0: never
                gc.set_threshold(ALIVE, *_before[1:])
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _as_before()

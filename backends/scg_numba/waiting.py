"""One line for those who wait for a compilation at a terminal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from scg.forking import in_children
from scg.progress import SECONDS, line, quiet
from scg.source import in_comment

_told: set[str] = set()  # what is being compiled by some thread
_lock = threading.Lock()


def _renew() -> None:
    """Nobody else compiles in a forked process."""
    global _lock
    _lock = threading.Lock()
    _told.clear()


in_children(_renew)


@contextlib.contextmanager
def told(name: str, lines: int) -> Iterator[None]:
    """Say on stderr what is being compiled, if what is done in here takes long.

    Nothing is said where stderr is no terminal, under ``python -q``, and where ``$SCG_QUIET`` is set.

    Parameters
    ----------
    name : str
        The graph's.
    lines : int
        Of its kernel.
    """
    with _lock:
        first = name not in _told and not quiet()
        _told.update([name] if first else [])
    if not first:
        yield
        return
    timer = threading.Timer(SECONDS, _say, (name, lines))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with _lock:
            _told.discard(name)


def _say(name: str, lines: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        line(f'scg: Numba compiles the kernel of graph "{in_comment(name)}" ({lines} lines) and keeps it for the next '
             'time; backend="numpy" compiles nothing')

"""What is shown to those who wait at a terminal: whether anything is, and bars."""

from __future__ import annotations

import os
import sys
from time import monotonic
from typing import Any

SECONDS = 2.0  # that nobody needs to be told of
_steps: list[Any] = []  # bars that say what is done


def quiet() -> bool:
    """Whether nothing is shown: where stderr is no terminal, under ``python -q``, and where ``$SCG_QUIET`` is set."""
    if unwanted():
        return True
    try:
        return not sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return True


def unwanted() -> bool:
    """Whether the user said that nothing is to be shown."""
    return bool(os.environ.get("SCG_QUIET") or sys.flags.quiet)


def bar(total: int, title: str, unit: str, **options) -> Any:
    """A progress bar, where somebody can see it.

    Parameters
    ----------
    total : int
        Of what is counted.
    title, unit : str
        What stands before it, and what is counted.
    **options
        Of tqdm.

    Returns
    -------
    tqdm
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=title, unit=unit, disable=True if unwanted() else None, **options)


def line(text: str) -> None:
    """A line for those who wait: above a bar, if there is one, and none where a bar says already what is done."""
    if _steps:
        return
    bars = sys.modules.get("tqdm")
    if bars is None:
        print(text, file=sys.stderr, flush=True)
    else:
        bars.tqdm.write(text, file=sys.stderr)


class Steps:
    """What is done, one after another: a bar that is there after some seconds, and goes when all is done.

    Parameters
    ----------
    total : int
        Of what is counted.
    title, unit : str
        As for `bar`.
    """

    def __init__(self, total: int, title: str, unit: str):
        self._what, self._began, self._done = (total, title, unit), monotonic(), 0
        self._bar: Any = None

    def at(self, text: str = "") -> None:
        """Say what is done now, if more is to be said than how much is done."""
        if self._bar is None and monotonic() - self._began >= SECONDS and not quiet():
            self._bar = bar(*self._what, initial=self._done, leave=False)
            self._bar.start_t -= SECONDS
            _steps.append(self._bar)
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=bool(text))

    def expect(self, total: int) -> None:
        """There are so many, as is known by now."""
        self._what = (total, *self._what[1:])
        if self._bar is not None:
            self._bar.total = total

    def done(self, count: int = 1) -> None:
        """So many of what is counted are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            _steps.remove(self._bar)
            self._bar.close()

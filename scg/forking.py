"""Processes that are forked: only the thread that forks goes on in the child, whatever the others were at.

A lock that another thread held stays locked for ever there, and a pool's threads are gone. So whoever has such things
makes them anew in the child. Exported modules hold this text too.
"""

from __future__ import annotations

import os
from collections.abc import Callable


def in_children(renew: Callable[[], None]) -> None:
    """Have this called in every process that is forked from now on, where the system forks."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)

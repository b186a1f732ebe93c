"""Compiled functions, kept by name in a dict of one test; machine code is where it is otherwise."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import scg_numba


@pytest.fixture(name="store", autouse=True)
def kept_by_name():
    """Where functions are kept in a test, by name."""
    found: dict[str, bytes] = {}
    with patch.object(scg_numba, "recall", found.get), patch.object(scg_numba, "remember", found.__setitem__):
        yield found


def is_found(f) -> bool:
    """Whether a function is one that was found among what is kept."""
    return "finding what was compiled before" in f._seconds

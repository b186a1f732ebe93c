"""Backends by name. A backend is a package ``scg_<name>``; nothing else in `scg` knows any of them."""

from __future__ import annotations

import importlib
from types import ModuleType

from scg.errors import DeclarationError
from scg.ir.location import here


def load(name: str) -> ModuleType:
    """The backend package of that name.

    Raises
    ------
    DeclarationError
        If there is none, or it says by a function ``out_of_use() -> (why, what would help)`` that it cannot be used.
    """
    unknown = DeclarationError(str(here() or ""), f"backend={name!r} was asked for.",
                               f"There is no package scg_{name}.", 'Use "numba" or "numpy".')
    if not isinstance(name, str) or not name.isidentifier():  # a path of modules would be looked up in part
        raise unknown
    try:
        backend = importlib.import_module(f"scg_{name}")
    except ModuleNotFoundError as error:
        if error.name != f"scg_{name}":
            raise
        raise unknown from None
    reason = getattr(backend, "out_of_use", lambda: None)()
    if reason is not None:
        raise DeclarationError(str(here() or ""), f"backend={name!r} was asked for.", *reason)
    return backend

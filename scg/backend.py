"""Backends by name. A backend is a package ``scg_<name>``; nothing else in `scg` knows any of them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import NamedTuple

from scg.errors import DeclarationError
from scg.ir.location import here


class CacheInfo(NamedTuple):
    """What is kept of compiled kernels.

    Attributes
    ----------
    folder : str or None
        Where it is kept: ``$SCG_CACHE_DIR``, or a folder in the user's cache directory; None if there is neither.
    files, bytes : int
        How much it is.
    limit : int
        How many bytes it may be: ``$SCG_CACHE_SIZE`` megabytes, or a gigabyte. What was used longest ago goes first.
    """

    folder: str | None
    files: int
    bytes: int
    limit: int


def cache_info(backend: str = "numba") -> CacheInfo:
    """What is kept of the kernels that a backend has compiled, for the next process.

    Parameters
    ----------
    backend : str

    Returns
    -------
    CacheInfo
    """
    return CacheInfo(*getattr(load(backend), "cache_info", lambda: (None, 0, 0, 0))())


def clear_cache(backend: str = "numba") -> None:
    """Remove what is kept of compiled kernels. Nothing is lost by it but the time to compile them again.

    Parameters
    ----------
    backend : str
    """
    getattr(load(backend), "clear_cache", lambda: None)()


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

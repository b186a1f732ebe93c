"""Draws that a function makes of a generator outside: NumPy's and Python's global ones, or one that it reads.

A call repeated is then another number, so the function is none of its arguments. What an installed library's function
does inside is not looked into.
"""

from __future__ import annotations

import contextlib
import dis
import random
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from scg.ir.code_digest import is_installed, plain

GENERATORS = (np.random.RandomState, np.random.Generator, random.Random)
_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")


def global_draw(function: Callable) -> str | None:
    """The first draw from a generator outside that a function makes, as it is written there, or None.

    Parameters
    ----------
    function : callable
        Plain, or compiled by Numba. Functions that it calls by their names are looked into too.
    """
    seen: set[int] = set()
    waiting = [plain(function)]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or not isinstance(found, FunctionType):
            continue
        seen.add(id(found))
        for text, value in _read(found):
            owner = getattr(value, "__self__", None) if isinstance(value, BuiltinFunctionType | MethodType) else value
            if isinstance(owner, GENERATORS):
                return text
            inner = plain(value)
            if isinstance(inner, FunctionType) and not is_installed(sys.modules.get(inner.__module__)):
                waiting.append(inner)
    return None


def _read(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """What a function reads from around it, as it is written, attributes of modules and generators followed."""
    around = {**function.__globals__, **_closed_over(function)}
    for code in _codes(function.__code__):
        steps = list(dis.get_instructions(code))
        for i, step in enumerate(steps):
            if step.opname not in _READS or step.argval not in around:
                continue
            text, value = step.argval, around[step.argval]
            for then in steps[i + 1 :]:
                if then.opname not in _ATTRIBUTES or not isinstance(value, (ModuleType, *GENERATORS)):
                    break
                if not hasattr(value, then.argval):
                    break
                text, value = f"{text}.{then.argval}", getattr(value, then.argval)
            yield text, value


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions and comprehensions within it."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _closed_over(function: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        with contextlib.suppress(ValueError):  # a variable that is not set yet
            found[name] = cell.cell_contents
    return found

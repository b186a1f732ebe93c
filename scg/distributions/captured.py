"""What a user's function reads from around it: variables of the function or module that it was written in.

The function of a family is called when a graph is declared, and again when it is compiled. A variable that has another
value by then would change sites that were declared before.
"""

from __future__ import annotations

import dis
import functools
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any

import numpy as np

from scg.ir.node import Node

_VALUES = (Node, np.ndarray, np.generic, int, float, complex, str, bytes, bool, type(None), tuple, frozenset)


def captured(function: Callable) -> dict[str, Any]:
    """The values that a function reads from around it now, by the names of their variables; no functions or modules."""
    code = getattr(function, "__code__", None)
    if code is None:
        return {}
    found = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):  # type: ignore[attr-defined]
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it is not set yet
            continue
    around = function.__globals__  # type: ignore[attr-defined]
    found |= {name: around[name] for name in _globals(code) if name in around}
    return {name: _kept(value) for name, value in found.items() if isinstance(value, _VALUES)}


def changed(before: Mapping[str, Any], function: Callable) -> str | None:
    """The name of a variable whose value is not what it was."""
    now = captured(function)
    return next((name for name, value in before.items() if not _equal(value, now.get(name))), None)


@functools.lru_cache(maxsize=256)
def _globals(code: CodeType) -> tuple[str, ...]:
    """The names that a function, and those that are written in it, read from their module."""
    found: list[str] = []
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found.append(step.argval)
        elif isinstance(step.argval, CodeType):
            found += _globals(step.argval)
    return tuple(dict.fromkeys(found))


def _kept(value: Any) -> Any:
    """The value as it is now: arrays can be written to."""
    return value.copy() if isinstance(value, np.ndarray) else value


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return type(a) is type(b) and np.array_equal(a, b, equal_nan=a.dtype.kind == "f" == b.dtype.kind)
    return type(a) is type(b) and not isinstance(a, Node) and bool(repr(a) == repr(b))

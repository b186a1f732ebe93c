"""A name for what a function of the user's computes: its code, and all that it reads from around it.

Two functions of one digest are one function, wherever they were written. What cannot be looked into (an object of
another class) is taken for a thing of its own in this process: `portable` says whether the digest means the same in
another one.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_strangers: dict[int, tuple[int, Any]] = {}  # what cannot be looked into, by its id, and held so that the id stays its
_numbers = itertools.count()
_HERE = secrets.token_hex(8)  # tells this process from others


class Digest(NamedTuple):
    """Of a function: the digest, and whether another process would find the same."""

    text: str
    portable: bool


def code_digest(function: Callable) -> Digest:
    """The digest of a function, plain or compiled by Numba."""
    found = _Walk()
    found.add(function)
    return Digest(found.hash.hexdigest(), found.portable)


def plain(function: Any) -> Any:
    """The Python function that one compiled by Numba was made of; any other as it is."""
    return getattr(function, "py_func", function)


class _Walk:
    def __init__(self):
        self.hash, self.portable = hashlib.blake2b(digest_size=16), True
        self.seen: dict[int, int] = {}
        self.asked: list[str] = []  # the names that the function which is looked into may read, of modules too
        self.open: set[int] = set()  # the modules that are being looked into

    def word(self, *texts: object) -> None:
        for text in texts:
            part = text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass")
            self.hash.update(len(part).to_bytes(8, "little") + part)

    def add(self, value: Any) -> None:
        """One value, and what it is made of."""
        if isinstance(value, _PLAIN):
            self.word(type(value).__name__, repr(value))
        elif isinstance(value, tuple | list):
            self.several(type(value).__name__, value)
        elif isinstance(value, frozenset | set):
            self.several("set", sorted(value, key=repr))
        elif isinstance(value, dict):
            self.several("dict", [x for pair in value.items() for x in pair])
        elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufc":
            self.word("array", value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes())
        elif isinstance(value, ModuleType):
            self.module(value)
        elif isinstance(value, CodeType):
            self.code(value)
        elif isinstance(plain(value), FunctionType):
            self.function(value)
        elif isinstance(value, BuiltinFunctionType | np.ufunc | type):
            self.word("named", getattr(value, "__module__", ""), value.__name__)
        else:
            self.stranger(value)

    def several(self, kind: str, values) -> None:
        self.word(kind, len(values))
        for value in values:
            self.add(value)

    def code(self, code: CodeType) -> None:
        self.word("code", code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
                  code.co_argcount, code.co_kwonlyargcount, code.co_flags)
        self.several("consts", code.co_consts)

    def function(self, value: Any) -> None:
        """A function's code, defaults, and what its variables from outside are; one met before by its number."""
        function = plain(value)
        if id(function) in self.seen:
            self.word("again", self.seen[id(function)])
            return
        self.seen[id(function)] = len(self.seen)
        self.word("function", sorted(getattr(value, "targetoptions", {}).items(), key=repr))
        self.code(function.__code__)
        self.several("defaults", function.__defaults__ or ())
        asked, self.asked = self.asked, _names(function.__code__)
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # a variable that is not set yet
                self.word("unset")
        for name in self.asked:
            if name in function.__globals__:
                self.word(name)
                self.add(function.__globals__[name])
        self.asked = asked

    def module(self, value: ModuleType) -> None:
        """A module: an installed one by its version, any other by what the function may read of it."""
        self.word("module", value.__name__)
        if is_installed(value):
            self.word(getattr(sys.modules.get(value.__name__.partition(".")[0]), "__version__", ""))
            return
        if id(value) in self.open:
            return
        self.open.add(id(value))
        for name in self.asked:
            if name in vars(value):
                self.word(name)
                self.add(vars(value)[name])
        self.open.remove(id(value))

    def stranger(self, value: Any) -> None:
        """What is only itself, in this process."""
        self.portable = False
        number, _ = _strangers.setdefault(id(value), (next(_numbers), value))
        self.word("stranger", _HERE, number)


def is_installed(module: ModuleType | None) -> bool:
    """Whether it is Python's own, or was installed: nobody edits it between two runs."""
    file = getattr(module, "__file__", None)
    if module is None:
        return False
    if module.__name__.partition(".")[0] in sys.stdlib_module_names:  # and no file of the user's of that name
        return file is None or Path(file).is_relative_to(Path(os.__file__).parent)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _names(code: CodeType) -> list[str]:
    """The names that code, and the code within it, may read from its module; those of attributes too."""
    found = list(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found += _names(inner)
    return list(dict.fromkeys(found))

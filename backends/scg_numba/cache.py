"""Generated modules, and machine code that the next process finds again.

A module's text is run from memory, never from a file, and not before something of it must be compiled: machine code
that is found needs neither the text nor the functions that it calls. It is the code alone: names and lines of the
user's, which stand in the comments of `f.source`, are no part of it, so a graph that is declared elsewhere has the
same. What Numba makes of its functions is kept by `scg_numba.stored` under a name that holds a digest of everything
that the machine code depends on: the text, the sources of the functions that it calls, the types, the processor, how
much Numba is to optimise, and the versions of Python, NumPy, Numba and llvmlite. Whatever is wrong with what was kept
costs compilation.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import linecache
import pickle
import pkgutil
import re
import sys
import threading
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import config, njit
from numba.core.compiler import CompileResult
from numba.core.dispatcher import Dispatcher
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from scg.forking import in_children
from scg_numba import stored

_IMPORT = re.compile(r"^from (scg_numba\.\w+|scg\.sums) import", re.MULTILINE)
_KERNEL = re.compile(r"^@lowered\(\*\*OPTIONS\)\n(def (\w+)\(.*\):)$", re.MULTILINE)
_loaded: weakref.WeakValueDictionary[str, ModuleType] = weakref.WeakValueDictionary()
_loading = threading.RLock()  # a module may be freed, and forgotten, in the middle of loading another


def _renew() -> None:
    global _loading
    _loading = threading.RLock()


in_children(_renew)


class KeptCode:
    """The machine code of one function, as Numba looks for it before it compiles.

    Parameters
    ----------
    function : str
        A name for the function that tells it from every other one, of this text or another.
    """

    def __init__(self, function: str):
        self.function = function

    @property
    def cache_path(self) -> str:
        """Where it is kept."""
        return str(stored.directory() or "")

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """What was compiled for a signature; None if that must be compiled."""
        rtsys.initialize(target_context)  # which machine code calls; all else that a refresh loads is for compiling
        try:
            kept = stored.read(self._name(sig, target_context.codegen()))
            return None if kept is None else CompileResult._rebuild(target_context, *pickle.loads(kept))
        except Exception:  # whatever another version of anything makes of it, the function can be compiled
            return None

    def save_overload(self, sig: Any, data: CompileResult) -> None:
        """Keep what was compiled for a signature."""
        if data.library.has_dynamic_globals or any(not lifted.can_cache for lifted in data.lifted):
            return
        try:
            stored.write(self._name(sig, data.codegen), dumps(data._reduce()))
        except Exception:  # what cannot be written down is compiled by every process
            return

    def _name(self, sig: Any, codegen: Any) -> str:
        return f"{digest(f'{self.function} {sig!r} {codegen.magic_tuple()!r}')}.code"

    def flush(self) -> None:
        """Nothing: what is kept under another name does no harm."""


def keep(module: ModuleType, text: str) -> None:
    """Have what Numba compiles of a module's functions kept; `text` is the module's source."""
    for function in _own(module.__name__, vars(module)):
        function._cache = KeptCode(f"{module.__name__} {function.py_func.__name__} {digest(text)}")


def _own(name: str, namespace: dict[str, Any]) -> list[Dispatcher]:
    """The jitted functions that a module defines."""
    return [f for f in namespace.values() if isinstance(f, Dispatcher) and f.py_func.__module__ == name]


def digest(text: str) -> str:
    """A name for the machine code of a text."""
    h = hashlib.blake2b(digest_size=16)
    versions = f"{sys.version} {np.__version__} {numba.__version__} {llvmlite.__version__}"
    optimised = f"{config.OPT!r} {config.LOOP_VECTORIZE} {config.SLP_VECTORIZE}"
    for part in (text, versions, optimised, *_below(_imported(text)).values()):
        h.update(part.encode())
        h.update(b"\0")
    return h.hexdigest()


def _imported(text: str) -> frozenset[str]:
    return frozenset(_IMPORT.findall(text))


@functools.cache
def _below(names: frozenset[str]) -> dict[str, str]:
    """The sources of this backend's modules of those names, and of those that these import."""
    found: dict[str, str] = {}
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found[name] = _source(name)
        waiting |= _imported(found[name]) - found.keys()
    return dict(sorted(found.items()))


@functools.cache
def _source(name: str) -> str:
    """A module's source; it is read when this package is imported, as the module itself is."""
    spec = importlib.util.find_spec(name)
    text = None if spec is None else spec.loader.get_source(name)  # type: ignore[union-attr]
    return text or ""


@functools.cache
def keep_helper(name: str) -> None:
    """Have what Numba compiles of one of this backend's modules kept."""
    keep(importlib.import_module(name), _source(name))


def helper(name: str) -> ModuleType:
    """One of this backend's modules, to be called beside a kernel: what is compiled of it is kept."""
    keep_helper(name)
    return importlib.import_module(name)


def load(text: str) -> ModuleType:
    """The module of that text: one for all who hold it, freed when nobody does."""
    name = f"scg_kernel_{digest(text)}"
    with _loading:
        found = _loaded.get(name)
        if found is None:
            found = _loaded[name] = _unread(name, text)
            sys.modules[name] = known = _Known(found)  # type: ignore[assignment]
            weakref.finalize(found, _forget, name, known, vars(found)).atexit = False
    return found


class _Known:
    """What stands for a module in `sys.modules`, where Numba looks for globals by name: it does not hold the module."""

    def __init__(self, module: ModuleType):
        self._module = weakref.ref(module)

    def __getattribute__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_module")(), name)


def _forget(name: str, known: _Known, namespace: dict[str, Any]) -> None:
    """Free what was compiled of a module that is gone: Numba holds it for as long as it lives, and it the functions."""
    with _loading:
        if sys.modules.get(name) is known:
            del sys.modules[name]
    for function in _own(name, namespace):
        function._make_finalizer()()
        function._reset_overloads()
    namespace.clear()


class _Unread:
    """Numba's compiler of a kernel whose text has not been run: what is found in the cache never asks for it."""

    def __init__(self, function: Dispatcher, module: ModuleType, text: str):
        self._function, self._module, self._text = weakref.ref(function), weakref.ref(module), text

    def compile(self, args: Any, return_type: Any) -> CompileResult:
        """Run the text, and have its function compiled."""
        return self.read()._compiler.compile(args, return_type)

    def read(self) -> Dispatcher:
        """Run the text: the function is what it makes of it, under the name that callers know."""
        function, module = self._function(), self._module()
        assert function is not None and module is not None  # who calls the one holds it, and it the other
        _fill(module, self._text)
        name = function.py_func.__name__
        found = getattr(module, name)
        function.py_func, function.targetoptions, function._compiler = (
            found.py_func, found.targetoptions, found._compiler)
        setattr(module, name, function)
        return function


def read(module: ModuleType) -> ModuleType:
    """A module of `load`, whose text has been run."""
    for function in _own(module.__name__, vars(module)):
        if isinstance(function._compiler, _Unread):
            function._compiler.read()
    return module


def _unread(name: str, text: str) -> ModuleType:
    """The module of a kernel's text, which is run when Numba must read it."""
    head = _KERNEL.search(text)
    if head is None:
        return _run(name, text)
    module = ModuleType(name)
    exec(f"{head[1]} pass", module.__dict__)
    function = module.__dict__[head[2]] = njit(module.__dict__[head[2]])
    function._compiler = _Unread(function, module, text)
    keep(module, text)
    return module


def _run(name: str, text: str) -> ModuleType:
    module = ModuleType(name)
    _fill(module, text)
    return module


def _fill(module: ModuleType, text: str) -> None:
    """Run a text as that of a module."""
    for helper in _below(_imported(text)):
        keep_helper(helper)
    name = module.__name__
    linecache.cache[f"<{name}>"] = len(text), None, text.splitlines(True), name
    head = _KERNEL.search(text)  # of the kernel itself, which `lowered` reads
    run = text if head is None else f"{text[: head.end()]} pass\n"
    exec(compile(run, f"<{name}>", "exec", dont_inherit=True), module.__dict__)
    del linecache.cache[f"<{name}>"]
    keep(module, text)


_below(frozenset(_module.name for _module in pkgutil.iter_modules([str(Path(__file__).parent)], "scg_numba.")))

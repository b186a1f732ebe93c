"""Exported modules as code: their functions are those that kernels call, so what these compile to need not be asked."""

from __future__ import annotations

import importlib
from types import ModuleType

from numba.core.dispatcher import Dispatcher
from scg_numba import cache


def compare_functions(module: ModuleType, kernel: ModuleType) -> set[str]:
    """The names of the compiled functions of an exported module, each of which has the code that kernels call."""
    known = {"chunk": cache.read(kernel).chunk}
    for text in ("noise", "choices", "runtime", "special", "slopes", "powers"):
        found = vars(importlib.import_module(f"scg_numba.{text}"))
        known |= {n: x for n, x in found.items() if isinstance(x, Dispatcher)}
    compared = {n for n, x in vars(module).items() if isinstance(x, Dispatcher)}
    for name in compared:
        ours, theirs = known[name], getattr(module, name)
        assert _code(ours.py_func) == _code(theirs.py_func), name
        assert ours.targetoptions == theirs.targetoptions, name
    return compared


def _code(function):
    code = function.__code__
    return code.co_code, code.co_names, code.co_varnames, repr(code.co_consts)


def with_the_kernel_of(f, module: ModuleType) -> ModuleType:
    """The module, found to be the same code, with the estimator's own kernel: nothing is compiled a second time."""
    assert "chunk" in compare_functions(module, f._calls.kernel.module)
    module.chunk = f._calls.kernel.function
    return module

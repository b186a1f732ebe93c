"""Kernels that LLVM writes down as they stand: compiled in a third of the time, and slower.

Four fifths of the time that a kernel takes to compile are LLVM's, for machine code that is fast. Most tests ask what is
derived, and what a kernel says; what LLVM makes of it is asked by those that are marked `optimised`. Here its
instructions become the processor's one by one. What a kernel calls is optimised all the same, as it was compiled for
all kernels. Such code has a name of its own wherever code is kept or shared, so nothing that is optimised is found in
its place, nor the reverse.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import pytest
from numba.core import config
from numba.core.codegen import JITCPUCodegen
from numba.core.runtime import rtsys
from scg_numba import cache, lowering

MARK = "\n# compiled quickly\n"
_quick: set[str] = set()  # the modules of such kernels


class _Codegen(JITCPUCodegen):
    """LLVM without its optimisations."""

    def __init__(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(config, "OPT", config._OptLevel(0))
            super().__init__("quick kernels")

    def _pass_builder(self, **options):
        return super()._pass_builder(opt=0, loop_vectorize=False, slp_vectorize=False)


@functools.cache
def _codegen() -> _Codegen:
    return _Codegen()


class _Context:
    """Numba's context, for code that was kept."""

    def __init__(self, context):
        self._context = context

    def codegen(self) -> _Codegen:
        return _codegen()

    def __getattr__(self, name):
        return getattr(self._context, name)


@functools.cache
def _patch() -> None:
    """Have kernels of modules with the mark compiled, and read from what was kept, by that."""
    define, load = lowering.Whole.define_pipelines, cache.KeptCode.load_overload

    def define_pipelines(self):
        found = define(self)
        if self.state.func_id.modname in _quick:
            self.state.library = lowering.Library(_codegen(), self.state.func_id.func_qualname)
            self.state.library.enable_object_caching()
        return found

    def load_overload(self, sig, context):
        if self.function.partition(" ")[0] not in _quick:
            return load(self, sig, context)
        rtsys.initialize(context)
        return load(self, sig, _Context(context))

    lowering.Whole.define_pipelines, cache.KeptCode.load_overload = define_pipelines, load_overload


@contextlib.contextmanager
def compiled_quickly() -> Iterator[None]:
    """Kernels whose modules are made in here are compiled quickly."""
    _patch()
    load = cache.load

    def quickly(text):
        if cache._KERNEL.search(text) is None:  # one of the functions that kernels call
            return load(text)
        _quick.add(f"scg_kernel_{cache.digest(text + MARK)}")
        return load(text + MARK)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "load", quickly)
        yield

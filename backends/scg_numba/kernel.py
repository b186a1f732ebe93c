"""The compiled kernel: a generated module and the call of its function."""

from __future__ import annotations

import importlib
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
from numba import config
from numba.core.dispatcher import Dispatcher

from scg.collecting import seldom_collecting
from scg.ops.call import failing, not_compiled, not_importable
from scg.program import Call, Chunk, Division, Layout, Partial, Program
from scg.schedule import plan
from scg_numba import cache
from scg_numba.complaints import reason
from scg_numba.module import text_of
from scg_numba.running import Workspace, prepared, ready, run_chunk
from scg_numba.text import Text
from scg_numba.waiting import told

SPECIAL_FUNCTIONS = ("deviance", "digamma", "digamma_rest", "erf", "erfc", "lgamma", "lgamma_rest", "log_ratio", "ndtr",
                     "ndtri", "trigamma", "trigamma_rest")


class NumbaKernel:
    """A program compiled by Numba. It can be pickled: another process makes the same module of its text."""

    def __init__(self, layout: Layout, text: Text):
        self.layout, self.text = layout, text

    @property
    def source(self) -> str:
        """The module's text, as it is read."""
        return self.text.module()

    @cached_property
    def module(self) -> ModuleType:
        """The module of the kernel's code; it lives as long as a kernel of that code."""
        if self.text.functions:
            given = importlib.import_module("scg_numba.called").FUNCTIONS
            given.update((c.digest, c.function) for c in self.text.functions.values())
        return cache.load(self.text.code())

    @cached_property
    def function(self):
        """The jitted function; compiled at its first call, or loaded from the cache."""
        return self.module.chunk

    @cached_property
    def _workspace(self) -> Workspace:
        around = cache.helper("scg_numba.products").one_thread if self.text.multiplies else None
        return Workspace(self.text.workspace.values(), self.text.constants.values(), around, self.text.assigned,
                         self.text.left)

    @cached_property
    def finish(self):
        """See `scg.program.Kernel`."""
        return cache.helper("scg_numba.products").finish_at_once if self.text.multiplies else None

    @cached_property
    def are_finite(self):
        """See `scg.program.Kernel`."""
        return cache.helper("scg_numba.finite").are_finite if self.text.multiplies else None

    @cached_property
    def meet(self):
        """See `scg.program.Kernel`."""
        users = self.text.functions  # others' functions are given nothing that has not been looked at before
        return cache.helper("scg_numba.meeting").meet if self.text.left and not users else None

    @property
    def memory(self) -> int:
        """Bytes that a thread works in, beside what a call gives and gets."""
        return sum(size * np.dtype(kind).itemsize for size, kind in self.text.workspace.values())

    @property
    def compiled(self) -> str:
        """What is known of the machine code: how long it took, in words."""
        function = self.__dict__.get("function")
        if function is None or not function.overloads:
            return "Numba compiles the kernel at the first call, or finds it in the cache"
        found = [m.get("timers", {}).get("compiler_lock") for m in function.get_metadata().values() if m]
        seconds = [t for t in found if t is not None]
        return f"{max(seconds):.2f} s Numba's machine code" if seconds else "its machine code was in the cache"

    def run(self, call: Call, chunk: Chunk) -> Partial:
        """Evaluate a range of replicates; see `scg.program.Kernel`."""
        if not self.text.functions:  # as nearly always: small calls do nothing that they need not
            return self._run(call, chunk)
        with failing(self.text.functions.values(), reason):
            return self._run(call, chunk)

    def _run(self, call: Call, chunk: Chunk) -> Partial:
        if self.function.overloads:
            return run_chunk(self.function, self._workspace, self.layout, call, chunk)
        with told(self.layout.name, self.text.body.count("\n")), seldom_collecting():
            return run_chunk(self.function, self._workspace, self.layout, call, chunk)

    def ready(self, call: Call):
        """See `scg.program.Kernel`."""
        return ready(self.layout, call)

    def prepared(self, division: Division):
        """See `scg.program.Kernel`."""
        if self.text.functions or not self.function.overloads:
            return None
        cache.keep_helper("scg_numba.noise")
        return prepared(self, self._workspace, self.layout, division)

    @property
    def needs(self) -> str:
        """The packages that a module of its own needs, and the functions that it imports."""
        packages = "numpy, numba, scipy and threadpoolctl" if self.text.multiplies else "numpy and numba"
        own = ", ".join(dict.fromkeys(f"{c.module}.{c.name}" for c in self.text.functions.values()))
        return f"{packages}, and the functions {own}" if own else packages

    def standalone(self) -> tuple[list[tuple[str, str]], dict[str, np.ndarray]]:
        """The text of the kernel and of everything that it calls, by title, for a module of its own.

        And the arrays that the text reads as ``ARRAYS[key]``, by their keys.
        """
        for callee in self.text.functions.values():
            if not callee.importable:
                raise not_importable(callee)
        here = Path(__file__).parent
        names = ["pipeline", "trees", "repeated", "outlined", "hints", "lowered_values", "lowering", "noise", "choices",
                 "runtime", "vector_math", "running"]
        rare = dict.fromkeys(self.text.rare.values())
        if rare or any(f"{name}(" in self.text.body for name in SPECIAL_FUNCTIONS):
            names.append("special")
        names += rare
        if self.text.functions:
            names.append("within")
        if "whole_power(" in self.text.body:
            names.append("powers")
        given = f", [{', '.join(self.text.constants)}]" + (", one_thread" if self.text.multiplies else "")
        given = given if given != ", []" else ""
        given += f", {self.text.assigned}, {self.text.left}" if self.text.assigned else ""
        workspace = f"\n\nWORKSPACE = Workspace({list(self.text.workspace.values())}{given})\n"
        arrays = self.text.large_arrays()
        return [*((name, (here / f"{name}.py").read_text(encoding="utf-8")) for name in names),
                ("kernel", self.text.module("", arrays) + workspace)], arrays

    def nameless(self, layout: Layout) -> NumbaKernel:
        """The same without what it says of names and lines, which stands in comments."""
        return NumbaKernel(layout, self.text.nameless())

    @property
    def numbers(self) -> np.ndarray:
        """The numbers that the code is given, but for tables of them."""
        return self.text.constants.get("REALS", np.zeros(0))

    def of_numbers(self, numbers: np.ndarray) -> NumbaKernel:
        """The same code, given other numbers."""
        return NumbaKernel(self.layout, self.text.of_numbers(numbers))

    def of_layout(self, layout: Layout) -> NumbaKernel:
        """The same code for a layout in which other things have other names."""
        return NumbaKernel(layout, self.text)

    def __getstate__(self):
        return {"layout": self.layout, "text": self.text}


def compile(program: Program) -> NumbaKernel:
    """The kernel of a program."""
    text = text_of(plan(program))
    for callee in text.functions.values():
        if not isinstance(callee.function, Dispatcher):
            raise not_compiled(callee)
    return NumbaKernel(program.layout, text)


def out_of_use() -> tuple[str, str] | None:
    """Why nothing can be compiled, and what would help: what kernels call is for Numba's compiler only."""
    if config.DISABLE_JIT:
        return ("Numba is switched off, by NUMBA_DISABLE_JIT=1 or numba.config.DISABLE_JIT.",
                'Use backend="numpy", or switch Numba on before it is imported.')
    return None

"""The compiled kernel: a generated module and the call of its function."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scg.program import Call, Chunk, Layout, Partial, Program
from scg.source import without_imports
from scg_numba import cache
from scg_numba.module import Text, text_of

SPECIAL_FUNCTIONS = ("digamma", "erf", "erfc", "lgamma", "ndtr", "ndtri", "trigamma")


class NumbaKernel:
    """A program compiled by Numba. It can be pickled: another process loads the same module from the cache."""

    def __init__(self, layout: Layout, text: Text):
        self.layout, self.text = layout, text
        self.source = text.module()
        self._function = None

    @property
    def function(self):
        """The jitted function; compiled at its first call, or loaded from the cache."""
        if self._function is None:
            self._function = cache.load(self.source).chunk
        return self._function

    def run(self, call: Call, chunk: Chunk) -> Partial:
        """Evaluate a range of replicates; see `scg.program.Kernel`."""
        division, layout = call.division, self.layout
        numbers = np.zeros((6, layout.width))  # sums, four numbers of the moments, variances
        kept = 5 if layout.row_numbers > 1 else 1
        by_row = [np.zeros((kept, chunk.rows * layout.row_width))] if layout.by_row else []
        records = tuple(np.empty((chunk.rows * (chunk.k1 - chunk.k0), slot.size)) for slot in layout.records)
        flat = [a.reshape(-1) for a in call.arrays]
        self.function(chunk.row0, chunk.rows, chunk.k0, chunk.k1, division.samples, division.groups, division.by_group,
                      call.keys, numbers[0], numbers[1:5], numbers[5], *by_row, *records, *flat)
        count = int(numbers[1, layout.counted]) if layout.width else 0
        return Partial(numbers[0], count, numbers[2], numbers[3], numbers[5],
                       tuple(r.reshape(len(r), *slot.shape) for r, slot in zip(records, layout.records)),
                       by_row[0][:4].reshape(-1, chunk.rows, layout.row_width) if by_row else None)

    def standalone(self) -> str:
        """The kernel with everything that it calls, for a module of its own (after the imports of numpy and numba)."""
        here = Path(__file__).parent
        names = ["noise", "runtime", "vector_math"]
        if any(f"{name}(" in self.text.body for name in SPECIAL_FUNCTIONS):
            names.append("special")
        parts = []
        for name in names:
            text = without_imports((here / f"{name}.py").read_text(encoding="utf-8"))
            parts.append(f"\n# --- {name} {'-' * (112 - len(name))}\n\n{text}")
        kernel = without_imports(self.text.module(""))
        return "\n".join([*parts, f"\n# --- kernel {'-' * 106}\n", kernel])

    def __getstate__(self):
        return {**self.__dict__, "_function": None}


def compile(program: Program) -> NumbaKernel:
    """The kernel of a program."""
    return NumbaKernel(program.layout, text_of(program))

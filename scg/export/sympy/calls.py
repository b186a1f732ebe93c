"""Functions of the user's in formulas: applied functions that know what they compute, and, with a vjp, their slopes."""

from __future__ import annotations

import functools
import math

import numpy as np
import sympy

from scg.errors import SCGError
from scg.ops.call import Callee

Shapes = tuple[tuple[int, ...], ...]


class _Called(sympy.Function):
    """An element of what a function returns: its indices, then the elements of all arguments.

    Of a call that does not happen where a loop is over there is one more, 1 there, which is not written.
    """

    callee: Callee
    shapes: Shapes
    ends: bool

    @property
    def _parts(self) -> tuple[tuple, tuple, tuple]:
        count, end = len(self.callee.shape), len(self.args) - self.ends
        return self.args[:count], self.args[count:end], self.args[end:]

    def fdiff(self, argindex=1):
        callee, (index, given, unless) = self.callee, self._parts
        if callee.vjp is None or argindex <= len(index):
            raise SCGError("a formula", f"{callee.name} was to be differentiated.",
                           "It was declared without vjp=: nothing is known of its derivative.", "Give it vjp=.")
        unit = [sympy.prod([sympy.KroneckerDelta(a, b) for a, b in zip(index, at)])
                for at in np.ndindex(*callee.shape)]
        of = function_of(callee.vjp, (callee.shape, *self.shapes), self.ends)
        return of(argindex - 1 - len(index), *unit, *given, *unless)

    def _written(self, printer, brackets: str) -> tuple[str, str]:
        index, given, _ = self._parts
        at = brackets % ", ".join(map(printer._print, index)) if index else ""
        return ", ".join(map(printer._print, given)), at

    def _sympystr(self, printer) -> str:
        given, at = self._written(printer, "[%s]")
        return f"{self.callee.name}({given}){at}"

    def _latex(self, printer, exp=None) -> str:
        given, at = self._written(printer, "_{%s}")
        name = self.callee.name.replace("_", r"\_")
        text = rf"\operatorname{{{name}}}\left({given}\right){at}"
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"


@functools.cache
def function_of(callee: Callee, shapes: Shapes, ends: bool = False) -> type[_Called]:
    """A function of the user's as one of sympy's, for arguments of these shapes; `ends` where a loop may be over."""
    counts = [math.prod(s) for s in shapes]
    several = len(callee.shape)

    def numbers(*given):
        """The element in each replicate."""
        columns = np.broadcast_arrays(*given)
        found = np.zeros(columns[0].shape)
        for at in np.ndindex(found.shape):
            if ends and columns[-1][at]:
                continue
            index, flat = [int(c[at]) for c in columns[:several]], [c[at] for c in columns[several:]]
            element = int(np.ravel_multi_index(index, callee.shape)) if several else 0
            found[at] = callee(*_arguments(flat, shapes, counts))[element]
        return found

    fields = {"_imp_": staticmethod(numbers), "nargs": several + sum(counts) + ends, "callee": callee,
              "shapes": shapes, "ends": ends, "__module__": __name__}
    return type(callee.name, (_Called,), fields)


def _arguments(flat: list, shapes: Shapes, counts: list[int]) -> list:
    found, start = [], 0
    for shape, count in zip(shapes, counts):
        part = np.array(flat[start : start + count], dtype=float)
        found.append(part.reshape(shape) if shape else part[0])
        start += count
    return found

"""How what a loop carries depends on parameters, step by step: the derivatives that the short form leaves standing."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from scg.export.sympy.replicates import Replicates
from scg.export.sympy.to_sympy import At, Converter, Frame
from scg.ops.scan import split


def entering(c: Converter, name: str, index: tuple):
    """A carry by its symbol's name and indices, as what the step before made of it, or what the loop began with."""
    node, loop = c.draws[name]
    scans = inside_of(loop)
    worlds = [ax.name for ax in node.axes if not ax.statistical]
    steps, rest = index[: len(scans)], index[len(scans):]
    around = None
    for scan, t in zip(scans[:-1], steps[:-1]):
        around = Frame(scan, t, around)
    scan, t = scans[-1], steps[-1]
    body = scan.attrs
    free = [i for i in index if isinstance(i, sympy.Symbol)]  # no sum below may be over one of these
    at = At(tuple(sorted(zip(worlds, rest))), bound=tuple((i, False) for i in free))
    element, i = rest[len(worlds):], next(i for i, carry in enumerate(body.carries) if carry is node)
    if t == (body.length - 1 if body.reverse else 0):
        return c.converted(split(scan)[0][i], element, at.inside(around))
    return c.converted(body.new_carries[i], element, at.inside(Frame(scan, t + 1 if body.reverse else t - 1, around)))


def inside_of(loop) -> list:
    """The scans of a loop and those around it, outermost first."""
    return [] if loop is None else [*inside_of(loop.parent), loop.scan]


class Rates:
    """Derivatives of carries in each replicate, each computed from those of the step before."""

    def __init__(self, converter: Converter, replicates: Replicates):
        self.converter, self.replicates = converter, replicates
        self._known: dict[tuple, np.ndarray] = {}

    def of(self, name: str, index: tuple[int, ...], symbol: Any) -> np.ndarray:
        """The derivative of one carry, at numbers for its indices, with respect to a symbol."""
        key = name, index, symbol
        if key not in self._known:
            before = sympy.sympify(entering(self.converter, name, index))
            self._known[key] = self.replicates.of(sympy.diff(before, symbol))
        return self._known[key]

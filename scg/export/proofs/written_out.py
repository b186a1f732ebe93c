"""Surrogates as formulas in which every sum is written out, and every draw is known by its noise."""

from __future__ import annotations

from typing import Any, NamedTuple

import sympy

from scg.export.names import names_of
from scg.export.sympy import forms
from scg.export.sympy.to_sympy import At, Converter
from scg.ir.literal import Literal
from scg.ir.node import Node
from scg.surrogate.derivation import Derivation


class Behind(NamedTuple):
    """What a symbol of a draw or of noise stands for: an element of a node, in worlds and steps."""

    node: Node
    where: tuple[Any, ...]
    at: At


class Exact(forms.Table):
    """A table of numbers that are exact, so that sums of them are."""

    number = staticmethod(forms.exactly)


class WrittenOut(Converter):
    """The converter of a derivation's nodes.

    Attributes
    ----------
    behind : dict of symbol to Behind
        Every draw and every noise that has been written so far.
    """

    def __init__(self, derivation: Derivation):
        super().__init__(names_of(derivation), expand=True)
        self.behind: dict[Any, Behind] = {}

    def constant(self, literal: Literal, index):
        return forms.constant_element(literal, index, Exact)

    def summation(self, low, high, term, at: At, steps: bool = False, axis: str = ""):
        return sympy.Add(*(term(i, at) for i in range(int(low), int(high) + 1)))

    def drawn(self, name: str, node: Node, index, at: At):
        symbol = super().drawn(name, node, index, at)
        self.behind[symbol] = Behind(node, tuple(index), at)
        return symbol

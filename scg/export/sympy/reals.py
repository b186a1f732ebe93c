"""Functions of real numbers, which sympy takes to be of complex ones, or rearranges where their kinks are.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from scg.export.sympy.forms import Choice


class Abs(sympy.Abs):
    """The absolute value, of real numbers: its derivative is the sign."""

    @classmethod
    def eval(cls, x):
        return sympy.Abs(x) if x.is_number else None

    def _eval_derivative(self, s):
        return sign(self.args[0]) * self.args[0].diff(s)


# Hyperbolic functions of real numbers: to see that theirs are finite, sympy takes real and imaginary parts, for minutes
class sinh(sympy.sinh):
    """The hyperbolic sine of a real number."""

    is_real = is_finite = True

    @classmethod
    def eval(cls, x):
        if x.is_number:
            return super().eval(x)
        return -cls(-x) if x.could_extract_minus_sign() else None

    def fdiff(self, argindex=1):
        return cosh(self.args[0])


class cosh(sympy.cosh):
    """The hyperbolic cosine of a real number."""

    is_real = is_finite = True

    @classmethod
    def eval(cls, x):
        if x.is_number:
            return super().eval(x)
        return cls(-x) if x.could_extract_minus_sign() else None

    def fdiff(self, argindex=1):
        return sinh(self.args[0])


class tanh(sympy.tanh):
    """The hyperbolic tangent of a real number."""

    is_real = is_finite = True

    @classmethod
    def eval(cls, x):
        if x.is_number:
            return super().eval(x)
        return -cls(-x) if x.could_extract_minus_sign() else None

    def fdiff(self, argindex=1):
        return 1 - self**2


class sign(sympy.sign):
    """The sign, with the derivative that it has almost everywhere: 0, and no Dirac delta."""

    def _eval_derivative(self, s):
        return sympy.Integer(0)


class floor(sympy.floor):
    """The floor, with the derivative that it has almost everywhere: 0; whole numbers stay in it, as floats add them."""

    @classmethod
    def eval(cls, x):
        return sympy.floor(x) if x.is_number else None

    def _eval_derivative(self, s):
        return sympy.Integer(0)


def _of_all(plain: type, cls, args):
    """The extreme of several numbers as it stands."""
    args = tuple(map(sympy.sympify, args))
    if len(set(args)) == 1:
        return args[0]
    return plain(*args) if all(a.is_number for a in args) else sympy.Expr.__new__(cls, *sympy.ordered(args))


def _share(extreme, i: int):
    """How much of a derivative one of several numbers has: those that attain the extreme have equal shares."""
    attaining = [sympy.KroneckerDelta(a, extreme) for a in extreme.args]
    return attaining[i] / sympy.Add(*attaining)


class Max(sympy.Max):
    """The largest of several numbers, as it is nested in the graph: at ties each nesting shares the derivative out.

    sympy makes one of several, and leaves out those that others are never below: where they are equal, with their part
    of the derivative.
    """

    def __new__(cls, *args, **options):
        return _of_all(sympy.Max, cls, args)

    def fdiff(self, argindex):
        return super().fdiff(argindex) if len(self.args) == 2 else _share(self, argindex - 1)


class Min(sympy.Min):
    """The smallest of several numbers, likewise."""

    def __new__(cls, *args, **options):
        return _of_all(sympy.Min, cls, args)

    def fdiff(self, argindex):
        return super().fdiff(argindex) if len(self.args) == 2 else _share(self, argindex - 1)


def of_several(pair, elements: Sequence[Any]):
    """The extreme of several elements, where `pair` is that of two; None if it is no extreme."""
    return pair.func(*elements) if isinstance(pair, (Max, Min)) else None


class _OfReals:
    """The sympy module to ops' formulas, with functions that know that they are of real numbers."""

    sinh, cosh, tanh, Abs, sign, floor, Max, Min = sinh, cosh, tanh, Abs, sign, floor, Max, Min

    @staticmethod
    def Piecewise(*cases):
        *first, (value, condition) = cases
        if sympy.sympify(condition) != sympy.true:
            return sympy.Piecewise(*cases)
        for other, condition in first[::-1]:
            value = Choice(condition, other, value)
        return value

    def __getattr__(self, name: str):
        return getattr(sympy, name)


of_reals = _OfReals()

"""Points at which formulas are looked at: at random, and a call's."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

import numpy as np
import sympy

from scg.export.sympy.forms import exactly
from scg.export.sympy.to_sympy import Converter
from scg.run.values import Values
from scg.surrogate.derivation import Derivation

ZERO = 1e-28  # what is 0 to thirty digits
Numbers = Callable[[Any], Any]  # of a symbol, a float or a rational number


class Somewhere:
    """Numbers at random, some of which could be probabilities and some not: the same for the same seed.

    Of two seeds in four, `given` (data, inputs) are 0 and 1, as labels are.
    """

    def __init__(self, seed: int, given: Container[Any] = ()):
        self._rng = np.random.default_rng([7, seed])
        self._found: dict[Any, float] = {}
        self._all_small = seed % 2 == 1
        self._whole: Container[Any] = given if seed % 4 >= 2 else ()

    def __call__(self, symbol) -> float:
        if symbol not in self._found:
            small = self._all_small or self._rng.random() < 0.3
            # short decimals, so that a formula of them is exact
            number = self._rng.uniform(0.02, 0.98) if small else self._rng.normal(0.0, 1.5)
            self._found[symbol] = float(round(number, 6) if symbol not in self._whole else number > 0.5)
        return self._found[symbol]


class Moved:
    """A point, but for one number."""

    def __init__(self, point: Numbers, symbol, number: sympy.Rational):
        self._point, self._symbol, self._number = point, symbol, number

    def __call__(self, symbol) -> Any:
        return self._number if symbol == self._symbol else self._point(symbol)


class At:
    """The numbers of one row of a call."""

    def __init__(self, c: Converter, derivation: Derivation, row: Values, states: Mapping[str, Any] | None = None):
        self._found: dict[Any, float] = {}
        for name, array in row.arrays.items():
            array = np.asarray(array)
            if name in derivation.leaves.rows:
                array = array[0]
            self._found |= {c.leaf(name, index): float(array[index]) for index in np.ndindex(array.shape)}
        for s in derivation.draft.states:
            array = np.broadcast_to(np.asarray((states or {}).get(s.name, s.initial), float), s.leaf.shape)
            name = c.names.brought(s.leaf)
            self._found |= {c.symbol(name, index): float(array[index]) for index in np.ndindex(s.leaf.shape)}

    def __call__(self, symbol) -> float:
        return self._found[symbol]


def value_at(expr, numbers, digits: int = 30):
    """A formula in the parameters at a point, to so many digits."""
    symbols = [s for s in expr.atoms(sympy.Symbol, sympy.Indexed) if not _only_a_base(s, expr)]
    return sympy.N(expr.xreplace({s: exactly(numbers(s)) for s in symbols}), digits)


def sign_at(expr, numbers: Numbers) -> int | None:
    """The sign of a formula in the parameters at a point; None where it is no real number."""
    found = value_at(expr, numbers)
    if not found.is_real:
        return None
    return 0 if abs(found) < ZERO else int(sympy.sign(found))


def _only_a_base(symbol, expr) -> bool:
    """Whether a symbol is but the name of an array."""
    return any(symbol == indexed.base.label for indexed in expr.atoms(sympy.Indexed))

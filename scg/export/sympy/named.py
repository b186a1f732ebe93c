"""Parts of formulas that have names and know their definitions: named nodes, and what occurs more than once.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import weakref
from typing import Any

import sympy
from sympy.printing.precedence import PRECEDENCE

from scg.export.sympy.forms import Symbolic, in_code

SHARED = 30  # parts beyond which what occurs more than once is written once, under a name


class _Defined(Symbolic):
    """A symbol to the reader, its definition to differentiation; equal ones are one object.

    To whoever walks over an expression it has no parts: sympy walks over trees, and what is shared it would meet as
    often as it is used. Its derivative is computed once for each symbol, innermost definitions first, and stands under
    a name of its own where it is long: what is shared stays shared.
    """

    def __new__(cls, head, definition):
        head, definition = sympy.sympify(head), sympy.sympify(definition)
        if not isinstance(head, (sympy.Symbol, sympy.Indexed)):
            return cls._with_value(head, definition)
        if definition.is_Number:
            return definition
        found = _defined.get((cls, head, definition))
        if found is None:
            found = _defined[cls, head, definition] = super().__new__(cls)
            found.head, found.definition, found._rates = head, definition, {}
            found._free = cls._free_of(head, definition)
        return found

    is_number = False
    is_Atom = True  # whoever makes expressions of their parts anew leaves it as it is

    def __getnewargs__(self):
        return self.head, self.definition

    def _hashable_content(self):
        return self.head, self.definition

    @property
    def free_symbols(self):
        return set(self._free)  # sums take their indices out of it

    def changed(self, change):
        """The same of another head and definition: ``change(expression) -> expression``."""
        head, definition = change(self.head), change(self.definition)
        return self if head is self.head and definition is self.definition else self.func(head, definition)

    def _eval_subs(self, old, new):
        return self.changed(lambda e: e._subs(old, new))

    def _xreplace(self, rule):
        new = rule[self] if self in rule else self.changed(lambda e: e.xreplace(rule))
        return new, new is not self

    def doit(self, **hints):
        return self.func(self.head, self.definition.doit(**hints))

    def _eval_evalf(self, prec):
        return self.func(self.head, self.definition._evalf(prec))

    def has_free(self, *symbols):
        return bool(self._free & set(symbols))

    def has_xfree(self, symbols):
        return bool(self._free & set(symbols))

    def _is_still(self, symbols):
        return not self.has_xfree(symbols)

    _eval_is_polynomial = _eval_is_rational_function = _eval_is_algebraic_expr = _is_still

    def _has(self, iterargs, *patterns):
        # to whoever folds a Piecewise it has none, as it has no parts to be folded
        inside = [p for p in patterns if p is not sympy.Piecewise]
        return super()._has(iterargs, *patterns) or (bool(inside) and self.definition._has(iterargs, *inside))

    def _sympystr(self, printer):
        return printer._print(self.head)

    def _latex(self, printer):
        return printer._print(self.head)

    def _sympyrepr(self, printer):
        return f"{type(self).__name__}({printer._print(self.head)}, {printer._print(self.definition)})"

    def _eval_derivative(self, s):
        waiting = [self]
        while waiting:  # not by recursion: chains of definitions may be long
            part = waiting[-1]
            missing = [] if s in part._rates else [d for d in inside(part.definition) if s not in d._rates]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if s not in part._rates:
                part._rates[s] = part._rate(s)
        return self._rates[s]

    def _rate(self, s):
        head, definition = self.head, self.definition
        found = definition.diff(s) if s.free_symbols & definition.free_symbols else sympy.Integer(0)
        if length(found) > SHARED:
            found = Shared(_of_both(head, s), found)
        return found + self._own_rate(s)

    def _own_rate(self, s):
        return sympy.Integer(0)


_defined: weakref.WeakValueDictionary[tuple, Any] = weakref.WeakValueDictionary()


def _of_both(head, s):
    """The symbol of a derivative: ``dx_dtheta``, with the indices of both."""
    (name, index), (by, other) = ((str(x.base.label), x.indices) if isinstance(x, sympy.Indexed) else (x.name, ())
                                  for x in (head, s))
    name, index = f"d{name}_d{by}", (*index, *other)
    return sympy.IndexedBase(name)[index] if index else sympy.Symbol(name)


def _head_in_code(expr, printer) -> str:
    return printer._print(expr.head)


@in_code(_head_in_code)
class Named(_Defined):
    """A named node: a symbol to the reader, its definition to differentiation.

    ``Named(x, definition)`` prints as ``x``; its derivative is the definition's. Give the symbol another value, and
    that value stands in its place; make the definition a number, and the number does.
    """

    @staticmethod
    def _with_value(head, definition):
        return head

    @staticmethod
    def _free_of(head, definition):
        return head.free_symbols | definition.free_symbols

    def _own_rate(self, s):
        return self.head.diff(s)


def _definition_in_code(expr, printer) -> str:
    return printer.parenthesize(expr.definition, PRECEDENCE["Atom"])


@in_code(_definition_in_code)
class Shared(_Defined):
    """A long part that occurs more than once: it prints as a name, and is its definition in all else."""

    @staticmethod
    def _with_value(head, definition):
        return definition

    @staticmethod
    def _free_of(head, definition):
        return definition.free_symbols


def inside(expr) -> list:
    """The outermost parts of an expression that have definitions."""
    found, seen, waiting = [], set(), [expr]
    while waiting:
        part = waiting.pop()
        if part in seen or not isinstance(part, sympy.Basic):
            continue
        seen.add(part)
        if isinstance(part, _Defined):
            found.append(part)
        else:
            waiting += part.args
    return found


def is_named(expr) -> bool:
    """Whether an expression is written as a name."""
    return isinstance(expr, _Defined)


def written_symbols(expr) -> set:
    """The symbols that are written for an expression, those of named parts among them."""
    return expr.atoms(sympy.Symbol).union(*(part.head.atoms(sympy.Symbol) for part in inside(expr)))


def length(expr) -> int:
    """How many parts are written for an expression: one for what has a name. Beyond a thousand it is not counted."""
    count, waiting = 0, [expr]
    while waiting and count < 1000:
        part = waiting.pop()
        count += 1
        if not isinstance(part, _Defined):
            waiting += getattr(part, "args", ())
    return count

"""What sympy lacks: named quantities that know their definition, arrays of numbers, expectations, other replicates.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import sympy

from scg.errors import SCGError
from scg.ir.literal import Literal

# numbers that the families' formulas contain, in closed form
_KNOWN = {
    math.pi: sympy.pi, 2.0 * math.pi: 2 * sympy.pi, math.e: sympy.E, math.log(2.0): sympy.log(2),
    math.sqrt(2.0): sympy.sqrt(2), math.sqrt(2.0 * math.pi): sympy.sqrt(2 * sympy.pi),
    0.5 * math.log(2.0 * math.pi): sympy.log(2 * sympy.pi) / 2,
    0.5 * math.log(2.0 * math.pi * math.e): sympy.log(2 * sympy.pi * sympy.E) / 2,
}  # fmt: skip
_SHORT = 12  # a literal of at most so many digits was typed: it is the decimal fraction that it looks like
_WHOLE = 1e15


def number(value) -> sympy.Expr:
    """A float as the number that was meant: an integer, a known constant, a decimal fraction, else itself."""
    x = float(value)
    if not math.isfinite(x):
        return sympy.nan if math.isnan(x) else (sympy.oo if x > 0 else -sympy.oo)
    if x.is_integer() and abs(x) < _WHOLE:
        return sympy.Integer(int(x))
    known = _KNOWN.get(abs(x))
    if known is not None:
        return known if x > 0 else -known
    digits = repr(x).lstrip("-").partition("e")[0].replace(".", "").strip("0")
    return sympy.Rational(repr(x)) if len(digits) <= _SHORT else sympy.Float(x)


# what sympy's code printers, `lambdify`'s among them, ask an expression for
_CODES = ("_pythoncode", "_numpycode", "_scipycode", "_mpmathcode", "_lambdacode", "_cupycode", "_jaxcode",
          "_torchcode", "_tensorflowcode", "_numexprcode")


def exactly(value) -> sympy.Expr:
    """A float as the number that was meant, never rounded again: what is no decimal fraction is a binary one."""
    found = value if isinstance(value, sympy.Rational) else number(value)
    return sympy.Rational(found) if found.is_Float else found


def in_code(write: Callable):
    """A decorator: ``write(expression, printer) -> str`` is how expressions of a class stand in generated Python."""
    def decorate(cls):
        for name in _CODES:
            setattr(cls, name, write)
        return cls

    return decorate


def _first(expr, printer) -> str:
    return printer._print(expr.args[0])


def _stop_in_code(expr, printer) -> str:
    """⊥ where the language has it: dropped, it would leave code whose derivative is another."""
    if "stop_gradient" in getattr(printer, "known_functions", {}):
        return f"stop_gradient({_first(expr, printer)})"  # the caller says what it is
    if printer.printmethod == "_torchcode":
        return f"({_first(expr, printer)}).detach()"
    if printer.printmethod in _STOPS:
        return f"{printer._module_format(_STOPS[printer.printmethod])}({_first(expr, printer)})"
    raise SCGError("a formula", f"Code of it was to be printed by {type(printer).__name__}.",
                   "It has a ⊥, and that language has none.",
                   'Print the code of s.estimator("theta"), which has no ⊥, or for JAX, PyTorch or TensorFlow; or say '
                   'what it is: lambdify(…, modules=[{"stop_gradient": …}, "numpy"]).')


_STOPS = {"_jaxcode": "jax.lax.stop_gradient", "_tensorflowcode": "tensorflow.stop_gradient"}


@in_code(_stop_in_code)
class stop_gradient(sympy.Function):
    """⊥(x): the value of x, with derivative zero in every variable. It is written as it is in the user's graph."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, x):
        proposition = isinstance(x, sympy.logic.boolalg.Boolean) and not isinstance(x, sympy.Expr)
        return x if proposition or isinstance(x, cls) or not x.free_symbols else None

    def fdiff(self, argindex=1):
        return sympy.Integer(0)

    def _eval_derivative(self, s):
        return sympy.Integer(0)

    def _latex(self, printer, exp=None):
        inner = rf"\bot\left({printer._print(self.args[0])}\right)"
        return inner if exp is None else rf"{inner}^{{{exp}}}"

    def _pretty(self, printer):
        inner = printer._print(self.args[0])
        inner = type(inner)(*inner.parens())
        return type(inner)(*inner.left("⊥"))


Stopped = stop_gradient
for language in ("_ccode", "_fcode", "_rcode", "_rustcode", "_juliacode", "_octave", "_glsl", "_javascript", "_mcode"):
    setattr(stop_gradient, language, _stop_in_code)


class Index(sympy.Symbol):
    """A summation index: a whole number from 0.

    Its class sets it apart from the user's symbols, so that no derivative with respect to them can capture it.
    """

    def __new__(cls, name, **assumptions):
        return super().__new__(cls, name, integer=True, nonnegative=True)

    def __getnewargs_ex__(self):
        return (self.name,), {}


class Sum(sympy.Sum):
    """A sum over indices that are symbols: what it depends on is found once, and without writing the sum anew."""

    _free: frozenset | None = None

    @property
    def free_symbols(self):
        if self._free is None:
            found = set(self.function.free_symbols)
            for symbol, *ends in self.limits:  # innermost first
                found = found - {symbol} | set().union(*(end.free_symbols for end in ends))
            self._free = frozenset(found)
        return set(self._free)


def is_plain(condition) -> bool:
    """Whether nothing is chosen in a condition, by another."""
    return not condition.has(sympy.Piecewise, Choice)


def _choice(choice, printer) -> str:
    condition, a, b = choice.args
    if not all(isinstance(s, Index) for s in condition.free_symbols):
        return printer._print(sympy.Piecewise((a, condition), (b, True), evaluate=False))
    condition, a, b = map(printer._print, choice.args)
    return f"({a} if {condition} else {b})"  # what is not chosen may stand outside of an array


@in_code(_choice)
class Choice(sympy.Expr):
    """``Choice(c, a, b)``: a where c holds, else b, for what depends on summation indices, or on a choice in c.

    A Piecewise until its indices are numbers must not be one: sympy moves a Piecewise out of a nested Sum even if its
    condition holds for some terms of that sum only (`piecewise_fold` does not know of bound symbols). Nor is one whose
    condition holds another: sympy solves that for the sets where it holds, for minutes.
    """

    is_commutative = True
    is_real = True

    def __new__(cls, condition, a, b):
        condition, a, b = map(sympy.sympify, (condition, a, b))
        if condition in (sympy.true, sympy.false) or a == b:
            return a if condition == sympy.true else b
        indices = any(isinstance(s, Index) for part in (condition, a, b) for s in part.free_symbols)
        if is_plain(condition) and not indices:
            return sympy.Piecewise((a, condition), (b, True))
        return super().__new__(cls, condition, a, b)

    def _eval_derivative(self, s):
        condition, a, b = self.args
        return Choice(condition, a.diff(s), b.diff(s))

    def _sympystr(self, printer):
        condition, a, b = map(printer._print, self.args)
        return f"({a} if {condition} else {b})"

    def _latex(self, printer):
        condition, a, b = map(printer._print, self.args)
        cases = rf"\begin{{cases}} {a} & \text{{if}}\: {condition} \\ {b} & \text{{otherwise}} \end{{cases}}"
        return rf"\left({cases}\right)"


@in_code(_first)
class Symbolic(sympy.Expr):
    """Something that stands where a symbol would, and is put in order like one: before any function."""

    is_commutative = True
    is_real = True

    def sort_key(self, order=None):
        return sympy.Symbol(str(self)).sort_key()

    def _sympystr(self, printer):
        return printer._print(self.args[0])

    def _latex(self, printer):
        return printer._print(self.args[0])


class Unfolded(Symbolic):
    """A quantity of a loop, left as a symbol: it depends on parameters, so its derivative is left standing too."""

    def __new__(cls, head, labels):
        head, labels = sympy.sympify(head), sympy.Tuple(*labels)
        if not isinstance(head, (sympy.Symbol, sympy.Indexed)):
            return head
        return super().__new__(cls, head, labels) if labels else head

    def _eval_derivative(self, s):
        label = s.base.label if isinstance(s, sympy.Indexed) else s
        own = self.args[0].diff(s)
        return sympy.Derivative(self, s, evaluate=False) if label in self.args[1] else own


class Phrase(Symbolic):
    """A piece of LaTeX with places for indices, as one factor: ``Phrase("\\log p(h_{{{0}}})", t)``."""

    def __new__(cls, text, *index):
        # a symbol holds the text: what has none is a number to ⊥
        text = text if isinstance(text, sympy.Symbol) else sympy.Symbol(text)
        return super().__new__(cls, text, *map(sympy.sympify, index))

    def sort_key(self, order=None):
        return sympy.Symbol(" ".join(map(str, self.args))).sort_key()

    def _latex(self, printer):
        return self.args[0].name.format(*(printer._print(i) for i in self.args[1:]))


class Expectation(sympy.Function):
    """𝔼[x]: the mean over rows and replicates."""

    nargs = 1
    is_real = True

    def _eval_derivative(self, s):
        return Expectation(self.args[0].diff(s))

    @classmethod
    def eval(cls, x):
        return x if x.is_Number else None

    def _sympystr(self, printer):
        return f"𝔼[{printer._print(self.args[0])}]"

    def _latex(self, printer, exp=None):
        inner = rf"\mathbb{{E}}\left[{printer._print(self.args[0])}\right]"
        return inner if exp is None else rf"{inner}^{{{exp}}}"


class LOO(sympy.Function):
    """LOO(x): the mean of x over the *other* replicates of the group: a number, to this replicate."""

    nargs = 1
    is_real = True

    def _eval_derivative(self, s):
        return sympy.Integer(0)

    def _latex(self, printer, exp=None):
        inner = rf"\operatorname{{LOO}}\left({printer._print(self.args[0])}\right)"
        return inner if exp is None else rf"{inner}^{{{exp}}}"


class Numbers(sympy.Atom):
    """An array of numbers, as one part of a formula."""

    def __new__(cls, values):
        array = np.asarray(values)
        self = super().__new__(cls)
        self.values = array
        self.content = (array.shape, array.dtype.str, array.tobytes())
        return self

    def __getnewargs__(self):
        return (self.values,)

    def _hashable_content(self):
        return self.content

    def sort_key(self, order=None):
        return sympy.Symbol(str(self)).sort_key()

    def _sympystr(self, printer):
        return _rows(self.values)

    def _sympyrepr(self, printer):
        return f"Numbers({self.values.tolist()})"


def _of_table(expr, printer) -> str:
    index = "".join(f"[int({printer._print(i)})]" for i in expr.args[1:])
    values = expr.args[0].values
    counts = bool(((values == np.floor(values)) & (np.abs(values) < 2.0**53)).all())  # may be ends of ranges
    return repr((values.astype(np.int64) if counts else values).tolist()) + index


@in_code(_of_table)
class Table(sympy.Expr):
    """``Table(numbers, i, …)``: numbers of the graph, by index; at integers it is the number that stands there."""

    is_commutative = True
    is_real = True
    number = staticmethod(number)

    def __new__(cls, numbers, *index):
        numbers, index = numbers if isinstance(numbers, Numbers) else Numbers(numbers), tuple(map(sympy.sympify, index))
        if all(i.is_number and i == int(i) for i in index):
            return cls.number(numbers.values[tuple(int(i) for i in index)])
        return super().__new__(cls, numbers, *index)

    def _eval_derivative(self, s):
        return sympy.Integer(0)

    def _sympystr(self, printer):
        return f"{_rows(self.args[0].values)}[{', '.join(printer._print(i) for i in self.args[1:])}]"

    def _latex(self, printer, exp=None):
        rows = _rows(self.args[0].values).replace("...", r"\ldots")
        inner = rf"{{{rows}}}_{{{','.join(printer._print(i) for i in self.args[1:])}}}"
        return inner if exp is None else rf"{inner}^{{{exp}}}"


def _rows(array: np.ndarray) -> str:
    """An array on one line, long ones in part."""
    text = np.array2string(array, threshold=8, separator=", ", formatter={"float_kind": lambda x: f"{x:.6g}"})
    return text.replace("\n", "").replace("  ", " ").replace("  ", " ")


def constant_element(literal: Literal, index: tuple, table: type[Table] = Table):
    """An element of a literal array; regular ones as formulas in the index."""
    number = table.number
    array = literal.array
    if all(isinstance(i, int) for i in index):
        return number(array[index]) if array.dtype != bool else sympy.S(bool(array[index]))
    if array.dtype == bool:
        return sympy.Eq(table(array.astype(float), *index), 1)
    if array.size and np.all(array == array.flat[0]):
        return number(array.flat[0])
    if array.ndim == 1 and np.array_equal(array, array[0] + np.arange(array.size)):
        return number(array[0]) + index[0]
    if array.ndim == 2 and np.array_equal(array, np.eye(*array.shape)):
        return sympy.KroneckerDelta(*index)
    return table(array, *index)

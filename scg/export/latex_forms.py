"""What formulas in LaTeX are written with: sums in the order of papers, names with places for indices.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol

import sympy
from sympy.printing.latex import LatexPrinter

from scg.export.latex_names import indexed
from scg.export.names import NORMAL, UNIFORM
from scg.export.sympy.forms import Choice, Phrase, Stopped
from scg.export.sympy.named import is_named, written_symbols
from scg.export.sympy.to_sympy import deep


class _Printer(LatexPrinter):
    """Sums in the order of papers: what is subtracted comes last, and costs in the order of the graph."""

    def __init__(self, names: Mapping[sympy.Symbol, str], ranks: Mapping[str, int] | None):
        super().__init__({"symbol_names": dict(names), "mul_symbol": r"\,"})
        self._ranks = ranks

    def _as_ordered_terms(self, expr, order=None):
        terms = super()._as_ordered_terms(expr, order)
        if self._ranks is None:
            return sorted(terms, key=_subtracted) if _subtracted(terms[0]) else terms
        return sorted(terms, key=partial(self._rank, self._ranks))

    def _rank(self, ranks: Mapping[str, int], term) -> tuple[bool, int, bool]:
        names = {s.name for s in term.atoms(sympy.Symbol)}
        known = [ranks[name] for name in names if name in ranks]
        return (_subtracted(term), min(known, default=len(ranks)),
                any(name.startswith((f"{NORMAL}_", f"{UNIFORM}_")) for name in names))

    def _helper_print_standard_power(self, expr, template):
        text = super()._helper_print_standard_power(expr, template)
        base = self._print(expr.base)
        return text.replace(base, f"{{{base}}}", 1) if re.search(r"['^]", base) and text.startswith(base) else text

    def _needs_mul_brackets(self, expr, first=False, last=False):
        return not is_named(expr) and not _closed(expr) and super()._needs_mul_brackets(expr, first, last)

    def _print_Piecewise(self, expr):
        *some, (value, _) = expr.args if expr.args[-1][1] == sympy.true else (*expr.args, (None, None))
        rows = [rf"{self._print(x)} & \text{{if}}\: {self._print(condition)}" for x, condition in some]
        rows += [] if value is None else [rf"{self._print(value)} & \text{{otherwise}}"]
        return r"\left(\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}\right)"

    def doprint(self, expr):
        """The whole of a formula: cases need no parentheses then."""
        text = super().doprint(expr)
        alone = isinstance(expr, (Choice, sympy.Piecewise))
        return text.removeprefix(r"\left(").removesuffix(r"\right)") if alone else text

    def _print_EulerGamma(self, expr):  # as a word: to readers γ is a letter of the user's, and so are G and ζ
        return r"\operatorname{EulerGamma}"

    def _print_Catalan(self, expr):
        return r"\operatorname{Catalan}"

    def _print_zeta(self, expr, exp=None):
        text = rf"\operatorname{{zeta}}\left({', '.join(map(self._print, expr.args))}\right)"
        return text if exp is None else f"{text}^{{{exp}}}"

    def _print_Indexed(self, expr):
        base = self._settings["symbol_names"].get(expr.base.label) or self._print(expr.base)
        return indexed(base, [self._print(i) for i in expr.indices])


def _closed(expr) -> bool:
    """Whether it is written between signs of its own: a function's, or those of an exponent."""
    return isinstance(expr, (sympy.Pow, sympy.Function)) and not isinstance(expr, sympy.Piecewise)


def _subtracted(term) -> bool:
    return term.could_extract_minus_sign()


class Shown(Protocol):
    """What has a name in LaTeX for each that is shown."""

    def latex(self, shown: str) -> str: ...


def expanded(expr, names: Shown, ranks: Mapping[str, int] | None = None) -> str:
    """A sympy expression, with names as mathematicians set them."""
    with deep():
        phrases = {phrase.args[0] for phrase in expr.atoms(Phrase)}
        shown = {s: names.latex(s.name) for s in written_symbols(expr) - phrases}
        return _Printer(shown, ranks).doprint(_without_detours(expr))


def _without_detours(expr):
    """log exp x as x: sympy, to which names are complex numbers, leaves it."""
    there_and_back = {log: log.args[0].args[0] for log in expr.atoms(sympy.log) if isinstance(log.args[0], sympy.exp)}
    return expr.xreplace(there_and_back) if there_and_back else expr


class Last(Stopped):
    """⊥, as the last of several factors."""

    def sort_key(self, order=None):
        return (99, 0, "⊥"), (1, (str(self),)), sympy.S.One.sort_key(), sympy.S.One


class Written(Phrase):
    """LaTeX with numbered places for indices and numbers, as one factor."""

    def _latex(self, printer):
        printed = [printer._print(i) for i in self.args[1:]]
        return filled(self.args[0].name, printed)


_OPEN, _CLOSE = "\ue000", "\ue001"  # around the number of a place: no name has them, for they are not printable


def place(i: int) -> str:
    """Place number i in a text."""
    return f"{_OPEN}{i}{_CLOSE}"


def places(first: int, index: Sequence) -> list[str]:
    """As many places as there are indices, from number `first` on."""
    return [place(first + i) for i in range(len(index))]


def filled(text: str, printed: Sequence[str]) -> str:
    """A text with these in its places."""
    return re.sub(f"{_OPEN}(\\d+){_CLOSE}", lambda found: printed[int(found[1])], text)

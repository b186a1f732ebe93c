"""Long formulas in LaTeX: what is written more than once in them has a line of its own.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import sympy
from sympy.core.parameters import distribute

from scg.errors import SCGError
from scg.export.latex_forms import Written, expanded, places
from scg.export.latex_letters import Letters
from scg.export.latex_names import indexed
from scg.export.sympy.to_sympy import At, Converter, Label, NeedsNumbers, deep
from scg.ir.axes import ROW
from scg.ir.node import Node
from scg.ir.sharing import Shared
from scg.ir.traverse import topological

_LONG, _MOST = 150, 600  # characters of what has a line of its own, and of any line
_MANY = 300  # nodes
_BEFORE = 900_000


class Parts:
    """The parts of a page's long formulas, which are numbered one after another.

    Parameters
    ----------
    letters : Letters

    Attributes
    ----------
    met : dict
        What was met of draws, noise and carries, and the loop around.
    """

    def __init__(self, letters: Letters):
        self._letters = letters
        self.met: dict = {}
        self._numbers = (i for i in range(1, 10_000) if f"v{i}" not in letters.names.taken)
        self._known: dict[str, str] = {}  # the numbers of what has a line, by that line

    def lines(self, node: Node, labels: Mapping[int, Label]) -> tuple[str, list[str]] | None:
        """A formula for a typical element, and the lines for its parts; None if it is too long even so."""
        order = topological([node], lambda n: n.id in labels)
        if len(order) >= _MANY:
            return None
        shared = Shared([node], dict.fromkeys(labels, "x"))
        shared.write(node)
        often = {n.id for n in order if shared.names.get(n.id) in shared.parts}
        named = dict(labels)
        lines: list[str] = []
        for n in order[:-1]:
            formula = self._formula(n, named) if n.args and n.kind == "real" else None  # a truth is no letter to sympy
            if formula is not None and (n.id in often or len(formula) > _LONG):
                head = f"v_{{{_BEFORE + len(lines)}}}"  # until it is known which are used
                head = indexed(head, [self._letters.n]) if ROW in n.axes else head
                lines.append(f"{indexed(head, [*map(str, self._index(n))])} &= {formula}")
                named[n.id] = _label(head, n)
        formula = self._formula(node, named)
        return None if formula is None or len(formula) > _MOST else self._numbered(formula, _used(formula, lines))

    def _numbered(self, formula: str, lines: list[str]) -> tuple[str, list[str]]:
        """The formula, and the lines that are not on the page yet, each by its number there."""
        numbers: dict[str, str] = {}
        new: list[str] = []

        def numbered(text: str) -> str:
            return re.sub(rf"(?<=v_\{{){_BEFORE // 1000}\d\d\d", lambda found: numbers.get(found[0], found[0]), text)

        for line in map(numbered, lines):
            before = re.search(r"\d+", line)[0]  # type: ignore[index]
            if (said := line.replace(before, "", 1)) not in self._known:
                self._known[said] = str(next(self._numbers))
                new.append(line.replace(before, self._known[said], 1))
            numbers[before] = self._known[said]
        return numbered(formula), new

    def _index(self, node: Node) -> tuple:
        worlds = sum(not ax.statistical for ax in node.axes)
        return self._letters.converter({}, node.ndim + worlds).free

    def _formula(self, node: Node, labels: Mapping[int, Label]) -> str | None:
        worlds = [ax.name for ax in node.axes if not ax.statistical]
        converter = self._letters.converter(labels, node.ndim + len(worlds))
        at = At(tuple(sorted(zip(worlds, converter.free[node.ndim:]))))
        try:
            with deep(), distribute(False):
                self.met |= converter.draws
                return expanded(sympy.sympify(converter.converted(node, converter.free[: node.ndim], at)),
                                self._letters, {})
        except (SCGError, NeedsNumbers, RecursionError):
            return None


def _used(formula: str, lines: list[str]) -> list[str]:
    """The lines whose heads stand in the formula, or in others of them: what keeps exponents small falls away."""
    kept: list[str] = []
    for line in reversed(lines):
        stem = re.escape(line[: re.search(r"\d+", line).end()])  # type: ignore[union-attr]
        if re.search(rf"{stem}(?!\d)", "\n".join([formula, *kept])):
            kept.insert(0, line)
    return kept


def _label(head: str, node: Node) -> Label:
    worlds = [ax.name for ax in node.axes if not ax.statistical]

    def label(converter: Converter, index, at: At):
        full = (*index, *(at.world(name) for name in worlds))
        return Written(indexed(head, places(0, full)), *full)

    return label

r"""Letters of a page in LaTeX: names of the user's, with the row's number where they vary by row, and those of ours.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from scg.export.declared import declared
from scg.export.latex_names import indexed
from scg.export.names import OWN, Names
from scg.export.sympy.to_sympy import Converter, Label
from scg.ir.axes import ROW


class Letters:
    """Names for a page.

    Parameters
    ----------
    names : Names

    Attributes
    ----------
    t, s, n, v : str
        A step, another one, a row, what stands for a draw.
    elements, steps : list of str
        Names of indices, all free.
    which : str
        The number of a value, where these are vectors.
    """

    def __init__(self, names: Names):
        self.names = names
        self.t, self.s, self.n, self.v = map(names.own_in_latex, "tsnv")
        ours = [names.own_in_latex(word) for word in OWN]
        known = {*names.words, *ours, *OWN, "e"}
        others = [c for c in string.ascii_letters if c not in known]
        self.elements = [*map(names.own_in_latex, "ijkl"), *others]
        self.steps = [self.t, self.s, *others[::-1]]
        self.which = self.elements[1]  # which of several vectors stands for a draw
        self._values = {f"{d.name} value": self.which if d.node.attrs.family.support.event_ndim else self.v
                        for d in declared(names.graph) if d.kind == "sample"}  # by axis: what sums over values bind
        self._by_row = {names.given(d.name) for d in declared(names.graph) if d.kind == "data" or ROW in d.node.axes}

    def bind(self, axis: str, name: str) -> None:
        """Let what sums over an axis be called so."""
        self._values[axis] = name

    def of(self, name: str) -> str:
        """A name of the user's."""
        return self.latex(self.names.given(name))

    def latex(self, shown: str) -> str:
        """A name, as it is shown."""
        text = self.names.latex(shown)
        return indexed(text, [self.n]) if shown in self._by_row or self._drawn_by_row(shown) else text

    def _drawn_by_row(self, shown: str) -> bool:
        node, _ = self.names.drawn.get(shown, (None, None))
        return node is not None and ROW in node.axes

    def converter(self, labels: Mapping[int, Label], reserved: int = 0) -> Converter:
        """A converter that writes indices in these letters."""
        return Converter(self.names, False, labels, reserved, letters=(self.elements, self.steps),
                         along=self._values)

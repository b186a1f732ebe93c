"""What is asked of a derivation: its surrogate's derivatives, and its expected cost's, as formulas.

The expectation of the first is taken over the noise, by the steps of the draws; that of the cost over the sites'
values, by the families' own laws. They meet only in what is asked: whether one is the derivative of the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from scg.analysis.reach import sum_of
from scg.analysis.stops import looked_through
from scg.export.names import names_of
from scg.export.proofs.limits import Limits
from scg.export.proofs.noise import uniforms
from scg.export.proofs.shown import Shown
from scg.export.proofs.written_out import WrittenOut
from scg.export.sympy import forms
from scg.export.sympy.calculus import unstop
from scg.export.sympy.to_sympy import deep
from scg.ir.location import calling
from scg.ir.traverse import topological
from scg.ops.measure import leave_one_out_op
from scg.surrogate.derivation import Derivation

Element = tuple[str, tuple[int, ...]]


class Question:
    """Of one derivation.

    Parameters
    ----------
    derivation : Derivation

    Attributes
    ----------
    parts : dict of str to expression
        The costs, and the term of each site, as they are differentiated.
    means : dict of expression to expression
        What stands for a mean over the other replicates of a group, and what it is the mean of.
    group : int, Symbol or None
        The size of these groups; None if nothing couples replicates.
    """

    def __init__(self, derivation: Derivation):
        self.derivation, self.limits = derivation, Limits(calling(derivation.graph.name))
        self.converter = c = WrittenOut(derivation)
        self.parts: dict[str, Any] = {}
        self.means: dict[Any, Any] = {}
        with deep():
            self._add("costs", derivation.draft.costs.values())
            for term in derivation.draft.terms:
                self._add(f"term of {term.site}", [term.node])
            self.cost = c.sum_of([sum_of([n]) for n in looked_through(list(derivation.graph.costs.values()))])
        self.elements: list[Element] = [(name, index) for name, node in derivation.leaves.params.items()
                                        if name in derivation.moved for index in np.ndindex(node.shape)]
        self.shown = Shown(names_of(derivation), sum(p.size for p in derivation.leaves.params.values()))
        self.group = self._group()

    def _add(self, name: str, nodes) -> None:
        expr = self.parts.get(name, 0) + self.converter.sum_of([sum_of([n]) for n in nodes])
        self._refuse_averages(expr)
        self.parts[name] = expr

    def _refuse_averages(self, expr) -> None:
        if sympy.sympify(expr).has(forms.Expectation):
            raise self.limits.refusal("A term of the estimator averages over all replicates of a call.",
                                      "Use another estimator or baseline.")

    def _group(self):
        sizes = {n.attrs[0] for n in topological(self.derivation.roots()) if n.op is leave_one_out_op}
        if not sizes:
            return None
        size = next(iter(sizes))
        return sympy.Symbol("n") if size is None else int(size)

    def symbol(self, element: Element):
        """The symbol of an element of a param."""
        return self.converter.leaf(*element)

    def named(self, element: Element) -> str:
        """An element of a param in text."""
        name, index = element
        return name + (f"[{', '.join(map(str, index))}]" if index else "")

    @cached_property
    def gradients(self) -> Mapping[Element, Mapping[str, Any]]:
        """What each part of the surrogate contributes to a gradient, in one replicate; zeros left out."""
        found = {}
        for element in self.elements:
            with deep():
                by_part = {name: self._unmeant(unstop(sympy.diff(expr, self.symbol(element))))
                           for name, expr in self.parts.items()}
            found[element] = {name: e for name, e in by_part.items() if e != 0}
        return found

    def _unmeant(self, expr):
        """With a symbol for every mean over other replicates."""
        for mean in sorted(expr.atoms(forms.LOO), key=str):
            if mean not in self._symbols:
                inner = unstop(mean.args[0])
                if inner.has(forms.LOO):
                    raise self.limits.refusal("A mean over other replicates is made of such means.")
                self._symbols[mean] = sympy.Dummy("mean")
                self.means[self._symbols[mean]] = inner
        return expr.xreplace(self._symbols)

    @cached_property
    def _symbols(self) -> dict:
        return {}

    @cached_property
    def order(self) -> Sequence[Any]:
        """The uniforms behind the estimator."""
        exprs = [e for by_part in self.gradients.values() for e in by_part.values()]
        return uniforms(self.converter, [*exprs, *self.means.values()], self.limits)

    @cached_property
    def site_order(self) -> Sequence[Any]:
        """The uniforms behind the costs."""
        return uniforms(self.converter, [self.cost], self.limits)

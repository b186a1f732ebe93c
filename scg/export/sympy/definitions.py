"""The "where" lines of a formula: what the names in it stand for that are not the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sympy

from scg.export.called import Called
from scg.export.names import names_of
from scg.export.shown import in_step, views
from scg.export.sympy import forms, named
from scg.export.sympy.carried import entering, inside_of
from scg.export.sympy.to_sympy import Converter, NeedsNumbers, deep
from scg.ir.printer import expression
from scg.ops.arithmetic import stop_gradient_op
from scg.ops.leaves import placeholder_op
from scg.ops.randomness import antithetic_op, sample_op, uniform_op
from scg.ops.special import ndtri_op
from scg.surrogate.derivation import Derivation


class Definitions(Mapping[str, Any]):
    """From names to what they stand for; printed, a line for each.

    Named nodes and shared parts have expressions, and so have carries, at the first step and at one after another.
    Draws and noise have words.
    """

    def __init__(self, found: Mapping[str, Any]):
        self._found = dict(found)

    def __getitem__(self, name: str):
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __str__(self) -> str:
        with deep():
            return "\n".join(f"{name}: {text}" if isinstance(text, str) else f"{name} = {text}"
                             for name, text in self._found.items())

    __repr__ = __str__


def definitions(derivation: Derivation, converter: Converter, expr) -> Definitions:
    """The definitions of the names in an expression, those in the definitions included."""
    carried = _carries(converter)  # first: they are made of draws
    return Definitions({**_drawn(derivation, converter), **carried, **written(expr)})


def written(expr) -> dict[str, Any]:
    """Named nodes and shared parts of an expression, by how they are written."""
    return {str(head): definition for head, definition in of_expression(expr).items()}


def of_expression(expr) -> dict[Any, Any]:
    """The definitions of named nodes and shared parts, by their symbols, each before those that it is made of."""
    found: dict[Any, Any] = {}
    waiting = named.inside(expr)
    while waiting:
        part = waiting.pop(0)
        if part.head not in found:
            found[part.head] = part.definition
            waiting += named.inside(part.definition)
    return found


def _carries(c: Converter) -> dict[str, Any]:
    return {str(head): c.settled(sympy.sympify(value)) for head, value in carries(c)}


def carries(c: Converter) -> Iterator[tuple[Any, Any]]:
    """What the loops carry that were met: at the first step, and what a step makes of it, each with its symbol."""
    for name in growing(c.draws):
        node, loop = c.draws[name]
        if node.op is not placeholder_op or loop is None:
            continue
        scans, body = inside_of(loop), loop.scan.attrs
        steps = [forms.Index(n) for n in c.step_names[: len(scans)]][::-1]
        rest = [forms.Index(n) for n in c.element_names[: c.rank(node)]]
        first, way = (body.length - 1, -1) if body.reverse else (0, 1)
        for t, shown in ((first, first), (None, steps[-1] + way)):
            at = (*steps[:-1], steps[-1] + way if t is None else t, *rest)
            try:
                value = entering(c, name, at)
            except NeedsNumbers:  # its elements differ in form
                continue
            yield sympy.IndexedBase(name)[(*steps[:-1], shown, *rest)], value


def growing(found: Mapping[str, Any]) -> Iterator[str]:
    """The keys of what has more of them by and by."""
    seen: set[str] = set()
    while new := [name for name in found if name not in seen]:
        seen.add(new[0])
        yield new[0]


def _drawn(derivation: Derivation, c: Converter) -> dict[str, str]:
    """Draws of a site beside its own, noise, and what algorithms make of draws."""
    names, words = names_of(derivation), _in_words(derivation)
    found = {}
    for name, (node, loop) in c.draws.items():
        if node.op is sample_op and name != names.given(node.attrs.site):
            given = ", ".join(expression(a) for a in node.args[:-1]) if loop is None else "…"
            twin = ", from 1 - u in place of its uniform noise u" if node.args[-1].op is antithetic_op else ""
            found[name] = f"another draw of {node.attrs.site}, {node.attrs.family.__name__}({given}){twin}"
        elif node.op is stop_gradient_op and node.attrs in words:
            found[name] = words[node.attrs]
        elif node.op is uniform_op:
            found[name] = f"the uniform number behind {node.args[0].attrs.title}"
        elif node.op is ndtri_op:
            found[name] = f"the standard normal number behind {node.args[0].args[0].attrs.title}"
    return found


def _in_words(derivation: Derivation) -> dict[tuple, str]:
    """What algorithms make of draws and probabilities, in words, by the attributes of what holds it."""
    called = Called(derivation, views(derivation))
    found: dict[tuple, str] = {}
    for mark in derivation.draft.marks:
        worlds = called.worlds_of(mark.node)
        for name, node in ((mark.name, mark.node), (mark.said, mark.value)):
            node = None if node is None else in_step(node)
            if name is not None and name.meaning and node is not None and node.op is stop_gradient_op:
                found.setdefault(node.attrs, called.of_site(name.meaning, mark.site, prose=True, worlds=worlds))
    return found

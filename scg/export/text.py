"""A surrogate as text, in the notation of the user's own program.

First the objective; then L, the sum of costs and terms, by name; then what the names stand for. What is long, and used
twice, has a name of its own, so that the text grows with the graph.
"""

from __future__ import annotations

from collections.abc import Iterable

from scg.export.page import Page
from scg.export.where import Where
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term


def text_of(derivation: Derivation, terms: Iterable[Term]) -> str:
    """The whole text."""
    page = Page(derivation, list(terms))
    lines = list(page.sum())
    where = [f"  {line}" for line in Where(page).lines()]
    return "\n".join([*lines, *(["where", *where] if where else [])])


def term_text(derivation: Derivation, term: Term) -> str:
    """One term, as it stands in the sum."""
    return Page(derivation, [term]).terms[0]

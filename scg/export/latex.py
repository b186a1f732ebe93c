r"""LaTeX of a surrogate, as in the paper: costs, and log p times stopped costs, and what the names in it stand for.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

from collections.abc import Iterable

from scg.export.latex_page import Page
from scg.export.latex_where import Where
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term


def paper(derivation: Derivation, terms: Iterable[Term]) -> str:
    r"""L = Σ c(parents) + Σ log p(site | parents) ⊥(its costs − baseline), and what the names in it stand for."""
    page = Page(derivation, list(terms))
    lines = [*page.sum(), *Where(page).lines()]
    return "\\begin{aligned}\n" + page.own_words(" \\\\\n".join(lines)) + "\n\\end{aligned}"

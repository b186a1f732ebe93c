"""Which costs weigh the draws of which sites: the matrix of sites and costs, as a mapping, text, HTML and a picture."""

from __future__ import annotations

from collections.abc import Mapping

from scg.export.shown import credit
from scg.markup import in_code, page_in_html, table_in_html
from scg.run.by_name import Asked
from scg.surrogate.derivation import Derivation
from scg.verdict import SiteVerdict

NONE, WHOLE, PATH, STILL, SUMMED, GRAPH, REPLACED = (
    "", "whole", "by path", "no derivative", "summed out", "whole graph", "replaced")
MEANING = {
    WHOLE: "the whole cost weighs every draw",
    "by step": "each step is weighed by what follows it",
    "by element": "each draw is weighed by the parts that are made of it",
    PATH: "the cost is differentiated through the site instead",
    STILL: "nothing that is differentiated moves the site's distribution",
    SUMMED: "the cost is summed over the site's values instead",
    GRAPH: "there is one rule for the whole graph instead",
    REPLACED: "the estimator has replaced the site in the cost instead",
}
"""What a cell of the matrix says."""


class Credit(Asked[Mapping[str, str]]):
    """Site → cost → how the cost weighs the site's draws, in a word of `MEANING`; ``""`` where it does not reach it.

    Attributes
    ----------
    costs : tuple of str
        The columns.
    notes : dict of (str, str) to str
        For a site and a cost what is in the way of credit by elements.
    """

    def __init__(self, title: str, cells: Mapping[str, Mapping[str, str]], costs: tuple[str, ...],
                 notes: Mapping[tuple[str, str], str]):
        super().__init__(cells, "The credit of {} was asked for.", "The graph has no site of that name.",
                         "Its sites are")
        self._title, self.costs, self.notes = title, costs, dict(notes)

    @property
    def words(self) -> list[str]:
        """The words that occur, in the order of `MEANING`."""
        there = {word for row in self._found.values() for word in row.values()}
        return [word for word in MEANING if word in there]

    def draw(self, path=None):
        """A picture of the matrix.

        Parameters
        ----------
        path : str or path, optional
            Where to write it, as for `Graph.draw`.

        Returns
        -------
        Drawing
        """
        from scg.export.credit_picture import CreditPicture

        picture = CreditPicture(self, self.costs, [f"{word}: {MEANING[word]}" for word in self.words])
        if path is not None:
            picture.save(path)
        return picture

    def __str__(self) -> str:
        if not self._found:
            return f"{self._title}: no sites"
        table = [("", *self.costs)]
        table += [(site, *(row[c] or "·" for c in self.costs)) for site, row in self._found.items()]
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip() for row in table]
        return "\n".join([self._title, *lines, "", *(f"  {word}: {why}" for word, why in self._said())]).rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self._found:
            return page_in_html(f"{self._title}: no sites")
        rows = [(in_code(site), *(row[c] or "·" for c in self.costs)) for site, row in self._found.items()]
        head = ("", *map(in_code, self.costs))
        return page_in_html(self._title, table_in_html(head, rows), table_in_html((), self._said()))

    def _said(self) -> list[tuple[str, str]]:
        """The words and what they mean; then the notes, those of one site and reason together."""
        together: dict[tuple[str, str], list[str]] = {}
        for (site, cost), why in self.notes.items():
            together.setdefault((site, why), []).append(cost)
        return [*((word, MEANING[word]) for word in self.words),
                *((f"{site}, for {' and '.join(costs)}", why) for (site, why), costs in together.items())]


def credit_of(derivation: Derivation) -> Credit:
    """The matrix of a derived graph."""
    weighing, costs = credit(derivation), tuple(derivation.graph.costs)
    cells, notes = {}, {}
    for site, v in derivation.verdicts.items():
        row = dict.fromkeys(costs, NONE)
        for cost in v.influenced:
            word, _, why = v.credit.get(cost, WHOLE).partition(": ")
            row[cost] = word if cost in weighing.get(site, ()) else _instead(v)
            if why and row[cost] == word:
                notes[site, cost] = why
        cells[site] = row
    return Credit(f'Credit in graph "{derivation.graph.name}": which costs weigh the draws of which site', cells, costs,
                  notes)


def _instead(v: SiteVerdict) -> str:
    """What there is in the place of a weight."""
    estimator = v.estimator
    if not v.differentiated and not getattr(estimator, "always", False):
        return STILL
    if getattr(estimator, "scope", "") == "graph":
        return GRAPH
    if getattr(estimator, "passes_gradient", False):
        return PATH
    return SUMMED if getattr(estimator, "always", False) else REPLACED

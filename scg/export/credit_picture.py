"""The matrix of sites and costs as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scg.export.drawing import Drawing, Ruler, new_figure, write
from scg.export.painter import LINE, NAME, QUIET, SMALL
from scg.export.picture import WIDEST, wrapped

MARGIN, HIGH = 0.14, 0.36  # inches
COLOURS = ("#cfe0f5", "#a9c8ee", "#7fb0e6", "#e6e6e6")  # by the whole cost, by step, by element; no weight


class CreditPicture(Drawing):
    """A matrix that is drawn.

    Parameters
    ----------
    credit : dict of str to dict of str to str
        By site and cost a word, which may be empty.
    costs : sequence of str
    key : sequence of str
        Lines that say what the words mean.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
    patches : dict of (str, str) to matplotlib patch
        Of the cells where a cost depends on a site.
    """

    def __init__(self, credit: Mapping[str, Mapping[str, str]], costs: Sequence[str], key: Sequence[str]):
        from matplotlib.patches import Rectangle

        ruler = Ruler()
        heads = {cost: wrapped(cost, WIDEST) for cost in costs}
        sites = {site: wrapped(site, WIDEST) for site in credit}
        first = max((ruler.width(line, NAME) for lines in sites.values() for line in lines), default=0.0) + 0.12
        widths = {cost: max(0.5, *(ruler.width(line, NAME) for line in lines), *(
            ruler.width(credit[site][cost], SMALL) for site in credit)) + 0.16 for cost, lines in heads.items()}
        top = MARGIN + LINE * NAME * max(map(len, heads.values()), default=0) + 0.06
        highs = {site: max(HIGH, LINE * NAME * len(lines) + 0.08) for site, lines in sites.items()}
        wide = max([first + sum(widths.values()), *(ruler.width(line, SMALL) for line in key)]) + 2 * MARGIN
        bottom = top + sum(highs.values())
        figure, axes = new_figure(wide, bottom + 0.08 + LINE * SMALL * len(key) + MARGIN)
        self.patches = {}
        x = MARGIN + first
        for cost, lines in heads.items():
            for i, line in enumerate(lines):
                write(axes, x + widths[cost] / 2, top - 0.06 - LINE * NAME * (len(lines) - i - 0.5), line, NAME)
            y = top
            for site, high in highs.items():
                word = credit[site][cost]
                cell = Rectangle((x, y), widths[cost], high, fc=_colour(word), ec="white", lw=1.5)
                axes.add_artist(cell)
                if word:
                    self.patches[site, cost] = cell
                    write(axes, x + widths[cost] / 2, y + high / 2, word, SMALL)
                y += high
            x += widths[cost]
        y = top
        for site, lines in sites.items():
            for i, line in enumerate(lines):
                middle = y + highs[site] / 2 + LINE * NAME * (i - (len(lines) - 1) / 2)
                write(axes, MARGIN + first - 0.12, middle, line, NAME, ha="right")
            y += highs[site]
        for i, line in enumerate(key):
            write(axes, MARGIN, bottom + 0.1 + LINE * SMALL * (i + 0.5), line, SMALL, ha="left", color=QUIET)
        super().__init__(figure)


def _colour(word: str) -> str:
    if not word:
        return "#f7f7f7"
    kinds = ("whole", "by step", "by element")
    return COLOURS[kinds.index(word)] if word in kinds else COLOURS[-1]

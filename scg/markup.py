"""Tables in HTML, for notebooks. Whatever text goes into them is escaped, and is not read as TeX."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_CELL = 'style="text-align:left; vertical-align:top; padding:2px 12px 2px 0; white-space:pre-wrap"'


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def markup(text: object) -> Markup:
    """A text as HTML that shows it as it stands."""
    return text if isinstance(text, Markup) else Markup(html.escape(str(text)))


def in_code(text: object) -> Markup:
    """A name, or what one writes in Python."""
    return Markup(f"<code>{markup(text)}</code>")


def in_colour(text: object, colour: str) -> Markup:
    """A text in a colour."""
    return Markup(f'<span style="color:{colour}">{markup(text)}</span>')


def table_in_html(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """A table; the first cell of each row is its title."""
    lines = ['<table style="border-collapse:collapse">']
    if head:
        lines.append(f"<thead><tr>{''.join(f'<th {_CELL}>{markup(cell)}</th>' for cell in head)}</tr></thead>")
    lines.append("<tbody>")
    for first, *others in rows:
        cells = [f"<th {_CELL}>{markup(first)}</th>", *(f"<td {_CELL}>{markup(cell)}</td>" for cell in others)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return Markup("".join([*lines, "</tbody></table>"]))


def page_in_html(*parts: object) -> str:
    """Parts below each other, in which nothing between dollar signs is a formula."""
    inside = "".join(f"<div>{markup(part)}</div>" for part in parts if part)
    return f'<div class="tex2jax_ignore mathjax_ignore">{inside}</div>'

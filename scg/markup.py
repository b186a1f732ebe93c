"""Tables in HTML, for notebooks. Whatever text goes into them is escaped, and is not read as TeX."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

_CELL = "text-align:left; vertical-align:top; padding:2px 12px 2px 0; white-space:"
_SHORT = 30  # letters that stay on one line


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def markup(text: object) -> Markup:
    """A text as HTML that shows it as it stands."""
    return text if isinstance(text, Markup) else Markup(html.escape(str(text)))


def in_code(text: object) -> Markup:
    """A name, or what one writes in Python."""
    return Markup(f"<code>{markup(text)}</code>")


def alarming(text: object) -> Markup:
    """A text in red."""
    return Markup(f'<span style="color:#c5372c">{markup(text)}</span>')


def pale(text: object) -> Markup:
    """What is said beside, on light and dark pages."""
    return Markup(f'<span style="opacity:0.7">{markup(text)}</span>')


def table_in_html(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """A table."""
    lines = ['<table style="border-collapse:collapse; margin:4px 0">']
    if head:
        lines.append(f"<thead><tr>{''.join(_cell('th', cell) for cell in head)}</tr></thead>")
    lines += ["<tbody>", *(f"<tr>{''.join(_cell('td', cell) for cell in row)}</tr>" for row in rows)]
    return Markup("".join([*lines, "</tbody></table>"]))


def _cell(tag: str, content: object) -> str:
    inside = markup(content)
    short = len(re.sub("<[^>]*>", "", inside)) <= _SHORT
    return f'<{tag} style="{_CELL}{"nowrap" if short else "pre-wrap"}">{inside}</{tag}>'


def page_in_html(*parts: object) -> str:
    """Parts below each other, in which nothing between dollar signs is a formula."""
    inside = "".join(f"<div>{markup(part)}</div>" for part in parts if part)
    return f'<div class="tex2jax_ignore mathjax_ignore">{inside}</div>'

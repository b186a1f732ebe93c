"""What is drawn: a figure of matplotlib that shows itself in notebooks and can be saved.

matplotlib is imported when something is drawn. The figure does not go through `pyplot`, so it belongs to no window and
to no list of open figures; and texts are never read as TeX or mathtext, whatever names are in them.
"""

from __future__ import annotations

import importlib.util
import io
import os
from typing import Any

from scg.errors import SCGError
from scg.ir.location import here

DPI = 200  # a notebook shows it at half its size, for fine screens
MOST_POINTS = 20_000  # of a side of it
SLACK = 1.02  # letters are not equally wide in all formats
FONTS = ["DejaVu Sans", "sans-serif"]
_AS_DRAWN: dict[Any, Any] = {"savefig.bbox": None, "savefig.transparent": False, "text.usetex": False,
                             "svg.fonttype": "path"}


def available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def new_figure(width: float, height: float):
    """An empty figure, in inches, and axes that fill it: one unit is an inch, y grows downwards.

    Raises
    ------
    SCGError
        If matplotlib is not installed.
    """
    if not available():
        raise SCGError(str(here() or ""), "A picture was asked for.",
                       "Pictures are drawn by matplotlib, which is not installed.",
                       'Install it with pip install "scg[plot]"; g.to_dot() and g.to_networkx() need no matplotlib.')
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0.0, width)
    axes.set_ylim(height, 0.0)
    return figure, axes


def write(axes, x: float, y: float, text: str, size: float, **style: Any):
    """Write a text as it stands, centred unless the style says otherwise."""
    style = {"ha": "center", "va": "center", "family": FONTS, "color": "black", **style}
    return axes.text(x, y, text, fontsize=size, parse_math=False, usetex=False, **style)


class Ruler:
    """Measures texts, in inches."""

    def __init__(self):
        figure, _ = new_figure(1.0, 1.0)
        self._renderer = figure.canvas.get_renderer()

    def width(self, text: str, size: float, weight: str = "normal") -> float:
        """Of one line."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(family=FONTS, size=size, weight=weight)
        return SLACK * self._renderer.get_text_width_height_descent(text, font, ismath=False)[0] / DPI


class Drawing:
    """A picture. A notebook shows it; ``.save(path)`` writes it.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        To be changed at will.
    """

    def __init__(self, figure):
        self.figure = figure

    def save(self, path) -> None:
        """Write it.

        Parameters
        ----------
        path : str or path
            Its end says how: ``.png``, ``.svg``, ``.pdf``.

        Raises
        ------
        SCGError
            If there is no such place, or no such format.
        """
        try:
            name = os.fspath(path)
            form = os.path.splitext(name)[1].lower().lstrip(".")
            data = self._bytes(form if isinstance(form, str) else form.decode())
            with open(name, "wb") as file:
                file.write(data)
        except (OSError, TypeError, ValueError) as why:
            raise SCGError(str(here() or ""), f"A picture was to be written to {path!r}.",
                           f"That cannot be done: {why}.",
                           'Give the path of a file whose name says how, e.g. "graph.png", ".svg" or ".pdf".') from None

    def _bytes(self, form: str) -> bytes:
        from matplotlib import rc_context

        if form not in self.figure.canvas.get_supported_filetypes():
            raise ValueError(f"no format is called {form!r}" if form else "its name has no end that says how")
        data = io.BytesIO()
        with rc_context(_AS_DRAWN):
            self.figure.savefig(data, format=form, dpi=self._dpi())
        return data.getvalue()

    def _dpi(self) -> float:
        """Less for what is very large."""
        width, height = self.figure.get_size_inches()
        return min(DPI, MOST_POINTS / max(width, height, 1e-9), (MOST_POINTS * 2000 / (width * height)) ** 0.5)

    def _repr_png_(self):
        width = round(self.figure.get_figwidth() * self._dpi() / 2)
        return self._bytes("png"), {"width": width}

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"<{type(self).__name__} of {width:.1f} × {height:.1f} inches: .save(path) writes it>"

"""How results are printed: a line for each number or array, with its standard error.

Exported modules hold this text too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from scg.errors import printable
from scg.markup import Markup, in_code, page_in_html, pale, table_in_html

FEW_ELEMENTS = 4  # of arrays that are shown whole


def table_of(title: str, grad: Mapping[str, np.ndarray], cost: float, cost_stderr: float | None = None,
             stderr: Mapping[str, np.ndarray] | None = None, notes: Iterable[str] = (), digits: int = 6) -> str:
    """A result as text.

    Parameters
    ----------
    title : str
        The first line.
    grad : dict of str to array
    cost : float
    cost_stderr : float, optional
    stderr : dict of str to array, optional
        Standard errors of `grad`.
    notes : iterable of str
    digits : int
        Significant digits.
    """
    lines = [("cost", _measured(np.asarray(cost), None if cost_stderr is None else np.asarray(cost_stderr), digits))]
    lines += [(f"grad {name}", _measured(g, None if stderr is None else stderr[name], digits))
              for name, g in grad.items()]
    lines += [("note", note) for note in notes]
    width = max(len(name) for name, _ in lines)
    return "\n".join([title, *(printable(f"  {name:<{width}}  {text}") for name, text in lines)])


def html_of(title: str, grad: Mapping[str, np.ndarray], cost: float, costs: Mapping[str, float],
            cost_stderr: float | None = None, stderr: Mapping[str, np.ndarray] | None = None,
            notes: Iterable[str] = (), digits: int = 6) -> str:
    """A result as a table in HTML; `costs` are the single ones, told if there are several."""
    rows = [("cost", _measured(np.asarray(cost), None if cost_stderr is None else np.asarray(cost_stderr), digits))]
    if len(costs) > 1:
        rows += [(Markup(f"of which {in_code(name)}"), _measured(np.asarray(c), None, digits))
                 for name, c in costs.items()]
    rows += [(Markup(f"gradient in {in_code(name)}"),
              _measured(g, None if stderr is None else stderr[name], digits)) for name, g in grad.items()]
    told = [pale(f"Note: {note}.") for note in notes]
    return page_in_html(title, table_in_html((), rows), *told)


def _measured(value: np.ndarray, error: np.ndarray | None, digits: int) -> str:
    """A number or an array, with its standard error: whole if it is small, else its shape and range."""
    if value.size <= FEW_ELEMENTS:
        return _elements(value, digits) + ("" if error is None else f" ± {_elements(error, 2)}")
    most = "" if error is None else f", ± {np.max(error):.2g} at most"
    return f"{value.shape} from {np.min(value):.{digits}g} to {np.max(value):.{digits}g}{most}"


def _elements(value: np.ndarray, digits: int) -> str:
    """All elements, on one line."""
    text = np.array2string(value, formatter={"float_kind": lambda x: f"{x:.{digits}g}"})
    return " ".join(text.split())

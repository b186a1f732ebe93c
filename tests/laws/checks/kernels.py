"""Many expressions through one kernel, row by row, beside the reference and beside NumPy itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

import scg

Expressions = Mapping[str, Callable]


def by_rows(expressions: Expressions, columns: Mapping[str, np.ndarray], backend: str, dtype: str = "float64") -> dict:
    """The value of every expression in every row of the data, computed by one kernel.

    Parameters
    ----------
    expressions : dict of str to callable
        Each takes the columns by name; its result is recorded.
    columns : dict of str to array
        Data, row first.
    backend, dtype : str

    Returns
    -------
    dict of str to array
        Row first.
    """
    g = scg.Graph("expressions")
    data = {name: g.data(name, np.shape(column)[1:]) for name, column in columns.items()}
    for name, expression in expressions.items():
        node = expression(**data)
        g.node(name, scg.where(node, 1.0, 0.0) if node.kind == "bool" else node)
    g.cost("coin", g.sample("coin flip", scg.Bernoulli(logits=g.param("t")), per_row=True))
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend=backend, dtype=dtype, stderr=False)
    record = f({**columns, "t": 0.0}, samples=1, rng=0, record=tuple(expressions)).record
    return {name: record[name][:, 0] for name in expressions}


def by_numpy(expressions: Expressions, columns: Mapping[str, np.ndarray], dtype: str = "float64") -> dict:
    """The same, each row by NumPy."""
    typed = {name: np.asarray(column, dtype) for name, column in columns.items()}
    rows = len(next(iter(typed.values())))
    with np.errstate(all="ignore"):
        return {name: np.array([np.asarray(expression(**{n: c[i] for n, c in typed.items()}), float)
                                for i in range(rows)]) for name, expression in expressions.items()}

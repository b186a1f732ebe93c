"""A notebook that is really run: what each cell shows, in which form."""

from __future__ import annotations

import importlib.util

import pytest

CELLS = [
    ("import numpy as np, scg\ng = scg.Graph('toy')\ntheta, x = g.param('theta'), g.data('x')\n"
     "b = g.sample('<b>', scg.Bernoulli(logits=theta * x))\ng.cost('loss', (b - 0.45) ** 2)\ng", "image/png"),
    ("theta", None), ("g.draw(strategy={})", "image/png"), ("g.surrogate()", "text/latex"),
    ("f = scg.compile(g, backend='numpy')\nf", "text/html"), ("f.verdict", "text/html"), ("f.credit", "text/html"),
    ("f.credit.draw()", "image/png"), ("f({'theta': 0.3, 'x': np.ones(3)}, samples=8, rng=0)", "text/html"),
    ("scg.exact(g, {'theta': 0.3, 'x': np.ones(3)})", "text/html"), ("scg.Graph('empty')", "text/html"),
]
MISSING = [name for name in ("nbclient", "nbformat", "ipykernel") if importlib.util.find_spec(name) is None]


@pytest.mark.full
@pytest.mark.skipif(bool(MISSING), reason=f'{", ".join(MISSING)} not installed: pip install -e ".[notebook]"')
def test_cells():
    import nbformat
    from nbclient import NotebookClient

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code, _ in CELLS])
    NotebookClient(made, kernel_name="python3", timeout=120).execute()
    for cell, (code, form) in zip(made.cells, CELLS):
        (output,) = cell.outputs
        assert output.output_type == "execute_result", code
        assert {"text/plain", *([form] if form else [])} == set(output.data), code

"""What `scg.exact` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scg.run.by_name import ByName
from scg.run.table import html_of, table_of


@dataclass(frozen=True, repr=False)
class ExactEstimate:
    """What `exact` returns: the fields of an estimate that make sense without sampling.

    Attributes
    ----------
    cost : float
    costs : dict of str to float
    grad, stderr : dict of str to array
        Gradients in the parameters' shapes; standard errors are zero.
    rows : int
    """

    cost: float
    costs: Mapping[str, float]
    grad: Mapping[str, np.ndarray]
    rows: int

    @property
    def stderr(self) -> dict[str, np.ndarray]:
        """Zero: nothing was sampled."""
        return ByName(((name, np.zeros_like(g)) for name, g in self.grad.items()), "e.stderr", "Ask for a param.")

    @property
    def cost_stderr(self) -> float:
        """Zero: nothing was sampled."""
        return 0.0

    def __repr__(self) -> str:
        rows = f", the mean over {self.rows} rows" if self.rows > 1 else ""
        return table_of(f"Exact values{rows}", self.grad, self.cost, digits=12)

    def _repr_html_(self) -> str:
        rows = f", the mean over {self.rows} rows" if self.rows > 1 else ""
        return html_of(f"Exact values{rows}", self.grad, self.cost, self.costs, digits=12)

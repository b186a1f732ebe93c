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
    states : int
        Of a chain, under whose stationary law the values are; else 0.
    """

    cost: float
    costs: Mapping[str, float]
    grad: Mapping[str, np.ndarray]
    rows: int
    states: int = 0

    @property
    def stderr(self) -> dict[str, np.ndarray]:
        """Zero: nothing was sampled."""
        return ByName(((name, np.zeros_like(g)) for name, g in self.grad.items()), "e.stderr", "Ask for a param.")

    @property
    def cost_stderr(self) -> float:
        """Zero: nothing was sampled."""
        return 0.0

    @property
    def _title(self) -> str:
        law = f" under the stationary law, of {self.states:,} state{'s' * (self.states > 1)}" if self.states else ""
        return f"Exact values{law}{f', the mean over {self.rows} rows' if self.rows > 1 else ''}"

    def __repr__(self) -> str:
        return table_of(self._title, self.grad, self.cost, digits=12)

    def _repr_html_(self) -> str:
        return html_of(self._title, self.grad, self.cost, self.costs, digits=12)

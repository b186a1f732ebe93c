"""A number as baseline."""

from __future__ import annotations

from dataclasses import dataclass

from scg.baselines.baseline import Baseline
from scg.ir.node import constant


@dataclass(frozen=True)
class Constant(Baseline):
    """A fixed number.

    Parameters
    ----------
    number : float
        The number: ``Constant(0.5)``.
    """

    number: float = 0.0

    def value(self, site, signal):
        return constant(float(self.number)), ()

    def __repr__(self) -> str:
        return f"Constant({self.number})"

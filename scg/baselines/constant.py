"""A number as baseline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scg.baselines.baseline import Baseline, Subtracted
from scg.errors import BaselineError
from scg.ir.location import here
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

    def __post_init__(self):
        known = isinstance(self.number, (int, float, np.integer, np.floating)) and not isinstance(self.number, bool)
        if not known or not np.isfinite(self.number):
            raise BaselineError(str(here() or ""), f"Constant({self.number!r}) was asked for.",
                                "It is not a finite number.", "Give a number, or use Expression(node).")

    def along(self, site):
        return ()

    def value(self, site, signal):
        return Subtracted(constant(float(self.number)))

    def __repr__(self) -> str:
        return f"Constant({self.number})"

"""How the phantom chains of a call met."""

from __future__ import annotations

import numpy as np

from scg.errors import CallError
from scg.ir.signed import no_such

NOTED = 0.01  # of the pairs: a note tells of more that have not met


class Coupling:
    """After how many steps the phantom chains of a call met, over all pairs of all chains.

    Attributes
    ----------
    shares : array
        The share of the pairs that met in the transition that parted them, and after 1, 2, … further steps.
    mean : float
        Of the steps until they met, among those that did; NaN if none did.
    uncoupled : float
        The share of those that had not met when they were given up: the gradient lacks what they would have added.
    """

    def __init__(self, shares: np.ndarray):
        self.shares, self.uncoupled = shares[:-1], float(shares[-1])

    def __getattr__(self, name: str):
        no_such(self, name, {"median": "Use r.coupling.quantile(0.5)."})

    @property
    def mean(self) -> float:
        met = float(self.shares.sum())
        return float(np.arange(len(self.shares)) @ self.shares / met) if met > 0.0 else float("nan")

    @property
    def cut_off(self) -> float:
        """Of all steps at which pairs were apart, the share after they were given up, as if those that had not met
        went on to meet as often as in the second half of the steps; 1 if hardly any met then."""
        apart = np.append(1.0 - np.cumsum(self.shares[:-1]), self.uncoupled)
        half = len(apart) // 2
        if not self.uncoupled > 0.0 or half == len(apart) - 1:
            return float(self.uncoupled > 0.0)
        left = min(self.uncoupled / float(apart[half]), 1.0) ** (1.0 / (len(apart) - 1 - half))
        return 1.0 if left == 1.0 else self.uncoupled / (self.uncoupled + (1.0 - left) * float(apart[:-1].sum()))

    @property
    def note(self) -> str:
        """What to say of pairs that had not met, if they are more than one in a hundred; else nothing."""
        steps, lost = len(self.shares) - 1, self.uncoupled
        if not lost > NOTED:
            return ""
        found = (f"{100.0 * lost:.2g} % of the pairs of phantoms had not met after {steps} steps: the gradient lacks "
                 "what they would have added")
        if not steps or lost >= 0.5:
            return found
        more = steps * np.log(NOTED) / np.log(lost)  # as if the share that has not met fell geometrically
        return f"{found}; truncation={10 * int(np.ceil(more / 10.0))} would leave about {100.0 * NOTED:g} %"

    def quantile(self, q: float) -> float:
        """The least number of steps by which a share `q` of all pairs had met; infinite if fewer did.

        Raises
        ------
        CallError
            If `q` does not lie between 0 and 1.
        """
        if not isinstance(q, (int, float)) or not 0.0 <= q <= 1.0:
            raise CallError("", f"r.coupling.quantile({q!r}) was asked for.", "It is of a share of the pairs.",
                            "Use a number from 0 to 1.")
        met = np.flatnonzero(np.cumsum(self.shares) >= q * (1.0 - 1e-12))
        return float(met[0]) if len(met) else float("inf")

    def __repr__(self) -> str:
        return (f"Coupling: {self.mean:.3g} steps in the mean, {self.quantile(0.5):g} in the median, "
                f"{self.quantile(0.99):g} for 99 %; {self.uncoupled:.2g} of the pairs did not meet")

"""The strategies that the laws of backends and the digests of kernels try on every problem."""

from __future__ import annotations

from typing import Any

import scg

STRATEGIES: dict[str, Any] = {
    "policy": None, "score": scg.ScoreFunction(), "average": scg.ScoreFunction(baseline=scg.MovingAverage()),
    "weak": scg.WeakDerivative(), "local": scg.LocalExpectation(), "muprop": scg.MuProp(),
    "enumerate": scg.Enumerate()}  # fmt: skip

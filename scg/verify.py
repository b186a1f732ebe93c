"""Is a compiled estimator unbiased? On finite graphs by the exact law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scg.errors import DeclarationError, ExactError, NonFiniteError
from scg.estimate import EstimatorFunction
from scg.exact import integrate
from scg.expectation import expected_gradient
from scg.ir.location import here

TOLERANCE = 1e-9


@dataclass(frozen=True)
class Verification:
    """The outcome of `verify`.

    Attributes
    ----------
    passed : bool or None
        Whether the estimator's expected gradient is the gradient of the expected cost; None if that could not be told.
    method : str
        ``"exact law"``, or why there is none.
    max_error : float
        Largest absolute difference of any gradient element; NaN if there was no test.
    false_alarm : float
        Probability that an unbiased estimator would fail: 0 for the exact law.
    """

    passed: bool | None
    method: str
    max_error: float
    false_alarm: float


def verify(f, values: Mapping[str, Any]) -> Verification:
    """Hold a compiled estimator to the exact gradient; it does not raise for what it finds.

    Every path of the graph's noise is fed to the surrogate that was compiled, as lanes weighted by their probabilities,
    and the sum is compared with the derivative of the enumerated expectation.

    Parameters
    ----------
    f : EstimatorFunction
    values : dict of str to array_like
        As for a call.

    Raises
    ------
    DeclarationError
        If `f` is something else.

    Returns
    -------
    Verification
        `passed` is None on a graph that is not finite: the statistical test for such graphs does not exist yet.
    """
    if not isinstance(f, EstimatorFunction):
        raise DeclarationError(str(here() or ""), f"{f!r} was to be verified.", "That is no compiled estimator.",
                               "Give it what scg.compile returned.")
    derivation = f._whole("verify")
    try:
        exact = integrate(derivation.graph, values)
        found = expected_gradient(derivation, values)
    except (ExactError, NonFiniteError) as why:
        return Verification(None, f"no exact law: {why}", float("nan"), float("nan"))
    asked = [n for n in exact.grad if n in derivation.targets]
    largest = max((float(np.max(np.abs(found.grad[n] - exact.grad[n]), initial=0.0)) for n in asked), default=0.0)
    scale = 1.0 + max((float(np.max(np.abs(exact.grad[n]), initial=0.0)) for n in asked), default=0.0)
    return Verification(largest <= TOLERANCE * scale, "exact law", largest, 0.0)

"""What was found of one strategy that was compared: bias, variance and time, and what they make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scg.function import EstimatorFunction
from scg.run.estimate import Estimate

SEEN, SMALL = 4.0, 0.01  # standard errors, or part of the gradient, from which on a bias is seen
SURE = 2.0  # standard errors beyond a bias, within which it is shown to be small


@dataclass(frozen=True)
class Compared:
    """What was found of one strategy.

    Attributes
    ----------
    label : str
    unbiased : bool
        The compiler's verdict.
    bias : dict of str to float
        By what is differentiated, the distance of the mean from the exact gradient; NaN where that is not known.
    bias_stderr : dict of str to float
        Its standard error: a bias of a few of these may be none.
    variance : dict of str to float
        Of one sample's contribution, summed over the elements.
    seconds : float
        A sample's, the median of calls in turns with the others.
    compiling : float
        Seconds until the first call had returned.
    estimate : Estimate
    function : EstimatorFunction
    cut : bool
        Whether it is biased by a chain's start, and by what it cuts off, alone.
    """

    label: str
    unbiased: bool
    bias: Mapping[str, float]
    bias_stderr: Mapping[str, float]
    variance: Mapping[str, float]
    seconds: float
    compiling: float
    estimate: Estimate = field(repr=False)
    function: EstimatorFunction = field(repr=False)
    cut: bool = False

    @property
    def total_variance(self) -> float:
        """Summed over all that is differentiated."""
        return math.fsum(self.variance.values())

    @property
    def work(self) -> float:
        """Variance times seconds: what an independent sample of variance 1 costs."""
        return self.total_variance * self.seconds

    @property
    def fair(self) -> bool:
        """Whether it is unbiased; or of a chain, and nothing is seen of what it cuts off: less than 1 %, or than 4
        standard errors."""
        sizes = {name: float(np.linalg.norm(np.ravel(self.estimate.grad[name]))) for name in self.bias}
        seen = (bias > max(SEEN * self.bias_stderr[name], SMALL * sizes[name]) for name, bias in self.bias.items())
        return self.unbiased or (self.cut and not any(seen))

    @property
    def cuts_off(self) -> bool:
        """Whether it leaves out what a draw of a chain does later than some steps."""
        return any(e.cuts_off for e in estimators_of(self.function))

    @property
    def shown_whole(self) -> bool:
        """Whether it cuts off nothing, or is shown to cut off less than 1 %: of the gradient, by its bias and 2
        standard errors, or of the steps at which phantoms are apart (`Coupling.cut_off`)."""
        sizes = {name: float(np.linalg.norm(np.ravel(self.estimate.grad[name]))) for name in self.bias}
        small = (bias + SURE * self.bias_stderr[name] <= SMALL * sizes[name] for name, bias in self.bias.items())
        met = self.estimate.coupling
        return not self.cuts_off or all(small) or (met is not None and met.cut_off <= SMALL)

    @property
    def rank(self) -> tuple[float, float]:
        """What is least for the best: variance times seconds, and the seconds of what is exact."""
        return (0.0, self.seconds) if self.exact else (self.work, self.seconds)

    @property
    def draws(self) -> bool:
        """Whether its gradient is made of draws."""
        outputs = self.function._everything("A comparison").program.outputs
        return any(ax.statistical for o in outputs if o.role == "grad" for ax in o.node.axes if ax.name != "row")

    @property
    def exact(self) -> bool:
        """Whether its samples are all the same, but for rounding."""
        grad, rounding = self.estimate.grad, 64.0 * np.finfo(self.function._layout.dtype).eps
        return self.total_variance <= math.fsum(float(np.sum(np.square(rounding * g))) for g in grad.values())


def estimators_of(f: EstimatorFunction) -> list[Any]:
    """The estimators of the sites that reach a cost."""
    verdicts = f._whole("compare").verdicts.values()
    return [v.estimator for v in verdicts if v.estimator is not None and v.influenced]

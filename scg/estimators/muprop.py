"""MuProp: the score function with a first-order Taylor expansion about the mean field as control variate."""

from __future__ import annotations

from dataclasses import dataclass

from scg.baselines.baseline import Baseline, check_baseline
from scg.errors import EstimatorError
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.ops.control import stop_gradient
from scg.ops.reduce import total
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class MuProp(Estimator):
    """+ log p · ⊥(Q̂ − Q̄ − Q̄′·(w − w̄)) + μ · ⊥(Q̄′), with Q̄ and Q̄′ at a value w̄ that does not depend on the sample.

    The costs must be differentiable at w̄, which is off the support of a discrete site; the compiler checks it.

    Parameters
    ----------
    rollout : bool
        Take w̄ from the sampled parents instead of from one mean-field pass: a better expansion at more cost.
    baseline : Baseline, optional
        Subtracted from Q̂ − Q̄ − Q̄′·(w − w̄), which it is asked about. `MovingAverage` is the paper's C, and `Learned`
        its IDB, with ``scale=True`` and VN.

    References
    ----------
    Gu, Levine, Sutskever & Mnih 2016, eq. 3, Algorithm 1 and §6.
    """

    rollout: bool = False
    baseline: Baseline | None = None
    requires = ("log_prob", "mean")
    differentiates = True
    subtracts = True
    evaluations = "1, and 1 of the mean field"
    reference = "Gu, Levine, Sutskever & Mnih 2016"

    def __post_init__(self):
        if not isinstance(self.rollout, bool):
            raise EstimatorError(str(here() or ""), f"MuProp(rollout={self.rollout!r}) was asked for.",
                                 "It says whether the centre is taken from the sampled parents.", "Use True or False.")
        check_baseline(self.baseline)

    def weighing(self, site: Site) -> Weighing:
        found = super().weighing(site)
        return found if self.baseline is None else self.baseline.weighing(site, found)

    def rewrite(self, site: Site) -> Draft:
        q, _, slope = site.mean_field_pass(self.rollout)
        signal, draft = site.cost - q - site.tangent(self.rollout), site.draft
        if self.baseline is not None:
            signal, draft = self.baseline.taken_from(signal, site)
        term = total(site.score * stop_gradient(signal)) + total(site.mean * slope)
        return draft.with_term(site.name, term)

    def verdict(self, site: Site) -> tuple[str, str]:
        if self.baseline is not None and not self.baseline.unbiased:
            return "biased", self.baseline.reason()
        return super().verdict(site)

    def reason(self, site: Site) -> str:
        why = "the expansion's own gradient is added back, and its centre does not depend on the draw"
        base = self.baseline.reason() if self.baseline else ""
        return "; ".join(filter(None, [why, base, site.assumption]))

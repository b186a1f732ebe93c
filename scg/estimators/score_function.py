"""The score function, or likelihood-ratio, estimator."""

from __future__ import annotations

from dataclasses import dataclass

from scg.baselines.baseline import Baseline, Subtracted
from scg.errors import BaselineError
from scg.estimators.estimator import Estimator
from scg.ir.location import here
from scg.ops.control import stop_gradient
from scg.ops.reduce import total
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site


@dataclass(frozen=True)
class ScoreFunction(Estimator):
    """+ log p · ⊥(Q̂ − b): the costs that the site influences weight the gradient of its log-probability.

    Parameters
    ----------
    baseline : Baseline, optional
        Subtracted from Q̂; it must not depend on the replicate's own sample. None by default.

    References
    ----------
    Glynn 1990; Williams 1992; Schulman et al. 2015, Theorems 1 and 2.
    """

    baseline: Baseline | None = None
    requires = ("log_prob",)
    replays = False
    reference = "Glynn 1990; Williams 1992; Schulman et al. 2015"

    def __post_init__(self):
        if self.baseline is not None and not isinstance(self.baseline, Baseline):
            raise BaselineError(str(here() or ""), f"{self.baseline!r} was given as a baseline.",
                                "That is not a baseline.", "Give one, e.g. scg.LeaveOneOut() or scg.Constant(0.5).")

    def weighing(self, site: Site) -> Weighing:
        found = super().weighing(site)
        along = None if self.baseline is None else self.baseline.along(site)
        if along is None:
            return found
        if not along and found.credit == "aligned":  # one number, for the costs as a whole
            return Weighing()
        return found._replace(along=along)

    def rewrite(self, site: Site) -> Draft:
        signal, draft = site.cost, site.draft
        if self.baseline is not None:
            found = Subtracted(*self.baseline.checked(site, signal))
            signal = signal - found.value
            signal = signal if found.divisor is None else signal / found.divisor
            for state in found.states:
                draft = draft.with_state(state)
            for objective in found.objectives:
                draft = draft.with_objective(objective.name, objective.node, objective.otherwise)
        term = total(site.score * stop_gradient(signal))
        return draft.with_term(site.name, term)

    def verdict(self, site: Site) -> tuple[str, str]:
        if self.baseline is not None and not self.baseline.unbiased:
            return "biased", self.baseline.reason()
        return super().verdict(site)

    def reason(self, site: Site) -> str:
        base = f"; {self.baseline.reason()}" if self.baseline else ""
        return f"its support does not depend on what is differentiated{base}"

    def _shown(self) -> list[str]:
        return [name for name in super()._shown() if name != "baseline" or self.baseline is not None]

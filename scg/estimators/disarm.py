"""DisARM, or U2G: two antithetic draws, and what both together tell of the noise averaged out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scg.distributions.distribution import Distribution
from scg.errors import EstimatorError, Problem, brief
from scg.estimators.estimator import Estimator
from scg.functions import abs, sigmoid, stop_gradient
from scg.ir.axes import Axis
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ops.arithmetic import choose
from scg.ops.measure import axis_sum, event_to_axis
from scg.ops.shapes import is_whole
from scg.ops.structure import transpose
from scg.surrogate.credited_site import Weighing
from scg.surrogate.draft import Draft
from scg.surrogate.mark import Name
from scg.surrogate.several_sites import Together
from scg.surrogate.site import Site


@dataclass(frozen=True)
class DisARM(Estimator):
    """+ a · ⊥(½ (Q(b) − Q(b̃)) (b − b̃) σ(|a|)): b̃ is drawn from 1 − u where b is drawn from u, and a are the log-odds.

    All draws of the site, and of the sites that stand together with it, are replaced at once. The sign is that for
    b = 1[u < p]; exchanging the two draws changes both factors'.

    Parameters
    ----------
    axis : int, optional
        A dimension of the draws along which samples lie, as in ``shape=(K, D)`` of a bound of K samples: each of them
        is replaced by itself, with the others as they are, and weighed by what that changes. K replays then.

    References
    ----------
    Dong, Mnih & Tucker 2020 (§4 for bounds of several samples); Yin, Ho, Yan, Qian & Zhou 2020 (U2G).
    """

    axis: int | None = None
    scope = "together"
    requires = ("log_odds",)
    scores = True
    evaluations = "2; of K samples along an axis, K + 1"
    reference = "Dong, Mnih & Tucker 2020; Yin, Ho, Yan, Qian & Zhou 2020"

    def __post_init__(self):
        if self.axis is not None and not is_whole(self.axis):
            raise EstimatorError(str(here() or ""), f"DisARM(axis={brief(self.axis)}) was asked for.",
                                 "It is a dimension of the draws.", "Use a whole number, as in DisARM(axis=0).")
        if self.axis is not None and self.credit != "aligned":
            raise EstimatorError(str(here() or ""), f"{self} was asked for.",
                                 "Samples are weighed one by one, by all that each changes.", "Leave credit= out.")

    def weighing(self, site: Site) -> Weighing:
        return super().weighing(site) if self.axis is None else Weighing()

    def objection(self, site: Site) -> Problem | None:
        missing, sizes = super().objection(site), site.draws
        if missing is not None or self.axis is None or -len(sizes) <= self.axis < len(sizes):
            return missing
        return Problem(site.where, self.asked(site), f"The draws of the site have shape {sizes}: there is no axis "
                       f"{self.axis}.", "Give the axis along which samples lie, as in shape=(K, D).")  # fmt: skip

    def rewrite(self, sites: Together) -> Draft:
        draft = sites.draft
        for site in sites:
            log_odds = site.log_odds
            apart = site.of(lambda dist, x, site=site: x - site.antithetic(dist, x))
            weight = stop_gradient(0.5 * apart * sigmoid(abs(log_odds)))
            if self.axis is not None:
                draft = draft.with_term(site.name, self._sample_by_sample(site, log_odds * weight))
                continue
            gap = stop_gradient(sites.replay(lambda site, dist, x: x, site) - sites.replay(Site.antithetic, site))
            draft = draft.with_term(site.name, (site.per_signal(log_odds * weight) * gap).sum())
        return draft

    def _sample_by_sample(self, site: Site, each: Node) -> Node:
        """The term where the draws of one index along the axis are replaced at once."""
        ndim = len(site.draws)
        dim = (self.axis or 0) % ndim
        axis = Axis(f"{site.name} sample", site.draws[dim])
        shape = [axis.size, *(axis.size if d == dim else 1 for d in range(ndim))]
        mine = event_to_axis(constant(np.eye(axis.size, dtype=bool).reshape(shape)), axis)

        def value(dist: Distribution, x: Node) -> Node:
            return choose(mine, site.antithetic(dist, x), x)

        said = Name("@*", "@[]^{(<world>)}", "@ with one of its draws, each in turn, replaced by the antithetic one")
        gap = stop_gradient(site.replay(lambda dist, x: x) - site.replay(value, said))
        at = len(site.steps) + dim
        first = transpose(each, (at, *(d for d in range(each.ndim) if d != at)))
        return axis_sum((site.per_signal(event_to_axis(first, axis)) * gap).sum(), (axis.name,))

    def reason(self, site: Site) -> str:
        return "both draws have the site's distribution, and ARM is averaged over what they do not tell of the noise"

    def _shown(self) -> list[str]:
        return [name for name in super()._shown() if name != "axis" or self.axis is not None]

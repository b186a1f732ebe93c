"""RELAX: REBAR with a function of the relaxed sample besides, or in place of the costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scg.estimators.rebar import FREE, GIVEN, REBAR, Control, latent, latent_given
from scg.ir.node import Node, constant
from scg.surrogate.credited_site import Weighing
from scg.surrogate.site import Site
from scg.surrogate.stand_in import StandIn, check_surrogate


@dataclass(frozen=True, eq=False)
class RELAX(REBAR):
    """+ log p · ⊥(Q̂ − c(z̃)) + z · ⊥(c′(z)) − z̃ · ⊥(c′(z̃)), c = ηQ + r: z is the relaxed sample, z̃ one given it.

    r is a function that is learned, with η and the temperature, by minimising the variance of the gradient in the
    site's own parameters. Where costs cannot be evaluated or differentiated at relaxed values, c is r alone, and of the
    costs only values are asked: they may be any functions.

    Parameters
    ----------
    surrogate : callable, optional
        ``r(y)``, a scalar node that is made of y, a relaxed value like the site's, and of params of yours; see `LAX`.
        By default a net of one hidden layer, of the params "site W_surrogate_1" and so on.
    eta, temperature : float or Node, optional
        As of `REBAR`. At ``eta=0.0`` costs are never evaluated at relaxed values.

    References
    ----------
    Grathwohl, Choi, Wu, Roeder & Duvenaud 2018, eq. 8 and §3.2.
    """

    surrogate: Callable[[Node], Any] | None = field(default=None, kw_only=True)
    differentiates = False
    advised = False
    evaluations = "3, or 1 where costs cannot be relaxed"
    reference = "Grathwohl, Choi, Wu, Roeder & Duvenaud 2018"

    def __post_init__(self):
        super().__post_init__()
        check_surrogate(self, self.surrogate)

    def weighing(self, site: Site) -> Weighing:
        return super().weighing(site) if self.surrogate is None else Weighing()

    def _controls(self, site: Site, heat: Node) -> tuple[Control, Control]:
        given, free = self._of_costs(site, heat)
        r = StandIn(site, self, self.surrogate)
        below, above = r.at(given.at, GIVEN), r.at(free.at, FREE)
        return (Control(given.at, given.costs + below.value, given.slope + below.slope),
                Control(free.at, constant(0.0), free.slope + above.slope))

    def _of_costs(self, site: Site, heat: Node) -> tuple[Control, Control]:
        """ηQ, where the costs can be relaxed and are wanted; else 0."""
        wanted = not (isinstance(self.eta, (int, float)) and self.eta == 0.0)
        if wanted and self._smooth(site, heat):  # else, as where they jump, the function stands for them alone
            return super()._controls(site, heat)
        nothing = constant(0.0)
        given, free = (site.of_value(lambda dist, x, of=of: dist.relaxed(of(dist, x, x.args[-1]), heat))
                       for of in (latent_given, latent))
        return Control(given, nothing, nothing), Control(free, nothing, nothing)
